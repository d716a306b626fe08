//! What auditors ask of a store over a period of time, answered from its logs: who did what with which agent and model, what was decided
//! before it was done and by whom, what came of it, whether anything can be missing, what was taken out, and who has read.
//!
//! A period begins with its first moment and ends before its last one. What lies in it is said by the times that the events bear; an
//! imported recording counts when it was imported, since its entries bear the times of another system. Sessions are looked at whose first
//! or last event does not rule out that they have one in the period: one whose clock was put back between may be missed.
//!
//! What is held meanwhile does not grow with the bodies of events: of an action what it asks for is kept up to [`WHAT_MAX`] characters.

mod action;
mod configuration;
mod gaps;
mod reading;
mod record;
mod session;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

pub use action::{ActionReport, Consent, DispatchReport, Flag, JudgedReport, Outcome, OutcomeReport, WHAT_MAX};
pub use configuration::{CONFIGURATION, ConfigurationChange, Fingerprint};
pub use gaps::{Proof, Span, Unsealed};
pub use record::{
    AccessChange, AccessReport, ErasureOutcome, ErasureReport, ReadReport, RetentionChange, RetentionReport, SealReport,
};
pub use session::{Damage, Owner, Sealing, SessionReport, Sources};

use super::{AuditError, Verdict};
use crate::projection::moment;
use crate::session::{SessionId, Timestamp};
use crate::store::{SessionFilter, SessionRow, Store};

/// The form of [`Report`] as JSON. Fields are added to it; where one changes its meaning, this becomes another.
pub const FORMAT: &str = "rekindle-audit-report/1";

/// What is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The period.
    pub period: Period,
    /// The only session that is asked about; all of the store when unset.
    pub session: Option<SessionId>,
    /// How long it may be from one seal to the next.
    pub cadence: Option<Duration>,
    /// When it is asked.
    pub now: Timestamp,
    /// Who asks.
    pub by: String,
}

/// A period of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Period {
    /// Its first moment.
    #[serde(serialize_with = "moment")]
    pub from: Timestamp,
    /// The first moment behind it.
    #[serde(serialize_with = "moment")]
    pub to: Timestamp,
}

impl Period {
    /// Whether a moment lies in it.
    pub fn holds(self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// The answers.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The version of the program that made it.
    pub program: &'static str,
    /// When it was made.
    #[serde(serialize_with = "moment")]
    pub made_at: Timestamp,
    /// Who had it made.
    pub made_by: String,
    /// The period.
    pub period: Period,
    /// The only session that was asked about; all of the store when unset.
    pub session: Option<SessionId>,
    /// Whether something is not what was written: of a session, or of the audit log.
    pub damaged: bool,
    /// The sessions with events in the period, those that began first come first.
    pub sessions: Vec<SessionReport>,
    /// Whether anything can be missing.
    pub proof: Proof,
    /// What was taken out of the log in the period.
    pub erasures: Vec<ErasureReport>,
    /// How long sessions are kept.
    pub retention: RetentionReport,
    /// What must not be purged, as of when the report was made.
    pub legal_holds: Vec<LegalHold>,
    /// Who has read sessions in the period.
    pub access: AccessReport,
}

/// A session that must not be purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LegalHold {
    /// The session.
    pub session: SessionId,
    /// Why.
    pub reason: String,
}

/// Answers, from the logs alone. `told` hears of each session before it is read.
///
/// # Errors
/// When the store cannot be read at all; what is damaged is named in the report.
pub async fn report(store: &dyn Store, asked: &Asked, mut told: impl FnMut(&SessionRow)) -> Result<Report, AuditError> {
    let all = store.sessions(SessionFilter::All, u32::MAX).await?;
    let mut legal_holds = Vec::new();
    let mut rows = Vec::new();
    for row in all.into_iter().filter(|row| asked.session.is_none_or(|session| session == row.id)) {
        if let Some(reason) = store.keeping(row.id).await?.and_then(|keeping| keeping.hold) {
            legal_holds.push(LegalHold { session: row.id, reason });
        }
        if !row.id.is_audit_log() && may_hold(&row, asked.period) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| (row.created_at, row.id));
    legal_holds.sort_by_key(|hold| hold.session);
    let wanted: BTreeSet<SessionId> = rows.iter().map(|row| row.id).collect();
    let log = record::read(store, asked, &wanted).await?;
    // Where the audit log is damaged, nobody can tell what it said.
    let taken = (!matches!(log.verdict, Verdict::Fails { .. })).then_some(&log.taken);
    let mut sessions = Vec::new();
    for row in &rows {
        told(row);
        sessions.extend(session::read(store, row, asked.period, log.heads.get(&row.id), taken).await?);
    }
    let damaged = matches!(log.verdict, Verdict::Fails { .. }) || sessions.iter().any(|session| session.damage.is_some());
    let proof = gaps::proof(asked, log.verdict, log.seals, &sessions);
    Ok(Report {
        format: FORMAT,
        program: concat!("rekindle ", env!("CARGO_PKG_VERSION")),
        made_at: asked.now,
        made_by: asked.by.clone(),
        period: asked.period,
        session: asked.session,
        damaged,
        sessions,
        proof,
        erasures: log.erasures,
        retention: log.retention,
        legal_holds,
        access: log.access,
    })
}

/// Whether a session can have events in the period, by its first and its last one.
fn may_hold(row: &SessionRow, period: Period) -> bool {
    let (first, last) = (row.created_at.min(row.updated_at), row.created_at.max(row.updated_at));
    first < period.to && last >= period.from
}
