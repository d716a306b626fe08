//! What the audit log of a store is made of: the session that holds it, the heads that it seals, and its events.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::{Digest, Seq, SessionId, SessionName};

/// The name of the session that holds the audit log of its store.
pub const AUDIT_LOG: &str = "rekindle.audit";

/// What whoever wants to begin or to fork it is told.
pub const RESERVED: &str =
    "rekindle.audit is the audit log of its store: no session is begun under that name, and none is forked from it";

/// Keeps the bytes of a head from being mistaken for those of anything else.
const DOMAIN: &[u8] = b"rekindle/head/1\0";

impl SessionId {
    /// The session that holds the audit log of its store: no agent's, and run by nobody.
    pub const AUDIT_LOG: Self = Self::from_uuid(Uuid::from_u128(0x4608_1dff_3733_5fda_8333_4dc3_1f1f_9fea));

    /// Whether this is the session that holds the audit log.
    pub fn is_audit_log(self) -> bool {
        self == Self::AUDIT_LOG
    }
}

/// The name of the session that holds the audit log, as a name.
///
/// # Errors
/// Never: it is one.
pub fn audit_log_name() -> Result<SessionName, super::id::InvalidName> {
    AUDIT_LOG.parse()
}

/// How far a session had come, and the hash of its chain there: one leaf of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// The session.
    pub session: SessionId,
    /// Its last event then.
    pub seq: Seq,
    /// The chain hash of that event.
    pub hash: Digest,
}

impl Head {
    /// What the leaf holds: the domain, the 16 bytes of the session, the seq as eight bytes, the highest first, and the 32 of the hash.
    pub fn bytes(&self) -> Vec<u8> {
        [DOMAIN, self.session.as_bytes(), &self.seq.0.to_be_bytes(), &self.hash.0].concat()
    }
}

/// Body of `audit.heads`: more heads than one event should hold; the seal follows in the same append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsListed {
    /// The next leaves of the tree.
    pub heads: Vec<Head>,
}

/// Body of `audit.sealed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The next leaves of the tree, after those of the `audit.heads` right before.
    pub heads: Vec<Head>,
    /// The place in the feed up to which sessions were looked at.
    pub upto: String,
    /// How many leaves the tree has now.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The roots of its complete subtrees, the largest first: the tree grows from them.
    pub tree: Vec<Digest>,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The key that signed it, its public half.
    pub key: String,
    /// Where it is to be published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// Body of `audit.published`: somebody who cannot be asked again has taken the checkpoints up to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Who.
    pub to: String,
    /// The size of the tree in the last checkpoint.
    pub size: u64,
}

/// Something that is taken out of the log, for ever; what stays of it is named, so that its chain can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Erasure {
    /// The body of one event, and what was made of it.
    Body {
        /// The session that holds the event.
        session: SessionId,
        /// The event.
        seq: Seq,
        /// Its chain hash, which stays.
        hash: Digest,
    },
    /// All events of a session, and what was made of them.
    Session {
        /// The session.
        session: SessionId,
        /// Its last event, whose hash stays.
        seq: Seq,
        /// The chain hash of that.
        hash: Digest,
    },
}

/// Body of `audit.erasing`: it is about to be taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasing {
    /// What.
    pub erasure: Erasure,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// Body of `audit.erased`: it was looked for, and is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// What.
    pub erasure: Erasure,
}

/// Body of `audit.not_erased`: it was refused, and is there as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotErased {
    /// What.
    pub erasure: Erasure,
    /// Why.
    pub error: String,
}

/// Something that was begun to be taken out and of which nobody has said yet that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenErasure {
    /// The `audit.erasing` that says so.
    pub at: Seq,
    /// What.
    pub erasure: Erasure,
}

/// Body of `audit.retention_set`: sessions are kept for at least so long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSet {
    /// Whole days after their last event; 0 when nothing asks for them to be kept.
    pub days: u64,
    /// Who has said so.
    pub by: String,
}

/// Body of `audit.access_set`: from now on it is written down who reads sessions of the store, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessSet {
    /// Whether it is.
    pub recorded: bool,
    /// Who has said so.
    pub by: String,
}

/// Body of `audit.read`: somebody is about to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRead {
    /// Who.
    pub by: String,
    /// What.
    pub access: Access,
    /// With which command of the program, without its arguments: they may say what nobody else is to know.
    pub how: String,
}

/// What is read of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Access {
    /// What one session holds.
    Session {
        /// The session.
        session: SessionId,
        /// Its last event then: no more than these are read, but for what is appended while whoever reads goes on reading.
        upto: Seq,
    },
    /// Which sessions there are, with their titles.
    List,
    /// All sessions.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_audit_log_is_that_of_its_name() {
        assert_eq!(SessionId::named(&audit_log_name().unwrap()), SessionId::AUDIT_LOG);
    }

    #[test]
    fn a_leaf_is_made_of_the_bytes_that_are_written_down() {
        let head = Head { session: SessionId::AUDIT_LOG, seq: Seq(258), hash: Digest([7; 32]) };
        let mut bytes = b"rekindle/head/1\0\x46\x08\x1d\xff\x37\x33\x5f\xda\x83\x33\x4d\xc3\x1f\x1f\x9f\xea".to_vec();
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        bytes.extend([7; 32]);
        assert_eq!(head.bytes(), bytes);
    }
}
