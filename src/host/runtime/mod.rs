//! Places where a session's actions run.

pub mod command;
pub mod local;
mod own_directory;
pub mod remote;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::engine::ports::{Provision, Provisioned, RuntimeError, Runtimes};
use crate::session::RuntimeSpec;
use command::CommandRuntimes;
use remote::RemoteRuntimes;

/// The runtime that each session asks for: here, at a server, or launched by a command.
pub struct HostRuntimes {
    local: Arc<dyn Runtimes>,
    remote: RemoteRuntimes,
    command: CommandRuntimes,
}

impl fmt::Debug for HostRuntimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRuntimes").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl HostRuntimes {
    /// Has sessions that ask for no other place run in `local`.
    pub fn new(local: Arc<dyn Runtimes>) -> Self {
        Self { local, remote: RemoteRuntimes::default(), command: CommandRuntimes::default() }
    }
}

#[async_trait]
impl Runtimes for HostRuntimes {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        match &request.runtime {
            RuntimeSpec::Local { .. } => self.local.provision(request).await,
            RuntimeSpec::Remote { .. } => self.remote.provision(request).await,
            RuntimeSpec::Command(_) => self.command.provision(request).await,
        }
    }
}
