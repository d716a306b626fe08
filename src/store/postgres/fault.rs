//! What PostgreSQL's errors mean to the callers of a store.

use super::super::{BoxError, StoreError};

/// Kinds of failure that call for different behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server is out of reach, restarting, full of connections, or no longer the one that can be written.
    Away,
    /// Two transactions were in each other's way; trying again helps.
    Collided,
    /// A rule of the tables forbids it.
    Constraint,
    /// A value that the database does not take.
    Value,
    /// No room.
    Full,
    /// This user may not.
    Forbidden,
    /// Anything else.
    Other,
}

impl Fault {
    /// Sorts an error.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => error.code().map_or(Self::Other, |code| Self::of_code(&code)),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => Self::Away,
            _ => Self::Other,
        }
    }

    /// Sorts an SQLSTATE: appendix A of PostgreSQL's manual.
    fn of_code(code: &str) -> Self {
        match code {
            // A standby, a server that ends, starts or ended us, and one that has no connection to spare.
            "25006" | "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => Self::Away,
            "40001" | "40P01" | "55P03" | "40003" => Self::Collided,
            "53100" => Self::Full,
            "42501" => Self::Forbidden,
            "54000" | "54001" => Self::Value,
            code if code.starts_with("08") => Self::Away,
            code if code.starts_with("23") => Self::Constraint,
            code if code.starts_with("22") => Self::Value,
            _ => Self::Other,
        }
    }

    /// Whether trying again later may help.
    pub(super) const fn is_passing(self) -> bool {
        matches!(self, Self::Away | Self::Collided)
    }

    /// The error of a write that left nothing.
    pub(super) fn failed_write(self, error: BoxError) -> StoreError {
        match self {
            Self::Full => StoreError::Full(error),
            Self::Collided => StoreError::Busy(error),
            Self::Forbidden => StoreError::ReadOnly(format!("{error}; grant this user what it lacks")),
            Self::Value => StoreError::Invalid(format!("the database does not take it: {error}")),
            Self::Away | Self::Constraint | Self::Other => StoreError::Unavailable(error),
        }
    }
}
