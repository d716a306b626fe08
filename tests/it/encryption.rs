//! Encrypted stores: nothing that a session has said can be read without its key, and once that is destroyed, nowhere and never.

use std::path::{Path, PathBuf};

use rekindle::session::{Body, Digest, Seq, SessionId, Timestamp};
use rekindle::store::conformance::{all_rows, append, event_of, new_session};
use rekindle::store::{
    Append, Bodies, Directory, Expected, OpenError, OpenOptions, Row, SessionFilter, SharedStore, Snapshot, StoreError, connect,
    copy, verify_session,
};

use serde_json::Value;

use crate::cli_support::Rig;

/// What nobody may find.
const MARK: &str = "xyzzysecret";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self) -> OpenOptions {
        OpenOptions { bodies: Bodies::Encrypted, keys: Some(self.path("keys")), ..OpenOptions::default() }
    }

    async fn open(&self) -> SharedStore {
        connect(&url(&self.path("store.db")), self.options()).await.unwrap()
    }

    /// Whether any file but the keys holds these bytes.
    fn holds(&self, bytes: &[u8]) -> bool {
        let files = std::fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).any(|path| {
            let content = std::fs::read(path).unwrap();
            content.windows(bytes.len()).any(|window| window == bytes)
        })
    }
}

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// A session that has said the mark in every way there is: in a body, in one that has content of its own, in what it was given, in
/// its title and in a state of it.
async fn session_that_says_it(store: &SharedStore) -> SessionId {
    let session = new_session();
    let long = format!(r#"{{"long":"{MARK} {}"}}"#, "l".repeat(100_000));
    let bodies = [format!(r#"{{"said":"{MARK}"}}"#), long, r#"{"n":3}"#.to_owned()].map(event_of);
    let directory = Directory { phase: "closed".to_owned(), title: Some(format!("about {MARK}")), ..Directory::default() };
    let first = Append { directory: Some(directory), ..append(session, Expected::NoSession, bodies.to_vec()) };
    store.append(first).await.unwrap();
    store.put_blob(session, format!("a recording of {MARK}").into_bytes()).await.unwrap();
    let bytes = format!("a state with {MARK}").into_bytes();
    let digest = Digest::of(&bytes);
    store.put_snapshot(Snapshot { session, seq: Seq(3), reducer: "r".to_owned(), digest, bytes }).await.unwrap();
    session
}

/// The words that a store makes of it, as somebody who has all files but the keys would look for them.
fn forms_of_the_mark() -> Vec<Vec<u8>> {
    let digest = |text: String| Digest::of(text.as_bytes()).0.to_vec();
    vec![
        MARK.as_bytes().to_vec(),
        // What content would be found by if its address were its digest: whoever guesses it could tell.
        digest(format!("a recording of {MARK}")),
        digest(format!(r#"{{"long":"{MARK} {}"}}"#, "l".repeat(100_000))),
        digest(format!("a state with {MARK}")),
    ]
}

#[tokio::test]
async fn nothing_that_a_session_says_can_be_read_without_its_key() {
    let place = Place::new();
    let store = place.open().await;
    let session = session_that_says_it(&store).await;
    for round in ["as it was written", "packed"] {
        let rows = all_rows(&store, session, 10).await;
        assert!(rows[0].event().unwrap().body.as_json().contains(MARK) && rows[1].event().unwrap().body.as_json().contains(MARK));
        verify_session(store.as_ref(), session).await.unwrap();
        let listed = store.sessions(SessionFilter::All, 9).await.unwrap();
        assert_eq!(listed[0].directory.title.as_deref(), Some("about xyzzysecret"));
        assert!(store.blob(session, Digest::of(format!("a recording of {MARK}").as_bytes())).await.unwrap().is_some());
        assert!(store.snapshot(session, "r", Seq(3)).await.unwrap().is_some());
        for form in forms_of_the_mark() {
            assert!(!place.holds(&form), "{round}: {:?} is in a file", String::from_utf8_lossy(&form));
        }
        store.pack(session).await.unwrap();
    }
    store.close().await;
    for form in forms_of_the_mark() {
        assert!(!place.holds(&form));
    }
}

#[tokio::test]
async fn a_body_cannot_be_guessed_from_what_a_backup_holds() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    store.append(append(session, Expected::NoSession, vec![event_of(r#"{"pin":"4711"}"#.to_owned())])).await.unwrap();
    let rows = all_rows(&store, session, 10).await;
    let Row::Event { event, salt: Some(salt), hash, .. } = &rows[0] else { panic!("{rows:?}") };
    // Who has the salt needs no more than ten thousand tries.
    let guess = rekindle::store::chain::digest(salt, r#"{"pin":"4711"}"#);
    let proof = rekindle::store::chain::Envelope::of(event).hash(&Digest::ZERO, &guess);
    assert_eq!(proof, *hash, "the hash covers the digest of salt and body");
    store.close().await;
    // So the salt is nowhere but behind the key.
    assert!(!place.holds(salt));
    let digits: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!place.holds(digits.as_bytes()));
}

#[tokio::test]
async fn a_purge_destroys_the_key_so_that_backups_cannot_be_read_either() {
    let place = Place::new();
    let store = place.open().await;
    let (session, other) = (session_that_says_it(&store).await, session_that_says_it(&store).await);
    let before = all_rows(&store, other, 10).await;
    store.backup(&place.path("backup.db")).await.unwrap();
    store.purge(session, Timestamp(1)).await.unwrap();
    store.purge(session, Timestamp(1)).await.unwrap();
    store.close().await;
    let backup = connect(&url(&place.path("backup.db")), OpenOptions { create: false, ..place.options() }).await.unwrap();
    let rows = all_rows(&backup, session, 10).await;
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert!(matches!(row, Row::Damaged { what, .. } if what.contains("no key of its session")), "{row:?}");
    }
    assert!(matches!(
        backup.append(append(session, Expected::Any, vec![event_of("{}".to_owned())])).await,
        Err(StoreError::NoKey { .. })
    ));
    assert!(backup.snapshot(session, "r", Seq(3)).await.unwrap().is_none());
    assert_eq!(backup.session(session).await.unwrap().unwrap().directory.title, None);
    assert_eq!(all_rows(&backup, other, 10).await, before, "what others have said is as it was");
    backup.close().await;
}

#[tokio::test]
async fn a_lost_key_is_named_and_never_made_anew() {
    let place = Place::new();
    let store = place.open().await;
    let (session, other) = (session_that_says_it(&store).await, session_that_says_it(&store).await);
    store.close().await;
    let key = std::fs::read_dir(place.path("keys"))
        .unwrap()
        .map(|folder| folder.unwrap().path().join(format!("{session}.key")))
        .find(|key| key.exists())
        .unwrap();
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let store = place.open().await;
    let more = || append(session, Expected::Exact(Seq(3)), vec![event_of("{}".to_owned())]);
    let refused = store.append(more()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::NoKey { session: named, .. } if *named == session), "{refused}");
    assert!(refused.to_string().contains(place.path("keys").to_str().unwrap()), "{refused}");
    assert!(!key.exists());
    assert!(all_rows(&store, other, 10).await.iter().all(|row| row.event().is_some()));
    // Brought back, all is well again.
    std::fs::write(&key, kept).unwrap();
    store.append(more()).await.unwrap();
    verify_session(store.as_ref(), session).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn an_encrypted_store_is_not_opened_without_keys_and_a_readable_one_not_half_encrypted() {
    let place = Place::new();
    place.open().await.close().await;
    let without = connect(&url(&place.path("store.db")), OpenOptions::default()).await.err().unwrap();
    assert!(matches!(without, StoreError::Open(OpenError::NoKeys(_))), "{without}");
    let readable = url(&place.path("readable.db"));
    let store = connect(&readable, OpenOptions::default()).await.unwrap();
    store.append(append(new_session(), Expected::NoSession, vec![event_of("{}".to_owned())])).await.unwrap();
    store.close().await;
    let refused = connect(&readable, place.options()).await.err().unwrap();
    assert!(matches!(refused, StoreError::Open(OpenError::NotEncrypted(_))), "{refused}");
    // It is as it was.
    connect(&readable, OpenOptions::default()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_redacted_title_goes_also_where_it_is_encrypted_and_from_forks() {
    let place = Place::new();
    let store = place.open().await;
    let parent = new_session();
    let said = event_of(r#"{"content":"about xyzzysecret"}"#.to_owned());
    let directory = Directory { phase: "ready".to_owned(), title: Some("about xyzzysecret".to_owned()), ..Directory::default() };
    let first = Append { directory: Some(directory.clone()), ..append(parent, Expected::NoSession, vec![said]) };
    let hash = store.append(first).await.unwrap().hash;
    let fork = new_session();
    let base = rekindle::store::Base { session: parent, seq: Seq(1) };
    let forked = append(fork, Expected::Fork { base, hash }, vec![event_of("{}".to_owned())]);
    store.append(Append { directory: Some(directory), ..forked }).await.unwrap();
    store.redact(parent, Seq(1)).await.unwrap();
    for session in [parent, fork] {
        assert_eq!(store.session(session).await.unwrap().unwrap().directory.title, None);
    }
    let rows = all_rows(&store, fork, 10).await;
    assert_eq!(rows[0].event().unwrap().body, Body::Redacted);
    verify_session(store.as_ref(), fork).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_session_is_copied_between_readable_and_encrypted_stores_as_it_is() {
    let place = Place::new();
    let encrypted = place.open().await;
    let session = session_that_says_it(&encrypted).await;
    encrypted.pack(session).await.unwrap();
    let before = all_rows(&encrypted, session, 10).await;
    let readable = connect(&url(&place.path("readable.db")), OpenOptions::default()).await.unwrap();
    copy(encrypted.as_ref(), readable.as_ref(), |_| {}).await.unwrap();
    assert_eq!(all_rows(&readable, session, 10).await, before);
    let back = Place::new();
    let again = back.open().await;
    copy(readable.as_ref(), again.as_ref(), |_| {}).await.unwrap();
    assert_eq!(all_rows(&again, session, 10).await, before);
    let (one, other) = (encrypted.session(session).await.unwrap(), again.session(session).await.unwrap());
    assert_eq!(one, other);
    for store in [encrypted, readable, again] {
        store.close().await;
    }
    assert!(place.holds(MARK.as_bytes()), "the readable copy has it");
    assert!(!back.holds(MARK.as_bytes()));
}

#[test]
fn the_program_keeps_an_encrypted_store() {
    let rig = Rig::new();
    let made = rig.run(&["store", "init", "--encrypt"]);
    assert!(made.code == 0 && made.out.contains("encrypted"), "{made:?}");
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json");
    assert_eq!(rig.run(&["import", recording, "--name", "kept"]).code, 0);
    let shown = rig.run(&["show", "kept"]);
    assert!(shown.code == 0 && shown.out.contains("fizz"), "{shown:?}");
    let listed = rig.run(&["ls"]);
    assert!(listed.out.contains("shell library"), "{listed:?}");
    assert_eq!(rig.run(&["verify", "kept"]).code, 0);
    for search in [&["search", "fizz"][..], &["search", "--now", "fizz"]] {
        rig.run(search).assert_refused(1, &[&StoreError::Unsearchable.to_string()]);
    }
    let bytes = || {
        let files = ["", "-wal"].map(|suffix| std::fs::read(format!("{}{suffix}", rig.store().display())).unwrap_or_default());
        files.concat()
    };
    assert!(!bytes().windows(4).any(|window| window == b"fizz"));
    let backup = rig.path("backup.db");
    assert_eq!(rig.run(&["store", "backup", backup.to_str().unwrap()]).code, 0);
    let elsewhere = url(&rig.path("elsewhere.db"));
    let restored = rig.run(&["--store", &elsewhere, "store", "restore", backup.to_str().unwrap()]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert!(!std::fs::read(rig.path("elsewhere.db")).unwrap().windows(4).any(|window| window == b"fizz"));
    let plain = url(&rig.path("plain.db"));
    assert_eq!(rig.run(&["store", "copy", "--to", &plain, "--decrypt"]).code, 0);
    assert!(std::fs::read(rig.path("plain.db")).unwrap().windows(4).any(|window| window == b"fizz"));
    let purged = rig.run(&["purge", "kept", "--reason", "a test"]);
    assert_eq!(purged.code, 0, "{purged:?}");
    let gone = rig.run(&["--store", &format!("sqlite://{}", backup.display()), "show", "kept"]);
    assert!(gone.out.contains("no key of its session") && !gone.out.contains("fizz"), "{gone:?}");
}

#[test]
fn doctor_names_the_sessions_whose_keys_are_missing_and_the_ways_out() {
    let rig = Rig::new();
    assert_eq!(rig.run(&["store", "init", "--encrypt"]).code, 0);
    let recording = rig.recording("r.json", &[("true", "", 0)]);
    for number in 1..=12 {
        assert_eq!(rig.run(&["import", &recording, "--name", &format!("s{number}")]).code, 0);
    }
    let keys = |rig: &Rig| {
        let doctor = rig.run(&["doctor", "-o", "json"]);
        let findings: Vec<Value> = serde_json::from_str(&doctor.out).unwrap();
        let bad = findings.iter().filter(|finding| finding["state"] == "bad").count();
        let keys = findings.into_iter().find(|finding| finding["check"] == "keys").unwrap();
        (doctor.code, bad, keys)
    };
    assert_eq!((keys(&rig).0, keys(&rig).2["found"].as_str().unwrap()), (0, "the keys of 12 sessions are there"));
    let (place, away) = (rig.path("rekindle/session-keys"), rig.path("away"));
    std::fs::rename(&place, &away).unwrap();
    let (code, bad, found) = keys(&rig);
    let text = found["found"].as_str().unwrap();
    assert_eq!((code, bad), (5, 1), "said once: {found}");
    assert!(text.contains("12 sessions") && text.contains(place.to_str().unwrap()) && text.ends_with("and 2 others"), "{text}");
    // One way out is to bring them back, the other to let a session go.
    std::fs::rename(&away, &place).unwrap();
    let lost = SessionId::named(&"s7".parse().unwrap()).to_string();
    std::fs::remove_file(place.join(&lost[lost.len() - 2..]).join(format!("{lost}.key"))).unwrap();
    let (code, bad, found) = keys(&rig);
    assert_eq!((code, bad), (5, 1), "{found}");
    assert!(found["found"].as_str().unwrap().ends_with(&format!("that can be used: {lost}")), "{found}");
    assert!(found["advice"].as_str().unwrap().contains("purge SESSION --reason TEXT"), "{found}");
    let purged = rig.run(&["purge", &lost, "--reason", "its key is lost"]);
    assert_eq!(purged.code, 0, "{purged:?}");
    let (code, _, found) = keys(&rig);
    assert_eq!((code, found["state"].as_str()), (0, Some("well")), "{found}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn no_table_of_a_server_holds_what_was_said_and_a_purge_leaves_nobody_able_to_read_its_dead_rows() {
    use sqlx::{Connection as _, Row as _};

    let place = Place::new();
    let url = crate::postgres_server::shared().fresh_database().await;
    let store = connect(&url, place.options()).await.unwrap();
    let (session, other) = (session_that_says_it(&store).await, session_that_says_it(&store).await);
    let node = rekindle::store::conformance::new_node();
    let command = format!(r#"{{"do":"say","content":"{MARK}"}}"#);
    let letter = rekindle::store::Letter { to: node, id: uuid::Uuid::now_v7(), session, command };
    store.post(letter.clone()).await.unwrap();
    assert_eq!(store.letters(node, 9).await.unwrap(), [letter]);
    store.pack(other).await.unwrap();
    let before = all_rows(&store, other, 10).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for table in ["session", "event", "blob", "snapshot", "inbox"] {
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("select row_to_json({table})::text from {table}")));
        let rows = rows.fetch_all(&mut connection).await.unwrap();
        assert!(!rows.is_empty(), "{table}");
        for row in rows {
            let row: String = row.get(0);
            for form in forms_of_the_mark() {
                // Bytes are shown as hexadecimal digits.
                let digits: String = form.iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(!row.contains(&digits) && !row.contains(&*String::from_utf8_lossy(&form)), "{table}: {row}");
            }
        }
    }
    store.purge(session, Timestamp(1)).await.unwrap();
    let keys: Vec<String> = std::fs::read_dir(place.path("keys"))
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|key| key.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(keys, [format!("{other}.key")]);
    assert_eq!(all_rows(&store, other, 10).await, before);
    store.close().await;
}
