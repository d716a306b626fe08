//! Random sessions as bundles, what can be done to a bundle, and the checker that knows nothing of the program.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rekindle::audit::bundle::{self, Damage, End, EventRecord, KeyRecord, Made, ProofRecord, Record, VerifiedBundle};
use rekindle::audit::merkle::{CompactRange, ProofBuilder, leaf_hash};
use rekindle::audit::{AuditError, Checkpoint, SignerKey, Verdict, VerifierKey};
use rekindle::session::audit::Head;
use rekindle::session::{Digest, EventId, Kind, NewEvent, REDUCER, Seq, Session, SessionId, Source, Timestamp};
use rekindle::store::chain::{Envelope, digest};
use rekindle::store::{Append, Base, Expected, MemoryStore, SharedStore, Writer};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

/// Chance from a seed, so that what was found is found again: splitmix64.
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_le_bytes()[0])
    }

    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.bytes())
    }
}

/// Texts that JSON, UTF-8 and lines make hard.
const WORDS: [&str; 9] = [
    "plain",
    "",
    "\"quoted\\\"",
    "two\nlines\r\n",
    "\u{1}\u{1f}\u{7f}\u{85}\u{a0}",
    "naïve café",
    "日本語",
    "🦀\u{200d}🔥",
    "\u{2028}\u{feff}/",
];

const KINDS: [&str; 16] = [
    "note.added",
    "action.message",
    "action.run",
    "action.edit",
    "action.recall",
    "action.delegate",
    "action.dispatched",
    "observation.run",
    "observation.error",
    "model.responded",
    "workspace.captured",
    "start.step_finished",
    "turn.ended",
    "tomorrow.unknown",
    "action",
    "session.closed",
];

/// A store that holds a session.
pub struct Filled {
    pub store: SharedStore,
    pub session: SessionId,
    pub head: Seq,
    /// Whether a state is recorded that is not the one that the log folds to.
    pub lies: bool,
}

/// Fills a store with a session of random events: forks, redacted ones, content beside the log, and what no version knows.
pub async fn random_session(chance: &mut Chance) -> Filled {
    let mut filling = Filling {
        store: Arc::new(MemoryStore::new()),
        session: SessionId::from_uuid(chance.uuid()),
        past: vec![(Session::default(), Digest::ZERO)],
        begins: Expected::NoSession,
        lies: BTreeSet::new(),
    };
    let (forks, mut redactions) = (*chance.of(&[0, 0, 0, 1, 2]), Vec::new());
    for level in 0..=forks {
        for _ in 0..1 + chance.below(9) {
            filling.event(chance).await;
            if chance.one_in(12) {
                redactions.push((filling.session, filling.head()));
            }
        }
        if level < forks {
            filling.fork(chance);
        }
    }
    // What is redacted was folded before.
    for (session, seq) in redactions {
        filling.store.redact(session, seq).await.unwrap();
    }
    let head = filling.head();
    let Filling { store, session, lies, .. } = filling;
    Filled { store, session, head, lies: !lies.is_empty() }
}

struct Filling {
    store: SharedStore,
    session: SessionId,
    /// The state and the chain hash after each event, from before the first one on.
    past: Vec<(Session, Digest)>,
    /// What the next event finds, where the session has none of its own yet.
    begins: Expected,
    lies: BTreeSet<Seq>,
}

impl Filling {
    fn head(&self) -> Seq {
        Seq(self.past.len() as u64 - 1)
    }

    fn fork(&mut self, chance: &mut Chance) {
        let at = 1 + chance.below(self.past.len() - 1);
        self.past.truncate(at + 1);
        let base = Base { session: self.session, seq: self.head() };
        self.begins = Expected::Fork { base, hash: self.past[at].1 };
        self.session = SessionId::from_uuid(chance.uuid());
        self.lies.retain(|seq| *seq <= base.seq);
    }

    async fn event(&mut self, chance: &mut Chance) {
        let seq = self.head().next();
        let kind = match seq {
            Seq(1) if !chance.one_in(6) => "session.created",
            _ if chance.one_in(40) => "Ünknown.日本",
            _ => *chance.of(&KINDS),
        };
        let (mut state, _) = self.past[self.past.len() - 1].clone();
        let body = self.body(chance, kind, &state).await;
        let event = NewEvent {
            id: EventId::from_uuid(chance.uuid()),
            kind: Kind::new(kind),
            v: *chance.of(&[1, 1, 1, 2, 65_535]),
            at: Timestamp(*chance.of(&[0, 1_767_225_600_000_000, -1, i64::MIN, i64::MAX])),
            source: *chance.of(&[Source::User, Source::Agent, Source::Environment]),
            cause: (!chance.one_in(3)).then(|| Seq(1 + chance.next() % seq.0)),
            must_understand: chance.one_in(5),
            body,
        };
        state.apply(&event.clone().recorded(self.session, seq));
        let expected = std::mem::replace(&mut self.begins, Expected::Any);
        let append = Append { session: self.session, expected, writer: Writer::Anyone, events: vec![event], directory: None };
        let hash = self.store.append(append).await.unwrap().hash;
        self.past.push((state, hash));
    }

    async fn body(&mut self, chance: &mut Chance, kind: &str, state: &Session) -> String {
        let word = serde_json::to_string(*chance.of(&WORDS)).unwrap();
        match kind {
            "session.created" => {
                let agent = *chance.of(&["null", r#"{"name":"a"}"#]);
                let origin = match chance.below(4) {
                    0 => r#"{"type":"import","format":"x","source":"s"}"#.to_owned(),
                    1 => format!(r#"{{"type":"replay","trajectory":"{}"}}"#, self.blob(chance.bytes::<40>().to_vec()).await),
                    _ => r#"{"type":"fresh"}"#.to_owned(),
                };
                format!(r#"{{"spec":{{"origin":{origin},"agent":{agent},"title":{word}}}}}"#)
            }
            "model.responded" => format!(r#"{{"prompt":"{}"}}"#, self.blob(b"the same prompt".to_vec()).await),
            "start.step_finished" => {
                let contents = self.blob(chance.bytes::<9>().to_vec()).await;
                format!(r#"{{"outcome":{{"report":{{"organisation":{{"contents":"{contents}"}}}}}}}}"#)
            }
            "workspace.captured" => format!(r#"{{"manifest":"{}"}}"#, self.tree(chance).await),
            "turn.ended" => {
                let lies = chance.one_in(8);
                if lies {
                    self.lies.insert(self.head().next());
                }
                let digest = if lies { Digest::of(b"another state") } else { state.digest() };
                format!(r#"{{"digest":"{digest}","reducer":"{REDUCER}"}}"#)
            }
            _ => format!(r#"{{"what":{word},"n":{}}}"#, chance.below(1000)),
        }
    }

    async fn blob(&self, bytes: Vec<u8>) -> Digest {
        self.store.put_blob(self.session, bytes).await.unwrap()
    }

    /// A workspace: a directory with files and another one, or bytes that are none.
    async fn tree(&self, chance: &mut Chance) -> Digest {
        if chance.one_in(5) {
            return self.blob(chance.bytes::<30>().to_vec()).await;
        }
        let file = |content| serde_json::json!({"name": "f", "kind": "file", "content": content, "size": 3});
        let inner =
            self.blob(serde_json::json!({"entries": [file(self.blob(b"abc".to_vec()).await)]}).to_string().into_bytes()).await;
        let one = file(self.blob(chance.bytes::<12>().to_vec()).await);
        let link = serde_json::json!({"name": "l", "kind": "link", "target": "f"});
        let directory = serde_json::json!({"name": "d", "kind": "directory", "tree": inner});
        self.blob(serde_json::json!({"entries": [one, link, directory, 7, null]}).to_string().into_bytes()).await
    }
}

/// The lines of a bundle of the session, up to event `upto`.
pub async fn exported(filled: &Filled, upto: Seq) -> Vec<u8> {
    let row = filled.store.session(filled.session).await.unwrap().unwrap();
    let (mut bytes, made) = (Vec::new(), Made { by: "a test".to_owned(), at: Timestamp(7) });
    let put = |line: &[u8]| {
        bytes.extend_from_slice(line);
        Ok(())
    };
    let written = bundle::write(filled.store.as_ref(), &row, upto, made, Damage::Refuse, put).await.unwrap();
    assert_eq!(written.damage, [] as [String; 0]);
    bytes
}

/// The records of a bundle.
pub fn records(bytes: &[u8]) -> Vec<Record> {
    lines(bytes).iter().map(|line| Record::parse(line).unwrap()).collect()
}

pub fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// A bundle of these lines with an end that fits, as whoever forges one would write it.
pub fn sealed(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        if let Some(Record::End(_)) = Record::parse(line) {
            continue;
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    let sha256 = Digest(Sha256::digest(&bytes).into());
    bytes.extend(Record::End(End { sha256 }).to_line());
    bytes.push(b'\n');
    bytes
}

pub fn sealed_records(records: &[Record]) -> Vec<u8> {
    sealed(&records.iter().map(Record::to_line).collect::<Vec<_>>())
}

/// The places of the events among the records.
pub fn events(records: &[Record]) -> Vec<usize> {
    (0..records.len()).filter(|at| matches!(records[*at], Record::Event(_))).collect()
}

pub fn event_at(records: &mut [Record], at: usize) -> &mut EventRecord {
    match &mut records[at] {
        Record::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Computes the hashes of the events from the `nth` on anew, and returns the last one.
pub fn rehash(records: &mut [Record], nth: usize) -> Digest {
    let mut previous = Digest::ZERO;
    for (index, at) in events(records).into_iter().enumerate() {
        let event = event_at(records, at);
        if index >= nth {
            let EventRecord { session, seq, id, kind, v, at, source, cause, must_understand, .. } = event;
            let envelope = Envelope {
                session: *session,
                seq: *seq,
                id: *id,
                kind: kind.as_str(),
                v: *v,
                at: *at,
                source: *source,
                cause: *cause,
                must_understand: *must_understand,
            };
            let body = event.digest.unwrap_or_else(|| digest(&event.salt.unwrap(), event.body.as_ref().unwrap()));
            event.hash = envelope.hash(&previous, &body);
        }
        previous = event.hash;
    }
    previous
}

/// A bundle with proofs that some of its events, the last one among them, are in a log that `key` signed.
pub fn signed(chance: &mut Chance, good: &[Record], key: &SignerKey) -> Vec<Record> {
    let mut records: Vec<Record> =
        good.iter().filter(|record| !matches!(record, Record::End(_) | Record::Key(_) | Record::Proof(_))).cloned().collect();
    let all: Vec<EventRecord> = events(&records).into_iter().map(|at| event_at(&mut records, at).clone()).collect();
    let mut proven: Vec<&EventRecord> = all.iter().filter(|_| chance.one_in(3)).collect();
    if proven.last() != all.last().as_ref() {
        proven.extend(all.last());
    }
    let (mut leaves, mut places) = (Vec::new(), Vec::new());
    for event in proven {
        for _ in 0..chance.below(4) {
            leaves.push(leaf_hash(&chance.bytes::<20>()));
        }
        places.push((event.seq, leaves.len() as u64));
        leaves.push(leaf_hash(&Head { session: event.session, seq: event.seq, hash: event.hash }.bytes()));
    }
    let mut tree = CompactRange::new();
    tree.extend(leaves.iter().copied());
    let root = Checkpoint::new(key.verifier().name().to_owned(), tree.size(), tree.root());
    let checkpoint = root.sign(key).unwrap().to_string();
    records.push(Record::Key(KeyRecord { vkey: key.verifier().to_string() }));
    for (seq, index) in places {
        let mut path = ProofBuilder::inclusion(index, tree.size()).unwrap();
        leaves.iter().for_each(|leaf| path.push(*leaf));
        records.push(Record::Proof(ProofRecord { seq, index, path: path.finish().unwrap(), checkpoint: checkpoint.clone() }));
    }
    records
}

/// What the program says of a bundle.
pub fn judged(bytes: &[u8], key: Option<&VerifierKey>) -> Result<VerifiedBundle, AuditError> {
    bundle::verify(&mut &bytes[..], key.cloned().into_iter().collect())
}

/// The same as the checker writes it, which judges two of the three verdicts.
pub fn said(judged: &Result<VerifiedBundle, AuditError>) -> String {
    let verdicts = match judged {
        Ok(found) => &found.verdicts,
        Err(AuditError::NotABundle) => return "2".to_owned(),
        Err(error) => panic!("{error}"),
    };
    let two = [&verdicts.integrity, &verdicts.completeness];
    let code = if two.iter().any(|verdict| verdict.failure().is_some()) { 5 } else { 0 };
    let words = two.map(|verdict| {
        let bad = match verdict {
            Verdict::Fails { bad, .. } => *bad,
            Verdict::Open { actions } => actions.first().copied(),
            Verdict::Holds | Verdict::Unjudged { .. } => None,
        };
        format!("{} {}", verdict.as_str(), bad.map_or_else(|| "-".to_owned(), |bad| bad.to_string()))
    });
    format!("{code} {}", words.join(" "))
}

/// Bundles in files, to be judged by the checker.
pub struct Files {
    directory: TempDir,
    /// Each of them, and whose signature it must bear: nobody's where that is empty.
    pairs: Vec<String>,
}

impl Files {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), pairs: Vec::new() }
    }

    pub fn add(&mut self, bytes: &[u8], key: Option<&VerifierKey>) {
        let path = self.directory.path().join(self.pairs.len().to_string());
        fs::write(&path, bytes).unwrap();
        self.pairs.push(path.to_str().unwrap().to_owned());
        self.pairs.push(key.map(ToString::to_string).unwrap_or_default());
    }

    /// What the checker says of each, in one run.
    pub fn checked(&self) -> Vec<String> {
        let output = checker(&self.pairs).output().expect("node is needed");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// The checker.
pub fn checker<A: AsRef<OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_bundle.mjs")).args(args);
    command
}
