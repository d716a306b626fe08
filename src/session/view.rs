//! What of a session its agent sees, and when that is too much.

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::envelope::Recorded;
use super::item::Content;
use super::observation::Extras;

/// How much of a session its agent sees, where that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// How many events.
    pub seen: u64,
    /// With more than this, some are forgotten before it is asked again.
    pub limit: u64,
}

impl View {
    /// Nothing yet, and at most `max`.
    pub fn of(max: u32) -> Self {
        Self { seen: 0, limit: max.into() }
    }

    /// Folds an action or observation in.
    pub(super) fn note(&mut self, event: &Recorded, max: u32) {
        if (event.kind.family(), event.kind.tag()) == ("action", "condensation") {
            self.condensed(event, max);
        } else if is_seen(event) {
            self.seen += 1;
        }
    }

    fn condensed(&mut self, event: &Recorded, max: u32) {
        let condensed: Condensed = serde_json::from_str(event.body.as_json()).unwrap_or_default();
        let Forgotten { forgotten_event_ids, summary } = condensed.args;
        self.seen = self.seen.saturating_sub(forgotten_event_ids.unwrap_or_default().len() as u64) + u64::from(summary.is_some());
        // Where too little could go, it is tried again once there is more.
        self.limit = u64::from(max).max(self.seen + u64::from(max / 4));
    }
}

/// Whether an agent sees it: not the engine's and the user's bookkeeping, and not what was run behind its back.
pub fn is_shown(content: &Content) -> bool {
    match content {
        Content::Action(action) => match action {
            Action::Run(run) => !run.hidden,
            Action::Null
            | Action::System(_)
            | Action::Recall(_)
            | Action::ChangeAgentState(_)
            | Action::CondensationRequest
            | Action::LoopRecovery(_) => false,
            _ => true,
        },
        Content::Observation(observation) => match &observation.extras {
            Extras::Run(run) => !run.hidden,
            Extras::Null | Extras::AgentStateChanged(_) => false,
            _ => true,
        },
    }
}

/// The same of an event, without building what it holds.
fn is_seen(event: &Recorded) -> bool {
    match (event.kind.family(), event.kind.tag()) {
        (_, "run") => {
            let run: Run = serde_json::from_str(event.body.as_json()).unwrap_or_default();
            !run.args.or(run.extras).unwrap_or_default().hidden
        }
        ("action", tag) => {
            !matches!(tag, "null" | "system" | "recall" | "change_agent_state" | "condensation_request" | "loop_recovery")
        }
        ("observation", tag) => !matches!(tag, "null" | "agent_state_changed"),
        _ => false,
    }
}

#[derive(Deserialize, Default)]
struct Run {
    #[serde(default)]
    args: Option<Hidden>,
    #[serde(default)]
    extras: Option<Hidden>,
}

#[derive(Deserialize, Default)]
struct Hidden {
    #[serde(default)]
    hidden: bool,
}

#[derive(Deserialize, Default)]
struct Condensed {
    #[serde(default)]
    args: Forgotten,
}

#[derive(Deserialize, Default)]
struct Forgotten {
    #[serde(default)]
    forgotten_event_ids: Option<Vec<i64>>,
    #[serde(default)]
    summary: Option<serde::de::IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::envelope::{Body, Source};
    use crate::session::id::{EventId, Seq, SessionId};
    use crate::session::item::Item;
    use crate::session::time::Timestamp;

    fn recorded(text: &str) -> (Recorded, Item) {
        let item = Item::decode(text).unwrap();
        let nobody = uuid::Uuid::nil();
        let event = Recorded {
            session: SessionId::from_uuid(nobody),
            seq: Seq(1),
            id: EventId::from_uuid(nobody),
            kind: item.content.kind(),
            v: 1,
            at: Timestamp(0),
            source: Source::Agent,
            cause: None,
            must_understand: false,
            body: Body::Json(item.encode_body()),
        };
        (event, item)
    }

    #[test]
    fn an_event_is_counted_if_it_is_shown() {
        for text in [
            r#"{"action":"run","args":{"command":"ls"}}"#,
            r#"{"action":"run","args":{"command":"ls","hidden":true}}"#,
            r#"{"action":"message","args":{"content":"hi"}}"#,
            r#"{"action":"recall","args":{"recall_type":"knowledge","query":"x"}}"#,
            r#"{"action":"system","args":{"content":"x"}}"#,
            r#"{"action":"change_agent_state","args":{"agent_state":"running"}}"#,
            r#"{"action":"condensation_request","args":{}}"#,
            r#"{"action":"loop_recovery","args":{"option":1}}"#,
            r#"{"action":"null","args":{}}"#,
            r#"{"action":"think","args":{"thought":"hm"}}"#,
            r#"{"observation":"run","content":"","extras":{"command":"ls","metadata":{"exit_code":0}}}"#,
            r#"{"observation":"run","content":"","extras":{"command":"ls","metadata":{"exit_code":0},"hidden":true}}"#,
            r#"{"observation":"null","content":"","extras":{}}"#,
            r#"{"observation":"agent_state_changed","content":"","extras":{"agent_state":"running","reason":""}}"#,
            r#"{"observation":"error","content":"no","extras":{}}"#,
            r#"{"observation":"recall","content":"","extras":{"recall_type":"knowledge"}}"#,
        ] {
            let (event, item) = recorded(text);
            let mut view = View::of(100);
            view.note(&event, 100);
            assert_eq!(view.seen, u64::from(is_shown(&item.content)), "{text}");
        }
    }

    #[test]
    fn what_is_forgotten_is_seen_no_more_and_little_is_not_tried_again_at_once() {
        let condensed = |args: &str| recorded(&format!(r#"{{"action":"condensation","args":{args}}}"#)).0;
        let mut view = View { seen: 21, limit: 20 };
        view.note(&condensed(r#"{"forgotten_event_ids":[1,2,3,4,5,6,7,8,9,10,11,12],"summary":"s","summary_offset":1}"#), 20);
        assert_eq!(view, View { seen: 10, limit: 20 });
        let mut view = View { seen: 21, limit: 20 };
        view.note(&condensed(r#"{"forgotten_event_ids":[]}"#), 20);
        assert_eq!(view, View { seen: 21, limit: 26 });
    }
}
