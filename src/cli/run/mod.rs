//! `rekindle run`: an agent of its own works on a task in a session that survives whatever happens to this process.

pub mod config;
pub mod place;
mod plugins;
pub mod spec;
pub mod talk;

use std::path::PathBuf;

use super::Context;
use super::exit::{CliError, Exit};
use super::host::{engine, known_secrets};
use super::location;
use super::replay::free;
use super::sandbox::SandboxArgs;
use super::span::LeaseArgs;
use crate::session::{Interaction, Session, SessionId, SessionName};
use config::{Config, McpConfig, RepositoryConfig, RuntimeConfig};
use spec::Asked;
use talk::Talk;

/// Let an agent work on a task
///
/// Everything that it is asked, decides and sees is in the log as it happens: kill it at any moment and go on with `rekindle
/// resume`. In a terminal you are asked when the agent asks, or when an action needs your consent.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What is to be done; without it the session waits for `rekindle send`
    #[arg(value_name = "TASK")]
    task: Option<String>,
    /// openai/NAME, anthropic/NAME, or a name that the endpoint at --base-url knows
    #[arg(short, long, env = "REKINDLE_MODEL", value_name = "MODEL")]
    model: Option<String>,
    /// Where an endpoint of your own is that speaks OpenAI's API
    #[arg(long, env = "REKINDLE_BASE_URL", value_name = "URL")]
    base_url: Option<String>,
    /// The name of the secret that holds the model's key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Where to work; a directory of the session's own by default
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The repository to work on: owner/name, a URL or a path; cloned into the workspace as it is committed
    #[arg(long, value_name = "REPO")]
    repo: Option<String>,
    /// Its branch; a fresh one by default
    #[arg(long, value_name = "BRANCH", requires = "repo")]
    branch: Option<String>,
    /// The name of the secret that holds the token for it
    #[arg(long, value_name = "NAME", requires = "repo")]
    repo_token: Option<String>,
    /// A picture that goes with the task
    #[arg(long, value_name = "FILE|URL")]
    image: Vec<String>,
    /// The most calls of the model
    #[arg(long, value_name = "N")]
    iterations: Option<u64>,
    /// The most US dollars
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
    /// When a person must agree before an action runs: never, always, or at this risk: low, medium, high
    #[arg(long, value_name = "WHEN")]
    confirm: Option<String>,
    /// Where actions run: local, remote:URL, docker:IMAGE, podman:IMAGE, kubectl:IMAGE, ssh:HOST, or command:WORDS that start
    /// `rekindle runtime-server`, with {port}, {session}, {workspace}, {program}
    #[arg(long, value_name = "WHERE", env = "REKINDLE_RUNTIME")]
    runtime: Option<String>,
    /// The name of the secret that holds the key of a remote runtime
    #[arg(long, value_name = "NAME")]
    runtime_key: Option<String>,
    /// A secret that commands find in their environment, by its name
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// A server that brings further tools, as NAME=URL or NAME="COMMAND ARGUMENT…"; it runs with your rights, not in the sandbox
    #[arg(long, value_name = "NAME=SERVER")]
    mcp: Vec<String>,
    /// What is done when the history grows too long: none, window (older events are left out), summary (a model sums them up; the
    /// default)
    #[arg(long, value_name = "TYPE", env = "REKINDLE_CONDENSER")]
    condenser: Option<String>,
    /// A script of your own that its shell is prepared with, kept in ~/.config/rekindle/plugins/NAME.sh
    #[arg(long, value_name = "NAME")]
    plugin: Vec<String>,
    /// What the agent is told beside the task
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,
    /// Who the session is for, as it stands in the log and in traces
    #[arg(long, value_name = "USER", env = "REKINDLE_USER")]
    user: Option<String>,
    /// Do not keep the workspace's files at the end of each turn; they are what a fork and `rekindle files` go by
    #[arg(long)]
    no_snapshots: bool,
    /// Ask nobody, even in a terminal
    #[arg(long)]
    headless: bool,
    /// A name for the session
    #[arg(long, value_name = "NAME")]
    name: Option<SessionName>,
    /// A configuration file; ~/.config/rekindle/config.toml by default
    #[arg(long, env = "REKINDLE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// Some that work as they stand.
const EXAMPLES: &str = "Examples:
  rekindle run \"fix the failing test\" --repo ./proj --model anthropic/claude-sonnet-4-5
  rekindle run \"what does this do?\" -w . --model qwen3 --base-url http://127.0.0.1:11434/v1
  rekindle run --headless --confirm high --budget 2 \"update the dependencies\" --repo owner/name";

impl Args {
    fn config(&self) -> Result<Config, CliError> {
        let mut config = Config::read(self.config.as_deref())?;
        let over = |flag: &Option<String>, known: &mut Option<String>| {
            if flag.is_some() {
                known.clone_from(flag);
            }
        };
        over(&self.model, &mut config.model.name);
        over(&self.base_url, &mut config.model.base_url);
        over(&self.key, &mut config.model.key);
        over(&self.instructions, &mut config.instructions);
        over(&self.user, &mut config.user);
        over(&self.confirm, &mut config.security.confirm);
        over(&self.condenser, &mut config.condenser.r#type);
        for server in &self.mcp {
            config.mcp.extend([McpConfig::named(server)?]);
        }
        over(&self.runtime_key, &mut config.runtime.key);
        if self.runtime.is_some() {
            let RuntimeConfig { key, sandbox, network, .. } = config.runtime;
            // What the file says of the local runtime holds for no other.
            let (sandbox, network) = if self.runtime.as_deref() == Some("local") { (sandbox, network) } else { (None, None) };
            config.runtime = RuntimeConfig { at: self.runtime.clone(), key, sandbox, network, ..RuntimeConfig::default() };
        }
        for name in &self.plugin {
            if !config.plugins.contains(name) {
                config.plugins.push(name.clone());
            }
        }
        if self.no_snapshots {
            config.snapshots = Some(false);
        }
        config.iterations = self.iterations.or(config.iterations);
        config.budget = self.budget.or(config.budget);
        if let Some(location) = &self.repo {
            let (location, branch) = (location.clone(), self.branch.clone());
            let known = config.repository.as_ref().and_then(|repository| repository.token.clone());
            let token = self.repo_token.clone().or(known);
            config.repository = Some(RepositoryConfig { location, provider: None, host: None, branch, token, depth: None });
        }
        Ok(config)
    }
}

/// Runs an agent.
///
/// # Errors
/// When something that it needs is missing or wrong, or the store cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let config = args.config()?;
    let images = args.image.iter().map(|image| talk::image(image)).collect::<Result<Vec<_>, _>>()?;
    let talk = if args.headless { Talk::Nobody } else { Talk::of_terminal() };
    let runtime = place::runtime(&config.runtime, args.sandbox)?;
    let mut asked = Asked {
        config,
        task: args.task.clone(),
        images,
        workspace: PathBuf::new(),
        title: None,
        interaction: if talk == Talk::Nobody { Interaction::Headless } else { Interaction::Interactive },
        runtime,
        secrets: args.secret.clone(),
        known: known_secrets()?,
    };
    // What is wrong is said before anything is made.
    asked.clone().spec()?;
    let store = context.store_or_new().await?;
    if let Some(name) = &args.name {
        free(store.as_ref(), name).await?;
    }
    let engine = engine(store, args.lease);
    let id = args.name.as_ref().map_or_else(|| engine.new_session_id(), SessionId::named);
    asked.workspace = match &args.workspace {
        Some(directory) => location::absolute(directory)?,
        None => location::workspace(id)?,
    };
    let spec = asked.spec()?;
    let name = args.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    context.note(format_args!("session {id}{name} works in {}", spec.workspace.display()));
    engine.create(id, args.name.as_ref(), spec).await?;
    talk::to_the_end(context, &engine, id, &Session::default(), talk).await
}
