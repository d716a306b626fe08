//! Documents while a page of events is folded into them: what is known, what changed, and who could not be read.

use std::collections::{BTreeMap, HashMap};

use crate::session::{Seq, SessionId};
use crate::store::{Quarantined, Shard};

/// How many documents are remembered between pages.
const KNOWN_MAX: usize = 16 * 1024;

/// The documents that one event asked for.
#[derive(Debug)]
pub struct Documents<D> {
    given: BTreeMap<String, Option<D>>,
    changed: BTreeMap<String, Option<D>>,
    /// What was asked for and is not there to be had.
    undeclared: Option<String>,
}

impl<D> Default for Documents<D> {
    fn default() -> Self {
        Self { given: BTreeMap::new(), changed: BTreeMap::new(), undeclared: None }
    }
}

impl<D: Clone> Documents<D> {
    /// The document as it is now; `None` where there is none.
    pub fn get(&mut self, key: &str) -> Option<D> {
        if !self.given.contains_key(key) {
            self.undeclared = Some(key.to_owned());
        }
        self.changed.get(key).or_else(|| self.given.get(key)).cloned().flatten()
    }

    /// Replaces the document.
    pub fn put(&mut self, key: &str, document: D) {
        self.set(key, Some(document));
    }

    /// Takes the document away.
    pub fn delete(&mut self, key: &str) {
        self.set(key, None);
    }

    fn set(&mut self, key: &str, document: Option<D>) {
        if !self.given.contains_key(key) {
            self.undeclared = Some(key.to_owned());
        }
        self.changed.insert(key.to_owned(), document);
    }

    pub(super) fn give(&mut self, key: String, document: Option<D>) {
        self.given.insert(key, document);
    }

    /// What changed; an error when the projection went for a document that it had not asked for.
    pub(super) fn changes(self) -> Result<BTreeMap<String, Option<D>>, String> {
        match self.undeclared {
            None => Ok(self.changed),
            Some(key) => Err(format!("the projection did not say that it needs document {key:?}")),
        }
    }
}

/// What a page of one shard comes to.
#[derive(Debug, Clone)]
pub(super) struct Batch<D> {
    pub(super) shard: Shard,
    pub(super) changed: BTreeMap<String, Option<D>>,
    pub(super) quarantined: BTreeMap<SessionId, Quarantined>,
    /// Documents that were read and stayed as they are.
    read: BTreeMap<String, Option<D>>,
}

impl<D: Clone> Batch<D> {
    pub(super) const fn new(shard: Shard) -> Self {
        Self { shard, changed: BTreeMap::new(), quarantined: BTreeMap::new(), read: BTreeMap::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Option<D>> {
        self.changed.get(key).or_else(|| self.read.get(key))
    }

    pub(super) fn read(&mut self, key: &str, document: &Option<D>) {
        if !self.changed.contains_key(key) && !self.read.contains_key(key) {
            self.read.insert(key.to_owned(), document.clone());
        }
    }

    pub(super) fn change(&mut self, changes: BTreeMap<String, Option<D>>) {
        self.changed.extend(changes);
    }

    /// Holds a session back from here on; what it did before stands.
    pub(super) fn quarantine(&mut self, session: SessionId, seq: Seq, what: String) {
        let shard = self.shard;
        self.quarantined.entry(session).or_insert(Quarantined { shard, session, seq, what });
    }
}

/// Documents as the checkpoint left them.
#[derive(Debug)]
pub(super) struct Known<D>(HashMap<(Shard, String), Option<D>>);

impl<D> Default for Known<D> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<D> Known<D> {
    pub(super) fn get(&self, shard: Shard, key: &str) -> Option<&Option<D>> {
        self.0.get(&(shard, key.to_owned()))
    }

    /// Remembers what a batch has stored.
    pub(super) fn keep(&mut self, batch: Batch<D>) {
        if self.0.len() > KNOWN_MAX {
            self.0.clear();
        }
        let shard = batch.shard;
        self.0.extend(batch.read.into_iter().chain(batch.changed).map(|(key, document)| ((shard, key), document)));
    }
}
