//! How content lies in its row: as it is, compressed, or the bodies of many events together.

use super::segment::Segment;
use crate::session::{Digest, Seq, SessionId};

/// Content is compressed once, when nobody waits for it; higher levels take several times as long for a few per cent.
const LEVEL: i32 = 9;

/// How many segments are kept at hand: of as many sessions a page of the feed may tell by turns.
pub(super) const SEGMENTS_KEPT: usize = 16;

/// Why content is not what it should be.
pub(super) type Bad = String;

/// How content lies in its row: the column `form`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// Compressed.
    Packed,
    /// The bodies of several events of one session: a [`Segment`].
    Segment,
}

impl Form {
    /// As the database holds it.
    pub(super) const fn stored(self) -> i32 {
        match self {
            Self::Plain => 0,
            Self::Packed => 1,
            Self::Segment => 2,
        }
    }

    /// What the database holds.
    pub(super) fn read(stored: i32) -> Result<Self, Bad> {
        [Self::Plain, Self::Packed, Self::Segment]
            .into_iter()
            .find(|form| form.stored() == stored)
            .ok_or_else(|| format!("it lies there in form {stored}, which this version does not know"))
    }
}

/// Compresses content.
pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Bad> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| format!("it cannot be compressed: {error}"))
}

/// The content that was compressed, which must not be longer than `max` bytes.
pub(super) fn decompress(bytes: &[u8], max: usize) -> Result<Vec<u8>, Bad> {
    let broken = || "it is not what was compressed".to_owned();
    let length = zstd::zstd_safe::get_frame_content_size(bytes).map_err(|_| broken())?.ok_or_else(broken)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(broken)?;
    let content = zstd::bulk::decompress(bytes, length).map_err(|error| format!("it cannot be decompressed: {error}"))?;
    if content.len() == length { Ok(content) } else { Err(broken()) }
}

/// The segments that a reader has come by, so that each is read once and not for each of its events.
#[derive(Debug, Default)]
pub(super) struct Segments {
    kept: Vec<(Digest, Segment)>,
}

impl Segments {
    /// The body of an event, where its segment is at hand.
    pub(super) fn body(&self, digest: Digest, session: SessionId, seq: Seq) -> Option<Result<String, Bad>> {
        let (_, segment) = self.kept.iter().find(|(kept, _)| *kept == digest)?;
        Some(segment.body(session, seq).map(str::to_owned))
    }

    /// The body of an event out of the content that it lies in.
    pub(super) fn read(&mut self, digest: Digest, content: Content, session: SessionId, seq: Seq) -> Result<String, Bad> {
        if Form::read(content.form)? == Form::Segment {
            return self.keep(digest, &content)?.body(session, seq).map(str::to_owned);
        }
        String::from_utf8(content.whole(super::Append::BODY_BYTES_MAX)?).map_err(|_| "it is not UTF-8".to_owned())
    }

    /// Keeps a segment at hand; that which has been there the longest goes.
    pub(super) fn keep(&mut self, digest: Digest, content: &Content) -> Result<&Segment, Bad> {
        let segment = Segment::read(&content.bytes)?;
        if self.kept.len() >= SEGMENTS_KEPT {
            self.kept.remove(0);
        }
        self.kept.push((digest, segment));
        self.kept.last().map(|(_, segment)| segment).ok_or_else(String::new)
    }
}

/// A row of content.
#[derive(Debug)]
pub(super) struct Content {
    /// How it lies there.
    pub(super) form: i32,
    /// What lies there.
    pub(super) bytes: Vec<u8>,
}

impl Content {
    /// What was given to be kept.
    pub(super) fn whole(self, max: usize) -> Result<Vec<u8>, Bad> {
        match Form::read(self.form)? {
            Form::Plain => Ok(self.bytes),
            Form::Packed => decompress(&self.bytes, max),
            Form::Segment => Err("it holds the bodies of several events".to_owned()),
        }
    }
}
