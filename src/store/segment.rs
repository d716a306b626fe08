//! The bodies of neighbouring events of one session as one piece of content, compressed together.
//!
//! Together they take a third to a half of what each would take alone with a dictionary, since what an agent sees today is much of what
//! it saw a step ago; and no dictionary is left with the words of a session that was erased.

use std::ops::Range;

use super::content::{Bad, Decompressor, compress};
use crate::session::{Seq, SessionId};

/// A segment is closed once its bodies are this long together, in bytes: long enough to compress well, short enough to be read for
/// one event.
pub(super) const SEGMENT_BYTES: usize = 64 * 1024;

/// No segment is longer than this before it is compressed.
const SEGMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// In the table of lengths: this event has no body here.
const NONE: u32 = u32::MAX;

/// Some bodies of a session.
///
/// Before it is compressed: the 16 bytes of the session, the first seq as eight bytes, the number of places as four, for each of them
/// the length of its body as four (all ones: none), and the bodies; numbers with their highest byte first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    session: SessionId,
    first: Seq,
    /// Where in `bytes` each body is.
    places: Vec<Option<Range<usize>>>,
    bytes: Vec<u8>,
}

impl Segment {
    /// Packs bodies of `session`, from event `first` on; `None` where one is not to be there.
    pub(super) fn pack(session: SessionId, first: Seq, bodies: &[Option<&str>]) -> Result<Vec<u8>, Bad> {
        let mut bytes = Vec::with_capacity(SEGMENT_BYTES * 2);
        bytes.extend_from_slice(session.as_bytes());
        bytes.extend_from_slice(&first.0.to_be_bytes());
        let number = |length: usize| {
            u32::try_from(length).ok().filter(|length| *length != NONE).ok_or_else(|| "it is too long for a segment".to_owned())
        };
        bytes.extend_from_slice(&number(bodies.len())?.to_be_bytes());
        for body in bodies {
            let length = body.map_or(Ok(NONE), |body| number(body.len()))?;
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        bodies.iter().flatten().for_each(|body| bytes.extend_from_slice(body.as_bytes()));
        if bytes.len() > SEGMENT_BYTES_MAX {
            return Err("it is too long for a segment".to_owned());
        }
        compress(&bytes)
    }

    /// Reads what [`pack`](Self::pack) has made.
    pub(super) fn read(bytes: &[u8], decompressor: &mut Decompressor) -> Result<Self, Bad> {
        Self::parse(decompressor.decompress(bytes, SEGMENT_BYTES_MAX)?).ok_or_else(|| "it is no segment".to_owned())
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let table = usize::try_from(u32::from_be_bytes(*count)).ok()?.checked_mul(4)?;
        let (table, text) = rest.split_at_checked(table)?;
        let mut end = bytes.len().checked_sub(text.len())?;
        let mut places = Vec::with_capacity(table.len() / 4);
        for length in table.as_chunks::<4>().0 {
            places.push(match u32::from_be_bytes(*length) {
                NONE => None,
                length => {
                    let begin = end;
                    end = begin.checked_add(usize::try_from(length).ok()?)?;
                    Some(begin..end)
                }
            });
        }
        let session = SessionId::from_slice(session)?;
        let first = Seq(u64::from_be_bytes(*first));
        (end == bytes.len()).then_some(Self { session, first, places, bytes })
    }

    /// The body of an event.
    pub(super) fn body(&self, session: SessionId, seq: Seq) -> Result<&str, Bad> {
        let place = seq.0.checked_sub(self.first.0).and_then(|place| usize::try_from(place).ok());
        let range = place.filter(|_| session == self.session).and_then(|place| self.places.get(place)).cloned().flatten();
        let body = range.and_then(|range| self.bytes.get(range)).ok_or_else(|| "the segment holds no body of it".to_owned())?;
        std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())
    }

    /// The same without the body of an event; `None` when none is left then.
    pub(super) fn without(&self, seq: Seq) -> Result<Option<Vec<u8>>, Bad> {
        let body = |(at, place): (Seq, &Option<Range<usize>>)| match place {
            Some(_) if at != seq => self.body(self.session, at).map(Some),
            Some(_) | None => Ok(None),
        };
        let bodies = (self.first.0..).map(Seq).zip(&self.places).map(body).collect::<Result<Vec<_>, Bad>>()?;
        if bodies.iter().all(Option::is_none) {
            return Ok(None);
        }
        Self::pack(self.session, self.first, &bodies).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::conformance::new_session;

    fn read(bytes: &[u8]) -> Result<Segment, Bad> {
        Segment::read(bytes, &mut Decompressor::default())
    }

    #[test]
    fn a_segment_gives_each_body_back_and_none_of_others() {
        let session = new_session();
        let bytes = Segment::pack(session, Seq(5), &[Some("{}"), None, Some(""), Some("{\"é\":1}")]).unwrap();
        let segment = read(&bytes).unwrap();
        assert_eq!(segment.body(session, Seq(5)), Ok("{}"));
        assert_eq!(segment.body(session, Seq(7)), Ok(""));
        assert_eq!(segment.body(session, Seq(8)), Ok("{\"é\":1}"));
        for seq in [0, 4, 6, 9, u64::MAX] {
            assert!(segment.body(session, Seq(seq)).is_err(), "event {seq}");
        }
        assert!(segment.body(new_session(), Seq(5)).is_err());
    }

    #[test]
    fn what_is_taken_out_of_a_segment_is_not_in_its_bytes() {
        let session = new_session();
        let bytes = Segment::pack(session, Seq(1), &[Some("a secret word"), Some("{}")]).unwrap();
        let rest = read(&bytes).unwrap().without(Seq(1)).unwrap().unwrap();
        assert!(
            !String::from_utf8_lossy(&Decompressor::default().decompress(&rest, SEGMENT_BYTES_MAX).unwrap()).contains("secret")
        );
        let rest = read(&rest).unwrap();
        assert!(rest.body(session, Seq(1)).is_err());
        assert_eq!(rest.body(session, Seq(2)), Ok("{}"));
        assert_eq!(rest.without(Seq(2)), Ok(None));
    }

    proptest! {
        #[test]
        fn a_damaged_segment_is_refused_and_never_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let session = new_session();
            let mut bytes = Segment::pack(session, Seq(1), &[Some("{\"a\":1}"), Some("{\"b\":2}")]).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
            let _ = read(&bytes);
            let _ = read(&bytes[..cut.index(bytes.len())]);
            let _ = Segment::parse(bytes);
        }
    }
}
