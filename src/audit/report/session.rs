//! One session over a period: who, with what, which actions, and whether its log holds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Period;
use super::action::ActionReport;
use super::configuration::{ConfigurationChange, Fingerprint};
use super::reading::Reading;
use super::record::{SealedHead, Taken};
use crate::audit::{AuditError, Verdicts, verify_session};
use crate::projection::{moment, moment_if_any};
use crate::session::{Epoch, NodeId, Seq, SessionId, Timestamp};
use crate::store::{PURGED, Pages, Read, SessionRow, Store, StoreError};

/// What happened in a session in the period.
#[derive(Debug, Clone, Serialize)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// What it is called.
    pub name: Option<String>,
    /// Its title, as its directory row has it now.
    pub title: Option<String>,
    /// Whether its events were purged since: then nothing of them is known, and `erasures` may say why.
    pub purged: bool,
    /// Whether it holds another system's recording: its actions were executed elsewhere.
    pub imported: bool,
    /// The session that it was forked from, or whose delegate it is.
    pub parent: Option<SessionId>,
    /// How many of its events lie in the period.
    pub events: u64,
    /// The first of them.
    pub first: Option<Seq>,
    /// The last of them.
    pub last: Option<Seq>,
    /// Its last event before the end of the period, up to which it was judged.
    pub upto: Seq,
    /// Who it is for, in the words of whoever opened it.
    pub user: Option<String>,
    /// How many events each made in the period.
    pub sources: Sources,
    /// Who ran it in the period, those who took it over before left out.
    pub owners: Vec<Owner>,
    /// Which agent decides what is done.
    pub agent: Option<String>,
    /// The models that answered in the period; else the one that would be asked.
    pub models: Vec<String>,
    /// Who judges what the agent wants; empty when nobody does.
    pub judges: Vec<String>,
    /// Which actions a person must agree to.
    pub confirmation: Option<serde_json::Value>,
    /// What was in force when the period or the session began.
    pub configuration: Fingerprint,
    /// What changed that in the period.
    pub configuration_changes: Vec<ConfigurationChange>,
    /// The actions of which anything lies in the period.
    pub actions: Vec<ActionReport>,
    /// How many of them have each outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// How many of them are flagged.
    pub flagged: u64,
    /// What holds of its log, up to `upto`.
    pub verdicts: Verdicts,
    /// How far it was sealed, up to now.
    pub sealed: Sealing,
    /// What of it is not what was written.
    pub damage: Option<Damage>,
}

/// How many events each made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sources {
    /// People.
    pub user: u64,
    /// Agents.
    pub agent: u64,
    /// What is around them: the engine, runtimes.
    pub environment: u64,
}

/// Who ran a session from some event on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// The node.
    pub node: NodeId,
    /// The epoch that began.
    pub epoch: Epoch,
    /// Why it changed hands.
    pub reason: String,
}

/// How far a session was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sealing {
    /// The last of its events that a seal is about, whenever that was made.
    pub upto: Option<Seq>,
    /// The first seal that is about its last event in the period, as an event of the audit log; unset while none is.
    pub seal: Option<Seq>,
    /// When that was made.
    #[serde(serialize_with = "moment_if_any")]
    pub at: Option<Timestamp>,
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The first event that is bad; unset where what is wrong lies in no event.
    pub seq: Option<Seq>,
    /// What is wrong.
    pub what: String,
}

/// Reads a session; `None` where none of its events lies in the period.
pub(super) async fn read(
    store: &dyn Store,
    row: &SessionRow,
    period: Period,
    heads: Option<&Vec<SealedHead>>,
    taken: Option<&Taken>,
) -> Result<Option<SessionReport>, AuditError> {
    let no_heads = Vec::new();
    let heads = heads.unwrap_or(&no_heads);
    let mut reading = Reading::new(row, period, heads, taken);
    if row.directory.phase == PURGED {
        let verdicts = Verdicts::unjudged("its events were purged; only its head is left");
        reading.upto = row.head;
        if taken.is_some_and(|taken| !taken.has(row.id, None)) {
            reading.bad(Seq(1), "its events are gone, and the audit log does not say that anybody purged them".to_owned());
        }
        return Ok(Some(reading.report(row, verdicts, heads)));
    }
    let mut pages = Pages::new(store, Read::forward(row.id, Seq::ZERO));
    let broken = loop {
        match pages.next().await {
            Ok(Some(rows)) => rows.iter().for_each(|row| reading.row(row)),
            Ok(None) => break None,
            Err(StoreError::Damaged { seq, what, .. }) => break Some(Damage { seq: Some(seq), what }),
            Err(error) => return Err(error.into()),
        }
    };
    // What cannot be read counts, unless it stands behind something that is later than the period.
    let upto = reading.behind.map_or(row.head, |behind| reading.upto.max(Seq(behind.0.saturating_sub(1))));
    let within = |damage: &Damage| damage.seq.is_none_or(|seq| seq <= upto || reading.behind.is_none());
    let found = [reading.damage.take(), broken].into_iter().flatten().filter(within).collect::<Vec<_>>();
    if reading.events == 0 && found.is_empty() {
        return Ok(None);
    }
    reading.upto = upto;
    let judged = verify_session(store, row, (upto < row.head).then_some(upto)).await?;
    let failure = judged.verdicts.first_failure().map(|(seq, what)| Damage { seq, what: what.clone() });
    reading.damage = found.into_iter().chain(failure).min_by_key(|damage| damage.seq.unwrap_or(Seq(u64::MAX)));
    Ok(Some(reading.report(row, judged.verdicts, heads)))
}
