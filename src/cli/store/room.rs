//! Giving the room of what was removed or packed back.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::Context;
use super::super::exit::CliError;
use super::super::text::bytes;
use crate::engine::{living, node_at};
use crate::store::{Compacted, Condition, Store, StoreError};

/// What the store takes on disk.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Room {
    bytes_before: u64,
    bytes_after: u64,
}

impl Room {
    /// Says so to a person.
    pub(super) fn tell(self, context: &mut Context) -> Result<(), CliError> {
        let Self { bytes_before, bytes_after } = self;
        context.out.line(format_args!("the store took {}, and takes {} now", bytes(bytes_before), bytes(bytes_after)))?;
        Ok(())
    }
}

/// Says whether a file may be written anew: nobody else could write to it all the while, and a node would lose its lease.
pub(super) async fn alone(store: &dyn Store) -> Result<(), CliError> {
    let Condition::File(file) = store.condition().await? else { return Ok(()) };
    let nodes = living(store).await?;
    let pids = file.readers.iter().chain(&file.writer).map(|pid| format!("process {pid}"));
    let users: BTreeSet<String> = nodes.iter().map(|node| node_at(&node.address)).chain(pids).collect();
    if users.is_empty() { Ok(()) } else { Err(used(&users.into_iter().collect::<Vec<_>>().join(", "))) }
}

fn used(by: &str) -> CliError {
    CliError::Conflict(format!("the store is in use by {by}, so it was not compacted; stop that, and try again"))
}

pub(super) async fn compact(store: &dyn Store) -> Result<Room, CliError> {
    match store.compact().await {
        Ok(Compacted { before, after }) => Ok(Room { bytes_before: before, bytes_after: after }),
        Err(StoreError::Busy(_)) => Err(used("another process")),
        Err(error) => Err(error.into()),
    }
}
