//! One session in one file that anybody can check without a store: its events with all that their hashes cover, what they refer to,
//! and where the store has them, proofs that it showed the same to others.
//!
//! The file is UTF-8 text, one record of JSON a line, written and read as a stream:
//!
//! 1. `header`: the format, the session, its last event here and the chain hash of that, the last event that the session had then.
//! 2. `ancestor`: of a fork each session that it lies on, the oldest first, with the last event of it that belongs there.
//! 3. `event`: each event with its envelope and its hash; the body as text, byte for byte, and its salt, or once it is redacted its
//!    digest. `damaged` stands where the store had no event that can be read.
//! 4. `blob`: each content that an event refers to, once; trees of workspaces come before what is in them.
//! 5. `key` and `proof`: signed checkpoints of the store's log of chain heads, and why an event of this session is in it.
//! 6. `end`: how many records there are of each kind, and the SHA-256 of all lines before this one.
//!
//! A record has one form only: these fields in this order, without blanks, and with no escapes but those that JSON asks for. So no two
//! readers can read one line differently.

mod contents;
mod inclusion;
mod proofs;
mod record;
mod verify;
mod write;

pub use proofs::Signed;
pub use record::{Ancestor, BlobRecord, Counts, DamagedRecord, End, EventRecord, Header, KeyRecord, ProofRecord, Record};
pub use verify::{VerifiedBundle, verify};
pub use write::{Damage, Made, Written, write};

/// The format that is written and read here.
pub const FORMAT: &str = "rekindle-bundle/1";
