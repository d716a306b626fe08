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
    hide: Option<(Arc<Masker>, Mutex<Texts>)>,
}

/// The texts that are being written. Both stay open to the end: who writes them by turns must not show by it what is held back.
struct Texts {
    answer: Streaming,
    thoughts: Streaming,
}

impl Heard {
    pub(super) fn new(session: SessionId, sender: broadcast::Sender<(SessionId, Delta)>, hide: Option<Arc<Masker>>) -> Self {
        let texts = |masker: &Arc<Masker>| {
            let [answer, thoughts] = [(); 2].map(|()| Streaming::new(Arc::clone(masker)));
            Mutex::new(Texts { answer, thoughts })
        };
        let hide = hide.map(|masker| (Arc::clone(&masker), texts(&masker)));
        Self { session, sender, hide }
    }

    /// No more comes.
    pub(super) fn end(&self) {
        if let Some((_, texts)) = &self.hide {
            self.finish(&mut texts.lock().unwrap_or_else(PoisonError::into_inner));
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

    fn finish(&self, Texts { answer, thoughts }: &mut Texts) {
        self.tell_text(Delta::Reasoning, thoughts.end());
        self.tell_text(Delta::Text, answer.end());
    }
}

impl Deltas for Heard {
    fn delta(&self, delta: Delta) {
        let Some((masker, texts)) = &self.hide else {
            return self.tell(delta);
        };
        let mut texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
        match delta {
            Delta::Text(piece) => self.tell_text(Delta::Text, texts.answer.push(&piece)),
            Delta::Reasoning(piece) => self.tell_text(Delta::Reasoning, texts.thoughts.push(&piece)),
            Delta::Call(name) => {
                self.finish(&mut texts);
                self.tell(Delta::Call(masker.text(&name).into_owned()));
            }
            Delta::Retry(why) => {
                self.finish(&mut texts);
                self.tell(Delta::Retry(masker.text(&why).into_owned()));
            }
        }
    }
}
