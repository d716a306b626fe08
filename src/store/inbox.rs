//! Letters: commands for sessions that another node runs, on their way through the store, and their answers.
//!
//! A letter is carried out at most once: whoever carries it out has to [`begin`](Inbox::begin) it, which happens once, and whoever
//! has sent it can [`withdraw`](Inbox::withdraw) it for as long as it was not begun.

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::session::{NodeId, SessionId};

/// A command on its way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// To whom.
    pub to: NodeId,
    /// Which letter: a new one for each command.
    pub id: Uuid,
    /// The session that is meant.
    pub session: SessionId,
    /// JSON, in a form that engines understand.
    pub command: String,
}

/// The letters of all nodes.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Sends a letter; the same one again changes nothing. What nobody has asked about for a day may go.
    async fn post(&self, letter: Letter) -> Result<(), StoreError>;

    /// The letters to `node` that nobody has begun to carry out, oldest first, at most `limit`.
    async fn letters(&self, node: NodeId, limit: u32) -> Result<Vec<Letter>, StoreError>;

    /// Begins to carry a letter out; true for one caller and once, and never after it was withdrawn.
    async fn begin(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError>;

    /// Says what came of a letter that was begun: JSON, never empty.
    async fn answer(&self, node: NodeId, letter: Uuid, answer: &str) -> Result<(), StoreError>;

    /// Takes the answer, and the letter with it; `None` while there is no answer.
    async fn take_answer(&self, node: NodeId, letter: Uuid) -> Result<Option<String>, StoreError>;

    /// Takes a letter back that was not begun; says whether that was so.
    async fn withdraw(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError>;
}

/// An answer must be told from none.
pub(super) fn is_answer(answer: &str) -> Result<(), StoreError> {
    if answer.is_empty() { Err(StoreError::Invalid("an answer is not empty".to_owned())) } else { Ok(()) }
}
