//! What an agent may see of its session: the log without bookkeeping, without what is hidden, and without what was forgotten.

use std::collections::{HashMap, HashSet};

use super::error::EngineError;
use super::ports::Past;
use crate::session::action::{Action, Condensation, RecallType};
use crate::session::view::is_shown;
use crate::session::{Content, Event, Extras, Item, Observation, Recorded, Seq, SessionId, Source};
use crate::store::{Pages, Read, Row, Store};

/// An agent's view of a session, read as far as the log went when it was last brought up to date.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    upto: Seq,
    past: Vec<Past>,
}

impl History {
    /// Reads what was appended since, up to `upto`.
    pub(super) async fn catch_up(&mut self, store: &dyn Store, id: SessionId, upto: Seq) -> Result<(), EngineError> {
        let mut pages = Pages::new(store, Read { upto, ..Read::forward(id, self.upto) });
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                match row {
                    Row::Event { event, .. } => self.add(event),
                    Row::Damaged { seq, what } => {
                        return Err(EngineError::Unproven { session: id, seq: *seq, what: what.clone() });
                    }
                }
            }
        }
        self.upto = self.upto.max(upto);
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
            content if is_shown(content) => self.past.push(Past { seq: event.seq, cause: event.cause, item }),
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

/// What is to be forgotten of a history that is longer than the model's window: half of all but the first events, the task, and what
/// memory told of it. An answer of the model goes with all that came of it. Empty when nothing is left that could be.
pub(super) fn half_to_forget(past: &[Past], keep_first: u32) -> Vec<Seq> {
    let free = Free::of(past, keep_first);
    let kept = (free.members.len() / 2).max(1);
    let mut cut = free.members.len().saturating_sub(kept);
    // What is cut in two goes whole.
    while let Some(last) = free.reaching_over(cut) {
        cut = last + 1;
    }
    free.before(cut)
}

/// What is to be forgotten of a history of which the agent may see at most `max` events, so that half as many stay. What has just come
/// in with an answer that begins earlier is kept: the agent has not seen it.
pub(super) fn surplus(past: &[Past], keep_first: u32, max: u32) -> Vec<Seq> {
    let free = Free::of(past, keep_first);
    // One place is for the summary.
    let always = past.len() - free.members.len() + 1;
    let kept = (max as usize / 2).saturating_sub(always).max(1);
    free.before(free.members.len().saturating_sub(kept))
}

/// Where among what is left of a history the summary of `forgotten` stands: in the place of the first of them.
pub(super) fn offset(past: &[Past], forgotten: &[Seq]) -> u64 {
    past.iter().take_while(|past| !forgotten.contains(&past.seq)).count() as u64
}

/// What of a history may be forgotten, in order.
struct Free {
    /// Each with the last place among these of what it goes together with.
    members: Vec<(Seq, usize)>,
}

impl Free {
    fn of(past: &[Past], keep_first: u32) -> Self {
        let task = past.iter().position(|past| {
            past.item.source == Some(Source::User) && matches!(past.item.content, Content::Action(Action::Message(_)))
        });
        let context = past.iter().position(|past| match &past.item.content {
            Content::Observation(Observation { extras: Extras::Recall(recalled), .. }) => {
                recalled.recall_type == RecallType::WorkspaceContext
            }
            _ => false,
        });
        let is_kept = |at: usize| at < keep_first as usize || Some(at) == task || Some(at) == context;
        let groups = groups(past);
        let kept: HashSet<usize> = groups.iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, group)| *group).collect();
        let free = |(at, past): (usize, &Past)| {
            let group = *groups.get(at)?;
            (!kept.contains(&group)).then_some((past.seq, group))
        };
        let free: Vec<(Seq, usize)> = past.iter().enumerate().filter_map(free).collect();
        let last: HashMap<usize, usize> = free.iter().enumerate().map(|(place, (_, group))| (*group, place)).collect();
        let members = free.into_iter().enumerate();
        Self { members: members.map(|(place, (seq, group))| (seq, last.get(&group).copied().unwrap_or(place))).collect() }
    }

    /// The last place of what begins before `cut` and goes on behind it.
    fn reaching_over(&self, cut: usize) -> Option<usize> {
        self.members.iter().take(cut).map(|(_, last)| *last).max().filter(|last| *last >= cut)
    }

    /// What ends before `cut`.
    fn before(&self, cut: usize) -> Vec<Seq> {
        self.members.iter().take(cut).filter(|(_, last)| *last < cut).map(|(seq, _)| *seq).collect()
    }
}

/// Which of these go together, each named by the place of its first: an answer of the model with all its calls and their outcomes, what
/// was said with what memory told because of it.
fn groups(past: &[Past]) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::with_capacity(past.len());
    let mut of: HashMap<Seq, usize> = HashMap::new();
    /// The answer whose calls come in, as far as they have.
    struct Answer {
        id: String,
        group: usize,
        calls: u64,
    }
    let mut answer: Option<Answer> = None;
    for (at, past) in past.iter().enumerate() {
        let before = groups.last().copied().unwrap_or(at);
        let group = match &past.item.content {
            Content::Observation(Observation { extras: Extras::Condense, .. }) => at,
            Content::Observation(_) => past.cause.and_then(|cause| of.get(&cause).copied()).unwrap_or(before),
            Content::Action(_) => match past.item.tool_call_metadata.as_ref().and_then(|metadata| response(metadata.get())) {
                Some((id, total)) => match &mut answer {
                    // Some endpoints give all their answers one id.
                    Some(known) if known.id == id && known.calls < total => {
                        known.calls += 1;
                        known.group
                    }
                    _ => {
                        answer = Some(Answer { id, group: at, calls: 1 });
                        at
                    }
                },
                None => at,
            },
        };
        of.insert(past.seq, group);
        groups.push(group);
    }
    groups
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
    response(metadata).map(|(id, _)| id)
}

/// The answer that a call stood in, and how many it held.
fn response(metadata: &str) -> Option<(String, u64)> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).ok()?;
    let id = metadata.pointer("/model_response/id")?.as_str()?.to_owned();
    Some((id, metadata.get("total_calls_in_response").and_then(serde_json::Value::as_u64).unwrap_or(1)))
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
        let forgotten = half_to_forget(&all, 1);
        assert_eq!(forgotten, (2..8).map(Seq).collect::<Vec<_>>());
    }

    #[test]
    fn calls_of_one_answer_are_kept_or_forgotten_together_with_their_outcomes() {
        let task = past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User);
        let all = vec![task, call(2, "a"), call(3, "a"), outcome(4), outcome(5), call(6, "b"), outcome(7)];
        assert_eq!(half_to_forget(&all, 1), vec![Seq(2), Seq(3), Seq(4), Seq(5)]);
    }

    #[test]
    fn when_only_the_task_is_left_nothing_is_forgotten() {
        let task = past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User);
        assert!(half_to_forget(&[task], 1).is_empty());
    }

    fn task() -> Past {
        past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User)
    }

    fn outcome_of(seq: u64, cause: u64) -> Past {
        Past { cause: Some(Seq(cause)), ..outcome(seq) }
    }

    #[test]
    fn so_much_is_forgotten_of_what_is_too_much_that_half_of_the_most_stay_with_the_summary() {
        let mut all = vec![task()];
        for turn in 0..10 {
            all.extend([call(2 + turn * 2, &format!("r{turn}")), outcome_of(3 + turn * 2, 2 + turn * 2)]);
        }
        let forgotten = surplus(&all, 3, 20);
        assert_eq!(
            forgotten,
            (4..16).map(Seq).collect::<Vec<_>>(),
            "the task and the first turn stay, and three turns of the last"
        );
        assert_eq!(all.len() - forgotten.len() + 1, 10);
        assert_eq!(offset(&all, &forgotten), 3);
        assert!(surplus(&all[..3], 3, 20).is_empty());
    }

    #[test]
    fn a_call_and_its_outcome_are_not_parted_whatever_was_said_between() {
        let said = |seq| past(seq, r#"{"action":"message","args":{"content":"hurry"}}"#, Source::User);
        let calls =
            [call(2, "a"), call(3, "a"), said(4), outcome_of(5, 2), said(6), outcome_of(7, 3), call(8, "b"), outcome_of(9, 8)];
        let all = [vec![task()], calls.to_vec()].concat();
        for cut in 1..=8 {
            let free = Free::of(&all, 1);
            let forgotten = free.before(cut);
            let whole = [2, 3, 5, 7].map(Seq);
            let count = whole.iter().filter(|seq| forgotten.contains(seq)).count();
            assert!(count == 0 || count == 4, "cut at {cut}: {forgotten:?}");
        }
        assert_eq!(half_to_forget(&all, 1), [2, 3, 4, 5, 6, 7].map(Seq));
        assert_eq!(surplus(&all, 1, 12), [Seq(4)], "what goes together with what stays stays");
        assert_eq!(surplus(&all, 2, 8), [4, 6].map(Seq), "so does what goes together with the first");
    }

    #[test]
    fn answers_of_one_id_are_told_apart_by_how_many_calls_they_hold() {
        let all: Vec<Past> = (1..9).map(|seq| if seq % 2 == 0 { outcome_of(seq, seq - 1) } else { call(seq, "same") }).collect();
        assert_eq!(groups(&all), [0, 0, 0, 0, 4, 4, 4, 4]);
    }

    #[test]
    fn the_summary_of_before_is_summed_up_with_the_rest() {
        let summary = past(40, r#"{"observation":"condense","content":"before","extras":{}}"#, Source::Agent);
        let mut all = vec![task(), summary];
        for turn in 0..10 {
            all.extend([call(50 + turn * 2, &format!("r{turn}")), outcome_of(51 + turn * 2, 50 + turn * 2)]);
        }
        let forgotten = surplus(&all, 1, 12);
        assert_eq!(forgotten.first(), Some(&Seq(40)));
        assert_eq!(offset(&all, &forgotten), 1);
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
