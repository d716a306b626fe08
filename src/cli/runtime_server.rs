//! `rekindle runtime-server`: let sessions of engines elsewhere run their actions here.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::exit::{CliError, Exit};
use super::host::interrupted;
use super::location::{absolute, of_runtime_server, quoted};
use super::span::span;
use crate::host::runtime::command::PRESETS;
use crate::host::runtime::local::{LocalOptions, LocalRuntimes};
use crate::host::runtime::remote::{API_KEY_VARIABLE, RuntimeServer, ServerOptions, Workspaces};
use crate::session::{RuntimeSpec, Sandbox};

/// The longest key.
const KEY_MAX: u64 = 4096;

/// Let sessions of engines elsewhere run their actions on this machine, over HTTP
///
/// Who asks must know the key, which is read from the environment or a file and never from the command line. Without a key only
/// this machine is answered. What is handed over twice is done once; a session's processes end with it, and when its engine was
/// not heard of for a while. Clients of OpenHands V0 are answered too: /alive, /server_info, /execute_action, /list_files.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// A file that holds the key, `-` for standard input; else the variable REKINDLE_RUNTIME_KEY, or the peer's SESSION_API_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Work in this directory, for a server with one session; by default each session has a directory of its own
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Where it is remembered what was handed over
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What keeps commands from the rest of this machine: landlock, bwrap
    #[arg(long, value_name = "KIND", default_value = "landlock", value_parser = sandbox)]
    sandbox: Sandbox,
    /// Let commands do whatever this user may, connections too: where a container is the sandbox
    #[arg(long, conflicts_with_all = ["sandbox", "network"])]
    unsafe_local: bool,
    /// Let commands open connections
    #[arg(long)]
    network: bool,
    /// End a session's processes when its engine was not heard of for this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span)]
    owner_timeout: Duration,
    /// End with the first session that ends
    #[arg(long)]
    once: bool,
}

const EXAMPLES: &str = "Examples:
  REKINDLE_RUNTIME_KEY=… rekindle runtime-server --listen 0.0.0.0:3000      # there
  rekindle run --runtime remote:https://there.example --runtime-key KEY …   # here";

/// The examples, and what the launchers that are known by name run.
fn long_help() -> String {
    let mut help =
        format!("{EXAMPLES}\n\nLaunchers: what `rekindle run --runtime NAME:IMAGE` runs, with nothing read by a shell");
    help.push_str(" of its own:");
    for (name, command, stop) in PRESETS {
        let words = |words: &[&str]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        help.push_str(&format!("\n\n  {name}:  {}", words(command)));
        if !stop.is_empty() {
            help.push_str(&format!("\n  ended by:  {}", words(stop)));
        }
    }
    help.push_str(
        "\n\nOne of your own stands in the configuration, under [runtime], as `command = [\"PROGRAM\", …]` and `stop`. The key",
    );
    help.push_str("\nis in its environment as REKINDLE_RUNTIME_KEY, and is the first line of its standard input.");
    help
}

fn sandbox(text: &str) -> Result<Sandbox, String> {
    match text {
        "landlock" => Ok(Sandbox::Landlock),
        "bwrap" | "bubblewrap" => Ok(Sandbox::Bubblewrap),
        _ => Err("say landlock or bwrap, or --unsafe-local for none".to_owned()),
    }
}

/// The key that clients must know.
fn key(file: Option<&Path>) -> Result<Option<String>, CliError> {
    let read = |path: &Path| -> std::io::Result<String> {
        let mut text = String::new();
        if path == Path::new("-") {
            // One line, since whoever writes it may hold the pipe open.
            BufReader::new(std::io::stdin().lock()).take(KEY_MAX).read_line(&mut text)?;
        } else {
            std::fs::File::open(path)?.take(KEY_MAX).read_to_string(&mut text)?;
        }
        Ok(text)
    };
    let key = match file {
        Some(path) => Some(read(path).map_err(|source| CliError::File { verb: "read", path: path.to_owned(), source })?),
        None => [API_KEY_VARIABLE, "SESSION_API_KEY"].iter().find_map(|name| std::env::var(name).ok()),
    };
    match key.map(|key| key.trim().to_owned()) {
        Some(key) if key.is_empty() => {
            let from = file.map_or_else(|| API_KEY_VARIABLE.to_owned(), |path| path.display().to_string());
            Err(CliError::Usage(format!("the key in {from} is empty: put one there, or leave it out altogether")))
        }
        key => Ok(key),
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the address cannot be listened on, or would be open to anybody.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let key = key(args.key_file.as_deref())?;
    let is_open = key.is_none();
    let workspaces = match &args.workspace {
        Some(directory) => Workspaces::At(absolute(directory)?),
        None => Workspaces::Under(of_runtime_server("workspaces")?),
    };
    let state = match &args.state {
        Some(directory) => absolute(directory)?,
        None => of_runtime_server("sessions")?,
    };
    let sandbox = if args.unsafe_local { Sandbox::Unsafe } else { args.sandbox };
    let runtime = RuntimeSpec::Local { sandbox, network: args.network || args.unsafe_local };
    let options = ServerOptions { key, state, workspaces, runtime, owner_timeout: args.owner_timeout, once: args.once };
    let runtimes = Arc::new(LocalRuntimes::new(LocalOptions::default()));
    let stop = interrupted();
    let server = RuntimeServer::bind(args.listen, runtimes, options).await;
    let server = server.map_err(|error| CliError::Failed(error.to_string()))?;
    context.note(format_args!("runtime server at http://{} (pid {})", server.address(), std::process::id()));
    if is_open {
        context.note(format_args!("anybody on this machine can have it run commands: set {API_KEY_VARIABLE} to keep others out"));
    }
    server.serve(stop).await;
    Ok(Exit::Done)
}
