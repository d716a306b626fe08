//! An append with everything that can be computed before it is known where it will stand, so that whoever commits has less to do.

use super::append::{self, Seal};
use super::content::{Laid, Secrecy};
use super::{Append, StoreError};
use crate::session::NewEvent;

/// What an event takes beside its body: ids, hash, indexes; about.
const EVENT_BYTES: usize = 256;

/// A valid append, its bodies salted and digested, and as they are to lie in the database.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) append: Append,
    seals: Vec<Seal>,
    laid: Vec<Laid>,
    /// How to read what is in the log already.
    pub(super) secrecy: Secrecy,
}

impl Sealed {
    /// Does the caller's part of the work.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it is no valid append, [`StoreError::NoKey`] when the key of its session is not there.
    pub(super) fn new(append: Append, secrecy: &Secrecy) -> Result<Self, StoreError> {
        append.validate()?;
        let seals = append::seal(&append.events)?;
        let key = secrecy.key(append.session)?;
        let lay = |(event, seal): (&NewEvent, &Seal)| Laid::of(key.as_deref(), event.id, &seal.salt, &event.body);
        let laid = append.events.iter().zip(&seals).map(lay).collect::<Result<_, _>>().map_err(StoreError::Invalid)?;
        Ok(Self { append, seals, laid, secrecy: secrecy.clone() })
    }

    /// Each event, its seal, and how its body is to lie.
    pub(super) fn events(&self) -> impl Iterator<Item = (&NewEvent, &Seal, &Laid)> {
        self.append.events.iter().zip(&self.seals).zip(&self.laid).map(|((event, seal), laid)| (event, seal, laid))
    }

    /// How much it brings to write, about.
    pub(super) fn bytes(&self) -> usize {
        self.append.events.iter().map(|event| event.body.len() + EVENT_BYTES).sum()
    }
}
