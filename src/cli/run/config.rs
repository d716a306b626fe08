//! The configuration file of `rekindle run`: TOML, every key checked, nothing secret in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::exit::CliError;

/// What a configuration file may say. Flags win over it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The agent's name.
    pub agent: Option<String>,
    /// Who sessions are for.
    pub user: Option<String>,
    /// The most calls of the model.
    pub iterations: Option<u64>,
    /// The most US dollars.
    pub budget: Option<f64>,
    /// What the agent is told beside the task.
    pub instructions: Option<String>,
    /// The model that it asks.
    pub model: ModelConfig,
    /// The agent's own tools.
    pub tools: Option<Vec<String>>,
    /// What its shell is prepared with: scripts in `plugins/NAME.sh` beside the user's own configuration file.
    pub plugins: Vec<String>,
    /// Microagents that it is not told of.
    pub disabled_microagents: Vec<String>,
    /// What is done when the history grows too long.
    pub condenser: CondenserConfig,
    /// What it is told of the workspace.
    pub memory: MemoryConfig,
    /// Agents to which it may hand parts of its task, by name.
    pub agents: BTreeMap<String, DelegateConfig>,
    /// Who judges actions, and which a person must agree to.
    pub security: SecurityConfig,
    /// The code to work on.
    pub repository: Option<RepositoryConfig>,
    /// What is done when the project's setup script fails: `go-on`, `fail`.
    pub on_setup_failure: Option<String>,
    /// Where actions run.
    pub runtime: RuntimeConfig,
    /// Whether the files of the workspace are kept at the end of each turn; they are by default.
    pub snapshots: Option<bool>,
    /// Servers that bring further tools, by name.
    pub mcp: BTreeMap<String, McpConfig>,
    /// What secrets are for, by name; their values are kept with `rekindle secrets set`.
    pub secrets: BTreeMap<String, SecretConfig>,
    /// How long things may take.
    pub timeouts: TimeoutConfig,
    /// Free words.
    pub metadata: BTreeMap<String, String>,
}

/// A model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ModelConfig {
    /// `openai/NAME`, `anthropic/NAME`, or a name that the endpoint at `base-url` knows.
    pub name: Option<String>,
    /// Where the endpoint is.
    pub base_url: Option<String>,
    /// The name of the secret that holds the key.
    pub key: Option<String>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// The most tokens of one answer.
    pub max_output_tokens: Option<u32>,
    /// Seconds that one try may take.
    pub timeout: Option<u64>,
    /// How often a call that may succeed later is tried again.
    pub retries: Option<u32>,
    /// What it costs.
    pub price: Option<PriceConfig>,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PriceConfig {
    /// Tokens read.
    pub input: f64,
    /// Tokens read from the provider's cache; as `input` when unset.
    pub cached_input: Option<f64>,
    /// Tokens written.
    pub output: f64,
}

/// What is done when the history grows too long.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CondenserConfig {
    /// `none`, `window`, `summary`.
    pub r#type: Option<String>,
    /// How many of the first events stay.
    pub keep_first: Option<u32>,
    /// When there are more events than this, half as many stay; 0 for only when the model's window is exceeded.
    pub max: Option<u32>,
    /// The model that sums up; the agent's own by default.
    pub model: ModelConfig,
}

/// An agent to which parts of the task may be handed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DelegateConfig {
    /// The model that it asks; what is unset is as in the main model.
    pub model: ModelConfig,
    /// Its tools.
    pub tools: Option<Vec<String>>,
    /// What is done when its history grows too long; as for the main agent when unset.
    pub condenser: Option<CondenserConfig>,
}

/// Who judges actions, and which a person must agree to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SecurityConfig {
    /// `rules`, `model`.
    pub analyzers: Option<Vec<String>>,
    /// `never`, `always`, `low`, `medium`, `high`.
    pub confirm: Option<String>,
}

/// What the agent is told of the workspace.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MemoryConfig {
    /// Whether a microagent that cannot be read keeps the session from starting.
    pub strict: bool,
}

/// A repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RepositoryConfig {
    /// `owner/name`, a URL or a path.
    pub location: String,
    /// `github`, `gitlab`, `bitbucket`; told from the location when unset.
    pub provider: Option<String>,
    /// The provider's host where it is not the usual one.
    pub host: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The name of the secret that holds the token.
    pub token: Option<String>,
    /// How many commits are fetched.
    pub depth: Option<u32>,
}

/// A server of the Model Context Protocol.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct McpConfig {
    /// The program of a stdio server.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment; `${NAME}` is the secret of that name.
    pub env: BTreeMap<String, String>,
    /// Where an HTTP server is.
    pub url: Option<String>,
    /// The name of the secret that holds its key.
    pub key: Option<String>,
    /// Whether it is an entry for the old HTTP+SSE transport, to be tried as streamable HTTP.
    pub sse: bool,
    /// Seconds that a connection or a call may take.
    pub timeout: Option<u64>,
}

impl McpConfig {
    /// A server as the command line names it: `NAME=COMMAND…`, `NAME=URL`.
    ///
    /// # Errors
    /// [`CliError::Usage`] when it is neither.
    pub fn named(written: &str) -> Result<(String, Self), CliError> {
        let bad = || CliError::Usage(format!("--mcp {written}: say NAME=URL, or NAME=\"COMMAND ARGUMENT…\""));
        let (name, how) = written.split_once('=').ok_or_else(bad)?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if !is_name {
            return Err(bad());
        }
        if how.starts_with("http://") || how.starts_with("https://") {
            return Ok((name.to_owned(), Self { url: Some(how.to_owned()), ..Self::default() }));
        }
        let mut words = words(how).ok_or_else(bad)?.into_iter();
        let command = words.next().ok_or_else(bad)?;
        Ok((name.to_owned(), Self { command: Some(command), args: words.collect(), ..Self::default() }))
    }
}

/// The words of a command line: spaces part them, quotes and backslashes keep them together; nothing else means anything. `None` when
/// a quote is not closed.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A secret, by what it is for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SecretConfig {
    /// For the agent: what it is for.
    pub description: String,
    /// Whether it is a provider's token.
    pub provider_token: bool,
}

/// Where actions run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RuntimeConfig {
    /// As `--runtime` says it.
    pub at: Option<String>,
    /// Of the local one: `landlock` or `bwrap`.
    pub sandbox: Option<String>,
    /// Of the local one: whether commands may open connections.
    pub network: Option<bool>,
    /// The name of the secret that holds the key of a remote one.
    pub key: Option<String>,
    /// The program that launches one, and its arguments.
    pub command: Vec<String>,
    /// The same, to end it.
    pub stop: Vec<String>,
    /// The image that `{image}` stands for.
    pub image: Option<String>,
    /// Where one that was launched is reached.
    pub url: Option<String>,
}

/// Seconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TimeoutConfig {
    /// An action that names no timeout of its own.
    pub action: Option<u64>,
    /// How long a command may be quiet before it is left running.
    pub quiet: Option<u64>,
    /// Cloning, and the setup script.
    pub prepare: Option<u64>,
    /// The whole close.
    pub close: Option<u64>,
}

impl Config {
    /// Reads `file`, or the user's own where it is there and no other is named.
    ///
    /// # Errors
    /// When it cannot be read, or holds a key that is none; the nearest right key is named.
    pub fn read(file: Option<&Path>) -> Result<Self, CliError> {
        let (path, text) = match file {
            Some(path) => (path.to_owned(), fs::read_to_string(path)),
            None => {
                let Some(path) = own() else { return Ok(Self::default()) };
                match fs::read_to_string(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
                    text => (path, text),
                }
            }
        };
        let text = text.map_err(|source| CliError::File { verb: "read", path: path.clone(), source })?;
        Self::parse(&text).map_err(|why| CliError::Usage(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            format!("line {line}: {}", nearest(error.message()))
        })
    }
}

/// The user's own configuration file.
fn own() -> Option<PathBuf> {
    Some(directory()?.join("config.toml"))
}

/// Where the user's own configuration is.
pub(super) fn directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("rekindle"))
}

/// Adds to the message about an unknown key which of the known ones is nearest.
fn nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(unknown), true) = (quoted.next(), message.starts_with("unknown field")) else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    match nearest_of(unknown, known.iter().copied()) {
        Some(best) => format!("there is no key `{unknown}`; did you mean `{best}`?"),
        None => format!("there is no key `{unknown}`; there are: {}", known.join(", ")),
    }
}

/// The one of `known` that was probably meant.
pub(super) fn nearest_of<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    known.filter(|name| likeness(name) > 0.7).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_right_one() {
        assert_eq!(
            Config::parse("iteratoins = 3").unwrap_err(),
            "line 1: there is no key `iteratoins`; did you mean `iterations`?"
        );
        assert_eq!(
            Config::parse("agent = \"coder\"\n[model]\nbase_url = \"x\"").unwrap_err(),
            "line 3: there is no key `base_url`; did you mean `base-url`?"
        );
        assert_eq!(
            Config::parse("[condenser]\nkeep_first = 3").unwrap_err(),
            "line 2: there is no key `keep_first`; did you mean `keep-first`?"
        );
        let far = Config::parse("[security]\nzzz = 1").unwrap_err();
        assert!(far.contains("there are: analyzers, confirm"), "{far}");
    }

    #[test]
    fn a_server_is_named_on_the_command_line_as_a_shell_would_take_it() {
        let (name, program) = McpConfig::named(r#"files=npx -y "a b" 'c "d"' e\ f ''"#).unwrap();
        assert_eq!((name.as_str(), program.command.as_deref()), ("files", Some("npx")));
        assert_eq!(program.args, ["-y", "a b", "c \"d\"", "e f", ""]);
        assert_eq!(McpConfig::named("docs=https://x.test/mcp?a=b").unwrap().1.url.as_deref(), Some("https://x.test/mcp?a=b"));
        for wrong in ["docs", "=x", "a b=x", "a=", "a='x"] {
            assert!(McpConfig::named(wrong).unwrap_err().to_string().contains("NAME=URL"), "{wrong}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error_with_its_line() {
        let wrong = Config::parse("\niterations = \"many\"").unwrap_err();
        assert!(wrong.starts_with("line 2: ") && wrong.contains("expected u64"), "{wrong}");
    }

    #[test]
    fn everything_that_a_session_is_made_of_can_be_said() {
        let config = Config::parse(include_str!("../../../tests/data/config.toml")).unwrap();
        assert_eq!(config.model.name.as_deref(), Some("openai/gpt-4.1"));
        assert_eq!((config.condenser.max, config.condenser.model.name.as_deref()), (Some(120), Some("openai/gpt-4.1-mini")));
        assert_eq!(config.mcp.len(), 3);
        assert_eq!(config.agents.len(), 1);
    }
}
