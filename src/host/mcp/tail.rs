//! The end of what a program says on its standard error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

/// How much is kept, in bytes.
const KEPT_MAX: usize = 4096;
/// How much of it is told, in characters.
const TOLD_MAX: usize = 600;
/// How long what is on its way may take to arrive.
const ARRIVE_WAIT: Duration = Duration::from_millis(200);

/// What was said last. The rest is read too, so that nobody is held up by saying much, and forgotten.
pub(super) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    reading: JoinHandle<()>,
}

impl Tail {
    /// Reads until the end.
    pub(super) fn of(mut said: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let keeps = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = said.read(&mut buffer).await {
                let mut kept = keeps.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(buffer.get(..count).unwrap_or_default());
                let over = kept.len().saturating_sub(KEPT_MAX);
                kept.drain(..over);
            }
        });
        Self { kept, reading }
    }

    /// It in one line; `None` when nothing was said.
    pub(super) async fn one_line(&self) -> Option<String> {
        for _ in 0..10 {
            if self.reading.is_finished() {
                break;
            }
            tokio::time::sleep(ARRIVE_WAIT / 10).await;
        }
        let kept: Vec<u8> = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let line = words.collect::<Vec<_>>().join(" ");
        let over = line.chars().count().saturating_sub(TOLD_MAX);
        let line = if over > 0 { format!("…{}", line.chars().skip(over).collect::<String>()) } else { line };
        (!line.is_empty()).then_some(line)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
