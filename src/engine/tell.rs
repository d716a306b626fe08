//! What traces say of a session: the spans that everything happens in, and once how its start ended.

use std::time::Duration;

use tracing::{Span, info_span};

use super::measure;
use super::submit::Writing;
use crate::session::{Effect, Phase, Session, SessionId, Timestamp};
use crate::store::{Read, Row, Store};

/// How many events are looked through, from the end, for the plan of a start.
const PLAN_LOOKBACK: u32 = 1000;

fn user(session: &Session) -> &str {
    session.spec.as_ref().and_then(|spec| spec.user.as_deref()).unwrap_or_default()
}

/// The span of all that a worker does for a session.
pub(super) fn session_span(id: SessionId, session: &Session) -> Span {
    info_span!("session", session.id = %id, user.id = user(session), epoch = session.epoch.0)
}

/// The span of one effect, and the word under which its time is measured.
pub(super) fn effect_span(id: SessionId, session: &Session, effect: &Effect) -> (Span, &'static str) {
    let user = user(session);
    match effect {
        Effect::TakeStep { step, attempt, .. } => {
            (info_span!("start.step", session.id = %id, user.id = user, step = step.as_str(), attempt), "step")
        }
        Effect::Execute { action, attempt } => {
            let kind = session.open.iter().find(|open| open.seq == *action).map_or("", |open| open.tag.as_str());
            (info_span!("action.execute", session.id = %id, user.id = user, action = action.0, kind, attempt), "execute")
        }
        Effect::AskAgent { request, .. } => {
            (info_span!("model.call", session.id = %id, user.id = user, request = request.0), "model")
        }
        Effect::Summarise { request } => {
            (info_span!("model.summary", session.id = %id, user.id = user, request = request.0), "summary")
        }
        Effect::Condense => (info_span!("history.condense", session.id = %id, user.id = user), "condense"),
        Effect::Delegate { action, .. } => {
            (info_span!("delegate.follow", session.id = %id, user.id = user, action = action.0), "delegate")
        }
        Effect::Wait { until } => (info_span!("wait", session.id = %id, user.id = user, until = until.0), "wait"),
        Effect::ReadLine { from } => (info_span!("recording.read", session.id = %id, user.id = user, from), "recording"),
        Effect::Capture => (info_span!("workspace.capture", session.id = %id, user.id = user), "capture"),
        Effect::Compare { .. } => (info_span!("workspace.compare", session.id = %id, user.id = user), "compare"),
        Effect::Release { step, attempt, .. } => {
            (info_span!("close.release", session.id = %id, user.id = user, step = step.as_str(), attempt), "release")
        }
    }
}

/// How the start of a session ended, when it just has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartEnd {
    Started,
    Failed,
    /// It was closed before.
    Closed,
}

impl StartEnd {
    /// Between these two states.
    pub(super) fn between(before: &Session, after: &Session) -> Option<Self> {
        match (&before.phase, &after.phase) {
            (Phase::Starting(_), Phase::Ready) => Some(Self::Started),
            (Phase::Starting(_), Phase::StartFailed { .. }) => Some(Self::Failed),
            (Phase::Starting(_), Phase::Closing { .. } | Phase::Closed { .. }) => Some(Self::Closed),
            _ => None,
        }
    }
}

impl Writing {
    /// Says once how the start ended, and how long it took from its plan on, whoever ran it meanwhile.
    pub(super) async fn tell_start(&self, end: StartEnd, now: Timestamp) {
        let took = since_plan(self.shared.store.as_ref(), self.id, now).await.unwrap_or_default();
        let (session, user, seconds) = (self.id, user(&self.session), took.as_secs_f64());
        match (end, &self.session.phase) {
            (StartEnd::Started, _) => {
                measure::start("started", took);
                tracing::info!(session.id = %session, user.id = user, outcome = "started", seconds, "a start ended");
            }
            (StartEnd::Failed, Phase::StartFailed { step, error }) => {
                measure::start("failed", took);
                let step = step.as_str();
                tracing::info!(session.id = %session, user.id = user, outcome = "failed", seconds, step, error, "a start ended");
            }
            (StartEnd::Closed | StartEnd::Failed, _) => {
                measure::start("closed", took);
                tracing::info!(session.id = %session, user.id = user, outcome = "closed", seconds, "a start ended");
            }
        }
    }
}

/// How long ago the newest plan of a start was made.
async fn since_plan(store: &dyn Store, id: SessionId, now: Timestamp) -> Option<Duration> {
    let page = store.read(Read::last(id, PLAN_LOOKBACK)).await.ok()?;
    page.rows.iter().find_map(|row| match row {
        Row::Event { event, .. } if event.kind.as_str() == "start.planned" => Some(now.since(event.at)),
        _ => None,
    })
}
