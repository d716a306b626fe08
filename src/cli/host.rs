//! The engine as this program wires it: the local runtime, the V0 reader, the machine's clock; and how it is told to stop.

use std::sync::Arc;

use super::Context;
use super::progress::Progress;
use crate::engine::clock::SystemClock;
use crate::engine::ports::Ports;
use crate::engine::{Engine, Status};
use crate::host::runtime::local::{LocalOptions, LocalRuntimes};
use crate::session::{Seq, SessionId};
use crate::store::{SharedStore, StoreError};
use crate::trajectory::recording;

/// An engine on `store`.
pub fn engine(store: SharedStore) -> Engine {
    let ports = Ports { runtimes: Arc::new(LocalRuntimes::new(LocalOptions::default())), recordings: recording };
    Engine::new(store, ports, Arc::new(SystemClock))
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is owed any more.
    Rested,
    /// The worker gave up.
    Failed(String),
    /// A person stopped it.
    Interrupted,
}

/// Waits until the session rests, and shows what happens meanwhile to those who watch.
///
/// # Errors
/// When the log cannot be followed.
pub async fn drive(context: &Context, engine: &Engine, id: SessionId, after: Seq) -> Result<Ended, StoreError> {
    let mut progress = Progress::new(context);
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
            row = events.next(), if context.is_watched() => progress.show(&row?),
        }
    };
    if context.is_watched() {
        while let Some(row) = events.next_recorded().await? {
            progress.show(&row);
        }
    }
    Ok(ended)
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
