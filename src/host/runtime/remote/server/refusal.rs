//! Why a request is refused, and how that is told.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::host::runtime::remote::wire::Detail;
use crate::session::Epoch;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("the key is missing or wrong")]
    WrongKey,
    /// A web page in somebody's browser can name this machine by any name it likes.
    #[error("a server without a key answers only to localhost")]
    ForeignHost,
    #[error("{0} was never handed over")]
    NeverHanded(String),
    #[error("epoch {0} was taken over by epoch {1}")]
    TakenOver(Epoch, Epoch),
    #[error("{0} was handed over before with another content")]
    OtherContent(String),
    /// What came of it is not known, or the runtime that was meant is not there any more.
    #[error("{0}")]
    Gone(String),
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::WrongKey | Self::ForeignHost => StatusCode::FORBIDDEN,
            Self::NeverHanded(_) => StatusCode::NOT_FOUND,
            Self::TakenOver(..) => StatusCode::PRECONDITION_FAILED,
            Self::OtherContent(_) => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            // Not 503, which a proxy in between says too, and which is tried again.
            Self::Unavailable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// That the memory of a session cannot be used.
    pub(super) fn memory(error: &std::io::Error) -> Self {
        Self::Unavailable(format!("what was handed over cannot be remembered: {error}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), Json(Detail { detail: self.to_string() })).into_response()
    }
}
