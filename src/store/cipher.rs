//! Encryption of what one session has said, with its own key: AES-256-GCM, a random nonce of 96 bits before each text.
//!
//! Each text is bound to its session and to its place, so that none can be put in another's. At the most 2³² texts may be encrypted with
//! one key (NIST SP 800-38D, 8.3), more than a session has events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use uuid::Uuid;

use super::content::Bad;
use crate::session::{Digest, EventId, Seq, SessionId};

/// How long a key is.
pub(super) const KEY_BYTES: usize = 32;

/// What is encrypted.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// The body of an event, behind its salt.
    Body(EventId),
    /// Content that lies apart: long bodies, segments, recordings.
    Content,
    /// A state, and which one.
    Snapshot(Seq, &'a str),
    /// The title in lists.
    Title,
    /// A command on its way to another node.
    Letter(Uuid),
}

impl What<'_> {
    /// What the text is bound to.
    fn place(self, session: SessionId) -> Vec<u8> {
        let (tag, place): (u8, Vec<u8>) = match self {
            Self::Body(id) => (1, id.as_bytes().to_vec()),
            Self::Content => (2, Vec::new()),
            Self::Snapshot(seq, reducer) => (3, [&seq.0.to_be_bytes(), reducer.as_bytes()].concat()),
            Self::Title => (4, Vec::new()),
            Self::Letter(id) => (5, id.as_bytes().to_vec()),
        };
        [b"rekindle/at-rest/1\0".as_slice(), session.as_bytes(), &[tag], &place].concat()
    }
}

/// The key of one session.
pub(super) struct SessionKey {
    session: SessionId,
    seal: LessSafeKey,
    /// Names content and nonces of titles, so that equal ones can be found without being read.
    name: hmac::Key,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SessionKey").field("session", &self.session).finish_non_exhaustive()
    }
}

impl SessionKey {
    /// The key whose bytes these are; `None` when they cannot be used.
    pub(super) fn new(session: SessionId, bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let derived = |what: &[u8]| hmac::sign(&root, what);
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived(b"seal").as_ref()).ok()?);
        Some(Self { session, seal, name: hmac::Key::new(hmac::HMAC_SHA256, derived(b"name").as_ref()) })
    }

    /// Encrypts a text: nonce, ciphertext, tag.
    pub(super) fn seal(&self, what: What<'_>, text: &[u8]) -> Result<Vec<u8>, Bad> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| format!("the system gives no random numbers: {error}"))?;
        self.seal_with(nonce, what, text)
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], what: What<'_>, text: &[u8]) -> Result<Vec<u8>, Bad> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + text.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(text);
        let (nonce, place) = (Nonce::assume_unique_for_key(nonce), Aad::from(what.place(self.session)));
        let begin = *nonce.as_ref();
        self.seal.seal_in_place_append_tag(nonce, place, &mut sealed).map_err(|_| "it is too long to be encrypted".to_owned())?;
        sealed.splice(0..0, begin);
        Ok(sealed)
    }

    /// The text that was encrypted.
    pub(super) fn open(&self, what: What<'_>, sealed: &[u8]) -> Result<Vec<u8>, Bad> {
        let wrong = || "it is not what was encrypted with the key of its session".to_owned();
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut text = text.to_vec();
        let place = Aad::from(what.place(self.session));
        let length = self.seal.open_in_place(Nonce::assume_unique_for_key(*nonce), place, &mut text).map_err(|_| wrong())?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Encrypts a text as a JSON string, for columns that hold JSON or text.
    pub(super) fn seal_text(&self, what: What<'_>, text: &str) -> Result<String, Bad> {
        Ok(quoted(&self.seal(what, text.as_bytes())?))
    }

    /// The text that was encrypted as a JSON string.
    pub(super) fn open_text(&self, what: What<'_>, sealed: &str) -> Result<String, Bad> {
        let wrong = || "it is not what was encrypted".to_owned();
        let inner = sealed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
        let bytes = STANDARD.decode(inner).map_err(|_| wrong())?;
        String::from_utf8(self.open(what, &bytes)?).map_err(|_| wrong())
    }

    /// Encrypts a title, equal ones equally: whoever takes one out must find where it stands.
    pub(super) fn seal_title(&self, title: &str) -> Result<String, Bad> {
        let tag = hmac::sign(&self.name, &[b"title\0".as_slice(), title.as_bytes()].concat());
        let nonce = tag.as_ref().first_chunk::<NONCE_LEN>().copied().unwrap_or_default();
        Ok(quoted(&self.seal_with(nonce, What::Title, title.as_bytes())?))
    }

    /// What content is found by: without the key nobody can tell whether it is what he guesses.
    pub(super) fn address(&self, digest: Digest) -> Digest {
        let tag = hmac::sign(&self.name, &[b"content\0".as_slice(), &digest.0].concat());
        Digest::from_slice(tag.as_ref()).unwrap_or(Digest::ZERO)
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::new_session;

    fn key(session: SessionId) -> SessionKey {
        SessionKey::new(session, &[7; KEY_BYTES]).unwrap()
    }

    #[test]
    fn a_text_is_opened_at_its_place_of_its_session_and_nowhere_else() {
        let (session, other) = (new_session(), new_session());
        let (one, two) = (EventId::from_uuid(Uuid::now_v7()), EventId::from_uuid(Uuid::now_v7()));
        let sealed = key(session).seal_text(What::Body(one), "{\"a\":1}").unwrap();
        assert_eq!(key(session).open_text(What::Body(one), &sealed).unwrap(), "{\"a\":1}");
        assert!(key(session).open_text(What::Body(two), &sealed).is_err());
        assert!(key(session).open_text(What::Content, &sealed).is_err());
        assert!(key(other).open_text(What::Body(one), &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(key(session).open_text(What::Body(one), &sealed[..cut]).is_err());
        }
        let mut changed = key(session).seal(What::Content, b"text").unwrap();
        for at in 0..changed.len() {
            changed[at] ^= 1;
            assert!(key(session).open(What::Content, &changed).is_err());
            changed[at] ^= 1;
        }
        assert_eq!(key(session).open(What::Content, &changed).unwrap(), b"text");
    }

    #[test]
    fn equal_titles_are_equal_and_equal_bodies_are_not() {
        let (session, other) = (new_session(), new_session());
        let key = key(session);
        assert_eq!(key.seal_title("a title").unwrap(), key.seal_title("a title").unwrap());
        assert_ne!(key.seal_title("a title").unwrap(), key.seal_title("another").unwrap());
        assert_eq!(key.open_text(What::Title, &key.seal_title("a title").unwrap()).unwrap(), "a title");
        let digest = Digest::of(b"content");
        assert_ne!(key.seal(What::Content, b"x").unwrap(), key.seal(What::Content, b"x").unwrap());
        assert_ne!(key.address(digest), digest);
        assert_ne!(key.address(digest), SessionKey::new(other, &[8; KEY_BYTES]).unwrap().address(digest));
    }
}
