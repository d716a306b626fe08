//! Who vouches for a bundle: checkpoints of the store's log, signed, that hold chain hashes of its events.

use std::fmt;

use serde::{Serialize, Serializer};

use super::record::{KeyRecord, ProofRecord};
use crate::audit::merkle::{is_included, leaf_hash};
use crate::audit::{Checkpoint, Note, VerifierKey, head_leaf};
use crate::session::{Digest, Seq, SessionId};

/// Who vouches for a bundle, beside whoever made the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Signed {
    /// Nobody.
    Nobody,
    /// A key that the file itself brings, which proves nothing to those who do not know it from elsewhere.
    OwnKey {
        /// The key.
        #[serde(serialize_with = "as_text")]
        key: VerifierKey,
        /// The last event that is vouched for.
        upto: Seq,
    },
    /// The key that was asked for.
    PinnedKey {
        /// The key.
        #[serde(serialize_with = "as_text")]
        key: VerifierKey,
        /// The last event that is vouched for.
        upto: Seq,
    },
}

/// In words.
impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("by nobody"),
            Self::OwnKey { key, upto } => {
                write!(f, "up to event {upto}, by a key that this file itself brings: {key}; --key says whose it must be")
            }
            Self::PinnedKey { key, upto } => write!(f, "up to event {upto}, by {key}"),
        }
    }
}

fn as_text<S: Serializer>(key: &VerifierKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// The proofs of a bundle, one after the other.
#[derive(Debug)]
pub(super) struct Proofs {
    pinned: Option<VerifierKey>,
    /// Those that the file brings.
    keys: Vec<VerifierKey>,
    /// The chain hash of each event, in order.
    hashes: Vec<Digest>,
    upto: Seq,
}

impl Proofs {
    pub(super) const fn new(pinned: Option<VerifierKey>) -> Self {
        Self { pinned, keys: Vec::new(), hashes: Vec::new(), upto: Seq::ZERO }
    }

    /// The next event has this hash.
    pub(super) fn chained(&mut self, hash: Digest) {
        self.hashes.push(hash);
    }

    /// Takes a key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn key(&mut self, record: &KeyRecord) -> Result<(), String> {
        let key: VerifierKey = record.vkey.parse().map_err(|error| format!("the key in the file is none: {error}"))?;
        if let Some(pinned) = self.pinned.as_ref().filter(|pinned| **pinned != key) {
            return Err(format!("the file is signed with {key}, not with {pinned}"));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Checks that an event of `session` is in the log that a trusted key signed.
    ///
    /// # Errors
    /// Why that is not proven.
    pub(super) fn proof(&mut self, record: &ProofRecord, session: SessionId) -> Result<(), String> {
        let ProofRecord { seq, index, path, checkpoint } = record;
        let unproven = |why: &dyn fmt::Display| format!("the proof of event {seq} does not hold: {why}");
        let place = usize::try_from(seq.0).ok().and_then(|seq| seq.checked_sub(1));
        let Some(hash) = place.and_then(|place| self.hashes.get(place)) else {
            return Err(unproven(&"there is no such event"));
        };
        let note: Note = checkpoint.parse().map_err(|error| unproven(&error))?;
        let trusted = self.pinned.as_ref().map_or(self.keys.as_slice(), std::slice::from_ref);
        let signed = Checkpoint::open(&note, trusted).map_err(|error| unproven(&error))?;
        let leaf = leaf_hash(&head_leaf(session, *seq, hash));
        if !is_included(&leaf, *index, signed.size, &signed.root, path) {
            return Err(unproven(&"the signed log does not hold the event as it is here"));
        }
        self.upto = self.upto.max(*seq);
        Ok(())
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// That nothing is signed with the key that was asked for.
    pub(super) fn end(&self) -> Result<(), String> {
        match &self.pinned {
            Some(pinned) if self.upto == Seq::ZERO => Err(format!("nothing in it is signed with {pinned}")),
            _ => Ok(()),
        }
    }

    /// Who vouches for it.
    pub(super) fn signed(self) -> Signed {
        let Self { pinned, keys, upto, .. } = self;
        match (pinned, keys.into_iter().next()) {
            (Some(key), _) if upto > Seq::ZERO => Signed::PinnedKey { key, upto },
            (None, Some(key)) if upto > Seq::ZERO => Signed::OwnKey { key, upto },
            _ => Signed::Nobody,
        }
    }
}
