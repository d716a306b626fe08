//! Checkpoints as c2sp.org/tlog-checkpoint has them: which log, how many leaves, which root; a signed note's text.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::AuditError;
use super::note::{Note, SignerKey, VerifierKey};
use crate::session::Digest;

/// What a log was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves its tree had.
    pub size: u64,
    /// The root of that tree.
    pub root: Digest,
    /// Further lines that the log signed; Rekindle writes none and reads nothing into them.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// What the log `origin` is with these leaves.
    pub const fn new(origin: String, size: u64, root: Digest) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the origin is no text that a note may hold.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, AuditError> {
        Note::signed(self.to_string(), key)
    }

    /// Reads a note that one of the `trusted` keys signed, which must be a key of the log that it speaks of.
    ///
    /// # Errors
    /// Those of [`Note::verify`], and [`AuditError::Checkpoint`] when what is signed is no checkpoint, or one of another log.
    pub fn open(note: &Note, trusted: &[VerifierKey]) -> Result<Self, AuditError> {
        let signers = note.verify(trusted)?;
        let checkpoint: Self = note.text().parse()?;
        if signers.iter().any(|key| key.name() == checkpoint.origin) {
            Ok(checkpoint)
        } else {
            Err(AuditError::Checkpoint("its origin is not the name of the key that signed it"))
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64_STANDARD.encode(self.root.0))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let bad = AuditError::Checkpoint;
        let mut lines = text.strip_suffix('\n').ok_or_else(|| bad("its last line is cut off"))?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let [Some(origin), Some(size), Some(root)] = [line(), line(), line()] else {
            return Err(bad("it begins with three lines: origin, size, root"));
        };
        let is_number = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| is_number).ok_or_else(|| bad("its size is no plain decimal number"))?;
        let bytes = BASE64_STANDARD.decode(root).ok();
        let root = bytes.and_then(|bytes| Digest::from_slice(&bytes)).ok_or_else(|| bad("its root is not 32 bytes in base64"))?;
        let extensions: Vec<_> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(bad("it has an empty line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::merkle::leaf_hash;

    /// c2sp.org/tlog-checkpoint, its example.
    const SOFA: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    /// `note_test.go` of golang.org/x/mod/sumdb/tlog (fe2ec04).
    const GO: &str = "go.sum database tree\n123456789012\nTszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=\n";

    #[test]
    fn the_published_examples_are_read_and_written() {
        let by = "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let note: Note = format!("{SOFA}\n{by}").parse().unwrap();
        let sofa: Checkpoint = note.text().parse().unwrap();
        assert_eq!((sofa.origin.as_str(), sofa.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(sofa.to_string(), SOFA);
        let go = Checkpoint::new("go.sum database tree".to_owned(), 123_456_789_012, leaf_hash(b"hello world"));
        assert_eq!(go.to_string(), GO);
        assert_eq!(GO.parse::<Checkpoint>().unwrap(), go);
    }

    #[test]
    fn a_checkpoint_that_is_written_in_another_way_is_refused() {
        for bad in [
            GO.trim_end().to_owned(),
            GO.replace("123456789012", "0123456789012"),
            GO.replace("123456789012", "+123456789012"),
            GO.replace("123456789012", "0xabcdef"),
            GO.replace("123456789012", "-1"),
            GO.replace("123456789012", "99999999999999999999"),
            GO.replace("123456789012", ""),
            GO.replace("go.sum database tree", ""),
            GO.replace("wBb0=", "wBTOOBIG="),
            GO.replace("wBb0=", "wBb0"),
            GO.replace("wBb0=", "wBb1="),
            format!("{GO}\n"),
            format!("{GO}\nextension\n"),
            "go.sum database tree\n1\n".to_owned(),
            String::new(),
        ] {
            assert!(bad.parse::<Checkpoint>().is_err(), "{bad:?}");
        }
        let empty: Checkpoint = "o\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nextension\n".parse().unwrap();
        assert_eq!((empty.size, empty.extensions.len()), (0, 1));
    }

    #[test]
    fn only_a_key_of_the_log_speaks_for_it() {
        let key = |name| SignerKey::from_seed(name, [7; 32]).unwrap();
        let (own, other) = (key("log.example/a"), key("log.example/b"));
        let checkpoint = Checkpoint::new("log.example/a".to_owned(), 3, Digest::ZERO);
        let keys = [own.verifier().clone(), other.verifier().clone()];
        assert_eq!(Checkpoint::open(&checkpoint.sign(&own).unwrap(), &keys).unwrap(), checkpoint);
        assert_eq!(Checkpoint::open(&checkpoint.sign(&other).unwrap().also_signed(&own), &keys).unwrap(), checkpoint);
        assert!(matches!(Checkpoint::open(&checkpoint.sign(&other).unwrap(), &keys), Err(AuditError::Checkpoint(_))));
        let unknown = SignerKey::from_seed("log.example/a", [8; 32]).unwrap();
        assert!(matches!(Checkpoint::open(&checkpoint.sign(&unknown).unwrap(), &keys), Err(AuditError::Unsigned { .. })));
    }

    proptest! {
        #[test]
        fn a_checkpoint_comes_back_from_its_text(origin in "[^\\x00-\\x1f]{1,30}", size: u64, root: [u8; 32]) {
            let checkpoint = Checkpoint::new(origin, size, Digest(root));
            prop_assert_eq!(checkpoint.to_string().parse::<Checkpoint>().unwrap(), checkpoint);
        }
    }
}
