//! What a person types to find something, read into terms. Nothing of it reaches a database as it was typed.

use chrono::{DateTime, NaiveDate};

use crate::session::searchable::{Label, folded, words};
use crate::session::{Source, Timestamp};
use crate::store::{Term, Terms};

/// What can be typed, for people.
pub const GRAMMAR: &str = "  redirect loop       events that have both words, in any order
  \"no such file\"      words behind each other; so does src/main.rs or foo_bar
  timeout OR refused  either;  -retry without it;  conf* words that begin so
  kind:action.run     a kind of event, or a family of kinds: kind:observation
  tool:bash           what was used: bash, python, edit, read, browse, mcp, or a
                      tool's own name
  source:user         who made it: user, agent or environment
  session:ID          one session: its id, the beginning of one, its name, @last
  model:claude        sessions whose model's name begins so
  state:finished      sessions in that state, as `ls` shows it
  cost:>1.50          sessions that cost more (or <) than so many dollars
  since:7d until:2026-11-01   when: s, m, h, d or w ago, a day, or a moment";

/// The names of filters.
const FILTERS: [&str; 9] = ["kind", "tool", "source", "session", "model", "state", "cost", "since", "until"];
/// The most words, phrases and filters in one query: enough for people, and no work without bounds for the database.
const TERMS_MAX: usize = 100;
/// The most words of one phrase.
const PHRASE_MAX: usize = 100;
/// So much of what was typed is repeated to say what is wrong with it.
const REPEATED: usize = 60;
/// The fewest characters that the beginning of a word has.
const PREFIX_MIN: usize = 2;

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What an event must say and be.
    pub terms: Terms,
    /// Not before.
    pub since: Timestamp,
    /// Before.
    pub until: Timestamp,
    /// What its session must be.
    pub sessions: Vec<SessionTest>,
}

/// What a session must be, or must not.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionTest {
    /// What.
    pub is: SessionIs,
    /// Whether it is rather what it must not be.
    pub not: bool,
}

/// What a session can be.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionIs {
    /// The one with this id, beginning of an id, or name; or the newest, as `@last`.
    Named(String),
    /// In this state.
    State(String),
    /// Driven by a model whose name begins so.
    Model(String),
    /// Dearer than so many millionths of a dollar.
    Dearer(u64),
    /// Cheaper than so many millionths of a dollar.
    Cheaper(u64),
}

/// A query that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidQuery(String);

fn invalid<T>(what: impl Into<String>) -> Result<T, InvalidQuery> {
    Err(InvalidQuery(what.into()))
}

/// One word as it was typed.
struct Typed {
    negated: bool,
    text: String,
    quoted: bool,
}

/// Reads a query; spans of time are counted back from `now`.
///
/// # Errors
/// What is wrong with it, and what can be typed instead.
pub fn parse(text: &str, now: Timestamp) -> Result<Query, InvalidQuery> {
    let mut query =
        Query { terms: Terms::default(), since: Timestamp(i64::MIN), until: Timestamp(i64::MAX), sessions: Vec::new() };
    let mut any = false;
    let mut or = false;
    let all = typed(text)?;
    if all.len() > TERMS_MAX {
        return invalid(format!("{} words and filters are too many; type at most {TERMS_MAX}", all.len()));
    }
    for typed in all {
        if !typed.quoted && !typed.negated && typed.text == "OR" {
            if or || query.terms.all.is_empty() {
                return invalid("OR stands between two words");
            }
            or = true;
            continue;
        }
        any = true;
        match filter(&typed)? {
            Some((name, value)) => match filtered(name, &value, now)? {
                Filtered::Term(term) => add(&mut query.terms, term, typed.negated, &mut or)?,
                _ if or => return invalid(format!("{name}: cannot stand beside OR, it is about the whole")),
                Filtered::Session(is) => query.sessions.push(SessionTest { is, not: typed.negated }),
                _ if typed.negated => return invalid(format!("{name}: cannot be turned around with -")),
                Filtered::Since(at) => query.since = query.since.max(at),
                Filtered::Until(at) => query.until = query.until.min(at),
            },
            None => add(&mut query.terms, plain(&typed)?, typed.negated, &mut or)?,
        }
    }
    if or {
        return invalid("OR stands between two words");
    }
    if any { Ok(query) } else { invalid("there is nothing to look for; type words, or a filter such as tool:bash") }
}

fn add(terms: &mut Terms, term: Term, negated: bool, or: &mut bool) -> Result<(), InvalidQuery> {
    match (negated, std::mem::take(or), terms.all.last_mut()) {
        (true, true, _) => return invalid("OR cannot stand before -"),
        (true, false, _) => terms.none.push(term),
        (false, true, Some(group)) => group.push(term),
        (false, _, _) => terms.all.push(vec![term]),
    }
    Ok(())
}

/// Cuts a query at its blanks, but for what is in quotes.
fn typed(text: &str) -> Result<Vec<Typed>, InvalidQuery> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let negated = rest.starts_with('-')
            && rest.get(1..).is_some_and(|next| next.starts_with(|c: char| c.is_alphanumeric() || c == '"'));
        let from = if negated { rest.get(1..).unwrap_or_default() } else { rest };
        let (mut word, mut quoted, mut open, mut end) = (String::new(), false, false, from.len());
        for (index, c) in from.char_indices() {
            match c {
                '"' if open || word.is_empty() || word.ends_with(':') => {
                    open = !open;
                    quoted |= word.is_empty() && open;
                }
                c if c.is_whitespace() && !open => {
                    end = index;
                    break;
                }
                c => word.push(c),
            }
        }
        if open {
            return invalid("a quote is opened and not closed");
        }
        all.push(Typed { negated, text: word, quoted });
        rest = from.get(end..).unwrap_or_default().trim_start();
    }
    Ok(all)
}

/// The filter that a word is, and its value.
fn filter(typed: &Typed) -> Result<Option<(&'static str, String)>, InvalidQuery> {
    let Some((name, value)) = typed.text.split_once(':').filter(|_| !typed.quoted) else { return Ok(None) };
    // A path of Rust, an address, the end of a sentence.
    let is_word = value.is_empty() || value.starts_with([':', '/']) || !name.chars().all(|c| c.is_ascii_lowercase());
    let known = FILTERS.into_iter().find(|known| *known == name);
    if let (Some(known), false) = (known, value.is_empty()) {
        return Ok(Some((known, value.to_owned())));
    }
    if let Some(known) = known {
        return invalid(format!("{known}: wants a value right behind it, as in {known}:{}", example(known)));
    }
    // A name is short; what is long is something else.
    let near =
        FILTERS.into_iter().filter(|_| name.len() <= REPEATED).min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match near {
        Some(near) if !is_word && strsim::damerau_levenshtein(near, name) <= name.len().min(near.len()) / 3 => invalid(format!(
            "there is no filter {name}:, did you mean {near}:{value:.REPEATED$}? To look for the words, put them in quotes"
        )),
        _ => Ok(None),
    }
}

/// The beginning of what was typed, as it is repeated to whoever typed it: a precision does not bound what is shown in quotes.
fn begun(text: &str) -> String {
    text.chars().take(REPEATED).collect()
}

fn example(filter: &str) -> &'static str {
    match filter {
        "kind" => "action.run",
        "tool" => "bash",
        "source" => "user",
        "session" => "@last",
        "model" => "claude",
        "state" => "finished",
        "cost" => ">1",
        _ => "7d",
    }
}

enum Filtered {
    Term(Term),
    Session(SessionIs),
    Since(Timestamp),
    Until(Timestamp),
}

fn filtered(name: &str, value: &str, now: Timestamp) -> Result<Filtered, InvalidQuery> {
    let label = |label, value: &str| Ok(Filtered::Term(Term::label(label, value)));
    match name {
        "kind" => match value.trim_end_matches(['*', '.']) {
            family if !family.contains('.') => label(Label::Family, family),
            kind => label(Label::Kind, kind),
        },
        "tool" => label(Label::Tool, value),
        "source" => match value.parse::<Source>() {
            Ok(source) => label(Label::Source, source.as_str()),
            Err(error) => invalid(error.to_string()),
        },
        "session" => Ok(Filtered::Session(SessionIs::Named(value.to_owned()))),
        "model" => Ok(Filtered::Session(SessionIs::Model(value.to_owned()))),
        "state" => Ok(Filtered::Session(SessionIs::State(value.to_lowercase()))),
        "cost" => cost(value).map(Filtered::Session),
        "since" => moment(value, now).map(Filtered::Since),
        _ => moment(value, now).map(Filtered::Until),
    }
}

fn cost(value: &str) -> Result<SessionIs, InvalidQuery> {
    let (dearer, figure) = match (value.strip_prefix('>'), value.strip_prefix('<')) {
        (Some(figure), _) => (true, figure),
        (_, Some(figure)) => (false, figure),
        _ => return invalid(format!("cost: wants > or < and dollars, as in cost:>1.50, got {:?}", begun(value))),
    };
    match figure.trim_start_matches('$').parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within these bounds it is a whole number")]
        Ok(dollars) if (0.0..1e9).contains(&dollars) => {
            let micro = (dollars * 1e6).round() as u64;
            Ok(if dearer { SessionIs::Dearer(micro) } else { SessionIs::Cheaper(micro) })
        }
        _ => invalid(format!("cost: wants dollars behind > or <, as in cost:>1.50, got {:?}", begun(figure))),
    }
}

fn moment(value: &str, now: Timestamp) -> Result<Timestamp, InvalidQuery> {
    if let Some(micros) = ago(value) {
        return Ok(Timestamp(now.0.saturating_sub(micros)));
    }
    let day = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    let micros = match day {
        Some(day) => Some(day.and_utc().timestamp_micros()),
        None => DateTime::parse_from_rfc3339(value).ok().map(|at| at.timestamp_micros()),
    };
    match micros {
        Some(micros) => Ok(Timestamp(micros)),
        None => invalid(format!("{:?} is no time; say 7d, 12h, 2026-11-01 or 2026-11-01T12:00:00Z", begun(value))),
    }
}

fn ago(value: &str) -> Option<i64> {
    let unit = value.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let number: i64 = value.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
    number.checked_mul(seconds)?.checked_mul(1_000_000)
}

/// The term that words are: several in one are a phrase.
fn plain(typed: &Typed) -> Result<Term, InvalidQuery> {
    let prefix = typed.text.ends_with('*');
    let words: Vec<String> = words(&typed.text).map(|(_, word)| folded(word)).filter(|word| !word.is_empty()).collect();
    if words.len() > PHRASE_MAX {
        return invalid(format!("a phrase of {} words is too long; type at most {PHRASE_MAX}", words.len()));
    }
    match words.last() {
        None => invalid(format!("{:?} has no letter and no digit, and so nothing that could be found", begun(&typed.text))),
        Some(last) if prefix && last.is_ascii() && last.len() < PREFIX_MIN => {
            invalid(format!("{last}* is the beginning of too many words; type at least {PREFIX_MIN} letters"))
        }
        Some(_) => Ok(Term::Words { words, prefix }),
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
