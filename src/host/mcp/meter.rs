//! How much a server may say.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The most that one message of a server may hold, in bytes.
pub(super) const MESSAGE_MAX: usize = 8 * 1024 * 1024;
/// The most that a server may say without being asked, and between two questions, in bytes.
const UNASKED_MAX: u64 = 64 * 1024 * 1024;

/// What is known of how much a server has said.
#[derive(Debug, Clone, Default)]
pub(super) struct Measure {
    said: Arc<AtomicU64>,
    too_much: Arc<OnceLock<String>>,
}

impl Measure {
    /// It is asked something, so it may speak again.
    pub(super) fn asked(&self) {
        self.said.store(0, Ordering::Relaxed);
    }

    /// Why it is not listened to any more.
    pub(super) fn too_much(&self) -> Option<&str> {
        self.too_much.get().map(String::as_str)
    }
}

/// Reads what a server says, and stops at one that says too much.
pub(super) struct Meter<R> {
    inner: R,
    /// How long the line is that has not ended yet.
    line: usize,
    measure: Measure,
}

impl<R> Meter<R> {
    pub(super) const fn new(inner: R, measure: Measure) -> Self {
        Self { inner, line: 0, measure }
    }

    fn measured(&mut self, bytes: &[u8]) -> io::Result<()> {
        let said = self.measure.said.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
        self.line = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => bytes.len() - end - 1,
            None => self.line + bytes.len(),
        };
        let why = if self.line > MESSAGE_MAX {
            format!("it sent a message of more than {} MiB", MESSAGE_MAX >> 20)
        } else if said > UNASKED_MAX {
            format!("it sent more than {} MiB without being asked", UNASKED_MAX >> 20)
        } else {
            return Ok(());
        };
        Err(io::Error::other(self.measure.too_much.get_or_init(|| why).clone()))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Meter<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default().to_vec();
        Poll::Ready(self.measured(&read))
    }
}
