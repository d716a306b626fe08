//! What an agent's model writes, told piece by piece while it does: without the values of secrets, also where they come in pieces.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::engine::ports::{Delta, Deltas};
use crate::session::SessionId;
use crate::session::mask::{Masker, Streaming};

/// Tells all who listen.
pub(super) struct Heard {
    session: SessionId,
    sender: broadcast::Sender<(SessionId, Delta)>,
    hide: Option<(Arc<Masker>, Mutex<Option<Text>>)>,
}

/// A text that is being written.
struct Text {
    of: fn(String) -> Delta,
    is_answer: bool,
    stream: Streaming,
}

impl Heard {
    pub(super) fn new(session: SessionId, sender: broadcast::Sender<(SessionId, Delta)>, hide: Option<Arc<Masker>>) -> Self {
        Self { session, sender, hide: hide.map(|masker| (masker, Mutex::default())) }
    }

    /// No more comes.
    pub(super) fn end(&self) {
        if let Some((_, text)) = &self.hide {
            self.finish(&mut text.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn tell(&self, delta: Delta) {
        // Nobody may be listening.
        let _ = self.sender.send((self.session, delta));
    }

    fn tell_text(&self, of: fn(String) -> Delta, piece: String) {
        if !piece.is_empty() {
            self.tell(of(piece));
        }
    }

    fn finish(&self, text: &mut Option<Text>) {
        if let Some(Text { of, mut stream, .. }) = text.take() {
            self.tell_text(of, stream.end());
        }
    }
}

impl Deltas for Heard {
    fn delta(&self, delta: Delta) {
        let Some((masker, text)) = &self.hide else {
            return self.tell(delta);
        };
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, is_answer, piece): (fn(String) -> Delta, _, _) = match delta {
            Delta::Text(piece) => (Delta::Text, true, piece),
            Delta::Reasoning(piece) => (Delta::Reasoning, false, piece),
            Delta::Call(name) => {
                self.finish(&mut text);
                return self.tell(Delta::Call(masker.text(&name).into_owned()));
            }
            Delta::Retry(why) => {
                self.finish(&mut text);
                return self.tell(Delta::Retry(masker.text(&why).into_owned()));
            }
        };
        if text.as_ref().is_some_and(|text| text.is_answer != is_answer) {
            self.finish(&mut text);
        }
        let text = text.get_or_insert_with(|| Text { of, is_answer, stream: Streaming::new(Arc::clone(masker)) });
        let shown = text.stream.push(&piece);
        self.tell_text(of, shown);
    }
}
