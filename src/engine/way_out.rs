//! The ways out of a loop in which an agent was stopped.

use super::Engine;
use super::error::EngineError;
use super::history::{History, continues};
use super::ports::Past;
use crate::session::{Action, Command, Content, Extras, Observation, Recovery, Seq, SessionId, Source};

impl Engine {
    /// Leads an agent that was stopped in a loop out of it; see [`Recovery`].
    ///
    /// # Errors
    /// [`EngineError::Rejected`] when it is in none; as [`submit`](Self::submit) else.
    pub async fn lead_out(&self, id: SessionId, how: Recovery) -> Result<Seq, EngineError> {
        let session = self.restore(id).await?.session;
        let from = session.trail.find_loop().map_or(Seq::ZERO, |found| found.from);
        let since = match how {
            Recovery::Stop => None,
            Recovery::BeforeLoop => Some(from),
            Recovery::LastPrompt => Some(Seq::ZERO),
        };
        let mut forget = Vec::new();
        if let Some(since) = since {
            let mut history = History::default();
            history.catch_up(self.store().as_ref(), id, session.version).await?;
            forget = taken_back(history.past(), since);
        }
        self.submit(id, Command::Recover { how, forget, from }).await
    }
}

/// What is taken back of what an agent sees: all since `from` and since the user last said something, in whole answers of the model.
fn taken_back(past: &[Past], from: Seq) -> Vec<Seq> {
    let said =
        |past: &Past| past.item.source == Some(Source::User) && matches!(past.item.content, Content::Action(Action::Message(_)));
    let told = |past: &Past| matches!(&past.item.content, Content::Observation(Observation { extras: Extras::Recall(_), .. }));
    let mut first = past.iter().rposition(said).map_or(0, |last| last + 1);
    // What memory told because of it stays.
    while past.get(first).is_some_and(told) {
        first += 1;
    }
    let mut cut = past.iter().position(|past| past.seq >= from).unwrap_or(past.len()).max(first);
    while cut > first
        && let (Some(before), Some(next)) = (past.get(cut - 1), past.get(cut))
        && continues(Some(before), next)
    {
        cut -= 1;
    }
    past.iter().skip(cut).map(|past| past.seq).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Item;

    fn past(seq: u64, text: &str, source: Source) -> Past {
        let mut item = Item::decode(text).unwrap();
        item.source = Some(source);
        Past { seq: Seq(seq), cause: None, item }
    }

    fn history() -> Vec<Past> {
        let call = |seq: u64, response: &str| {
            let metadata = format!(
                r#"{{"function_name":"bash","tool_call_id":"c{seq}","model_response":{{"id":"{response}"}},"total_calls_in_response":2}}"#
            );
            past(seq, &format!(r#"{{"action":"run","args":{{"command":"x"}},"tool_call_metadata":{metadata}}}"#), Source::Agent)
        };
        let outcome = |seq| past(seq, r#"{"observation":"error","content":"no","extras":{}}"#, Source::Agent);
        vec![
            past(1, r#"{"action":"message","args":{"content":"do it"}}"#, Source::User),
            call(2, "a"),
            outcome(3),
            past(4, r#"{"action":"message","args":{"content":"again"}}"#, Source::User),
            call(5, "b"),
            outcome(6),
            call(7, "c"),
            call(8, "c"),
            outcome(9),
            outcome(10),
        ]
    }

    fn seqs(from: u64) -> Vec<u64> {
        taken_back(&history(), Seq(from)).into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn a_loop_that_begins_within_an_answer_takes_back_the_whole_answer() {
        assert_eq!(seqs(8), vec![7, 8, 9, 10]);
        assert_eq!(seqs(7), vec![7, 8, 9, 10]);
    }

    #[test]
    fn no_more_is_taken_back_than_what_was_done_since_the_user_spoke() {
        assert_eq!(seqs(0), vec![5, 6, 7, 8, 9, 10]);
        assert_eq!(seqs(2), vec![5, 6, 7, 8, 9, 10]);
    }
}
