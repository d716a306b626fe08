//! What is taken out of the log is gone everywhere, what must be kept is kept, and who did it and why is written down.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rekindle::audit::{AuditError, Eraser, Retention};
use rekindle::session::audit::{Erasing, Erasure};
use rekindle::session::{Body, Digest, Event, Recorded, Seq, SessionId};
use rekindle::store::conformance::{all_events, append, event, forked, new_session};
use rekindle::store::{Directory, Expected, MemoryStore, Row, SharedStore, chain, connect, verify_session};
use tempfile::TempDir;

use crate::audit_support::{Ticking, sealer};
use crate::cli_support::Rig;

const SECRET: &str = "the wire is 4711-0815";

/// Whether a text is in any file below a directory.
fn is_below(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_below(&path, text);
        }
        fs::read(path).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// The events of the audit log, as kind and body.
fn audit(rig: &Rig) -> Vec<(String, serde_json::Value)> {
    let said = rig.run(&["show", "rekindle.audit", "--raw"]);
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        (event["kind"].as_str().unwrap().to_owned(), event["body"].clone())
    };
    said.out.lines().map(event).collect()
}

fn hits(rig: &Rig) -> usize {
    rig.run(&["search", "4711"]).out.matches("4711").count()
}

/// A session whose first message is the secret, with an index of words.
fn told() -> Rig {
    let rig = Rig::new();
    let mut recording = crate::cli_support::recording(&[("echo one", SECRET, 0), ("echo two", "two", 0)]);
    recording[0]["args"]["content"] = SECRET.into();
    let file = rig.write("t.json", recording.to_string());
    assert_eq!(rig.run(&["import", &file, "--name", "told"]).code, 0);
    fs::remove_file(file).unwrap();
    assert!(hits(&rig) > 0);
    let titles = rig.run(&["ls", "--all"]).out;
    assert_eq!(titles.matches(SECRET).count(), 1, "{titles}");
    assert!(is_below(rig.home.path(), SECRET));
    rig
}

#[test]
fn a_redacted_text_is_found_nowhere_and_the_log_still_verifies() {
    let rig = told();
    for place in ["told:2", "told:4"] {
        let said = rig.run(&["redact", place, "--reason", "a customer asked"]);
        assert_eq!((said.code, said.out.contains("1 event")), (0, true), "{said:?}");
    }
    assert!(!is_below(rig.home.path(), SECRET), "it is in no file: log, write-ahead log, titles, snapshots, index");
    let backup = rig.path("backup.db").display().to_string();
    assert_eq!(rig.run(&["store", "backup", &backup]).code, 0);
    assert!(!is_below(rig.home.path(), SECRET), "it is in no backup");
    assert_eq!(hits(&rig), 0);
    for session in ["told", "rekindle.audit"] {
        let said = rig.run(&["verify", session]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let again = rig.json(&["redact", "told:2..4", "--reason", "to be sure", "-o", "json"]);
    assert_eq!(again["redacted"], 1, "one of the three was still there: {again}");
    let log = audit(&rig);
    let kinds: Vec<&str> = log.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["audit.erasing", "audit.erased"].repeat(3));
    assert_eq!((&log[0].1["reason"], &log[0].1["erasure"]["seq"]), (&"a customer asked".into(), &2.into()));
    assert!(!log[0].1["by"].as_str().unwrap().is_empty());
}

#[test]
fn a_purged_session_is_found_nowhere_and_its_place_is_kept() {
    let rig = told();
    let said = rig.run(&["purge", "told", "--reason", "too old"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!is_below(rig.home.path(), SECRET));
    assert_eq!(rig.json(&["purge", "told", "--reason", "again", "-o", "json"])["already"], true);
    let kinds: Vec<String> = audit(&rig).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["audit.erasing", "audit.erased"]);
    assert_ne!(rig.run(&["import", &rig.recording("u.json", &[]), "--name", "told"]).code, 0, "nobody takes its place");
}

#[test]
fn what_is_held_or_young_is_refused_with_the_way_out() {
    let rig = told();
    rig.run(&["redact", "told", "--reason", "x"]).assert_refused(2, &["S:N", "purge"]);
    rig.run(&["redact", "told:2", "--reason", " "]).assert_refused(2, &["why"]);
    rig.run(&["redact", "told:99", "--reason", "x"]).assert_refused(3, &["99"]);
    assert_eq!(rig.run(&["store", "hold", "told", "--reason", "case 12"]).code, 0);
    for command in [["redact", "told:2"], ["purge", "told"]] {
        let said = rig.run(&[&command[..], &["--reason", "x"]].concat());
        said.assert_refused(4, &["case 12", "rekindle store release"]);
    }
    assert_eq!(rig.run(&["store", "release", "told"]).code, 0);
    assert_eq!(rig.run(&["audit", "retain", "180d"]).code, 0);
    assert_eq!(rig.json(&["audit", "retain", "-o", "json"])["days"], 180);
    rig.run(&["purge", "told", "--reason", "x"]).assert_refused(4, &["180 days", "rekindle audit retain"]);
    let said = rig.run(&["store", "gc", "--older-than", "0m"]);
    assert_eq!((said.code, said.out.matches("younger than this store keeps").count()), (0, 1), "{said:?}");
    assert!(is_below(rig.home.path(), SECRET), "nothing was taken out");
    // The event stays: a text that must not be known can go at once.
    assert_eq!(rig.run(&["redact", "told:2", "--reason", "a password"]).code, 0);
    rig.run(&["audit", "retain", "soon"]).assert_refused(2, &["number of days"]);
    assert_eq!(rig.run(&["audit", "retain", "none"]).code, 0);
    assert_eq!(rig.run(&["purge", "told", "--reason", "x"]).code, 0);
    for command in [["redact", "rekindle.audit:1"], ["purge", "rekindle.audit"]] {
        rig.run(&[&command[..], &["--reason", "x"]].concat()).assert_refused(4, &["nothing could be proven"]);
    }
}

async fn eraser(store: &SharedStore) -> Eraser {
    Eraser::begin(SharedStore::clone(store), Arc::new(Ticking::default()), "tester".to_owned()).await.unwrap()
}

/// In every store: what was begun by one that was killed is done by the next.
async fn goes_on(store: &SharedStore) {
    let session = new_session();
    store.append(append(session, Expected::NoSession, vec![event("one"), event("two")])).await.unwrap();
    let hash = store.session(session).await.unwrap().unwrap().hash;
    eraser(store).await.retain(1).await.unwrap();
    let erasure = Erasure::Body { session, seq: Seq(2), hash };
    let erasing = Event::Erasing(Erasing { erasure, reason: "begun".to_owned(), by: "one that was killed".to_owned() });
    let mut begun = event("x");
    (begun.kind, begun.body) = (erasing.kind(), erasing.body());
    store.append(append(SessionId::AUDIT_LOG, Expected::Any, vec![begun])).await.unwrap();
    assert_eq!(eraser(store).await.redact(session, Seq(2), Seq(2), "again").await.unwrap(), 0, "it is gone by then");
    let bodies: Vec<Body> = all_events(store, session).await.into_iter().map(|event| event.body).collect();
    assert!(matches!(bodies[..], [Body::Json(_), Body::Redacted]));
    let log = all_events(store, SessionId::AUDIT_LOG).await;
    let kinds: Vec<(&str, Option<Seq>)> = log.iter().map(|event| (event.kind.as_str(), event.cause)).collect();
    assert_eq!(kinds[1..], [("audit.erasing", None), ("audit.erased", Some(Seq(2)))]);
    assert_eq!(Retention::of(store.as_ref()).await.unwrap().days, 1);
    verify_session(store.as_ref(), session).await.unwrap();
    // Sealing goes on from an audit log that began with something else.
    let sealed = sealer(store, &[]).seal().await.unwrap();
    assert_eq!((sealed.sessions, sealed.checkpoint.size), (1, 2));
}

/// The reference, and a file.
async fn stores() -> (TempDir, [SharedStore; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("s.db").display());
    let file = connect(&url, rekindle::store::OpenOptions::default()).await.unwrap();
    (directory, [Arc::new(MemoryStore::new()), file])
}

#[tokio::test]
async fn what_was_begun_by_one_that_was_killed_is_done_by_the_next() {
    let (_directory, stores) = stores().await;
    for store in &stores {
        goes_on(store).await;
    }
}

/// In every store: the shared event is blanked where it is, and no fork shows its words as a title any more.
async fn shared(store: &SharedStore) {
    let parent = new_session();
    let mut first = append(parent, Expected::NoSession, vec![event("do it"), event("two"), event("three")]);
    first.directory = Some(Directory { title: Some("do it".to_owned()), ..Directory::default() });
    store.append(first).await.unwrap();
    let fork = forked(store, parent, 2, 1).await;
    let refused = eraser(store).await.purge(parent, "old").await;
    assert!(matches!(&refused, Err(AuditError::Kept { why, .. }) if why.contains(&fork.to_string())), "{refused:?}");
    store.hold(parent, Some("case 12")).await.unwrap();
    let refused = eraser(store).await.redact(fork, Seq(1), Seq(1), "private").await;
    assert!(matches!(&refused, Err(AuditError::Kept { why, .. }) if why.contains("case 12")), "{refused:?}");
    store.hold(parent, None).await.unwrap();
    assert_eq!(eraser(store).await.redact(fork, Seq(1), Seq(1), "private").await.unwrap(), 1);
    for session in [parent, fork] {
        assert_eq!(all_events(store, session).await[0].body, Body::Redacted);
        assert_eq!(store.session(session).await.unwrap().unwrap().directory.title, None, "{session}");
        verify_session(store.as_ref(), session).await.unwrap();
    }
    for session in [fork, parent] {
        assert!(eraser(store).await.purge(session, "old").await.unwrap());
    }
    let log = all_events(store, SessionId::AUDIT_LOG).await;
    let kinds: Vec<&str> = log.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, [&["audit.erasing", "audit.not_erased"][..], &["audit.erasing", "audit.erased"].repeat(3)].concat());
}

#[tokio::test]
async fn what_forks_share_is_redacted_where_it_is_and_purged_once_none_reads_it() {
    let (_directory, stores) = stores().await;
    for store in &stores {
        shared(store).await;
    }
}

/// The digest that stays is one of body and salt, and the salt is gone.
#[tokio::test]
async fn an_erased_text_cannot_be_guessed_from_what_is_left() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let session = new_session();
    let guesses = ["yes", "no", "maybe"].map(event);
    store.append(append(session, Expected::NoSession, vec![guesses[1].clone()])).await.unwrap();
    let page = store.read(rekindle::store::Read::forward(session, Seq::ZERO)).await.unwrap();
    let Row::Event { salt: Some(salt), .. } = page.rows[0] else { panic!("{page:?}") };
    eraser(&store).await.redact(session, Seq(1), Seq(1), "private").await.unwrap();
    let page = store.read(rekindle::store::Read::forward(session, Seq::ZERO)).await.unwrap();
    let Row::Event { event: Recorded { body: Body::Redacted, .. }, salt: None, digest: Some(left), .. } = &page.rows[0] else {
        panic!("{page:?}")
    };
    let fits = |salt: &[u8; 16]| guesses.iter().any(|guess| chain::digest(salt, &guess.body) == *left);
    assert!(fits(&salt), "with the salt it could be");
    assert!(!fits(&[0; 16]) && !guesses.iter().any(|guess| Digest::of(guess.body.as_bytes()) == *left));
}

/// A node that runs the session would write what it remembers down again.
#[tokio::test]
async fn a_session_that_a_node_runs_is_not_redacted() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let session = new_session();
    let node = rekindle::session::NodeId::from_uuid(uuid::Uuid::from_u128(7));
    store.renew_lease(node, "elsewhere", std::time::Duration::from_secs(60)).await.unwrap();
    let mut first = append(session, Expected::NoSession, vec![event("one")]);
    first.writer = rekindle::store::Writer::Takeover { node, epoch: rekindle::session::Epoch(1) };
    store.append(first).await.unwrap();
    let refused = eraser(&store).await.redact(session, Seq(1), Seq(1), "x").await;
    assert!(matches!(&refused, Err(AuditError::Kept { why, .. }) if why.contains("runs session")), "{refused:?}");
    store.end_lease(node).await.unwrap();
    assert_eq!(eraser(&store).await.redact(session, Seq(1), Seq(1), "x").await.unwrap(), 1);
}
