//! From flags, configuration and environment to what a session is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::{CondenserConfig, Config, McpConfig, ModelConfig, PriceConfig, RepositoryConfig, nearest_of};
use super::plugins;
use crate::cli::exit::CliError;
use crate::host::workspace;
use crate::session::{
    AgentConfig, AgentSpec, Analyzer, Condenser, ConfirmationPolicy, Deadlines, Interaction, Limits, McpServer, McpTransport,
    MemorySpec, ModelApi, ModelSpec, OnBadFile, OnSetupFailure, Origin, Price, Provider, RepositorySpec, Risk, RuntimeSpec,
    SecretRef, SecretUse, SecuritySpec, SessionSpec, SnapshotSpec, Tool,
};

/// Millionths of a US dollar in one.
const MICRO: f64 = 1e6;

/// What the command line says of the session, beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub config: Config,
    pub task: Option<String>,
    pub images: Vec<String>,
    pub workspace: PathBuf,
    pub title: Option<String>,
    pub interaction: Interaction,
    pub runtime: RuntimeSpec,
    /// Names of secrets that commands find in their environment.
    pub secrets: Vec<String>,
    /// Names of secrets whose values are known here.
    pub known: Vec<String>,
}

impl Asked {
    /// What the session is told.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming what is missing or wrong.
    pub fn spec(self) -> Result<SessionSpec, CliError> {
        let Self { config, task, images, workspace, title, interaction, runtime, secrets, known } = self;
        let mut named = Named::default();
        for (name, secret) in &config.secrets {
            let used = if secret.provider_token { SecretUse::ProviderToken } else { SecretUse::Environment };
            named.add(name, &secret.description, used);
        }
        for name in &secrets {
            named.add(name, "", SecretUse::Environment);
        }
        let model = model(&config.model, None, &known)?;
        named.engine(model.key.as_deref());
        let main = AgentConfig {
            tools: tools(config.tools.as_deref(), !config.agents.is_empty())?,
            disabled_microagents: config.disabled_microagents.clone(),
            condense: condenser(&config.condenser, &known)?,
            model,
        };
        named.condenser(&main.condense);
        let mut delegates = BTreeMap::new();
        for (name, delegate) in &config.agents {
            let model = self::model(&delegate.model, Some(&main.model), &known)?;
            named.engine(model.key.as_deref());
            let tools = tools(delegate.tools.as_deref(), false)?;
            let condense = delegate.condenser.as_ref().map(|config| condenser(config, &known)).transpose()?;
            let condense = condense.unwrap_or_else(|| main.condense.clone());
            named.condenser(&condense);
            delegates.insert(name.clone(), AgentConfig { model, tools, condense, ..main.clone() });
        }
        let mut repository = config.repository.as_ref().map(repository).transpose()?;
        if let Some(repository) = &mut repository {
            let usual = || usual_token(&repository.provider).filter(|usual| known.iter().any(|name| name == usual));
            let token = repository.token.clone().or_else(|| usual().map(str::to_owned));
            repository.token = token.map(|token| named.token(&token));
        }
        if let RuntimeSpec::Remote { key, .. } = &runtime {
            named.engine(key.as_deref());
        }
        let mut mcp = Vec::new();
        for (name, server) in &config.mcp {
            let server = self::mcp(name, server)?;
            match &server.transport {
                McpTransport::Http { key, .. } | McpTransport::Sse { key, .. } => named.engine(key.as_deref()),
                McpTransport::Stdio { env, .. } => {
                    env.values().flat_map(|value| secrets_in(value)).for_each(|name| named.engine(Some(name)))
                }
            }
            mcp.push(server);
        }
        let name = config.agent.clone().unwrap_or_else(|| "coder".to_owned());
        Ok(SessionSpec {
            title,
            user: config.user.clone(),
            deadlines: deadlines(&config),
            agent: Some(AgentSpec { name, config: main, delegates }),
            limits: limits(config.iterations, config.budget)?,
            interaction,
            repository,
            on_setup_failure: on_setup_failure(config.on_setup_failure.as_deref())?,
            secrets: named.secrets,
            security: security(&config)?,
            mcp,
            memory: MemorySpec { on_bad_file: if config.memory.strict { OnBadFile::Fail } else { OnBadFile::Note } },
            runtime,
            plugins: plugins::read(&config.plugins)?,
            instructions: config.instructions.clone(),
            metadata: config.metadata.clone(),
            snapshots: config.snapshots.unwrap_or(true).then(SnapshotSpec::default),
            ..SessionSpec::new(Origin::Fresh { message: task, images }, workspace)
        })
    }
}

/// The secrets of a session, each once.
#[derive(Default)]
struct Named {
    secrets: Vec<SecretRef>,
}

impl Named {
    fn add(&mut self, name: &str, description: &str, used: SecretUse) {
        if !self.secrets.iter().any(|secret| secret.name == name) {
            let (name, description) = (name.to_owned(), description.to_owned());
            self.secrets.push(SecretRef { name, description, used, fingerprint: None });
        }
    }

    /// The name of the secret that is a provider's token: one that was named for itself goes before it, in either case of its letters.
    fn token(&mut self, name: &str) -> String {
        let known = self.secrets.iter().find(|secret| secret.name.eq_ignore_ascii_case(name));
        let name = known.map_or(name, |known| known.name.as_str()).to_owned();
        self.add(&name, "", SecretUse::ProviderToken);
        name
    }

    /// The key of a model of its own.
    fn condenser(&mut self, condenser: &Condenser) {
        if let Condenser::Summary { model: Some(model), .. } = condenser {
            self.engine(model.key.as_deref());
        }
    }

    fn engine(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.add(name, "", SecretUse::Engine);
        }
    }
}

fn usage(what: impl Into<String>) -> CliError {
    CliError::Usage(what.into())
}

/// A model by its configuration; what is unset is as in `like`.
fn model(config: &ModelConfig, like: Option<&ModelSpec>, known: &[String]) -> Result<ModelSpec, CliError> {
    let Some(named) = &config.name else {
        return like.cloned().ok_or_else(|| {
            usage("no model is named: say --model openai/NAME or --model anthropic/NAME, or set model.name in the configuration")
        });
    };
    let (api, name, usual) = match named.split_once('/') {
        Some(("openai", name)) => (ModelApi::OpenAi, name, "OPENAI_API_KEY"),
        Some(("anthropic", name)) => (ModelApi::Anthropic, name, "ANTHROPIC_API_KEY"),
        // Whoever names an endpoint names its model as the endpoint does.
        _ if config.base_url.is_some() => (ModelApi::OpenAi, named.as_str(), "OPENAI_API_KEY"),
        _ => {
            return Err(usage(format!(
                "`{named}` names no provider: say openai/NAME or anthropic/NAME, or --base-url for another endpoint that speaks \
                 OpenAI's API"
            )));
        }
    };
    if let Some(url) = &config.base_url {
        endpoint(url)?;
    }
    let mut spec = ModelSpec::new(api, name);
    spec.base_url.clone_from(&config.base_url);
    spec.key = match &config.key {
        Some(key) => Some(key.clone()),
        // An endpoint of one's own may ask for no key.
        None if config.base_url.is_some() && !known.iter().any(|name| name == usual) => None,
        None => Some(usual.to_owned()),
    };
    spec.temperature_milli = config.temperature.map(temperature).transpose()?;
    spec.max_output_tokens = config.max_output_tokens;
    spec.timeout_ms = config.timeout.map_or(spec.timeout_ms, |seconds| seconds.saturating_mul(1000));
    spec.retries = config.retries.unwrap_or(spec.retries);
    spec.price = config.price.map(price).transpose()?;
    Ok(spec)
}

/// The condensers, each with V0's names for its like.
const CONDENSERS: [(&str, &[&str]); 3] =
    [("none", &["noop"]), ("window", &["recent", "amortized", "conversation_window"]), ("summary", &["llm"])];

fn condenser(config: &CondenserConfig, known: &[String]) -> Result<Condenser, CliError> {
    let CondenserConfig { r#type, keep_first, max, model } = config;
    let kind = match r#type.as_deref() {
        None => "summary",
        Some(said) => {
            let meant = CONDENSERS.iter().find(|(name, others)| *name == said || others.contains(&said));
            let unknown = || match nearest_of(said, CONDENSERS.iter().map(|(name, _)| *name)) {
                Some(best) => usage(format!("there is no condenser `{said}`; did you mean `{best}`?")),
                None => usage(format!("there is no condenser `{said}`; there are: none, window, summary")),
            };
            meant.map(|(name, _)| *name).ok_or_else(unknown)?
        }
    };
    let bounds = |keep_usual: u32, max_usual: u32| {
        let (keep_first, max) = (keep_first.unwrap_or(keep_usual), Some(max.unwrap_or(max_usual)).filter(|max| *max > 0));
        match max {
            Some(max) if max < 8 => {
                Err(usage(format!("condenser.max is {max}, which leaves no room to work: say 8 or more, or 0")))
            }
            Some(max) if keep_first >= max / 2 => Err(usage(format!(
                "condenser.keep-first is {keep_first}, and must be less than half of condenser.max, which is {max}"
            ))),
            max => Ok((keep_first, max)),
        }
    };
    Ok(match kind {
        "none" => Condenser::None,
        "window" => {
            let (keep_first, max) = bounds(1, 100)?;
            Condenser::Window { keep_first, max }
        }
        _ => {
            let (keep_first, max) = bounds(4, 120)?;
            let model = model.name.is_some().then(|| self::model(model, None, known)).transpose()?.map(Box::new);
            Condenser::Summary { keep_first, max, model }
        }
    })
}

/// Says whether an address can be one of an endpoint, and holds nothing secret.
pub(super) fn endpoint(url: &str) -> Result<(), CliError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.is_empty() {
        return Err(usage(format!("`{url}` is no address of an endpoint: say https://HOST/v1")));
    }
    if host.contains('@') {
        return Err(usage(
            "an address holds no credentials: keep the key with `rekindle secrets set NAME` and name it with --key NAME",
        ));
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 0 and 2000")]
fn temperature(value: f64) -> Result<u32, CliError> {
    if (0.0..=2.0).contains(&value) {
        Ok((value * 1000.0).round() as u32)
    } else {
        Err(usage("a temperature lies between 0 and 2"))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive, and casts saturate")]
fn micro(dollars: f64, what: &str) -> Result<u64, CliError> {
    if dollars.is_finite() && dollars >= 0.0 {
        Ok((dollars * MICRO).round() as u64)
    } else {
        Err(usage(format!("{what} is an amount of US dollars, and {dollars} is none")))
    }
}

fn price(config: PriceConfig) -> Result<Price, CliError> {
    Ok(Price {
        input: micro(config.input, "price.input")?,
        cached_input: micro(config.cached_input.unwrap_or(config.input), "price.cached-input")?,
        output: micro(config.output, "price.output")?,
    })
}

/// What a session may use up.
///
/// # Errors
/// [`CliError::Usage`] when the budget is no amount.
pub fn limits(iterations: Option<u64>, budget: Option<f64>) -> Result<Limits, CliError> {
    let usual = Limits::default();
    let budget_micro_usd = budget.map(|budget| micro(budget, "the budget")).transpose()?;
    Ok(Limits { iterations: iterations.unwrap_or(usual.iterations), budget_micro_usd })
}

fn tools(names: Option<&[String]>, delegates: bool) -> Result<Vec<Tool>, CliError> {
    let Some(names) = names else {
        let mut tools = Tool::all();
        tools.extend(delegates.then_some(Tool::Delegate));
        return Ok(tools);
    };
    let tool = |name: &String| match name.as_str() {
        "bash" => Ok(Tool::Bash),
        "editor" => Ok(Tool::Editor),
        "python" => Ok(Tool::Python),
        "think" => Ok(Tool::Think),
        "finish" => Ok(Tool::Finish),
        "delegate" => Ok(Tool::Delegate),
        other => Err(usage(format!("there is no tool `{other}`; there are: bash, editor, python, think, finish, delegate"))),
    };
    names.iter().map(tool).collect()
}

fn security(config: &Config) -> Result<SecuritySpec, CliError> {
    let analyzer = |name: &String| match name.as_str() {
        "rules" => Ok(Analyzer::Rules),
        "model" => Ok(Analyzer::Model),
        other => Err(usage(format!("there is no analyzer `{other}`; there are: rules, model"))),
    };
    let analyzers = match &config.security.analyzers {
        Some(names) => names.iter().map(analyzer).collect::<Result<_, _>>()?,
        None => vec![Analyzer::Rules],
    };
    let confirmation = match config.security.confirm.as_deref() {
        None | Some("never") => ConfirmationPolicy::Never,
        Some("always") => ConfirmationPolicy::Always,
        Some("low") => ConfirmationPolicy::AtOrAbove(Risk::Low),
        Some("medium") => ConfirmationPolicy::AtOrAbove(Risk::Medium),
        Some("high") => ConfirmationPolicy::AtOrAbove(Risk::High),
        Some(other) => {
            return Err(usage(format!("`{other}` says not when a person must agree; say never, always, low, medium or high")));
        }
    };
    Ok(SecuritySpec { analyzers, confirmation })
}

fn on_setup_failure(said: Option<&str>) -> Result<OnSetupFailure, CliError> {
    match said {
        None | Some("go-on") => Ok(OnSetupFailure::GoOn),
        Some("fail") => Ok(OnSetupFailure::Fail),
        Some(other) => Err(usage(format!("`{other}` is nothing that on-setup-failure can say; say go-on or fail"))),
    }
}

/// A repository as it is named: `owner/name`, a URL, or a path.
///
/// # Errors
/// [`CliError::Usage`] when the provider is unknown, or the location holds credentials.
pub fn repository(config: &RepositoryConfig) -> Result<RepositorySpec, CliError> {
    let RepositoryConfig { location, provider, host, branch, token, depth } = config.clone();
    let is_short = !location.contains(':') && !location.starts_with(['/', '.', '~']) && location.matches('/').count() == 1;
    let provider = match provider.as_deref() {
        Some("github") => Provider::GitHub { host },
        Some("gitlab") => Provider::GitLab { host },
        Some("bitbucket") => Provider::Bitbucket { host },
        Some(other) => return Err(usage(format!("there is no provider `{other}`; there are: github, gitlab, bitbucket"))),
        None if is_short && !std::path::Path::new(&location).exists() => Provider::GitHub { host },
        None => Provider::Plain,
    };
    let location = match provider {
        Provider::Plain if is_path(&location) => {
            let path = std::path::absolute(&location).map_err(|error| usage(format!("{location}: {error}")))?;
            path.display().to_string()
        }
        _ => location,
    };
    let spec = RepositorySpec { provider, location, branch, token, depth };
    workspace::check(&spec).map_err(usage)?;
    Ok(spec)
}

/// Whether a location is a path: as git tells it, where it has no colon before its first slash, or is there.
fn is_path(location: &str) -> bool {
    let first = location.split('/').next().unwrap_or_default();
    !first.contains(':') || !location.contains("://") && std::path::Path::new(location).exists()
}

/// The secret that usually holds a provider's token.
const fn usual_token(provider: &Provider) -> Option<&'static str> {
    match provider {
        Provider::GitHub { .. } => Some("GITHUB_TOKEN"),
        Provider::GitLab { .. } => Some("GITLAB_TOKEN"),
        Provider::Bitbucket { .. } => Some("BITBUCKET_TOKEN"),
        Provider::Plain => None,
    }
}

fn mcp(name: &str, config: &McpConfig) -> Result<McpServer, CliError> {
    let McpConfig { command, args, env, url, key, timeout, sse } = config.clone();
    let transport = match (command, url) {
        (Some(_), None) if key.is_some() || sse => {
            return Err(usage(format!(
                "mcp.{name} is a program: it takes no `key` and no `sse`, but secrets by `env`, as \"${{NAME}}\""
            )));
        }
        (Some(command), None) => McpTransport::Stdio { command, args, env },
        (None, Some(_)) if !args.is_empty() || !env.is_empty() => {
            return Err(usage(format!("mcp.{name} is a service: it takes no `args` and no `env`")));
        }
        (None, Some(url)) => {
            endpoint(&url)?;
            if sse { McpTransport::Sse { url, key } } else { McpTransport::Http { url, key } }
        }
        _ => return Err(usage(format!("mcp.{name} needs a `command` or a `url`, and not both"))),
    };
    Ok(McpServer { name: name.to_owned(), transport, timeout_ms: timeout.map_or(30_000, |seconds| seconds.saturating_mul(1000)) })
}

/// The names of secrets in a value of an environment.
fn secrets_in(value: &str) -> impl Iterator<Item = &str> {
    value.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

fn deadlines(config: &Config) -> Deadlines {
    let usual = Deadlines::default();
    let millis = |seconds: Option<u64>, usual: u64| seconds.map_or(usual, |seconds| seconds.saturating_mul(1000));
    let action_ms = millis(config.timeouts.action, usual.action_ms);
    Deadlines {
        action_ms,
        action_max_ms: usual.action_max_ms.max(action_ms),
        quiet_ms: millis(config.timeouts.quiet, usual.quiet_ms),
        prepare_ms: millis(config.timeouts.prepare, usual.prepare_ms),
        close_ms: millis(config.timeouts.close, usual.close_ms),
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(config: Config) -> Asked {
        Asked { config, task: Some("fix it".to_owned()), workspace: "/tmp/w".into(), ..Asked::default() }
    }

    fn of_model(name: &str, base_url: Option<&str>) -> Config {
        let model = ModelConfig { name: Some(name.to_owned()), base_url: base_url.map(str::to_owned), ..ModelConfig::default() };
        Config { model, ..Config::default() }
    }

    fn condensing(kind: Option<&str>, keep_first: Option<u32>, max: Option<u32>) -> Config {
        let (r#type, model) = (kind.map(str::to_owned), ModelConfig::default());
        Config { condenser: CondenserConfig { r#type, keep_first, max, model }, ..of_model("openai/x", None) }
    }

    #[test]
    fn a_history_is_summed_up_unless_something_else_is_said() {
        let of = |config: Config| asked(config).spec().unwrap().agent.unwrap().config.condense;
        assert_eq!(of(of_model("openai/x", None)), Condenser::usual());
        assert_eq!(of(condensing(Some("none"), None, None)), Condenser::None);
        assert_eq!(of(condensing(Some("window"), None, None)), Condenser::Window { keep_first: 1, max: Some(100) });
        assert_eq!(of(condensing(Some("recent"), Some(2), Some(0))), Condenser::Window { keep_first: 2, max: None });
        assert_eq!(of(condensing(Some("llm"), None, Some(60))), Condenser::Summary { keep_first: 4, max: Some(60), model: None });
        let mut own = condensing(Some("summary"), None, None);
        own.condenser.model.name = Some("anthropic/small".to_owned());
        let spec = asked(own).spec().unwrap();
        let Condenser::Summary { model: Some(model), .. } = spec.agent.unwrap().config.condense else { panic!("a model") };
        assert_eq!((model.name.as_str(), model.key.as_deref()), ("small", Some("ANTHROPIC_API_KEY")));
        assert!(spec.secrets.iter().any(|secret| secret.name == "ANTHROPIC_API_KEY" && secret.used == SecretUse::Engine));
    }

    #[test]
    fn a_model_is_named_with_its_provider_and_has_its_usual_key() {
        let spec = asked(of_model("anthropic/claude-x", None)).spec().unwrap();
        let model = spec.agent.unwrap().config.model;
        assert_eq!(
            (model.api, model.name.as_str(), model.key.as_deref()),
            (ModelApi::Anthropic, "claude-x", Some("ANTHROPIC_API_KEY"))
        );
        assert_eq!(spec.secrets.len(), 1);
        assert_eq!(spec.secrets[0].used, SecretUse::Engine);
    }

    #[test]
    fn an_endpoint_of_ones_own_needs_no_key() {
        let spec = asked(of_model("qwen", Some("http://127.0.0.1:1/v1"))).spec().unwrap();
        assert_eq!(spec.agent.unwrap().config.model.key, None);
        assert!(spec.secrets.is_empty());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_the_way_out() {
        for (config, word) in [
            (Config::default(), "--model"),
            (of_model("gpt", None), "openai/NAME"),
            (of_model("gpt", Some("ftp://x")), "https://HOST/v1"),
            (of_model("gpt", Some("https://me:secret@x/v1")), "secrets set"),
            (Config { budget: Some(-1.0), ..of_model("openai/x", None) }, "US dollars"),
            (Config { tools: Some(vec!["fly".to_owned()]), ..of_model("openai/x", None) }, "there are: bash"),
            (condensing(Some("sumary"), None, None), "did you mean `summary`?"),
            (condensing(Some("zzz"), None, None), "there are: none, window, summary"),
            (condensing(None, Some(10), Some(20)), "less than half of condenser.max"),
            (condensing(None, None, Some(7)), "8 or more, or 0"),
        ] {
            let error = asked(config).spec().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert!(!error.contains("me:secret"), "{error}");
        }
    }

    #[test]
    fn a_repository_has_its_providers_token_and_a_secret_of_that_name_goes_before_it() {
        let location = "owner/name".to_owned();
        let repository = RepositoryConfig { location, provider: None, host: None, branch: None, token: None, depth: None };
        let config = Config { repository: Some(repository), ..of_model("openai/x", None) };
        let tokens = |asked: Asked| {
            let spec = asked.spec().unwrap();
            let named = spec.secrets.into_iter().filter(|secret| secret.used != SecretUse::Engine);
            (spec.repository.unwrap().token, named.map(|secret| (secret.name, secret.used)).collect::<Vec<_>>())
        };
        assert_eq!(tokens(asked(config.clone())), (None, Vec::new()), "a value that is not known is not asked for");
        let known = || vec!["GITHUB_TOKEN".to_owned(), "GITLAB_TOKEN".to_owned()];
        let usual = Some("GITHUB_TOKEN".to_owned());
        assert_eq!(
            tokens(Asked { known: known(), ..asked(config.clone()) }),
            (usual, vec![("GITHUB_TOKEN".to_owned(), SecretUse::ProviderToken)])
        );
        for custom in ["github_token", "GITHUB_TOKEN"] {
            let custom = custom.to_owned();
            let asked = Asked { known: known(), secrets: vec![custom.clone()], ..asked(config.clone()) };
            assert_eq!(tokens(asked), (Some(custom.clone()), vec![(custom, SecretUse::Environment)]));
        }
    }

    #[test]
    fn a_repository_is_told_by_how_it_is_named() {
        let named = |location: &str| {
            let (location, provider) = (location.to_owned(), None);
            repository(&RepositoryConfig { location, provider, host: None, branch: None, token: None, depth: None })
        };
        assert_eq!(named("owner/name").unwrap().provider, Provider::GitHub { host: None });
        assert_eq!(named("https://git.example/a.git").unwrap().provider, Provider::Plain);
        assert!(named("./proj").unwrap().location.starts_with('/'));
        for location in ["git@git.example:owner/name.git", "git.example:name", "ssh://git@git.example/owner/name"] {
            let spec = named(location).unwrap();
            assert_eq!((spec.provider, spec.location.as_str()), (Provider::Plain, location));
        }
        assert!(named("ext::sh -c id").is_err());
        assert!(named("https://token@git.example/a.git").unwrap_err().to_string().contains("no credentials"));
    }
}
