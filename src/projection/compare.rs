//! Two sessions side by side, aligned by what their agents did and never by how they put it.
//!
//! Two steps are the same call when their tool and its arguments are, but for what always differs between two runs
//! ([`normalise`]). What came of the same call is compared as a replay compares it
//! ([`compare_outcomes`](crate::session::replay::compare)).

use std::collections::{BTreeMap, HashMap};

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::steps::Step;
use crate::session::json::{Json, Object};
use crate::session::replay::{Difference, Verdict, compare as compare_outcomes, normalise};
use crate::session::{Action, Observation};

/// The most steps on both sides, multiplied, that are aligned one by one once what they begin and end with in common is set apart; the
/// effort grows with that.
const ALIGNED_MAX: usize = 400_000_000;

/// One line of the alignment. The numbers are indices into the steps of their side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pair {
    /// Both did the same, with the same outcome.
    Same {
        /// Of the first session.
        left: usize,
        /// Of the second.
        right: usize,
    },
    /// Both did the same, and something else came of it.
    OtherOutcome {
        /// Of the first session.
        left: usize,
        /// Of the second.
        right: usize,
        /// In what the outcomes differ; `recorded` is the first session's.
        differences: Vec<Difference>,
    },
    /// Only the first session did this.
    Left(usize),
    /// Only the second session did this.
    Right(usize),
}

impl Pair {
    /// Whether the sessions part here.
    pub const fn diverges(&self) -> bool {
        !matches!(self, Self::Same { .. })
    }
}

/// Aligns what two sessions did.
pub fn align(left: &[Step], right: &[Step]) -> Vec<Pair> {
    let mut numbers = HashMap::new();
    let mut number = |step: &Step| {
        let next = numbers.len();
        *numbers.entry(call(&step.action)).or_insert(next)
    };
    let lefts: Vec<usize> = left.iter().map(&mut number).collect();
    let rights: Vec<usize> = right.iter().map(&mut number).collect();
    let same = |(left, right): &(&usize, &usize)| left == right;
    let head = lefts.iter().zip(&rights).take_while(same).count();
    let most = lefts.len().min(rights.len()) - head;
    let tail = lefts.iter().rev().zip(rights.iter().rev()).take(most).take_while(same).count();
    let (end_left, end_right) = (lefts.len() - tail, rights.len() - tail);
    let (Some(middle_left), Some(middle_right)) = (lefts.get(head..end_left), rights.get(head..end_right)) else {
        return Vec::new();
    };
    let mut pairs: Vec<Pair> = (0..head).map(|index| paired(left, right, index, index)).collect();
    if middle_left.len().saturating_mul(middle_right.len()) > ALIGNED_MAX {
        pairs.extend((head..end_left).map(Pair::Left));
        pairs.extend((head..end_right).map(Pair::Right));
    } else {
        for op in capture_diff_slices(Algorithm::Myers, middle_left, middle_right) {
            let (olds, news) = (op.old_range(), op.new_range());
            if let DiffOp::Equal { .. } = op {
                pairs.extend(olds.zip(news).map(|(old, new)| paired(left, right, head + old, head + new)));
            } else {
                pairs.extend(olds.map(|old| Pair::Left(head + old)));
                pairs.extend(news.map(|new| Pair::Right(head + new)));
            }
        }
    }
    pairs.extend((0..tail).map(|back| paired(left, right, end_left + back, end_right + back)));
    pairs
}

fn paired(lefts: &[Step], rights: &[Step], left: usize, right: usize) -> Pair {
    let outcome = |steps: &[Step], index: usize| -> Option<Observation> {
        steps.get(index).and_then(|step| step.outcome.as_ref()).map(|outcome| outcome.observation.clone())
    };
    let differences = match (outcome(lefts, left), outcome(rights, right)) {
        (None, None) => Vec::new(),
        (Some(recorded), Some(actual)) => match compare_outcomes(Some(&recorded), &actual) {
            Verdict::Diverged { differences } => differences,
            _ => Vec::new(),
        },
        (recorded, actual) => {
            let said = |outcome: Option<Observation>| outcome.map_or("none", |outcome| outcome.extras.tag()).to_owned();
            vec![Difference { field: "outcome".to_owned(), recorded: said(recorded), actual: said(actual) }]
        }
    };
    if differences.is_empty() { Pair::Same { left, right } } else { Pair::OtherOutcome { left, right, differences } }
}

/// What makes a call the same as another one: the tool and its arguments, without reasons, risks, and what always differs.
fn call(action: &Action) -> String {
    let arguments = match action {
        Action::Run(run) => format!("{}\0{}", run.is_input, run.command),
        Action::RunIpython(cell) => cell.code.clone(),
        Action::Browse(browse) => browse.url.clone(),
        Action::BrowseInteractive(browse) => browse.browser_actions.clone(),
        Action::Read(read) => format!("{}\0{}\0{}", read.path, read.start, read.end),
        Action::Write(write) => format!("{}\0{}\0{}\0{}", write.path, write.start, write.end, write.content),
        Action::Edit(edit) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let texts = [&edit.file_text, &edit.old_str, &edit.new_str].map(text).join("\0");
            format!(
                "{}\0{}\0{:?}\0{texts}\0{}\0{}\0{}",
                edit.command, edit.path, edit.insert_line, edit.content, edit.start, edit.end
            )
        }
        Action::Finish(finish) => finish.task_completed.as_ref().map(canonical).unwrap_or_default(),
        Action::Delegate(delegate) => format!("{}\0{}", delegate.agent, of_object(&delegate.inputs)),
        Action::CallToolMcp(call) => format!("{}\0{}", call.name, of_object(&call.arguments)),
        Action::TaskTracking(tasks) => {
            format!("{}\0{}", tasks.command, tasks.task_list.iter().map(canonical).collect::<Vec<_>>().join("\0"))
        }
        Action::Message(message) => message.content.clone(),
        Action::Think(think) => think.thought.clone(),
        _ => String::new(),
    };
    format!("{}\0{}", action.tag(), normalise(&arguments).0)
}

/// Objects are the same whatever the order of their keys.
fn of_object(object: &Object) -> String {
    let sorted: BTreeMap<&str, String> = object.iter().map(|(key, value)| (key, canonical(value))).collect();
    serde_json::to_string(&sorted).unwrap_or_default()
}

fn canonical(json: &Json) -> String {
    fn sort(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Array(items) => items.into_iter().map(sort).collect(),
            serde_json::Value::Object(members) => {
                let sorted: BTreeMap<String, serde_json::Value> =
                    members.into_iter().map(|(key, value)| (key, sort(value))).collect();
                sorted.into_iter().collect()
            }
            other => other,
        }
    }
    serde_json::from_str(json.get()).map_or_else(|_| json.get().to_owned(), |value| sort(value).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::steps::Outcome;
    use super::*;
    use crate::session::{Item, Seq, Timestamp};

    fn action(json: &str) -> Action {
        match Item::decode(json).unwrap().content {
            crate::session::Content::Action(action) => action,
            other => panic!("{other:?}"),
        }
    }

    fn observation(json: &str) -> Observation {
        match Item::decode(json).unwrap().content {
            crate::session::Content::Observation(observation) => observation,
            other => panic!("{other:?}"),
        }
    }

    /// Steps of one command each, with an exit code.
    fn steps(calls: &[(u8, i64)]) -> Vec<Step> {
        let step = |(index, (call, exit_code)): (usize, &(u8, i64))| {
            let asked = format!(r#"{{"action":"run","args":{{"command":"command {call}","thought":"because of {index}"}}}}"#);
            let seen = format!(
                r#"{{"observation":"run","content":"took 0.{index}1s","extras":{{"command":"c","metadata":{{"exit_code":{exit_code}}}}}}}"#
            );
            let (seq, answered) = (Seq(2 * index as u64 + 1), Seq(2 * index as u64 + 2));
            let outcome = Some(Outcome { seq: answered, observation: observation(&seen) });
            Step { seq, at: Timestamp(0), action: action(&asked), outcome }
        };
        calls.iter().enumerate().map(step).collect()
    }

    #[test]
    fn a_changed_call_and_another_exit_code_are_where_sessions_part() {
        let a = steps(&[(1, 0), (2, 0), (3, 0)]);
        let same = |index| Pair::Same { left: index, right: index };
        assert_eq!(align(&a, &steps(&[(1, 0), (9, 0), (3, 0)])), [same(0), Pair::Left(1), Pair::Right(1), same(2)]);
        assert_eq!(align(&a, &steps(&[(1, 0), (2, 0)])), [same(0), same(1), Pair::Left(2)]);
        let failed = align(&a, &steps(&[(1, 0), (2, 1), (3, 0)]));
        let Pair::OtherOutcome { left: 1, right: 1, differences } = &failed[1] else { panic!("{failed:?}") };
        assert_eq!((differences[0].field.as_str(), differences[0].actual.as_str()), ("exit_code", "1"));
    }

    #[test]
    fn arguments_are_the_same_in_any_order_and_reasons_do_not_count() {
        let mcp = |arguments: &str, thought: &str| {
            call(&action(&format!(
                r#"{{"action":"call_tool_mcp","args":{{"name":"t","arguments":{arguments},"thought":"{thought}"}}}}"#
            )))
        };
        assert_eq!(mcp(r#"{"a":1,"b":{"c":2,"d":3}}"#, "x"), mcp(r#"{ "b": {"d":3,"c":2}, "a":1 }"#, "y"));
        assert_ne!(mcp(r#"{"a":1}"#, "x"), mcp(r#"{"a":2}"#, "x"));
        let run = |command: &str| call(&action(&format!(r#"{{"action":"run","args":{{"command":"{command}"}}}}"#)));
        assert_eq!(run("cat /tmp/tmpabc123/x"), run("cat /tmp/tmpdef456/x"), "temporary paths always differ");
        assert_ne!(run("cat a"), run("cat b"));
    }

    proptest! {
        #[test]
        fn a_session_does_not_part_from_itself(calls in proptest::collection::vec((0u8..6, 0i64..2), 0..40)) {
            let steps = steps(&calls);
            let pairs = align(&steps, &steps);
            prop_assert_eq!(pairs.len(), steps.len());
            prop_assert!(!pairs.iter().any(Pair::diverges));
        }

        #[test]
        fn every_step_of_both_stands_in_the_alignment_once_and_in_order(
            a in proptest::collection::vec((0u8..6, 0i64..2), 0..40),
            b in proptest::collection::vec((0u8..6, 0i64..2), 0..40),
        ) {
            let pairs = align(&steps(&a), &steps(&b));
            let lefts: Vec<usize> = pairs.iter().filter_map(|pair| match pair {
                Pair::Same { left, .. } | Pair::OtherOutcome { left, .. } | Pair::Left(left) => Some(*left),
                Pair::Right(_) => None,
            }).collect();
            let rights: Vec<usize> = pairs.iter().filter_map(|pair| match pair {
                Pair::Same { right, .. } | Pair::OtherOutcome { right, .. } | Pair::Right(right) => Some(*right),
                Pair::Left(_) => None,
            }).collect();
            prop_assert_eq!(lefts, (0..a.len()).collect::<Vec<_>>());
            prop_assert_eq!(rights, (0..b.len()).collect::<Vec<_>>());
            prop_assert_eq!(pairs.iter().any(Pair::diverges), a != b);
        }
    }
}
