//! Models behind HTTP endpoints.

mod endpoint;
mod fault;
mod frames;
mod genai;
mod http;
mod price;
mod retry;

use async_trait::async_trait;

use super::chat::{Answer, Request};
use crate::engine::ports::{Deltas, ModelFailure};

pub use endpoint::Endpoint;
pub use genai::GenaiModel;
pub use http::Http;
pub use retry::{Heard, Patience, Pause, TokioPause};

/// Answers requests.
#[async_trait]
pub trait ChatModel: Send + Sync + 'static {
    /// Asks once. Dropping the future ends the call.
    ///
    /// # Errors
    /// [`ModelFailure`], whose class says whether asking again may help.
    async fn ask(&self, request: &Request, deltas: &dyn Deltas) -> Result<Answer, ModelFailure>;
}
