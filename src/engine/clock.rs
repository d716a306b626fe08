//! The one file that reads the time and makes ids. Everything else is told.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{ContextV7, Uuid};

use crate::session::{EventId, NodeId, SessionId, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now, to the microsecond.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Makes time-ordered ids, rising within one process.
#[derive(Debug)]
pub struct Ids {
    context: Mutex<ContextV7>,
}

impl Default for Ids {
    fn default() -> Self {
        Self { context: Mutex::new(ContextV7::new()) }
    }
}

impl Ids {
    fn next(&self, at: Timestamp) -> Uuid {
        let micros = u64::try_from(at.0).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1000;
        let context = self.context.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Uuid::new_v7(uuid::Timestamp::from_unix(&*context, micros / 1_000_000, nanos))
    }

    /// A new event's id.
    pub fn event(&self, at: Timestamp) -> EventId {
        EventId::from_uuid(self.next(at))
    }

    /// A new session's id.
    pub fn session(&self, at: Timestamp) -> SessionId {
        SessionId::from_uuid(self.next(at))
    }

    /// A new node's id.
    pub fn node(&self, at: Timestamp) -> NodeId {
        NodeId::from_uuid(self.next(at))
    }
}
