//! Two sessions side by side, aligned by what their agents did and never by how they put it.
//!
//! Two steps are the same call when their tool and its arguments are, but for what always differs between two runs
//! ([`normalise`](crate::session::replay::normalise)). What came of the same call is compared as a replay compares it
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
