//! What is known of a session before a word of its page is written.

use super::kinds::Kinds;
use crate::cli::exit::CliError;
use crate::cli::host::ports;
use crate::cli::rows::Rows;
use crate::cli::text::{count, shorten};
use crate::cli::verify::{self, Found};
use crate::engine::EngineError;
use crate::engine::redecide;
use crate::engine::travel::{Refolded, refold, state_at};
use crate::projection::Projection;
use crate::projection::spending::Spending;
use crate::session::replay::verify::Redecided;
use crate::session::{Origin, Seq, Session, Timestamp};
use crate::store::{Row, SessionRow, SharedStore};

/// The longest title, in columns.
const TITLE_MAX: usize = 160;

/// Where a log cannot be followed any further.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) seq: Seq,
    pub(super) what: String,
}

/// What is known of a session.
pub(super) struct Facts {
    pub(super) row: SessionRow,
    /// The last event that is told of.
    pub(super) last: Seq,
    /// The state after it, or after the last event that can be trusted.
    pub(super) state: Option<Session>,
    pub(super) spending: Spending,
    pub(super) kinds: Kinds,
    /// When the first and the last thing was done that is told of.
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) verified: Found,
    pub(super) folded: Result<Refolded, Damage>,
    pub(super) redecided: Result<Redecided, Damage>,
}

impl Facts {
    /// Reads the log, checks it, folds it and decides it again, up to event `last`.
    ///
    /// # Errors
    /// When the store cannot be read at all; damage is among the facts.
    pub(super) async fn gather(store: &SharedStore, row: SessionRow, last: Seq) -> Result<Self, CliError> {
        let whole = last == row.head;
        let verified = if whole {
            verify::check(store.as_ref(), &row).await?
        } else {
            verify::check_upto(store.as_ref(), &row, last).await?
        };
        let folded = found(refold(store.as_ref(), row.id, Some(last)).await)?;
        let redecided = found(redecide(store, &ports(), &row, last).await)?;
        let trusted = verified.bad.map_or(last, |bad| Seq(bad.0.saturating_sub(1)).min(last));
        let state = match trusted {
            Seq::ZERO => None,
            trusted => found(state_at(store.as_ref(), row.id, trusted).await)?.ok().map(|restored| restored.session),
        };
        let imported =
            state.as_ref().and_then(|state| state.spec.as_ref()).is_some_and(|spec| matches!(spec.origin, Origin::Import { .. }));
        let (mut spending, mut kinds) = (Spending::default(), Kinds::default());
        let mut span: Option<(Timestamp, Timestamp)> = None;
        let mut rows = Rows::new(store, row.id, Seq(1), last);
        while let Some(place) = rows.next().await? {
            let Row::Event { event, .. } = place else {
                kinds.damaged();
                continue;
            };
            kinds.count(&event.kind);
            spending.apply(&event);
            // An import is made later than what it tells.
            if !imported || matches!(event.kind.family(), "action" | "observation") {
                let (from, to) = span.unwrap_or((event.at, event.at));
                span = Some((from.min(event.at), to.max(event.at)));
            }
        }
        let (from, to) = span.unwrap_or((row.created_at, row.created_at));
        Ok(Self { row, last, state, spending, kinds, from, to, verified, folded, redecided })
    }

    pub(super) fn title(&self) -> String {
        let title = self.state.as_ref().and_then(|state| state.title.as_deref()).or(self.row.directory.title.as_deref());
        title.map(|title| shorten(title.trim(), TITLE_MAX).into_owned()).filter(|title| !title.is_empty()).unwrap_or_else(|| {
            let name = self.row.name.as_ref().map(ToString::to_string);
            name.unwrap_or_else(|| "A session".to_owned())
        })
    }

    /// How much of the session is told of.
    pub(super) fn extent(&self) -> String {
        if self.last < self.row.head {
            format!("up to event {} of {}", self.last, self.row.head)
        } else {
            count(self.last.0, "event")
        }
    }

    /// The first event that is not what was written.
    pub(super) fn damage(&self) -> Option<(Seq, &str)> {
        self.verified.bad.map(|seq| (seq, self.verified.what.as_deref().unwrap_or_default()))
    }

    /// The command that does `rest` on this session. The store is not named: the page is read elsewhere, and a path is nobody's
    /// business.
    pub(super) fn command(&self, rest: &str, place: impl std::fmt::Display) -> String {
        format!("rekindle {rest} {}{place}", self.row.id)
    }
}

/// Damage is something that was found.
fn found<T>(result: Result<T, EngineError>) -> Result<Result<T, Damage>, CliError> {
    match result {
        Ok(found) => Ok(Ok(found)),
        Err(EngineError::Unproven { seq, what, .. }) => Ok(Err(Damage { seq, what })),
        Err(other) => Err(other.into()),
    }
}
