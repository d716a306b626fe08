//! The engine as this program wires it: the local runtime, the V0 reader, the machine's clock; and how it is told to stop.

use std::io;
use std::sync::Arc;

use super::Context;
use super::exit::CliError;
use super::progress::Progress;
use super::span::LeaseArgs;
use crate::engine::clock::SystemClock;
use crate::engine::ports::Ports;
use crate::engine::{Engine, EngineOptions, Failure, Status};
use crate::host::agent::AgentRegistry;
use crate::host::mcp::McpServers;
use crate::host::memory::MicroagentFiles;
use crate::host::policy::Analyzers;
use crate::host::runtime::HostRuntimes;
use crate::host::runtime::local::{LocalOptions, LocalRuntimes};
use crate::host::secrets::UserSecrets;
use crate::host::snapshots::LocalWorkspaces;
use crate::session::{Seq, Session, SessionId};
use crate::store::{Row, SharedStore};
use crate::trajectory::recording;

/// An engine on `store` with a lease as it was asked for.
pub fn engine(store: SharedStore, lease: LeaseArgs) -> Engine {
    engine_with(store, EngineOptions { lease: lease.lease, ..EngineOptions::default() })
}

/// An engine on `store`.
pub fn engine_with(store: SharedStore, options: EngineOptions) -> Engine {
    Engine::with_options(store, ports(), Arc::new(SystemClock), options)
}

/// What this program knows of the world.
pub fn ports() -> Ports {
    let runtimes = Arc::new(HostRuntimes::new(Arc::new(LocalRuntimes::new(LocalOptions::default()))));
    Ports {
        agents: Arc::new(AgentRegistry::new()),
        secrets: Arc::new(UserSecrets::default()),
        judge: Arc::new(Analyzers::new()),
        memories: Arc::new(MicroagentFiles::of_user()),
        tools: Arc::new(McpServers::default()),
        workspaces: Arc::new(LocalWorkspaces),
        ..Ports::new(runtimes, recording)
    }
}

/// The names of secrets whose values are known here.
///
/// # Errors
/// When the keyring cannot be read.
pub fn known_secrets() -> Result<Vec<String>, CliError> {
    Ok(UserSecrets::default().list(&[])?.into_iter().map(|listed| listed.secret.name).collect())
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is owed any more.
    Rested,
    /// The worker gave up.
    Failed(Failure),
    /// A person stopped it.
    Interrupted,
}

/// Waits until the session rests, and shows every event after `after` that comes meanwhile.
///
/// # Errors
/// When the log cannot be followed, or what is shown cannot be written.
pub async fn drive(
    engine: &Engine,
    id: SessionId,
    after: Seq,
    mut show: Option<impl FnMut(&Row) -> io::Result<()>>,
) -> Result<Ended, CliError> {
    let mut events = engine.subscribe(id, after);
    let rest = engine.rest(id);
    let interrupted = interrupted();
    tokio::pin!(rest, interrupted);
    let ended = loop {
        tokio::select! {
            biased;
            () = &mut interrupted => break Ended::Interrupted,
            status = &mut rest => break match status {
                Status::Failed(why) => Ended::Failed(why),
                Status::Busy | Status::Resting => Ended::Rested,
            },
            row = events.next(), if show.is_some() => {
                let row = row?;
                show.iter_mut().try_for_each(|show| show(&row))?;
            }
        }
    };
    if let Some(show) = &mut show {
        while let Some(row) = events.next_recorded().await? {
            show(&row)?;
        }
    }
    Ok(ended)
}

/// Shows progress on standard error to those who watch.
pub fn told(context: &Context, session: &Session) -> Option<impl FnMut(&Row) -> io::Result<()>> {
    let mut progress = Progress::new(context.paint, session);
    context.is_watched().then_some(move |row: &Row| {
        if let Some(line) = progress.line(row) {
            eprintln!("{line}");
        }
        Ok(())
    })
}

/// Waits for Ctrl-C or a request to terminate.
pub async fn interrupted() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let terminated = async {
        match &mut terminate {
            Ok(signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
