//! Whether an agent goes in circles: the same again and again, with the same outcome.
//!
//! The patterns are those of V0 (`agent_controller/stuck.py`), held against the last things that happened. Two commands are the same
//! when their text is; two outcomes are the same when exit code and output are, numbers in the output aside: V0 looks at the exit code
//! alone and calls a loop what makes progress.

use serde::{Deserialize, Serialize};

use super::id::{Digest, Seq};

/// How many things are looked back at: six actions and their outcomes, with room for words between.
const LENGTH: usize = 24;
/// How many condensations with nothing done between them are a loop.
const CONDENSATIONS: usize = 10;
/// How many answers in a row that cannot be read are a loop.
const BAD_ANSWERS: usize = 4;

/// The last things that an agent did and saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trail {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    seq: Seq,
    what: What,
    /// Of all that makes two of them the same.
    digest: String,
}

/// What kind of thing a step was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Something done.
    Action,
    /// Words of the agent.
    Words,
    /// A part of the history was forgotten.
    Condensation,
    /// Something seen.
    Outcome,
    /// An error.
    Failure,
    /// An answer that could not be read.
    BadAnswer,
}

/// A way out of a loop, as V0 offers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// What the agent did in the loop is taken back from what it sees, and it goes on from before.
    BeforeLoop,
    /// All that it did since the user last said something is taken back from what it sees, and it begins with that anew.
    LastPrompt,
    /// It is left.
    Stop,
}

impl Recovery {
    /// V0's number of it.
    pub const fn option(self) -> i64 {
        match self {
            Self::BeforeLoop => 1,
            Self::LastPrompt => 2,
            Self::Stop => 3,
        }
    }
}

/// A loop that an agent is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// Its first event.
    pub from: Seq,
    /// In words.
    pub what: &'static str,
}

impl Trail {
    /// Whether nothing was done yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Forgets everything: a person has said something.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }

    /// Notes a step; `same` holds all that makes two of them the same.
    pub(super) fn note(&mut self, seq: Seq, what: What, same: &str) {
        let digest = Digest::of(same.as_bytes()).to_string();
        self.steps.push(Step { seq, what, digest: digest.get(..16).unwrap_or_default().to_owned() });
        let surplus = self.steps.len().saturating_sub(LENGTH);
        self.steps.drain(..surplus);
    }

    /// The loop that the last steps are, if they are one.
    pub fn find_loop(&self) -> Option<Loop> {
        let last = |count: usize, pick: fn(What) -> bool| -> Option<Vec<&Step>> {
            let picked: Vec<&Step> = self.steps.iter().rev().filter(|step| pick(step.what)).take(count).collect();
            (picked.len() == count).then_some(picked)
        };
        let actions = |count| last(count, |what| matches!(what, What::Action | What::Words));
        let outcomes = |count| last(count, |what| matches!(what, What::Outcome | What::Failure));
        let same =
            |steps: &[&Step]| steps.windows(2).all(|pair| matches!(pair, [a, b] if a.digest == b.digest && a.what == b.what));
        let first = |steps: &[&Step]| steps.last().map_or(Seq::ZERO, |step| step.seq);

        if let (Some(actions), Some(outcomes)) = (actions(4), outcomes(4))
            && same(&actions)
            && same(&outcomes)
        {
            return Some(Loop { from: first(&actions), what: "the same action had the same outcome four times" });
        }
        if let (Some(actions), Some(outcomes)) = (actions(3), outcomes(3))
            && same(&actions)
            && outcomes.iter().all(|step| step.what == What::Failure)
        {
            return Some(Loop { from: first(&actions), what: "the same action failed three times" });
        }
        if let Some(words) = self.steps.len().checked_sub(3).and_then(|from| self.steps.get(from..))
            && words.iter().all(|step| step.what == What::Words)
            && same(&words.iter().collect::<Vec<_>>())
        {
            return words.first().map(|step| Loop { from: step.seq, what: "the agent said the same three times" });
        }
        if let (Some(actions), Some(outcomes)) = (actions(6), outcomes(6))
            && alternates(&actions)
            && alternates(&outcomes)
        {
            return Some(Loop { from: first(&actions), what: "two actions alternated three times with the same outcomes" });
        }
        let row = |what: What| self.steps.iter().rev().take_while(|step| step.what == what).count();
        let begun = |count: usize| self.steps.iter().rev().nth(count - 1).map_or(Seq::ZERO, |step| step.seq);
        if row(What::Condensation) >= CONDENSATIONS {
            return Some(Loop {
                from: begun(CONDENSATIONS),
                what: "the history was condensed ten times with nothing done between",
            });
        }
        if row(What::BadAnswer) >= BAD_ANSWERS {
            return Some(Loop { from: begun(BAD_ANSWERS), what: "four answers in a row could not be read" });
        }
        None
    }
}

/// Whether every second of them is the same, and not all of them.
fn alternates(steps: &[&Step]) -> bool {
    let every_second = steps.iter().zip(steps.iter().skip(2)).all(|(a, b)| a.digest == b.digest);
    every_second && !matches!(steps, [a, b, ..] if a.digest == b.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(steps: &[(What, &str)]) -> Trail {
        let mut trail = Trail::default();
        for ((what, same), seq) in steps.iter().zip(1..) {
            trail.note(Seq(seq), *what, same);
        }
        trail
    }

    fn repeated(pattern: &[(What, &'static str)], times: usize) -> Vec<(What, &'static str)> {
        pattern.iter().copied().cycle().take(pattern.len() * times).collect()
    }

    #[test]
    fn the_same_pair_four_times_is_a_loop_and_three_times_is_none() {
        let pair = [(What::Action, "ls"), (What::Outcome, "a.txt")];
        assert_eq!(trail(&repeated(&pair, 3)).find_loop(), None);
        assert_eq!(trail(&repeated(&pair, 4)).find_loop().unwrap().from, Seq(1));
    }

    #[test]
    fn the_same_action_with_other_outcomes_is_progress() {
        let steps: Vec<_> =
            (0..6).flat_map(|turn| [(What::Action, "make".to_owned()), (What::Outcome, format!("{turn}"))]).collect();
        let steps: Vec<_> = steps.iter().map(|(what, same)| (*what, same.as_str())).collect();
        assert_eq!(trail(&steps).find_loop(), None);
    }

    #[test]
    fn three_failures_of_the_same_action_are_a_loop_whatever_they_say() {
        let steps = [
            (What::Action, "x"),
            (What::Failure, "a"),
            (What::Action, "x"),
            (What::Failure, "b"),
            (What::Action, "x"),
            (What::Failure, "c"),
        ];
        assert_eq!(trail(&steps).find_loop().unwrap().what, "the same action failed three times");
        assert_eq!(trail(&steps[..4]).find_loop(), None);
    }

    #[test]
    fn a_monologue_is_a_loop_unless_something_is_seen_between() {
        assert!(trail(&repeated(&[(What::Words, "hm")], 3)).find_loop().is_some());
        let seen = [(What::Words, "hm"), (What::Outcome, "?"), (What::Words, "hm"), (What::Words, "hm")];
        assert_eq!(trail(&seen).find_loop(), None);
    }

    #[test]
    fn two_actions_that_alternate_three_times_are_a_loop() {
        let pattern = [(What::Action, "a"), (What::Outcome, "1"), (What::Action, "b"), (What::Outcome, "2")];
        assert_eq!(trail(&repeated(&pattern, 2)).find_loop(), None);
        assert_eq!(trail(&repeated(&pattern, 3)).find_loop().unwrap().from, Seq(1));
    }

    #[test]
    fn ten_condensations_in_a_row_are_a_loop_and_nine_are_none() {
        assert_eq!(trail(&repeated(&[(What::Condensation, "c")], 9)).find_loop(), None);
        assert!(trail(&repeated(&[(What::Condensation, "c")], 10)).find_loop().is_some());
        let between = [repeated(&[(What::Condensation, "c")], 9), vec![(What::Action, "a"), (What::Condensation, "c")]].concat();
        assert_eq!(trail(&between).find_loop(), None);
    }

    #[test]
    fn the_trail_keeps_no_more_than_it_needs() {
        assert_eq!(trail(&repeated(&[(What::Action, "a"), (What::Outcome, "b")], 500)).steps.len(), LENGTH);
    }
}
