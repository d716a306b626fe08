//! Keys, clocks and sinks for tests of the audit log.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::audit::{Sealer, SignerKey, VerifierKey};
use rekindle::engine::clock::Clock;
use rekindle::engine::ports::{HeldText, Sink, SinkError};
use rekindle::session::Timestamp;
use rekindle::store::SharedStore;

pub const ORIGIN: &str = "log.example/tests";

/// A key that is always the same.
pub fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, [1; 32]).unwrap()
}

/// A key that calls itself the same and is not.
pub fn others_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, [2; 32]).unwrap()
}

pub fn trusted() -> Vec<VerifierKey> {
    vec![key().verifier().clone()]
}

/// A clock that is one second further each time that it is looked at.
pub struct Ticking(AtomicI64);

impl Default for Ticking {
    fn default() -> Self {
        Self(AtomicI64::new(1_800_000_000_000_000))
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

pub fn sealer(store: &SharedStore, sinks: &[&Arc<TextSink>]) -> Sealer {
    let sinks = sinks.iter().map(|sink| Arc::<TextSink>::clone(sink) as Arc<dyn Sink>).collect();
    Sealer::new(SharedStore::clone(store), Arc::new(Ticking::default()), key()).publishing_to(sinks)
}

/// A sink in memory, that fails when it is told to.
#[derive(Debug)]
pub struct TextSink {
    name: &'static str,
    text: Mutex<String>,
    is_readable: bool,
    /// What is left of the bytes that it takes before it fails.
    room: Mutex<usize>,
    /// How many times it was appended to.
    pub appends: AtomicU32,
}

impl TextSink {
    pub fn new(name: &'static str) -> Arc<Self> {
        Self::make(name, true)
    }

    /// One that does not show what it holds.
    pub fn unseen(name: &'static str) -> Arc<Self> {
        Self::make(name, false)
    }

    fn make(name: &'static str, is_readable: bool) -> Arc<Self> {
        let room = Mutex::new(usize::MAX);
        Arc::new(Self { name, text: Mutex::default(), is_readable, room, appends: AtomicU32::new(0) })
    }

    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    pub fn hold(&self, text: &str) {
        *self.text.lock().unwrap() = text.to_owned();
    }

    /// Takes so many bytes from now on, and then fails.
    pub fn fail_after(&self, bytes: usize) {
        *self.room.lock().unwrap() = bytes;
    }
}

#[async_trait]
impl Sink for TextSink {
    fn name(&self) -> &str {
        self.name
    }

    async fn held(&self) -> Result<HeldText, SinkError> {
        Ok(if self.is_readable { HeldText::End(self.text()) } else { HeldText::Unknown })
    }

    async fn append(&self, text: &str) -> Result<(), SinkError> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        let mut room = self.room.lock().unwrap();
        let taken = text.len().min(*room);
        // A character is not cut: what is written is written byte by byte, and read as text.
        let taken = (0..=taken).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        *room -= taken;
        self.text.lock().unwrap().push_str(&text[..taken]);
        if taken < text.len() { Err(SinkError("no room left".to_owned())) } else { Ok(()) }
    }
}
