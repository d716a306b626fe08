//! Questions about a state, in the language of jq.

use jaq_core::compile::Compiler;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Ctx, Filter, Vars, data, unwrap_valr};
use jaq_json::{Val, read};

use crate::session::Session;

/// What of the language's library reaches outside of the state, or takes libraries that are not here: regular expressions, dates,
/// encodings, rarer mathematics.
const LEFT_OUT: [&str; 28] = [
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "test",
    "scan",
    "scan_",
    "match",
    "capture",
    "splits",
    "sub",
    "gsub",
    "capture_of_match",
    "todate",
    "fromdate",
    "@html",
    "@htmld",
    "@uri",
    "@urid",
    "@base64",
    "@base64d",
];
/// The same of what is built in.
const NATIVE_LEFT_OUT: [&str; 4] = ["halt", "env", "input", "inputs"];

/// A question that a state answers with yes or no.
pub struct Expression {
    filter: Filter<data::JustLut<Val>>,
}

impl Expression {
    /// Reads a question.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let library = jaq_std::defs().filter(|def| !LEFT_OUT.contains(&def.name) && (def.name != "split" || def.args.len() == 1));
        let loader = Loader::new(jaq_core::defs().chain(library).chain(jaq_json::defs()));
        let native = jaq_std::base_funs().filter(|(name, ..)| !NATIVE_LEFT_OUT.contains(name));
        let arena = Arena::default();
        let modules = loader.load(&arena, File { code: text, path: () }).map_err(|errors| {
            let said = errors.iter().flat_map(|(_, error)| unreadable(text, error)).collect::<Vec<_>>();
            said.join("; ")
        })?;
        let filter = Compiler::default().with_funs(jaq_core::funs().chain(native).chain(jaq_json::funs())).compile(modules);
        let filter = filter.map_err(|errors| {
            let unknown = errors.iter().flat_map(|(_, unknown)| unknown);
            let said = unknown.map(|(name, what)| format!("there is no {} `{name}`", what.as_str())).collect::<Vec<_>>();
            said.join("; ")
        })?;
        Ok(Self { filter })
    }

    /// Whether a state answers with yes: its first answer is neither `false` nor `null`.
    ///
    /// # Errors
    /// When the question cannot be put to this state.
    pub fn holds(&self, state: &Session) -> Result<bool, String> {
        let state = read::parse_single(state.to_json().as_bytes()).map_err(|error| error.to_string())?;
        let context = Ctx::<data::JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        match self.filter.id.run((context, state)).map(unwrap_valr).next() {
            None | Some(Ok(Val::Null | Val::Bool(false))) => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

fn unreadable(text: &str, error: &load::Error<&str>) -> Vec<String> {
    let at = |rest: &str| match text.len().checked_sub(rest.len()) {
        _ if rest.is_empty() => "at the end".to_owned(),
        Some(at) => format!("at `{}`", text.get(at..).unwrap_or(rest)),
        None => format!("at `{rest}`"),
    };
    match error {
        load::Error::Io(_) => vec!["modules cannot be loaded here".to_owned()],
        load::Error::Lex(errors) => {
            errors.iter().map(|(wanted, rest)| format!("{}: {} expected", at(rest), wanted.as_str())).collect()
        }
        load::Error::Parse(errors) => {
            errors.iter().map(|(wanted, found)| format!("{}: {} expected", at_token(text, found), wanted.as_str())).collect()
        }
    }
}

/// Where in `text` a part of it stands.
fn at_token(text: &str, found: &str) -> String {
    match found {
        "" => "at the end".to_owned(),
        found => match text.rfind(found) {
            Some(at) => format!("at `{}`", text.get(at..).unwrap_or(found)),
            None => format!("at `{found}`"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::AgentState;

    fn holds(text: &str) -> Result<bool, String> {
        let mut state = Session { agent: AgentState::Running, told: vec!["rust".to_owned()], ..Session::default() };
        state.usage.prompt_tokens = 1200;
        Expression::parse(text)?.holds(&state)
    }

    #[test]
    fn a_question_is_answered_as_jq_answers_it() {
        for (text, answer) in [
            (r#".agent == "running""#, true),
            (r#".agent == "error""#, false),
            (".usage.prompt_tokens > 1000 and .counts.errors == 0", true),
            (".usage.prompt_tokens > 1000 | not", false),
            (".nothing.like.this", false),
            (".owner", false),
            ("empty", false),
            (".counts.errors", true),
            (".open | length > 0", false),
            (r#".told | any(. == "rust")"#, true),
            (r#".told | map(ascii_upcase) | index("RUST") == 0"#, true),
            (r#".agent | startswith("run")"#, true),
            ("[.usage[] | numbers] | add >= 1200", true),
        ] {
            assert_eq!(holds(text), Ok(answer), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_asked_is_named() {
        for (text, said) in [
            (".agent ==", "at the end: term expected"),
            (".agent == \"x", "closing quote expected"),
            (".agent = = 1", "at `= 1`"),
            ("nope(.)", "there is no filter `nope`"),
            ("$x", "there is no variable `$x`"),
            ("halt", "there is no filter `halt`"),
            ("env", "there is no filter `env`"),
            (".agent.x", "cannot index"),
        ] {
            let error = holds(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
