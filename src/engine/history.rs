//! What an agent may see of its session: the log without bookkeeping, without what is hidden, and without what was forgotten.

use std::collections::HashSet;

use super::error::EngineError;
use super::ports::Past;
use crate::session::action::{Action, Condensation, RecallType};
use crate::session::{Content, Event, Extras, Item, Observation, Recorded, Seq, SessionId, Source};
use crate::store::{Read, Row, Store};

/// An agent's view of a session, read as far as the log went when it was last brought up to date.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    upto: Seq,
    past: Vec<Past>,
}

impl History {
    /// Reads what was appended since, up to `upto`.
    pub(super) async fn catch_up(&mut self, store: &dyn Store, id: SessionId, upto: Seq) -> Result<(), EngineError> {
        while self.upto < upto {
            let page = store.read(Read { upto, ..Read::forward(id, self.upto) }).await?;
            for row in &page.rows {
                match row {
                    Row::Event { event, .. } => self.add(event),
                    Row::Damaged { seq, what } => {
                        return Err(EngineError::Unproven { session: id, seq: *seq, what: what.clone() });
                    }
                }
            }
            if !page.more {
                self.upto = upto;
            }
        }
        Ok(())
    }

    /// What there is to see, in order.
    pub(super) fn past(&self) -> &[Past] {
        &self.past
    }

    /// Reads one event.
    pub(super) fn add(&mut self, event: &Recorded) {
        self.upto = event.seq;
        let Event::Item(entry) = Event::read(event) else {
            return;
        };
        let mut item = entry.item;
        item.source = Some(event.source);
        match &item.content {
            Content::Action(Action::Condensation(condensation)) => {
                let condensation = condensation.clone();
                self.forget(event.seq, &condensation);
            }
            content if is_seen(content) => self.past.push(Past { seq: event.seq, cause: event.cause, item }),
            _ => {}
        }
    }

    fn forget(&mut self, seq: Seq, condensation: &Condensation) {
        let number = |seq: Seq| i64::try_from(seq.0).unwrap_or(i64::MAX);
        let ids: Option<HashSet<i64>> = condensation.forgotten_event_ids.as_ref().map(|ids| ids.iter().copied().collect());
        let range = condensation.forgotten_events_start_id.zip(condensation.forgotten_events_end_id);
        self.past.retain(|past| {
            let id = number(past.seq);
            let forgotten = match (&ids, range) {
                (Some(ids), _) => ids.contains(&id),
                (None, Some((first, last))) => first <= id && id <= last,
                (None, None) => false,
            };
            !forgotten
        });
        if let Some(summary) = &condensation.summary {
            let offset = usize::try_from(condensation.summary_offset.unwrap_or(0)).unwrap_or(0).min(self.past.len());
            let summary = Observation { content: summary.clone(), extras: Extras::Condense };
            self.past.insert(offset, Past { seq, cause: None, item: Item::from(summary) });
        }
    }
}

/// Whether an agent sees it: not the engine's and the user's bookkeeping, and not what was run behind its back.
fn is_seen(content: &Content) -> bool {
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

/// What is to be forgotten of a history that is longer than the model's window: half of all but the task, what memory told of it, and
/// never a call without its outcome. Empty when nothing is left that could be.
pub(super) fn half_to_forget(past: &[Past]) -> Vec<Seq> {
    let task = past.iter().position(|past| {
        past.item.source == Some(Source::User) && matches!(past.item.content, Content::Action(Action::Message(_)))
    });
    let context = past.iter().position(|past| match &past.item.content {
        Content::Observation(Observation { extras: Extras::Recall(recalled), .. }) => {
            recalled.recall_type == RecallType::WorkspaceContext
        }
        _ => false,
    });
    let others: Vec<&Past> = past
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != task && Some(*index) != context)
        .map(|(_, past)| past)
        .collect();
    let kept = (others.len() / 2).max(1);
    let mut cut = others.len().saturating_sub(kept);
    // The first that is kept begins an answer of the model, or is no part of one.
    while let Some(next) = others.get(cut)
        && continues(others.get(cut.wrapping_sub(1)).copied(), next)
    {
        cut += 1;
    }
    others.iter().take(cut).map(|past| past.seq).collect()
}

/// Whether `next` cannot stand without what comes before it.
pub(super) fn continues(before: Option<&Past>, next: &Past) -> bool {
    match &next.item.content {
        Content::Observation(_) => true,
        Content::Action(_) => {
            let response = |past: &Past| past.item.tool_call_metadata.as_ref().and_then(|metadata| response_id(metadata.get()));
            response(next).is_some() && before.and_then(response) == response(next)
        }
    }
}

fn response_id(metadata: &str) -> Option<String> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).ok()?;
    metadata.pointer("/model_response/id")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(seq: u64, text: &str, source: Source) -> Past {
        let mut item = Item::decode(text).unwrap();
        item.source = Some(source);
        Past { seq: Seq(seq), cause: None, item }
    }

    fn call(seq: u64, response: &str) -> Past {
        let metadata = format!(
            r#"{{"function_name":"bash","tool_call_id":"c{seq}","model_response":{{"id":"{response}"}},"total_calls_in_response":2}}"#
        );
        past(seq, &format!(r#"{{"action":"run","args":{{"command":"x"}},"tool_call_metadata":{metadata}}}"#), Source::Agent)
    }

    fn outcome(seq: u64) -> Past {
        past(seq, r#"{"observation":"error","content":"no","extras":{}}"#, Source::Agent)
    }

    #[test]
    fn half_is_forgotten_and_the_task_is_not() {
        let task = past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User);
        let mut all = vec![task];
        for turn in 0..6 {
            all.extend([call(2 + turn * 2, &format!("r{turn}")), outcome(3 + turn * 2)]);
        }
        let forgotten = half_to_forget(&all);
        assert_eq!(forgotten, (2..8).map(Seq).collect::<Vec<_>>());
    }

    #[test]
    fn calls_of_one_answer_are_kept_or_forgotten_together_with_their_outcomes() {
        let task = past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User);
        let all = vec![task, call(2, "a"), call(3, "a"), outcome(4), outcome(5), call(6, "b"), outcome(7)];
        assert_eq!(half_to_forget(&all), vec![Seq(2), Seq(3), Seq(4), Seq(5)]);
    }

    #[test]
    fn when_only_the_task_is_left_nothing_is_forgotten() {
        let task = past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User);
        assert!(half_to_forget(&[task]).is_empty());
    }

    #[test]
    fn what_was_forgotten_is_not_seen_and_its_summary_stands_there() {
        let mut history = History { upto: Seq(9), past: vec![call(2, "a"), outcome(3), call(4, "b"), outcome(5)] };
        let condensation = Condensation {
            forgotten_event_ids: Some(vec![2, 3]),
            summary: Some("it was tried".to_owned()),
            summary_offset: Some(0),
            ..Condensation::default()
        };
        history.forget(Seq(9), &condensation);
        assert_eq!(history.past().iter().map(|past| past.seq.0).collect::<Vec<_>>(), vec![9, 4, 5]);
    }
}
