//! What a store's log of chain heads says of one event.

use crate::session::{Digest, Seq, SessionId};

/// Keeps such a leaf from being mistaken for anything else.
const DOMAIN: &[u8] = b"rekindle/head/1\0";

/// The content of the leaf: that event `seq` of `session` has this chain hash.
pub fn head_leaf(session: SessionId, seq: Seq, hash: &Digest) -> Vec<u8> {
    [DOMAIN, session.as_bytes(), &seq.0.to_be_bytes(), &hash.0].concat()
}
