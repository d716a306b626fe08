//! An append with everything that can be computed before it is known where it will stand, so that whoever commits has less to do.

use super::append::{self, Seal};
use super::{Append, StoreError};
use crate::session::{Digest, NewEvent};

/// Bodies up to this length lie in the row of their event, longer ones in the table of blobs, once.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What an event takes beside its body: ids, hash, indexes; about.
const EVENT_BYTES: usize = 256;

/// A valid append, its bodies salted and digested.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) append: Append,
    seals: Vec<Seal>,
    /// The digest of each body that is too long for its row.
    long: Vec<Option<Digest>>,
}

impl Sealed {
    /// Does the caller's part of the work.
    pub(super) fn new(append: Append) -> Result<Self, StoreError> {
        append.validate()?;
        let seals = append::seal(&append.events)?;
        let long = |event: &NewEvent| (event.body.len() > INLINE_BYTES_MAX).then(|| Digest::of(event.body.as_bytes()));
        let long = append.events.iter().map(long).collect();
        Ok(Self { append, seals, long })
    }

    /// Each event, its seal, and the digest of its body if that does not lie in its row.
    pub(super) fn events(&self) -> impl Iterator<Item = (&NewEvent, &Seal, Option<Digest>)> {
        self.append.events.iter().zip(&self.seals).zip(&self.long).map(|((event, seal), long)| (event, seal, *long))
    }

    /// How much it brings to write, about.
    pub(super) fn bytes(&self) -> usize {
        self.append.events.iter().map(|event| event.body.len() + EVENT_BYTES).sum()
    }
}
