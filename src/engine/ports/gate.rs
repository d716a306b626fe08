//! Who is asked before each line of a recording is performed.

use async_trait::async_trait;

use crate::session::SessionId;
use crate::session::replay::Line;

/// Says what becomes of a line before anything of it is in the log.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Whether the line is performed. Who does not answer holds the replay up; dropping the future is allowed at any time.
    async fn pass(&self, session: SessionId, line: &Line) -> Pass;
}

/// What becomes of a line of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// It is performed.
    Perform,
    /// Its action is not run: its outcome is the recorded one. The reason stands in the log.
    NotRun(String),
}

/// Nobody is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open;

#[async_trait]
impl Gate for Open {
    async fn pass(&self, _session: SessionId, _line: &Line) -> Pass {
        Pass::Perform
    }
}
