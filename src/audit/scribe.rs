//! Writing to the audit log of a store.

use std::sync::Arc;

use crate::engine::clock::{Clock, Ids};
use crate::engine::restore::{Trust, restore_at, snapshot};
use crate::projection::directory::directory;
use crate::session::audit::audit_log_name;
use crate::session::{Event, NewEvent, Seq, Session, SessionId, Source, Timestamp};
use crate::store::{Append, Appended, Expected, Store, StoreError, Writer};

/// How many events of the audit log stand behind its newest snapshot at most: whoever opens a store folds them, to know whether reading
/// is written down.
const SNAPSHOT_EVERY: u64 = 64;

/// Makes the events of an audit log.
pub(super) struct Scribe {
    clock: Arc<dyn Clock>,
    ids: Ids,
}

impl Scribe {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ids: Ids::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn event(&self, event: &Event, source: Source, cause: Option<Seq>) -> NewEvent {
        let at = self.now();
        NewEvent {
            id: self.ids.event(at),
            kind: event.kind(),
            v: Event::VERSION,
            at,
            source,
            cause,
            // An older version would take the session for an agent's.
            must_understand: true,
            body: event.body(),
        }
    }
}

/// Appends to the audit log; where there is none, it is begun and named.
pub(super) async fn append(store: &dyn Store, expected: Expected, events: Vec<NewEvent>) -> Result<Appended, StoreError> {
    let session = SessionId::AUDIT_LOG;
    let begins = match expected {
        Expected::NoSession => true,
        Expected::Any => store.session(session).await?.is_none(),
        _ => false,
    };
    // What lists show is the fold of the log, which here follows from its last seal alone.
    let mut state = Session::default();
    if let Some(last) = events.last() {
        state.apply(&last.clone().recorded(session, Seq(1)));
    }
    let shown = (begins || state.title.is_some()).then(|| directory(&state));
    let append = Append { session, expected, writer: Writer::Anyone, events, directory: shown };
    let appended = match store.append(append.clone()).await {
        // The same ids again: what was written is not written twice.
        Err(StoreError::Unknown(_)) => store.append(append).await?,
        appended => appended?,
    };
    if begins && let Ok(name) = audit_log_name() {
        store.name(session, &name).await?;
    }
    if (appended.first.0 - 1) / SNAPSHOT_EVERY < appended.last.0 / SNAPSHOT_EVERY {
        keep(store, appended.last).await;
    }
    Ok(appended)
}

/// Keeps a snapshot, without which nothing is lost but time.
async fn keep(store: &dyn Store, at: Seq) {
    let kept = match restore_at(store, SessionId::AUDIT_LOG, at, Trust::Snapshot).await {
        Ok(restored) => {
            store.put_snapshot(snapshot(SessionId::AUDIT_LOG, &restored.session, restored.hash)).await.map_err(Into::into)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::debug!(error = &error as &dyn std::error::Error, "a snapshot of the audit log was not kept");
    }
}
