//! Python cells.

use crate::engine::ports::{RuntimeError, Timeout};
use crate::session::Observation;
use crate::session::action::RunIpython;

use super::session::{Cancel, Session};

/// The interpreter.
pub(super) struct Python;

impl Session {
    /// Runs a cell.
    pub(super) fn run_cell(&mut self, _: &RunIpython, _: Timeout, _: &Cancel) -> Result<Observation, RuntimeError> {
        let _ = &self.python;
        Ok(Observation::error("Action run_ipython is not supported in the current runtime.", ""))
    }
}
