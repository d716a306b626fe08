//! Who sums up what is forgotten of a history that has grown too long.

use async_trait::async_trait;

use super::{ModelFailure, Past, SecretValue};
use crate::session::model::CallReport;
use crate::session::{Digest, ModelSpec, SessionId};

/// Sums up, by asking a model.
#[async_trait]
pub trait Summariser: Send + Sync + 'static {
    /// What its model is told before anything else: it is kept once, by its digest.
    fn prompt(&self) -> &str;

    /// Sums up `past`, which is in order. What can be tried again has been. Dropping the future ends the call.
    ///
    /// # Errors
    /// [`ModelFailure`] when there is no summary, also when the model wrote nothing.
    async fn summarise(&self, past: &[&Past]) -> Result<Summarised, ModelFailure>;

    /// SHA-256 of the request that [`summarise`](Self::summarise) would make now, as it is in its report; `None` when it cannot be told
    /// without making it.
    fn request(&self, past: &[&Past]) -> Option<Digest> {
        let _ = past;
        None
    }
}

/// What is needed to make one.
#[derive(Debug, Clone)]
pub struct SummariserRequest {
    /// The session.
    pub session: SessionId,
    /// The model.
    pub model: ModelSpec,
    /// Its key.
    pub key: Option<SecretValue>,
}

/// A summary, and what it took.
#[derive(Debug, Clone)]
pub struct Summarised {
    /// Never empty.
    pub text: String,
    /// What the call took.
    pub call: CallReport,
}
