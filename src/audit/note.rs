//! Signed notes as c2sp.org/signed-note has them: a text, and who says so. Keys are written as Go's `sumdb/note` writes them.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::AuditError;

/// How long a note may be, in bytes.
pub const NOTE_BYTES_MAX: usize = 1024 * 1024;
/// How many signatures a note may bear.
pub const SIGNATURES_MAX: usize = 100;
/// The signature type of Ed25519.
const ED25519_TYPE: u8 = 0x01;
/// What a line with a signature begins with.
const MARK: &str = "— ";
/// What a signer's key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Tells keys of the same name apart; no proof of anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    fn of(name: &str, public: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name);
        hasher.update([b'\n', ED25519_TYPE]);
        hasher.update(public);
        let [a, b, c, d, ..]: [u8; 32] = hasher.finalize().into();
        Self([a, b, c, d])
    }

    fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 8 && text.bytes().all(is_digit)).then_some(())?;
        Some(Self(u32::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a key may be called so.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|char| char.is_whitespace() || char.is_control() || char == '+')
}

/// Splits the name, the id and the bytes of a written key.
fn parts(text: &str) -> Option<(&str, KeyId, [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    let bytes = BASE64_STANDARD.decode(key).ok()?;
    let (kind, key) = bytes.split_first()?;
    if !is_name(name) || *kind != ED25519_TYPE {
        return None;
    }
    Some((name, KeyId::parse(id)?, key.try_into().ok()?))
}

fn written(name: &str, id: KeyId, key: &[u8; 32]) -> String {
    let mut bytes = vec![ED25519_TYPE];
    bytes.extend_from_slice(key);
    format!("{name}+{id}+{}", BASE64_STANDARD.encode(bytes))
}

/// What checks signatures: the public half of a key, written `name+id+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    public: [u8; 32],
}

impl VerifierKey {
    /// What it is called: for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from others of its name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&self.name, self.id, &self.public))
    }
}

impl FromStr for VerifierKey {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let bad = |why| AuditError::Key { kind: "verifier", why };
        let (name, id, public) = parts(text).ok_or_else(|| bad("one is written name+id+base64, for Ed25519"))?;
        if KeyId::of(name, &public) != id {
            return Err(bad("its id is not that of its name and its bytes, so something of it was changed"));
        }
        Ok(Self { name: name.to_owned(), id, public })
    }
}

/// What makes signatures. Its text form is a secret; nothing shows it but [`SignerKey::reveal`].
pub struct SignerKey {
    verifier: VerifierKey,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SignerKey {
    /// The key of this name that `seed` stands for: 32 bytes from a source of randomness.
    ///
    /// # Errors
    /// [`AuditError::Name`] when nothing may be called so.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, AuditError> {
        if !is_name(name) {
            return Err(AuditError::Name(name.chars().take(80).collect()));
        }
        let bad = |_| AuditError::Key { kind: "signer", why: "its bytes are no seed of Ed25519" };
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(bad)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let verifier = VerifierKey { name: name.to_owned(), id: KeyId::of(name, &public), public };
        Ok(Self { verifier, seed, pair })
    }

    /// The half that may be shown.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The whole key as text, to be kept where only its owner can read it.
    pub fn reveal(&self) -> String {
        format!("{PRIVATE}{}", written(&self.verifier.name, self.verifier.id, &self.seed))
    }

    fn sign(&self, text: &str) -> Signature {
        let bytes = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl FromStr for SignerKey {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let bad = |why| AuditError::Key { kind: "signer", why };
        let (name, id, seed) = text
            .strip_prefix(PRIVATE)
            .and_then(parts)
            .ok_or_else(|| bad("one is written PRIVATE+KEY+name+id+base64, for Ed25519"))?;
        let key = Self::from_seed(name, seed)?;
        if key.verifier.id != id {
            return Err(bad("its id is not that of its name and its bytes, so something of it was changed"));
        }
        Ok(key)
    }
}

/// Who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// Which key of that name.
    pub id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(MARK)?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(signature).ok()?;
        let (id, bytes) = bytes.split_first_chunk()?;
        (is_name(name) && !bytes.is_empty()).then(|| Self { name: name.to_owned(), id: KeyId(*id), bytes: bytes.to_vec() })
    }

    fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.id == key.id
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0, self.bytes.as_slice()].concat();
        write!(f, "{MARK}{} {}", self.name, BASE64_STANDARD.encode(bytes))
    }
}

/// A text with signatures under it. Nothing of the text means anything before [`Note::verify`] has said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Signs a text.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the text does not end its last line, or has control characters.
    pub fn signed(text: String, key: &SignerKey) -> Result<Self, AuditError> {
        check(&text)?;
        if !text.ends_with('\n') {
            return Err(AuditError::Note("its text does not end with a line break"));
        }
        let signature = key.sign(&text);
        Ok(Self { text, signatures: vec![signature] })
    }

    /// The same note with one more signature, in the place of an earlier one by the same key.
    #[must_use]
    pub fn also_signed(mut self, key: &SignerKey) -> Self {
        self.signatures.retain(|signature| !signature.is_by(&key.verifier));
        self.signatures.push(key.sign(&self.text));
        self
    }

    /// What is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, whoever made them.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Finds the trusted keys that signed it; signatures of others say nothing.
    ///
    /// # Errors
    /// [`AuditError::Forged`] when a signature of a trusted key does not hold, [`AuditError::Unsigned`] when none of them signed it.
    pub fn verify<'a>(&self, trusted: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, AuditError> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            for key in trusted.iter().filter(|key| signature.is_by(key)) {
                // As in Go's package, a second signature by the same key is passed over.
                if signers.contains(&key) {
                    continue;
                }
                if !key.has_signed(&self.text, &signature.bytes) {
                    return Err(AuditError::Forged(format!("{}+{}", key.name, key.id)));
                }
                signers.push(key);
            }
        }
        if signers.is_empty() {
            let list = |keys: Vec<String>| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
            return Err(AuditError::Unsigned {
                wanted: list(trusted.iter().map(|key| format!("{}+{}", key.name, key.id)).collect()),
                borne: list(self.signatures.iter().map(|one| format!("{}+{}", one.name, one.id)).collect()),
            });
        }
        Ok(signers)
    }
}

/// Refuses what no note may hold.
fn check(text: &str) -> Result<(), AuditError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(AuditError::Note("it is longer than 1 MiB"));
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(AuditError::Note("it has control characters"));
    }
    Ok(())
}

impl FromStr for Note {
    type Err = AuditError;

    fn from_str(note: &str) -> Result<Self, AuditError> {
        check(note)?;
        // Only the last empty line parts them: the text may have empty lines of its own.
        let blank = note.rfind("\n\n").ok_or(AuditError::Note("no empty line parts its text from its signatures"))?;
        let (text, rest) = (note.get(..=blank), note.get(blank + 2..));
        let (Some(text), Some(rest)) = (text, rest.and_then(|rest| rest.strip_suffix('\n'))) else {
            return Err(AuditError::Note("its last line is cut off, or it has no signature"));
        };
        let lines: Vec<_> = rest.split('\n').collect();
        if lines.len() > SIGNATURES_MAX {
            return Err(AuditError::Note("it bears more than 100 signatures"));
        }
        let signatures: Option<Vec<_>> = lines.into_iter().map(Signature::parse).collect();
        let signatures = signatures.ok_or(AuditError::Note("a line below its text is no signature"))?;
        Ok(Self { text: text.to_owned(), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys, texts and signatures of `note_test.go` and `example_test.go` of golang.org/x/mod/sumdb/note (fe2ec04).
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PETER_SIGNS: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const BY_PETER: &str =
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const BY_ENOCH: &str =
        "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

    fn key(text: &str) -> VerifierKey {
        text.parse().unwrap()
    }

    fn open(note: &str, keys: &[VerifierKey]) -> Result<usize, AuditError> {
        note.parse::<Note>()?.verify(keys).map(|keys| keys.len())
    }

    #[test]
    fn go_s_published_note_comes_out_of_its_published_key() {
        let signer: SignerKey = PETER_SIGNS.parse().unwrap();
        assert_eq!(signer.verifier().to_string(), PETER);
        assert_eq!(signer.reveal(), PETER_SIGNS);
        let note = Note::signed(TEXT.to_owned(), &signer).unwrap();
        assert_eq!(note.to_string(), format!("{TEXT}\n{BY_PETER}"));
        // In that example the second key is made of zeros.
        let enoch = SignerKey::from_seed("EnochRoot", [0; 32]).unwrap();
        assert_eq!(enoch.verifier().to_string(), ENOCH);
        let both = note.also_signed(&enoch);
        assert_eq!(both.to_string(), format!("{TEXT}\n{BY_PETER}{BY_ENOCH}"));
        assert_eq!(both.clone().also_signed(&enoch), both, "once each");
    }

    #[test]
    fn the_examples_of_the_specification_verify() {
        // c2sp.org/signed-note, "Example".
        let note = "This is an example message.\n\n— example.com/foo \
                    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        let foo = key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
        assert_eq!(open(note, std::slice::from_ref(&foo)).unwrap(), 1);
        assert!(matches!(open(&note.replace("example m", "Example m"), &[foo]), Err(AuditError::Forged(_))));
        // Its first example has an empty line in the text.
        let poem = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n";
        let by = "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let note: Note = format!("{poem}\n{by}").parse().unwrap();
        assert_eq!((note.text(), note.signatures().len()), (poem, 1));
        assert_eq!(note.to_string(), format!("{poem}\n{by}"));
    }

    #[test]
    fn signatures_of_unknown_keys_are_passed_over_and_those_of_known_ones_must_hold() {
        let (peter, enoch) = (key(PETER), key(ENOCH));
        let both = format!("{TEXT}\n{BY_PETER}{BY_ENOCH}");
        assert_eq!(open(&both, std::slice::from_ref(&peter)).unwrap(), 1);
        assert_eq!(open(&both, &[peter.clone(), enoch]).unwrap(), 2);
        let error = open(&both, &[key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]).unwrap_err();
        assert!(error.to_string().contains("EnochRoot+af0cfe78"), "{error}");
        assert!(matches!(open(&both, &[]), Err(AuditError::Unsigned { .. })));
        // Go's test puts four characters into a signature.
        let (begin, end) = BY_PETER.split_at(62);
        assert!(matches!(open(&format!("{TEXT}\n{begin}ABCD{end}"), std::slice::from_ref(&peter)), Err(AuditError::Forged(_))));
        let (begin, end) = BY_ENOCH.split_at(62);
        let again = format!("{TEXT}\n{BY_PETER}{BY_PETER}{BY_ENOCH}{begin}ABCD{end}");
        assert_eq!(open(&again, std::slice::from_ref(&peter)).unwrap(), 1);
        for name in ["PeterNeumann ", "PeterNeumanN "] {
            let note = format!("{TEXT}\n{}", BY_PETER.replace("PeterNeumann ", name).replace("x08go", "xxxxo"));
            assert!(matches!(open(&note, std::slice::from_ref(&peter)), Err(AuditError::Unsigned { .. })));
        }
        let sixteen = format!("{TEXT}\n{}{BY_PETER}", BY_ENOCH.repeat(15));
        assert_eq!(open(&sixteen, &[peter]).unwrap(), 1);
    }

    #[test]
    fn what_go_calls_malformed_is_refused() {
        let cut = BY_PETER.trim_end();
        for note in [
            TEXT.to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}\n{cut}"),
            format!("\u{1}{TEXT}\n{BY_PETER}"),
            format!("{TEXT}\r\n{BY_PETER}"),
            format!("{TEXT}\n{}", BY_PETER.replace("PeterNeumann", "Bad Name")),
            format!("{TEXT}\n{}", BY_PETER.replace("PeterNeumann", "a+b")),
            format!("{TEXT}\n{BY_PETER}Unexpected line.\n"),
            format!("{TEXT}\n{}", BY_PETER.repeat(101)),
            format!("{TEXT}\n— PeterNeumann BADHASH=\n"),
            String::new(),
        ] {
            assert!(matches!(note.parse::<Note>(), Err(AuditError::Note(_))), "{note}");
        }
        let signer: SignerKey = PETER_SIGNS.parse().unwrap();
        assert!(Note::signed("abc".to_owned(), &signer).is_err());
    }

    #[test]
    fn no_part_and_no_change_of_a_key_is_a_key() {
        for (written, secret) in [(PETER, false), (PETER_SIGNS, true)] {
            let refused =
                |text: &str| if secret { text.parse::<SignerKey>().is_err() } else { text.parse::<VerifierKey>().is_err() };
            for begin in 0..written.len() {
                for end in begin..=written.len() {
                    assert!((begin, end) == (0, written.len()) || refused(&written[begin..end]), "{begin}..{end}");
                }
            }
            for at in 0..written.len() {
                let mut bytes = written.as_bytes().to_vec();
                bytes[at] += 1;
                assert!(refused(&String::from_utf8(bytes).unwrap()), "byte {at}");
            }
        }
        // Another length, and another algorithm, with ids that are right for them.
        for bad in [
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err());
        }
        assert!(SignerKey::from_seed("two words", [0; 32]).is_err());
    }

    #[test]
    fn a_secret_key_is_shown_by_nothing() {
        let signer: SignerKey = PETER_SIGNS.parse().unwrap();
        assert!(!format!("{signer:?}").contains("AYEKFALV"));
        let error = PETER_SIGNS.replace("c74f20a3", "c74f20a4").parse::<SignerKey>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("AYEKFALV"));
    }

    proptest! {
        #[test]
        fn a_note_comes_back_from_its_text(text in "[^\\x00-\\x1f]{0,40}(\n{1,3}[^\\x00-\\x1f]{0,20}){0,4}\n", seed: [u8; 32]) {
            let signer = SignerKey::from_seed("log.example/one", seed).unwrap();
            let note = Note::signed(text, &signer).unwrap();
            let read: Note = note.to_string().parse().unwrap();
            prop_assert_eq!(read.verify(std::slice::from_ref(signer.verifier())).unwrap().len(), 1);
            prop_assert_eq!(read, note);
        }

        #[test]
        fn no_text_makes_a_panic(text: String) {
            let _ = text.parse::<Note>();
            let _ = text.parse::<VerifierKey>();
            let _ = format!("PRIVATE+KEY+{text}").parse::<SignerKey>();
        }
    }
}
