//! Who reads sessions: whether that is written down, and writing it down.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::scribe::{self, Scribe};
use super::{AuditError, log};
use crate::engine::EngineError;
use crate::engine::clock::Clock;
use crate::session::audit::{Access, AccessRead, AccessSet};
use crate::session::{Event, NewEvent, SessionId, Source};
use crate::store::{Append, Expected, PURGED, Read, Store, StoreError};

/// How many events are read at once, looking back in a damaged log.
const BACK: u32 = 256;
/// What whoever cannot write it down is told beside why.
const WAY_OUT: &str = "who reads this store is written down in its audit log (`rekindle audit access`), so nothing of it is read where that \
                       cannot be; read it where it can be written, or have `rekindle audit access off` said there";

/// Whether whoever reads sessions of the store has that written down.
///
/// What is damaged in the audit log says nothing of it, so that it makes no other session unreadable: the newest event that can be read
/// counts.
///
/// # Errors
/// When the audit log cannot be read.
pub async fn is_access_recorded(store: &dyn Store) -> Result<bool, AuditError> {
    match log::state(store).await {
        Ok(state) => Ok(state.records_access),
        Err(AuditError::Engine(EngineError::Unproven { .. })) => Ok(last_said(store).await?),
        // Nothing is left that could say so, and the next one who writes it down finds that.
        Err(AuditError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the newest event says that can be read.
async fn last_said(store: &dyn Store) -> Result<bool, StoreError> {
    let mut read = Read::last(SessionId::AUDIT_LOG, BACK);
    loop {
        let page = store.read(read).await?;
        let said = page.rows.iter().filter_map(|row| row.event()).find_map(|event| match Event::read(event) {
            Event::AccessSet(body) => Some(body.recorded),
            _ => None,
        });
        let before = page.rows.iter().map(|row| row.seq().0).min().unwrap_or(0).saturating_sub(1);
        match said {
            Some(recorded) => return Ok(recorded),
            None if before == 0 || before >= read.upto.0 => return Ok(false),
            None => read.upto = crate::session::Seq(before),
        }
    }
}

/// Says whether whoever reads sessions of the store has that written down from now on.
///
/// # Errors
/// When the audit log cannot be written.
pub async fn set_access_recorded(store: &dyn Store, clock: Arc<dyn Clock>, by: String, recorded: bool) -> Result<(), AuditError> {
    let event = Scribe::new(clock).event(&Event::AccessSet(AccessSet { recorded, by }), Source::User, None);
    scribe::append(store, Expected::Any, vec![event]).await?;
    Ok(())
}

/// What one process has written down of what it reads, so that it says so once.
pub struct AccessLedger {
    scribe: Scribe,
    by: String,
    how: String,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    sessions: BTreeSet<SessionId>,
    list: bool,
    all: bool,
}

impl AccessLedger {
    /// One of a process that reads for `by`, with the command `how`.
    pub fn new(clock: Arc<dyn Clock>, by: String, how: String) -> Self {
        Self { scribe: Scribe::new(clock), by, how, said: Mutex::default() }
    }

    /// Writes down that these sessions are about to be read, unless it was said before. What is not there, or purged, holds nothing.
    pub(super) async fn sessions(&self, store: &dyn Store, sessions: &[SessionId]) -> Result<(), StoreError> {
        // Held until it is durable: another task of this process that reads the same waits for that, too.
        let mut said = self.said.lock().await;
        let mut new = Vec::new();
        for session in sessions.iter().filter(|session| !said.all && !said.sessions.contains(session)) {
            match store.session(*session).await? {
                Some(row) if row.directory.phase != PURGED => new.push((row.id, row.head)),
                _ => {}
            }
        }
        new.sort_unstable();
        new.dedup();
        let accesses: Vec<Access> =
            new.iter().map(|(session, upto)| Access::Session { session: *session, upto: *upto }).collect();
        self.write(store, &accesses).await?;
        said.sessions.extend(new.into_iter().map(|(session, _)| session));
        Ok(())
    }

    /// Writes down that the list of sessions is about to be read.
    pub(super) async fn list(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut said = self.said.lock().await;
        if !said.all && !said.list {
            self.write(store, &[Access::List]).await?;
            said.list = true;
        }
        Ok(())
    }

    /// Writes down that all sessions are about to be read, which says everything.
    ///
    /// # Errors
    /// When it cannot be written; then nothing is to be read.
    pub async fn all(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut said = self.said.lock().await;
        if !said.all {
            self.write(store, &[Access::All]).await?;
            said.all = true;
        }
        Ok(())
    }

    async fn write(&self, store: &dyn Store, accesses: &[Access]) -> Result<(), StoreError> {
        for accesses in accesses.chunks(Append::EVENTS_MAX) {
            let events: Vec<NewEvent> = accesses.iter().map(|access| self.event(*access)).collect();
            scribe::append(store, Expected::Any, events).await.map_err(refused)?;
        }
        Ok(())
    }

    fn event(&self, access: Access) -> NewEvent {
        let read = AccessRead { by: self.by.clone(), access, how: self.how.clone() };
        self.scribe.event(&Event::AccessRead(read), Source::User, None)
    }
}

fn refused(error: StoreError) -> StoreError {
    match error {
        StoreError::ReadOnly(why) => StoreError::ReadOnly(format!("{why}; {WAY_OUT}")),
        other => other,
    }
}
