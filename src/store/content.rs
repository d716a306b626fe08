//! How bodies and content lie in the database: as they are, compressed, many bodies together, and any of these encrypted.

use std::sync::Arc;
use std::{fmt, io};

use super::chain::Salt;
use super::cipher::{SessionKey, What};
use super::keys::KeyRing;
use super::segment::Segment;
use super::{Append, Bodies, DamagedEvent, OpenError, OpenOptions, Row, StoreError};
use crate::session::{Body, Digest, EventId, SessionId};

/// Content is compressed once, when nobody waits for it; higher levels take several times as long for a few per cent.
const LEVEL: i32 = 9;

/// How many segments are kept at hand: of as many sessions a page of the feed may tell by turns.
pub(super) const SEGMENTS_KEPT: usize = 16;

/// Bodies up to this length lie in the row of their event, longer ones in the table of blobs, once.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// How long a salt is before a body that is encrypted with it: two hexadecimal digits a byte.
const SALT_DIGITS: usize = 2 * size_of::<Salt>();

/// Why content is not what it should be.
pub(super) type Bad = String;

/// Who can read what lies in the database.
#[derive(Debug, Clone)]
pub(super) enum Secrecy {
    /// Whoever can read the database.
    Readable,
    /// Who has the keys, too.
    Encrypted(Arc<KeyRing>),
}

impl Secrecy {
    /// As a store says of itself that it was opened as asked for.
    ///
    /// # Errors
    /// When it is encrypted and nobody said where the keys are, or when it should be and is not.
    pub(super) fn found(encrypted: bool, options: &OpenOptions, address: impl FnOnce() -> String) -> Result<Self, StoreError> {
        match (encrypted, options.bodies, &options.keys) {
            (true, _, Some(keys)) => Ok(Self::Encrypted(Arc::new(KeyRing::at(keys.clone())))),
            (true, _, None) => Err(OpenError::NoKeys(address()).into()),
            (false, Bodies::Encrypted, _) => Err(OpenError::NotEncrypted(address()).into()),
            (false, Bodies::Readable, _) => Ok(Self::Readable),
        }
    }

    /// Whether what sessions say is encrypted.
    pub(super) const fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// The keys, where they are needed for this session: the audit log holds nothing that a session has said, and is to be checked by
    /// whoever has no key.
    fn ring_of(&self, session: SessionId) -> Option<&Arc<KeyRing>> {
        match self {
            Self::Encrypted(ring) if !session.is_audit_log() => Some(ring),
            Self::Encrypted(_) | Self::Readable => None,
        }
    }

    /// The key of a session; `None` where nothing is encrypted.
    ///
    /// # Errors
    /// [`StoreError::NoKey`] when it is not there.
    pub(super) fn key(&self, session: SessionId) -> Result<Option<Arc<SessionKey>>, StoreError> {
        let Some(ring) = self.ring_of(session) else { return Ok(None) };
        match ring.find(session) {
            Ok(Some(key)) => Ok(Some(key)),
            Ok(None) => Err(no_key(session, ring, None)),
            Err(error) => Err(no_key(session, ring, Some(error))),
        }
    }

    /// The same for a row that is read, which is named as damaged without it.
    fn key_of_row(&self, session: SessionId) -> Result<Arc<SessionKey>, Bad> {
        match self.key(session) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => Err("it is encrypted, and this store is not".to_owned()),
            Err(StoreError::NoKey { keys, source: None, .. }) => {
                Err(format!("there is no key of its session in {}", keys.display()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether [`key`](Self::key) answers at once.
    pub(super) fn is_at_hand(&self, session: SessionId) -> bool {
        self.ring_of(session).is_none_or(|ring| ring.has(session))
    }

    /// Makes the key of a session that begins. May take as long as the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn make_key(&self, session: SessionId) -> Result<(), StoreError> {
        let Some(ring) = self.ring_of(session) else { return Ok(()) };
        ring.make(session).map(drop).map_err(|error| no_key(session, ring, Some(error)))
    }

    /// Destroys the key of a session that was purged.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn destroy_key(&self, session: SessionId) -> Result<(), StoreError> {
        let Some(ring) = self.ring_of(session) else { return Ok(()) };
        ring.destroy(session).map_err(|error| no_key(session, ring, Some(error)))
    }

    /// A title as it lies in lists.
    pub(super) fn hidden_title(&self, session: SessionId, title: String) -> Result<String, StoreError> {
        match self.key(session)? {
            None => Ok(title),
            Some(key) => key.seal_title(&title).map_err(StoreError::Invalid),
        }
    }

    /// A title as it was; `None` where its key is gone.
    pub(super) fn shown_title(&self, session: SessionId, title: String) -> Option<String> {
        match self.key(session) {
            Ok(None) => Some(title),
            Ok(Some(key)) => key.open_text(What::Title, &title).ok(),
            Err(_) => None,
        }
    }
}

fn no_key(session: SessionId, ring: &KeyRing, source: Option<io::Error>) -> StoreError {
    StoreError::NoKey { session, keys: ring.directory().to_owned(), source: source.map(Into::into) }
}

/// What content is, apart from whether it is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As it is.
    Plain,
    /// Compressed.
    Packed,
    /// The bodies of several events of one session: a [`Segment`].
    Segment,
}

/// How content lies in its row: the column `form`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) layout: Layout,
    pub(super) encrypted: bool,
}

/// What is added to the number of a layout that is encrypted.
const ENCRYPTED: i32 = 4;

impl Form {
    /// As the database holds it.
    pub(super) const fn stored(self) -> i32 {
        let layout = match self.layout {
            Layout::Plain => 0,
            Layout::Packed => 1,
            Layout::Segment => 2,
        };
        layout + if self.encrypted { ENCRYPTED } else { 0 }
    }

    /// What the database holds.
    pub(super) fn read(stored: i32) -> Result<Self, Bad> {
        let encrypted = stored & ENCRYPTED != 0;
        [Layout::Plain, Layout::Packed, Layout::Segment]
            .map(|layout| Self { layout, encrypted })
            .into_iter()
            .find(|form| form.stored() == stored)
            .ok_or_else(|| format!("it lies there in form {stored}, which this version does not know"))
    }
}

/// Compresses content.
pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Bad> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| format!("it cannot be compressed: {error}"))
}

/// Decompresses content. To make what it works with takes as long as some of the work, so that it is kept.
#[derive(Default)]
pub(super) struct Decompressor(Option<zstd::bulk::Decompressor<'static>>);

impl Decompressor {
    /// The content that was compressed, which must not be longer than `max` bytes.
    pub(super) fn decompress(&mut self, bytes: &[u8], max: usize) -> Result<Vec<u8>, Bad> {
        let broken = || "it is not what was compressed".to_owned();
        let failed = |error| format!("it cannot be decompressed: {error}");
        let length = zstd::zstd_safe::get_frame_content_size(bytes).map_err(|_| broken())?.ok_or_else(broken)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(broken)?;
        let work = match &mut self.0 {
            Some(work) => work,
            None => self.0.insert(zstd::bulk::Decompressor::new().map_err(failed)?),
        };
        let content = work.decompress(bytes, length).map_err(failed)?;
        if content.len() == length { Ok(content) } else { Err(broken()) }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Decompressor")
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
    /// Content as it is to lie there.
    pub(super) fn laid(key: Option<&SessionKey>, layout: Layout, bytes: Vec<u8>) -> Result<Self, Bad> {
        let form = Form { layout, encrypted: key.is_some() }.stored();
        let bytes = match key {
            None => bytes,
            Some(key) => key.seal(What::Content, &bytes)?,
        };
        Ok(Self { form, bytes })
    }

    /// Takes the encryption off.
    fn opened(self, secrecy: &Secrecy, session: SessionId) -> Result<(Layout, Vec<u8>), Bad> {
        let Form { layout, encrypted } = Form::read(self.form)?;
        match encrypted {
            false => Ok((layout, self.bytes)),
            true => Ok((layout, secrecy.key_of_row(session)?.open(What::Content, &self.bytes)?)),
        }
    }

    /// What was given to be kept for `session`.
    pub(super) fn whole(self, secrecy: &Secrecy, session: SessionId, max: usize) -> Result<Vec<u8>, Bad> {
        match self.opened(secrecy, session)? {
            (Layout::Plain, bytes) => Ok(bytes),
            (Layout::Packed, bytes) => Decompressor::default().decompress(&bytes, max),
            (Layout::Segment, _) => Err("it holds the bodies of several events".to_owned()),
        }
    }

    /// The segment that this is, or what it was when it is none.
    fn segment(
        self,
        secrecy: &Secrecy,
        session: SessionId,
        decompressor: &mut Decompressor,
    ) -> Result<Result<Segment, Self>, Bad> {
        if Form::read(self.form)?.layout != Layout::Segment {
            return Ok(Err(self));
        }
        let (_, bytes) = self.opened(secrecy, session)?;
        Segment::read(&bytes, decompressor).map(Ok)
    }
}

/// A body as it is to lie in the database.
#[derive(Debug)]
pub(super) enum Laid {
    /// In its row, as it is.
    Here,
    /// In its row, encrypted behind its salt.
    Encrypted(String),
    /// In content of its own, as it is.
    Apart(Digest),
    /// In content of its own, encrypted behind its salt.
    EncryptedApart(Digest, Content),
}

impl Laid {
    /// How a body of `session` is to lie.
    pub(super) fn of(key: Option<&SessionKey>, id: EventId, salt: &Salt, body: &str) -> Result<Self, Bad> {
        let is_long = body.len() > INLINE_BYTES_MAX;
        let Some(key) = key else {
            return Ok(if is_long { Self::Apart(Digest::of(body.as_bytes())) } else { Self::Here });
        };
        let text = with_salt(salt, body);
        if is_long {
            let address = key.address(Digest::of(text.as_bytes()));
            return Ok(Self::EncryptedApart(address, Content::laid(Some(key), Layout::Plain, text.into_bytes())?));
        }
        key.seal_text(What::Body(id), &text).map(Self::Encrypted)
    }

    /// What stands in the row of the event.
    pub(super) fn text<'a>(&'a self, body: &'a str) -> Option<&'a str> {
        match self {
            Self::Here => Some(body),
            Self::Encrypted(text) => Some(text),
            Self::Apart(_) | Self::EncryptedApart(..) => None,
        }
    }

    /// The salt, where it stands in the row.
    pub(super) const fn salt<'a>(&self, salt: &'a Salt) -> Option<&'a Salt> {
        match self {
            Self::Here | Self::Apart(_) => Some(salt),
            Self::Encrypted(_) | Self::EncryptedApart(..) => None,
        }
    }

    /// The content that the body lies in: its digest, its bytes, its form.
    pub(super) fn apart<'a>(&'a self, body: &'a str) -> Option<(Digest, &'a [u8], i32)> {
        match self {
            Self::Here | Self::Encrypted(_) => None,
            Self::Apart(digest) => Some((*digest, body.as_bytes(), Form { layout: Layout::Plain, encrypted: false }.stored())),
            Self::EncryptedApart(digest, content) => Some((*digest, &content.bytes, content.form)),
        }
    }
}

/// A body behind its salt, as it is encrypted: whoever has the salt can try whether the body is what he guesses.
pub(super) fn with_salt(salt: &Salt, body: &str) -> String {
    let mut text = String::with_capacity(SALT_DIGITS + body.len());
    salt.iter().for_each(|byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    });
    text.push_str(body);
    text
}

/// The salt and the body.
fn without_salt(text: &str) -> Result<(Salt, &str), Bad> {
    let wrong = || "no salt stands before it".to_owned();
    let (digits, body) = text.split_at_checked(SALT_DIGITS).ok_or_else(wrong)?;
    let salt = u128::from_str_radix(digits, 16).map_err(|_| wrong())?;
    Ok((salt.to_be_bytes(), body))
}

/// A body that was read with its row, or where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// In the row, as it is, or nowhere any more.
    Here,
    /// In the row, encrypted.
    Encrypted,
    /// In the table of blobs.
    InBlob(Digest),
}

impl Held {
    /// A row whose body cannot be read, and why not.
    pub(super) fn damaged(self, row: &Row, what: &str) -> DamagedEvent {
        let what = match self {
            Self::InBlob(digest) => format!("its body cannot be read from blob {}: {what}", digest.short()),
            Self::Here | Self::Encrypted => format!("its body cannot be read: {what}"),
        };
        let session = match row {
            Row::Event { event, .. } => Some(event.session),
            Row::Damaged { .. } => None,
        };
        DamagedEvent { session, seq: row.seq(), what }
    }
}

/// Reads bodies that are not as they are in their rows. Each segment is read once and not for each of its events.
#[derive(Debug)]
pub(super) struct Opener {
    secrecy: Secrecy,
    segments: Vec<(Digest, Segment)>,
    decompressor: Decompressor,
}

impl Opener {
    /// One that has read nothing yet.
    pub(super) fn new(secrecy: &Secrecy) -> Self {
        Self { secrecy: secrecy.clone(), segments: Vec::new(), decompressor: Decompressor::default() }
    }

    /// Decrypts a body that lies in its row.
    pub(super) fn decrypt(&self, row: &mut Row) -> Result<(), Bad> {
        let Row::Event { event, .. } = &*row else { return Ok(()) };
        let key = self.secrecy.key_of_row(event.session)?;
        let text = key.open_text(What::Body(event.id), event.body.as_json())?;
        set(row, &text)
    }

    /// Whether a segment is at hand.
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.segments.iter().any(|(kept, _)| *kept == digest)
    }

    /// Sets the body of a row out of a segment that is at hand.
    pub(super) fn set_from_segment(&self, digest: Digest, row: &mut Row) -> Result<(), Bad> {
        let Row::Event { event, .. } = &*row else { return Ok(()) };
        let kept = self.segments.iter().find(|(kept, _)| *kept == digest);
        let (_, segment) = kept.ok_or_else(|| "its segment is not there".to_owned())?;
        set(row, segment.body(event.session, event.seq)?)
    }

    /// Sets the body of a row out of the content that it lies in.
    pub(super) fn set_from(&mut self, digest: Digest, content: Content, row: &mut Row) -> Result<(), Bad> {
        let Row::Event { event, .. } = &*row else { return Ok(()) };
        let session = event.session;
        match content.segment(&self.secrecy, session, &mut self.decompressor)? {
            Ok(segment) => {
                self.keep(digest, segment);
                self.set_from_segment(digest, row)
            }
            Err(content) => {
                let bytes = content.whole(&self.secrecy, session, Append::BODY_BYTES_MAX + SALT_DIGITS)?;
                set(row, std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_owned())?)
            }
        }
    }

    /// Keeps a segment at hand for the rows of `session`; what is none is asked for again with the row that it belongs to.
    #[cfg(feature = "postgres")]
    pub(super) fn take(&mut self, session: SessionId, digest: Digest, content: Content) {
        if let Ok(Ok(segment)) = content.segment(&self.secrecy, session, &mut self.decompressor) {
            self.keep(digest, segment);
        }
    }

    /// The segment that was read last.
    pub(super) fn into_segment(mut self) -> Option<Segment> {
        self.segments.pop().map(|(_, segment)| segment)
    }

    /// That which has been there the longest goes.
    fn keep(&mut self, digest: Digest, segment: Segment) {
        if self.segments.len() >= SEGMENTS_KEPT {
            self.segments.remove(0);
        }
        self.segments.push((digest, segment));
    }
}

/// Sets the body of a row, and its salt where that stands before the body.
fn set(row: &mut Row, text: &str) -> Result<(), Bad> {
    let Row::Event { event, salt, .. } = row else { return Ok(()) };
    let body = match salt {
        Some(_) => text,
        None => {
            let (before, body) = without_salt(text)?;
            *salt = Some(before);
            body
        }
    };
    event.body = Body::Json(body.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_comes_back_from_before_its_body() {
        let salt = [0, 1, 0xab, 0xff, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let text = with_salt(&salt, "{\"é\":1}");
        assert!(text.starts_with("0001abff"));
        assert_eq!(without_salt(&text), Ok((salt, "{\"é\":1}")));
        for broken in ["", "12", "zz01abff0405060708090a0b0c0d0e0f{}"] {
            assert!(without_salt(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn every_form_is_read_as_it_was_stored_and_others_are_refused() {
        for stored in [0, 1, 2, 4, 5, 6] {
            assert_eq!(Form::read(stored).unwrap().stored(), stored);
        }
        for stored in [-1, 3, 7, 8, 12] {
            assert!(Form::read(stored).is_err(), "{stored}");
        }
    }
}
