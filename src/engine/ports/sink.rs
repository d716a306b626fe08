//! Where checkpoints are published, outside of the store that they speak of.

use std::fmt;

use async_trait::async_trait;

/// Keeps checkpoints out of reach of whoever keeps the store. It only ever grows.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// What it is called in the log and to people: always the same, and without credentials.
    fn name(&self) -> &str;

    /// What it holds.
    ///
    /// # Errors
    /// [`SinkError`] when it cannot be told just now.
    async fn held(&self) -> Result<HeldText, SinkError>;

    /// Adds text behind what it holds, durably. Of one that cannot be read back, each call is one signed note.
    ///
    /// # Errors
    /// [`SinkError`]; some of the text, or all of it, may be there.
    async fn append(&self, text: &str) -> Result<(), SinkError>;
}

/// What a sink holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldText {
    /// The end of it, all of the last few checkpoints at least; empty where there is nothing yet.
    End(String),
    /// It takes checkpoints and does not show them.
    Unknown,
}

/// Why a sink could not be read or written; without credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);
