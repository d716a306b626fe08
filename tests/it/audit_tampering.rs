//! Whatever an insider does to a store, who has a checkpoint finds it, names where it begins, and blames nothing untouched. What the
//! store's own hashes can tell of it is told beside: of most of this, nothing.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle::audit::against::{Against, Finding, Place as At, check};
use rekindle::audit::merkle::{CompactRange, leaf_hash};
use rekindle::audit::{Checkpoint, Eraser, Note};
use rekindle::session::audit::{Head, Sealed};
use rekindle::session::{Digest, EventId, Seq, SessionId, Source, Timestamp};
use rekindle::store::chain::{Envelope, digest};
use rekindle::store::conformance::{forked, given, new_session};
use rekindle::store::{PURGED, SessionFilter, SharedStore, StoreError, verify_session};
use rusqlite::{Connection, params};

use crate::audit_support::{ORIGIN, TextSink, Ticking, key, others_key, sealer, trusted};
use crate::store_fixture::Place;

/// A store that was sealed twice, and what was published of it.
struct World {
    place: Place,
    a: SessionId,
    b: SessionId,
    c: SessionId,
    /// Of `b`, from its event 4 on.
    fork: SessionId,
    /// A backup from between the two seals.
    backup: PathBuf,
    checkpoints: String,
}

impl World {
    /// Sealed first: a up to 6, b up to 4, c up to 2; then a up to 9, b up to 6, the fork up to 7. Event 10 of a is not.
    async fn given() -> Self {
        let place = Place::new();
        let store = place.open().await;
        let (a, b, c) = (new_session(), new_session(), new_session());
        let sink = TextSink::new("sink");
        let sealer = sealer(&store, &[&sink]);
        for (session, count) in [(a, 3), (a, 3), (b, 4), (c, 2)] {
            given(&store, session, count).await;
        }
        sealer.seal().await.unwrap();
        let backup = place.directory.path().join("backup.db");
        store.backup(&backup).await.unwrap();
        for (session, count) in [(a, 3), (b, 2)] {
            given(&store, session, count).await;
        }
        let fork = forked(&store, b, 4, 3).await;
        sealer.seal().await.unwrap();
        given(&store, a, 1).await;
        store.close().await;
        Self { place, a, b, c, fork, backup, checkpoints: sink.text() }
    }

    fn sql(&self) -> Connection {
        self.place.sql()
    }

    async fn against(&self, text: &str) -> Against {
        let store = self.place.open().await;
        let against = check(store.as_ref(), text, &trusted()).await.unwrap();
        store.close().await;
        against
    }

    /// What the store's own hashes find.
    async fn plainly(&self) -> Vec<(SessionId, u64)> {
        let store = self.place.open().await;
        let mut bad = Vec::new();
        for row in store.sessions(SessionFilter::All, u32::MAX).await.unwrap() {
            if row.directory.phase != PURGED
                && let Err(error) = verify_session(store.as_ref(), row.id).await
            {
                let StoreError::Damaged { session, seq, .. } = error else { panic!("{error}") };
                bad.push((session, seq.0));
            }
        }
        store.close().await;
        bad.sort();
        bad.dedup();
        bad
    }

    fn named(&self, session: SessionId) -> &'static str {
        match session {
            id if id == self.a => "a",
            id if id == self.b => "b",
            id if id == self.c => "c",
            id if id == self.fork => "fork",
            id if id.is_audit_log() => "audit",
            _ => "?",
        }
    }
}

/// What somebody with the file and this program can do: any event, and then every hash that follows from it.
struct Insider<'a>(&'a Connection);

impl Insider<'_> {
    fn run(&self, statement: &str, session: SessionId) {
        let changed = self.0.execute(statement, [session.as_bytes()]).unwrap();
        assert!(changed > 0, "nothing was done by {statement}");
    }

    /// Makes every hash of a session right again, and its row too.
    fn rehash(&self, session: SessionId) {
        let mut statement = self
            .0
            .prepare(
                "select pos, seq, event_id, kind, v, at, source, cause, must_understand, body, salt from event \
                 where session_id = ?1 order by seq",
            )
            .unwrap();
        let rows = statement.query_map([session.as_bytes()], |row| {
            let (pos, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
            let id = EventId::from_slice(&row.get::<_, Vec<u8>>(2)?).unwrap();
            let source: Source = row.get::<_, String>(6)?.parse().unwrap();
            let body: String = row.get(9)?;
            let salt: [u8; 16] = row.get(10)?;
            let cause = row.get::<_, Option<i64>>(7)?.map(|cause| Seq(u64::try_from(cause).unwrap()));
            let envelope = (id, row.get::<_, String>(3)?, row.get(4)?, Timestamp(row.get(5)?), source, cause, row.get(8)?);
            Ok((pos, Seq(u64::try_from(seq).unwrap()), envelope, digest(&salt, &body)))
        });
        let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
        let (mut previous, mut head) = (Digest::ZERO, Seq::ZERO);
        for (pos, seq, (id, kind, v, at, source, cause, must_understand), body) in rows {
            let envelope = Envelope { session, seq, id, kind: &kind, v, at, source, cause, must_understand };
            previous = envelope.hash(&previous, &body);
            head = seq;
            self.0.execute("update event set hash = ?2 where pos = ?1", params![pos, previous.0]).unwrap();
        }
        self.0
            .execute(
                "update session set head_seq = ?2, head_hash = ?3 where session_id = ?1",
                params![session.as_bytes(), i64::try_from(head.0).unwrap(), previous.0],
            )
            .unwrap();
    }

    /// Does what a redaction does.
    fn blank(&self, session: SessionId, seq: i64) {
        let place = params![session.as_bytes(), seq];
        let find = "select body, salt from event where session_id = ?1 and seq = ?2";
        let body = |row: &rusqlite::Row<'_>| Ok(digest(&row.get(1)?, &row.get::<_, String>(0)?));
        let left: Digest = self.0.query_row(find, place, body).unwrap();
        let blank = "update event set body = null, salt = null, digest = ?3 where session_id = ?1 and seq = ?2";
        self.0.execute(blank, params![session.as_bytes(), seq, left.0]).unwrap();
    }

    /// Moves the events from `from` on by `by` places.
    fn shift(&self, session: SessionId, from: i64, by: i64) {
        let id = session.as_bytes();
        self.0.execute("update event set seq = -seq where session_id = ?1 and seq >= ?2", params![id, from]).unwrap();
        self.0.execute("update event set seq = -seq + ?2 where session_id = ?1 and seq < 0", params![id, by]).unwrap();
    }

    fn cut(&self, session: SessionId, upto: i64) {
        self.0.execute("delete from event where session_id = ?1 and seq > ?2", params![session.as_bytes(), upto]).unwrap();
        self.rehash(session);
    }

    fn head_of(&self, session: SessionId, seq: Seq) -> Head {
        let hash: Vec<u8> = self
            .0
            .query_row(
                "select hash from event where session_id = ?1 and seq = ?2",
                params![session.as_bytes(), i64::try_from(seq.0).unwrap()],
                |row| row.get(0),
            )
            .unwrap();
        Head { session, seq, hash: Digest::from_slice(&hash).unwrap() }
    }

    /// Writes the audit log anew, so that it seals what stands in the store now; `sign` makes its checkpoints.
    fn seal_anew(&self, sign: impl Fn(&Checkpoint) -> Option<Note>) {
        let audit = SessionId::AUDIT_LOG;
        let mut tree = CompactRange::new();
        for seq in [1, 2] {
            let body: String = self
                .0
                .query_row("select body from event where session_id = ?1 and seq = ?2", params![audit.as_bytes(), seq], |row| {
                    row.get(0)
                })
                .unwrap();
            let mut sealed: Sealed = serde_json::from_str(&body).unwrap();
            for head in &mut sealed.heads {
                *head = self.head_of(head.session, head.seq);
                tree.push(leaf_hash(&head.bytes()));
            }
            (sealed.root, sealed.tree) = (tree.root(), tree.roots().to_vec());
            if let Some(note) = sign(&Checkpoint::new(ORIGIN.to_owned(), tree.size(), tree.root())) {
                sealed.checkpoint = note.to_string();
            }
            let body = serde_json::to_string(&sealed).unwrap();
            self.0
                .execute("update event set body = ?3 where session_id = ?1 and seq = ?2", params![audit.as_bytes(), seq, body])
                .unwrap();
            self.rehash(audit);
        }
    }
}

type Do = fn(&World, &Insider);

/// Who finds what: by name of the session, and the first event that is bad.
type Finds = &'static [(&'static str, u64)];

const EDIT_2: &str = "update event set body = replace(body, 'what', 'That') where session_id = ?1 and seq = 2";
const EDIT_8: &str = "update event set body = replace(body, 'what', 'That') where session_id = ?1 and seq = 8";

/// What is done, what a checkpoint finds, what the store's own hashes find.
const TABLE: &[(&str, Do, Finds, Finds)] = &[
    ("nothing", |_, _| {}, &[], &[]),
    ("an event is edited", |world, insider| insider.run(EDIT_8, world.a), &[("a", 8)], &[("a", 8)]),
    (
        "a bit of a hash is flipped",
        |world, insider| {
            let flip = "update event set hash = cast(x'00' || substr(hash, 2) as blob) where session_id = ?1 and seq = 5";
            insider.run(flip, world.b);
        },
        &[("b", 5)],
        &[("b", 5)],
    ),
    (
        "an event is edited, and every hash made right: since the seal before, nothing can be trusted",
        |world, insider| {
            insider.run(EDIT_8, world.a);
            insider.rehash(world.a);
        },
        &[("a", 7)],
        &[],
    ),
    (
        "an early event is edited, and every hash made right",
        |world, insider| {
            insider.run(EDIT_2, world.a);
            insider.rehash(world.a);
        },
        &[("a", 1)],
        &[],
    ),
    (
        "an event is put in, and every hash made right",
        |world, insider| {
            insider.shift(world.a, 3, 1);
            let copy = "insert into event (pos, shard, session_id, seq, event_id, kind, v, at, source, cause, must_understand, \
                 body, blob, salt, digest, hash) select 1000000, shard, session_id, 3, randomblob(16), kind, v, at, source, \
                 cause, must_understand, body, blob, salt, digest, hash from event where session_id = ?1 and seq = 2";
            insider.run(copy, world.a);
            insider.rehash(world.a);
        },
        &[("a", 1)],
        &[],
    ),
    (
        "an event is taken out, and every hash made right",
        |world, insider| {
            insider.run("delete from event where session_id = ?1 and seq = 8", world.a);
            insider.shift(world.a, 9, -1);
            insider.rehash(world.a);
        },
        &[("a", 7)],
        &[],
    ),
    (
        "two events change places, and every hash is made right",
        |world, insider| {
            insider.shift(world.a, 7, 100);
            insider.run("update event set seq = 8 where session_id = ?1 and seq = 107", world.a);
            insider.run("update event set seq = 7 where session_id = ?1 and seq = 108", world.a);
            insider.run("update event set seq = seq - 100 where session_id = ?1 and seq > 100", world.a);
            insider.rehash(world.a);
        },
        &[("a", 7)],
        &[],
    ),
    ("the end of a session is cut off", |world, insider| insider.cut(world.a, 8), &[("a", 9)], &[]),
    ("a session is put back to the seal before", |world, insider| insider.cut(world.a, 6), &[("a", 7)], &[]),
    ("a session is emptied, and its row says so", |world, insider| insider.cut(world.c, 0), &[("c", 1)], &[]),
    (
        "events are gone, and the row is as it was",
        |world, insider| insider.run("delete from event where session_id = ?1 and seq >= 5", world.a),
        &[("a", 5)],
        &[("a", 5)],
    ),
    ("what was never sealed is cut off: nobody can tell", |world, insider| insider.cut(world.a, 9), &[], &[]),
    (
        "a whole session is gone",
        |world, insider| {
            insider.run("delete from event where session_id = ?1", world.c);
            insider.run("delete from session where session_id = ?1", world.c);
        },
        &[("c", 1)],
        &[],
    ),
    (
        "two sessions are swapped, and every hash is made right",
        |world, insider| {
            let other = new_session();
            for (from, to) in [(world.a, other), (world.c, world.a), (other, world.c)] {
                insider
                    .0
                    .execute("update event set session_id = ?2 where session_id = ?1", params![from.as_bytes(), to.as_bytes()])
                    .unwrap();
            }
            insider.rehash(world.a);
            insider.rehash(world.c);
        },
        &[("a", 3), ("c", 1)],
        &[],
    ),
    (
        "what a fork shares is written anew: the fork is not blamed for it",
        |world, insider| {
            insider.run(EDIT_2, world.b);
            insider.rehash(world.b);
        },
        &[("b", 1)],
        // Its own hashes cannot tell whether what it shares was changed, or it was.
        &[("fork", 5)],
    ),
    (
        "the store is put back to a backup",
        |world, _| {
            std::fs::copy(&world.backup, &world.place.path).unwrap();
        },
        &[("audit", 2)],
        &[],
    ),
    ("the audit log is cut off", |_, insider| insider.cut(SessionId::AUDIT_LOG, 1), &[("audit", 2)], &[]),
    (
        "the audit log is gone",
        |_, insider| {
            insider.run("delete from event where session_id = ?1", SessionId::AUDIT_LOG);
            insider.run("delete from session where session_id = ?1", SessionId::AUDIT_LOG);
        },
        &[("audit", 1)],
        &[],
    ),
    (
        "an event of the audit log is edited",
        |_, insider| insider.run("update event set at = at + 1 where session_id = ?1 and seq = 2", SessionId::AUDIT_LOG),
        &[("audit", 2)],
        &[("audit", 2)],
    ),
    (
        "a session and the audit log are written anew, the checkpoints in it left as they were",
        |world, insider| {
            insider.run(EDIT_8, world.a);
            insider.rehash(world.a);
            insider.seal_anew(|_| None);
        },
        &[("audit", 2)],
        &[],
    ),
    (
        "a session and the audit log are written anew, and signed with another key",
        |world, insider| {
            insider.run(EDIT_8, world.a);
            insider.rehash(world.a);
            insider.seal_anew(|checkpoint| Some(checkpoint.sign(&others_key()).unwrap()));
        },
        &[("audit", 2)],
        &[],
    ),
    (
        "a session and the audit log are written anew, and signed with the very key",
        |world, insider| {
            insider.run(EDIT_2, world.a);
            insider.rehash(world.a);
            insider.seal_anew(|checkpoint| Some(checkpoint.sign(&key()).unwrap()));
        },
        &[("audit", 1)],
        &[],
    ),
    (
        "a session is said to have been purged, with fewer events than were sealed",
        |world, insider| {
            insider.cut(world.a, 3);
            insider.run("delete from event where session_id = ?1", world.a);
            insider.run("update session set phase = 'purged' where session_id = ?1", world.a);
        },
        &[("a", 4)],
        &[],
    ),
    (
        "a session is said to have been purged, with another last event",
        |world, insider| {
            insider.run(EDIT_2, world.c);
            insider.rehash(world.c);
            insider.run("delete from event where session_id = ?1", world.c);
            insider.run("update session set phase = 'purged' where session_id = ?1", world.c);
        },
        &[("c", 2)],
        &[],
    ),
    (
        "a session is purged, and nobody has written that down",
        |world, insider| {
            insider.run("delete from event where session_id = ?1", world.c);
            insider.run("update session set phase = 'purged' where session_id = ?1", world.c);
        },
        &[("c", 1)],
        &[],
    ),
    (
        "a body is blanked as a redaction does it, and nobody has written that down",
        |world, insider| insider.blank(world.b, 2),
        &[("b", 2)],
        &[],
    ),
];

#[tokio::test]
async fn each_damage_is_found_and_named_and_nothing_untouched_is_blamed() {
    for (what, damage, by_checkpoint, by_hashes) in TABLE {
        let world = World::given().await;
        damage(&world, &Insider(&world.sql()));
        let against = world.against(&world.checkpoints).await;
        let mut found: Vec<_> = against
            .findings
            .iter()
            .map(|finding| match finding.place {
                At::Event { session, seq } => (world.named(session), seq.0),
                At::Checkpoint { line } => panic!("{what}: the checkpoint in line {line} is bad: {}", finding.what),
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, *by_checkpoint, "{what}: {against:?}");
        let mut plainly: Vec<_> = world.plainly().await.into_iter().map(|(session, seq)| (world.named(session), seq)).collect();
        plainly.sort_unstable();
        assert_eq!(plainly, *by_hashes, "{what}");
    }
}

/// What is done to the file with the checkpoints, and the lines in which that is found.
type Forge = fn(&str) -> String;

#[tokio::test]
async fn a_checkpoint_that_was_forged_is_found_and_the_others_are_checked_against() {
    let table: [(&str, Forge, &[usize]); 6] = [
        ("nothing", str::to_owned, &[]),
        ("another size", |text| text.replacen("\n3\n", "\n2\n", 1), &[1]),
        ("another log", |text| text.replacen(ORIGIN, "log.example/other", 1), &[1]),
        (
            "another key",
            |text| {
                let forged = Checkpoint::new(ORIGIN.to_owned(), 3, Digest::ZERO).sign(&others_key()).unwrap();
                format!("{text}\n{forged}")
            },
            &[13],
        ),
        ("cut off", |text| text[..text.len() - 5].to_owned(), &[7]),
        ("words in between", |text| format!("words\n\n{text}"), &[1]),
    ];
    let world = World::given().await;
    for (what, forge, lines) in table {
        let against = world.against(&forge(&world.checkpoints)).await;
        let found: Vec<_> = against
            .findings
            .iter()
            .map(|Finding { place, .. }| match place {
                At::Checkpoint { line } => *line,
                At::Event { session, seq } => panic!("{what}: {session} is blamed at {seq}"),
            })
            .collect();
        assert_eq!(found, lines, "{what}: {against:?}");
        assert_eq!(against.intact, 4, "{what}: {against:?}");
    }
    // One that is signed with the very key and denies what was signed before is told as what it is.
    let lie = Checkpoint::new(ORIGIN.to_owned(), 3, Digest::ZERO).sign(&key()).unwrap();
    let against = world.against(&format!("{}\n{lie}", world.checkpoints)).await;
    assert!(!against.holds(), "{against:?}");
    let nothing = world.against("").await;
    assert!(!nothing.holds() && nothing.intact == 0, "{nothing:?}");
}

#[tokio::test]
async fn an_old_checkpoint_finds_what_was_done_to_what_it_covers_and_no_more() {
    let world = World::given().await;
    let first = world.checkpoints.split_inclusive('\n').take(5).collect::<String>();
    {
        let sql = world.sql();
        Insider(&sql).cut(SessionId::AUDIT_LOG, 1);
        Insider(&sql).cut(world.a, 6);
    }
    let against = world.against(&first).await;
    assert_eq!((against.findings, against.intact, against.leaves), (vec![], 3, 3));
    assert!(!world.against(&world.checkpoints).await.holds());
}

#[tokio::test]
async fn a_redaction_that_was_written_down_is_no_damage() {
    let world = World::given().await;
    let store: SharedStore = world.place.open().await;
    let eraser = Eraser::begin(SharedStore::clone(&store), Arc::new(Ticking::default()), "tester".to_owned()).await.unwrap();
    assert_eq!(eraser.redact(world.a, Seq(2), Seq(3), "private").await.unwrap(), 2);
    store.close().await;
    assert!(world.against(&world.checkpoints).await.holds());
}
