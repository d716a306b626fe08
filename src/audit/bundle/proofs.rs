//! Who vouches for a bundle: checkpoints of the store's log, signed, that hold chain hashes of its events.

use std::fmt;

use serde::{Serialize, Serializer};

use super::record::{KeyRecord, ProofRecord};
use crate::audit::merkle::{is_included, leaf_hash};
use crate::audit::{Checkpoint, Note, VerifierKey};
use crate::session::audit::Head;
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
    /// The only ones that count, where there are any.
    pinned: Vec<VerifierKey>,
    /// Those that the file brings.
    keys: Vec<VerifierKey>,
    /// The chain hash of each event, in order.
    hashes: Vec<Digest>,
    /// The last event that is vouched for, and by whom.
    upto: Option<(Seq, VerifierKey)>,
}

impl Proofs {
    pub(super) const fn new(pinned: Vec<VerifierKey>) -> Self {
        Self { pinned, keys: Vec::new(), hashes: Vec::new(), upto: None }
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
        if !self.pinned.is_empty() && !self.pinned.contains(&key) {
            return Err(format!("the file is signed with {key}, not with {}", list(&self.pinned)));
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
        let trusted = if self.pinned.is_empty() { &self.keys } else { &self.pinned };
        let signed = Checkpoint::open(&note, trusted).map_err(|error| unproven(&error))?;
        if !is_proven(&Head { session, seq: *seq, hash: *hash }, *index, &signed, path) {
            return Err(unproven(&"the signed log does not hold the event as it is here"));
        }
        let signers = note.verify(trusted).map_err(|error| unproven(&error))?;
        let signer = signers.into_iter().find(|key| key.name() == signed.origin);
        if let Some(signer) = signer.filter(|_| self.upto.as_ref().is_none_or(|(upto, _)| upto < seq)) {
            self.upto = Some((*seq, signer.clone()));
        }
        Ok(())
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// That nothing is signed with the key that was asked for.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.upto.is_none() && !self.pinned.is_empty() {
            return Err(format!("nothing in it is signed with {}", list(&self.pinned)));
        }
        Ok(())
    }

    /// Who vouches for it.
    pub(super) fn signed(self) -> Signed {
        match self.upto {
            None => Signed::Nobody,
            Some((upto, key)) if self.pinned.is_empty() => Signed::OwnKey { key, upto },
            Some((upto, key)) => Signed::PinnedKey { key, upto },
        }
    }
}

/// Whether the log that was signed holds this head.
pub(super) fn is_proven(head: &Head, index: u64, signed: &Checkpoint, path: &[Digest]) -> bool {
    is_included(&leaf_hash(&head.bytes()), index, signed.size, &signed.root, path)
}

fn list(keys: &[VerifierKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
