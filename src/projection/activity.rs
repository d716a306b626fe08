//! What went on in all sessions, day by day: a projection that follows the feed.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::catch_up::{Documents, FeedProjection, documents};
use crate::session::state::Usage;
use crate::session::{Event, Forked, Recorded, Seq, Timestamp};
use crate::store::{ProjectionId, ReadModels, StoreError, session_key};

/// What the keys of days begin with.
const DAY: &str = "day/";

/// What went on in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Sessions begun.
    pub sessions: u64,
    /// Actions, messages among them.
    pub actions: u64,
    /// Messages.
    pub messages: u64,
    /// Errors that agents were shown.
    pub errors: u64,
    /// Tokens read and written, as models said.
    pub tokens: u64,
    /// Millionths of a US dollar; unset when no model said.
    pub cost_micro_usd: Option<u64>,
}

impl AddAssign for Activity {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, more| *sum = sum.saturating_add(more);
        add(&mut self.sessions, other.sessions);
        add(&mut self.actions, other.actions);
        add(&mut self.messages, other.messages);
        add(&mut self.errors, other.errors);
        add(&mut self.tokens, other.tokens);
        if let Some(cost) = other.cost_micro_usd {
            add(self.cost_micro_usd.get_or_insert(0), cost);
        }
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityDocument {
    /// A day.
    Day(Activity),
    /// What a session has used so far: models say sums, and a day gets only what was added.
    Session(Usage),
}

/// Folds the feed into days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActivityByDay;

impl FeedProjection for ActivityByDay {
    type Document = ActivityDocument;

    fn id(&self) -> ProjectionId {
        ProjectionId::new("activity", 1)
    }

    fn keys(&self, event: &Recorded) -> Vec<String> {
        let mut keys = Vec::new();
        if begins(event) || is_action(event) || is_error(event) {
            keys.push(day_key(event.at));
        }
        if is_action(event) || is_fork(event) {
            keys.push(session_key(event.session));
        }
        keys
    }

    fn fold(&self, event: &Recorded, documents: &mut Documents<ActivityDocument>) -> Result<(), String> {
        let mut seen = Activity { sessions: u64::from(begins(event)), errors: u64::from(is_error(event)), ..Activity::default() };
        if is_action(event) {
            seen.actions = 1;
            seen.messages = u64::from(event.kind.tag() == "message");
            let key = session_key(event.session);
            let before = match documents.get(&key) {
                Some(ActivityDocument::Session(usage)) => usage,
                Some(ActivityDocument::Day(_)) => return Err(format!("document {key:?} is not that of a session")),
                None => Usage::default(),
            };
            let mut after = before;
            after.fold(event);
            if after != before {
                seen.tokens = tokens(after).saturating_sub(tokens(before));
                seen.cost_micro_usd = after.cost_micro_usd.map(|cost| cost.saturating_sub(before.cost_micro_usd.unwrap_or(0)));
                documents.put(&key, ActivityDocument::Session(after));
            }
        }
        if is_fork(event)
            && let Event::Forked(Forked { usage: Some(usage), .. }) = Event::read(event)
        {
            // What its parent used was counted there.
            documents.put(&session_key(event.session), ActivityDocument::Session(usage));
        }
        if seen == Activity::default() {
            return Ok(());
        }
        let key = day_key(event.at);
        let mut day = match documents.get(&key) {
            Some(ActivityDocument::Day(day)) => day,
            Some(ActivityDocument::Session(_)) => return Err(format!("document {key:?} is not that of a day")),
            None => Activity::default(),
        };
        day += seen;
        documents.put(&key, ActivityDocument::Day(day));
        Ok(())
    }
}

const fn tokens(usage: Usage) -> u64 {
    usage.prompt_tokens.saturating_add(usage.completion_tokens)
}

fn is_action(event: &Recorded) -> bool {
    event.kind.family() == "action" && event.kind.as_str() != "action.dispatched"
}

fn is_fork(event: &Recorded) -> bool {
    event.kind.as_str() == "session.forked"
}

/// Whether a session begins with it.
fn begins(event: &Recorded) -> bool {
    (event.seq == Seq(1) && !event.session.is_audit_log()) || is_fork(event)
}

fn is_error(event: &Recorded) -> bool {
    event.kind.as_str() == "observation.error"
}

fn day_key(at: Timestamp) -> String {
    // Moments that no calendar has share a place of their own.
    at.to_utc().map_or_else(|| format!("{DAY}unknown"), |moment| format!("{DAY}{}", moment.format("%Y-%m-%d")))
}

/// The days on which anything went on, in order, over all shards.
///
/// # Errors
/// When the store fails.
pub async fn days(store: &(impl ReadModels + ?Sized), id: &ProjectionId) -> Result<BTreeMap<String, Activity>, StoreError> {
    let mut days: BTreeMap<String, Activity> = BTreeMap::new();
    for (key, document) in documents(store, id, DAY).await? {
        if let (Some(day), ActivityDocument::Day(activity)) = (key.strip_prefix(DAY), document) {
            *days.entry(day.to_owned()).or_default() += activity;
        }
    }
    Ok(days)
}
