//! Who reads sessions is written down before anything is shown, where the store says so; where it cannot be, nothing is shown.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rekindle::audit::{AccessLedger, Recorder, is_access_recorded, set_access_recorded};
use rekindle::session::audit::Access;
use rekindle::session::{Digest, Event, Seq, SessionId};
use rekindle::store::conformance::{all_events, append, event, forked, new_session};
use rekindle::store::{
    Expected, FeedCursor, Find, MemoryStore, Pages, ProjectionId, Read, SessionFilter, SharedStore, Terms, connect,
};
use serde_json::{Value, json};

use crate::audit_support::Ticking;
use crate::cli_support::{Rig, wait_until};
use crate::model_server::{ModelAnswer, ModelServer, Received, Reply};

/// What a new command reads is on the record unless it stands here, with the reason why it shows nobody what sessions hold.
const OFF_THE_RECORD: [&str; 22] = [
    "cli/audit/access.rs",
    "cli/audit/against.rs",
    "cli/audit/key.rs",
    "cli/audit/retain.rs",
    "cli/audit/seal.rs",
    "cli/close.rs",
    // Shows nothing where reading is written down.
    "cli/complete.rs",
    "cli/doctor/mod.rs",
    // What is taken out is told by events of its own.
    "cli/erase.rs",
    "cli/hold.rs",
    "cli/import.rs",
    // The way in.
    "cli/mod.rs",
    // Words are kept of what it reads, and what it finds is on the record.
    "cli/search.rs",
    // A node shows nobody anything.
    "cli/serve.rs",
    "cli/store/gc.rs",
    "cli/store/hold.rs",
    "cli/store/info.rs",
    "cli/store/init.rs",
    "cli/store/migrate.rs",
    "cli/store/restore.rs",
    // Days are counted of what it reads, and what it shows is on the record.
    "cli/usage.rs",
    "cli/verify/mod.rs",
];

#[test]
fn every_command_reads_on_the_record_but_those_that_are_known_not_to() {
    fn files(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                files(&path, found);
            } else if ["open_off_the_record", "location.open"].iter().any(|way| fs::read_to_string(&path).unwrap().contains(way))
            {
                found.push(path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli")), &mut found);
    found.sort();
    assert_eq!(found, OFF_THE_RECORD);
}

/// What a store is asked without a word: it writes, or shows nobody what sessions hold.
const WITHOUT_A_WORD: &str = "adopt answer append begin checkpoint close compact condition drop_projection end_lease feed_flaws feed_head hold \
     index indexed info keeping keyless letters name node nodes pack packable paging post project projections purge put_blob \
     put_blobs put_snapshot quarantined redact renew_lease session settle take_answer wake_ups withdraw";

#[test]
fn every_method_of_a_store_is_on_the_record_but_those_that_are_known_to_show_nothing() {
    let methods = |file: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).join(file)).unwrap();
        let names = text.lines().filter_map(|line| line.split_once("fn ")?.1.split_once("(&self").map(|(name, _)| name));
        names.filter(|name| !name.starts_with('$') && *name != "inner").map(str::to_owned).collect()
    };
    let all = methods("store/decorator.rs");
    let recorded = methods("audit/recorder.rs");
    let found: Vec<&str> = all.difference(&recorded).map(String::as_str).collect();
    assert_eq!(found, WITHOUT_A_WORD.split_whitespace().collect::<Vec<_>>());
}

/// A home with two sessions, in which who reads is written down.
fn recorded() -> Rig {
    let rig = Rig::new();
    for name in ["one", "two"] {
        let file = rig.recording("t.json", &[("echo 4711", "4711", 0)]);
        assert_eq!(rig.run(&["import", &file, "--name", name]).code, 0);
    }
    let said = rig.run(&["audit", "access", "on"]);
    assert_eq!((said.code, said.out.trim()), (0, "who reads sessions is written down in the audit log"), "{said:?}");
    rig
}

/// The access records that stand in the file, read past the program: what, and with which command.
fn records(rig: &Rig) -> Vec<(Value, String)> {
    let connection = rusqlite::Connection::open(rig.store()).unwrap();
    let mut statement = connection.prepare("SELECT body FROM event WHERE kind = 'audit.read' ORDER BY pos").unwrap();
    let bodies = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let record = |body: String| {
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["by"], "ada");
        (body["access"].clone(), body["how"].as_str().unwrap().to_owned())
    };
    bodies.map(|body| record(body.unwrap())).collect()
}

fn ada(rig: &Rig, args: &[&str]) -> crate::cli_support::Said {
    let mut command = rig.command(args);
    command.env("USER", "ada");
    crate::cli_support::Said::of(command)
}

/// What a command leaves in the log: what it read, in short.
fn left(rig: &Rig, args: &[&str]) -> Vec<String> {
    let before = records(rig).len();
    let said = ada(rig, args);
    assert!(said.code == 0 || args[0] == "diff", "{args:?}: {said:?}");
    let short = |(access, how): (Value, String)| {
        let session =
            access["session"].as_str().map_or("", |id| if id == SessionId::AUDIT_LOG.to_string() { " audit" } else { "" });
        format!("{}{session} {how}", access["what"].as_str().unwrap())
    };
    records(rig).drain(before..).map(short).collect()
}

#[test]
fn each_command_that_shows_what_sessions_hold_is_written_down_once_and_checking_leaves_nothing() {
    let rig = recorded();
    let (backup, copy, bundle) = (rig.path("b.db"), rig.path("c.db"), rig.path("s.bundle"));
    let (backup, copy) = (backup.display().to_string(), format!("sqlite://{}", copy.display()));
    let bundle = bundle.display().to_string();
    for (args, expected) in [
        (&["show", "one"][..], &["session show"][..]),
        (&["show", "one:2"], &["session show"]),
        (&["show", "@last"], &["list show", "session show"]),
        (&["show", "rekindle.audit"], &["session audit show"]),
        (&["tail", "one"], &["session tail"]),
        (&["tail", "--all"], &["all tail"]),
        (&["state", "one@2"], &["session state"]),
        (&["blame", "one", "/counts/actions"], &["session blame"]),
        (&["diff", "one", "two"], &["session diff", "session diff"]),
        (&["diff", "one@2", "one@3"], &["session diff"]),
        (&["search", "4711"], &["session search", "session search"]),
        (&["ls"], &["list ls"]),
        (&["usage"], &["all usage"]),
        (&["usage", "one"], &["session usage"]),
        (&["report", "one", "--output", "r.html"], &["session report"]),
        (&["export", "one", "--to", "openhands-v0"], &["session export"]),
        (&["replay", "one", "--mode", "fold"], &["session replay"]),
        (&["replay", "--all", "--mode", "verify"], &["list replay", "session replay", "session replay"]),
        (&["store", "backup", &backup], &["all store backup"]),
        (&["store", "copy", "--to", &copy], &["all store copy"]),
        // What is checked is not changed by being checked; and what these do is told by other events, or nothing is shown by them.
        (&["verify", "one"], &[]),
        (&["verify", "--all"], &[]),
        (&["doctor"], &[]),
        (&["store", "info"], &[]),
        (&["audit", "seal"], &[]),
        (&["audit", "key"], &[]),
        (&["audit", "access"], &[]),
        (&["audit", "retain"], &[]),
        (&["store", "hold", "one", "--reason", "x"], &[]),
        (&["store", "gc", "--older-than", "9d", "--dry-run"], &[]),
        (&["redact", "two:2", "--reason", "x"], &[]),
    ] {
        let mut found = left(&rig, args);
        if args[0] == "replay" && args[1] == "--all" {
            found.retain(|record| record != "session audit replay");
        }
        assert_eq!(found, expected, "{args:?}");
    }
    let head = rig.json(&["verify", "one", "-o", "json"])["events"].as_u64().unwrap();
    assert_eq!(left(&rig, &["export", "one", "--to", "bundle", "--output", &bundle])[0], "session export");
    let (access, _) =
        records(&rig).into_iter().rev().find(|(access, _)| access["session"] != SessionId::AUDIT_LOG.to_string()).unwrap();
    assert_eq!(access["upto"], head, "with the event that was the last one then");
    // A bundle is no store.
    assert_eq!(left(&rig, &["verify", &bundle]), [""; 0]);
    assert_eq!(rig.run(&["verify", "rekindle.audit"]).code, 0);

    assert_eq!(rig.run(&["audit", "access", "off"]).code, 0);
    assert_eq!(left(&rig, &["show", "one"]), [""; 0]);
    let said = rig.run(&["show", "rekindle.audit", "--raw"]);
    assert_eq!(said.out.matches("\"audit.access_set\"").count(), 2, "that it was switched on and off stands there, too");
}

#[test]
fn where_it_cannot_be_written_down_nothing_is_shown_and_the_way_out_is_named() {
    let rig = recorded();
    // One that is whole in one file, so that nothing beside it need be written.
    assert!(ada(&rig, &["search", "4711"]).out.contains("4711"), "what was indexed can be found without writing");
    let backup = rig.path("backup.db");
    assert_eq!(ada(&rig, &["store", "backup", &backup.display().to_string()]).code, 0);
    let folder = rig.path("kept");
    fs::create_dir(&folder).unwrap();
    fs::rename(&backup, folder.join("s.db")).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&folder.join("s.db"), 0o444);
    mode(&folder, 0o555);
    let url = format!("sqlite://{}", folder.join("s.db").display());
    let run = |args: &[&str]| {
        let store = ["--store", &url];
        // Root may write everywhere.
        let args = [args, &store].concat();
        if nix::unistd::geteuid().is_root() {
            let before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
            mode(rig.home.path(), 0o777);
            return rig.through(&before, &args);
        }
        rig.run(&args)
    };
    for args in [&["show", "one"][..], &["ls"], &["search", "4711"], &["tail", "--all"], &["report", "one", "--output", "r.html"]]
    {
        let said = run(args);
        said.assert_refused(8, &["cannot be written", "rekindle audit access"]);
        assert!(!said.out.contains("4711") && !said.out.contains("Do it"), "{said:?}");
    }
    assert_eq!(run(&["verify", "one"]).code, 0, "what is checked can be checked everywhere");
    mode(&folder, 0o755);
}

#[test]
fn whoever_follows_a_session_is_written_down_before_the_first_line() {
    let rig = recorded();
    let before = records(&rig).len();
    let mut command = rig.command(&["tail", "-f", "one"]);
    command.env("USER", "ada").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_until("it is written down", || records(&rig).len() > before);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(records(&rig).len(), before + 1);
}

/// Whoever lets an agent work sees what it does: once for each command, and the agent works as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_run_as_ever_while_it_is_written_down() {
    let server = ModelServer::replying(|received: &Received| {
        let has_heard = received.body["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
        let (tool, arguments) = match has_heard {
            true => ("finish", json!({ "message": "done", "task_completed": "true" })),
            false => ("bash", json!({ "command": "rm -rf .git; echo ran >> journal" })),
        };
        Reply::from(ModelAnswer::says("").calls(if has_heard { "b" } else { "a" }, tool, &arguments))
    })
    .await;
    let (rig, url) = (recorded(), server.base_url());
    fs::create_dir(rig.path("work")).unwrap();
    let run =
        ["run", "--name", "s", "--model", "fake", "--base-url", &url, "-w", "work", "--confirm", "high", "--headless", "do it"];
    ada(&rig, &run);
    assert_eq!(left(&rig, &["approve", "s"]), ["session approve"]);
    assert_eq!(fs::read_to_string(rig.path("work/journal")).unwrap(), "ran\n");
    assert_eq!(left(&rig, &["fork", "s", "--name", "f", "--no-run"]).first().map(String::as_str), Some("session fork"));
    assert_eq!(left(&rig, &["close", "s"]), [""; 0]);
    let file = rig.recording("r.json", &[("echo 1", "1", 0)]);
    assert!(left(&rig, &["replay", &file, "--name", "r"]).iter().all(|record| record == "session replay"));
    for session in ["s", "r", "rekindle.audit"] {
        assert_eq!(rig.run(&["verify", session]).code, 0, "{session}");
    }
    let (access, how) = &records(&rig)[0];
    assert_eq!((&access["session"], how.as_str()), (&id(&rig, "s"), "run"));
}

fn id(rig: &Rig, session: &str) -> Value {
    rig.json(&["verify", session, "-o", "json"])["session"].clone()
}

fn recorder(store: &SharedStore) -> SharedStore {
    let ledger = AccessLedger::new(Arc::new(Ticking::default()), "ada".to_owned(), "a test".to_owned());
    Arc::new(Recorder::new(SharedStore::clone(store), Arc::new(ledger)))
}

async fn said(store: &SharedStore) -> Vec<Access> {
    let log = match store.session(SessionId::AUDIT_LOG).await.unwrap() {
        Some(_) => all_events(store, SessionId::AUDIT_LOG).await,
        None => Vec::new(),
    };
    let access = |event| match Event::read(event) {
        Event::AccessRead(body) => Some(body.access),
        _ => None,
    };
    log.iter().filter_map(access).collect()
}

/// In every store: each way to what sessions hold leaves its word, and other ways leave none.
async fn every_way(store: &SharedStore) {
    let session = new_session();
    store.append(append(session, Expected::NoSession, vec![event("one"), event("two")])).await.unwrap();
    let blob = store.put_blob(session, b"text".to_vec()).await.unwrap();
    let whole = Access::Session { session, upto: Seq(2) };
    let projection = ProjectionId::new("p", 1);
    let mut before = said(store).await.len();
    macro_rules! leaves {
        ($expected:expr, |$recorder:ident| $read:expr) => {
            let $recorder = recorder(store);
            let _ = $read;
            let all = said(store).await;
            let expected: Vec<Access> = $expected;
            assert_eq!(all[before..], expected[..], "{}", stringify!($read));
            before = all.len();
        };
    }
    leaves!(vec![whole], |s| s.read(Read::one(session, Seq(1))).await.unwrap());
    leaves!(vec![whole], |s| s.blob(session, blob).await.unwrap());
    leaves!(vec![whole], |s| s.snapshot(session, "r", Seq(2)).await.unwrap());
    leaves!(vec![Access::List], |s| s.sessions(SessionFilter::All, 1).await.unwrap());
    leaves!(vec![Access::All], |s| s.feed(FeedCursor::default(), 10).await.unwrap());
    leaves!(vec![Access::All], |s| s.documents(&projection, "").await.unwrap());
    leaves!(vec![Access::All], |s| s.document(&projection, 0, "k").await.unwrap());
    leaves!(vec![], |s| s.session(session).await.unwrap());
    leaves!(vec![], |s| s.info().await.unwrap());
    leaves!(vec![], |s| s.keeping(session).await.unwrap());
    leaves!(vec![], |s| s.find(Find::newest(Terms::default(), 1)).await);
    leaves!(vec![], |s| s.read(Read::one(new_session(), Seq(1))).await.unwrap());
    leaves!(vec![], |s| s.append(append(session, Expected::Any, vec![event("three")])).await.unwrap());

    // Once for a process, however it is read; and all says everything.
    let head = Access::Session { session, upto: Seq(3) };
    leaves!(vec![head], |s| {
        let mut pages = Pages::new(s.as_ref(), Read { limit: 1, ..Read::forward(session, Seq::ZERO) });
        while pages.next().await.unwrap().is_some() {}
        s.blob(session, Digest::ZERO).await.unwrap()
    });
    leaves!(vec![Access::All], |s| {
        s.feed(FeedCursor::default(), 10).await.unwrap();
        s.sessions(SessionFilter::All, 1).await.unwrap();
        s.read(Read::one(session, Seq(1))).await.unwrap()
    });
    // What was not there when it was first asked for is said once it is.
    let later = new_session();
    leaves!(vec![Access::Session { session: later, upto: Seq(1) }], |s| {
        s.read(Read::one(later, Seq(1))).await.unwrap();
        s.append(append(later, Expected::NoSession, vec![event("one")])).await.unwrap();
        s.read(Read::one(later, Seq(1))).await.unwrap()
    });
    let fork = forked(store, session, 2, 1).await;
    leaves!(vec![Access::Session { session: fork, upto: Seq(3) }], |s| s.read(Read::one(fork, Seq(1))).await.unwrap());
    let _ = before;
}

#[tokio::test]
async fn every_way_to_what_sessions_hold_leaves_its_word_in_every_store() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("s.db").display());
    let file = connect(&url, rekindle::store::OpenOptions::default()).await.unwrap();
    for store in [Arc::new(MemoryStore::new()) as SharedStore, file] {
        every_way(&store).await;
    }
}

/// What was handed out first can be seen where the record cannot be written.
#[tokio::test]
async fn what_is_read_is_written_down_before_it_is_handed_out() {
    let inner: SharedStore = Arc::new(MemoryStore::new());
    let session = new_session();
    inner.append(append(session, Expected::NoSession, vec![event("one")])).await.unwrap();
    let broken: SharedStore = Arc::new(rekindle::testing::FaultStore::cut(SharedStore::clone(&inner), 0, false));
    let store = recorder(&broken);
    assert!(store.read(Read::one(session, Seq(1))).await.is_err());
    assert!(store.feed(FeedCursor::default(), 1).await.is_err());
    assert!(store.sessions(SessionFilter::All, 1).await.is_err());
    assert!(store.read(Read::one(session, Seq(1))).await.is_err(), "also when it is asked again");
    assert_eq!(said(&inner).await, []);
}

/// Long logs are folded from a snapshot, and what is damaged in them changes nothing of what was said last.
#[tokio::test]
async fn whether_it_is_written_down_is_known_however_long_the_log_is_and_where_it_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let store = connect(&format!("sqlite://{}", path.display()), rekindle::store::OpenOptions::default()).await.unwrap();
    assert!(!is_access_recorded(store.as_ref()).await.unwrap());
    set_access_recorded(store.as_ref(), Arc::new(Ticking::default()), "ada".to_owned(), true).await.unwrap();
    let sessions = Mutex::new(Vec::new());
    for _ in 0..100 {
        let session = new_session();
        store.append(append(session, Expected::NoSession, vec![event("one")])).await.unwrap();
        recorder(&store).read(Read::one(session, Seq(1))).await.unwrap();
        sessions.lock().unwrap().push(session);
    }
    let snapshot = store.snapshot(SessionId::AUDIT_LOG, rekindle::session::REDUCER, Seq(1000)).await.unwrap().unwrap();
    assert_eq!(snapshot.seq, Seq(64), "so that no more than the events behind it are folded");
    assert!(is_access_recorded(store.as_ref()).await.unwrap());
    store.close().await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    let session = SessionId::AUDIT_LOG;
    connection.execute("UPDATE event SET body = '{}' WHERE session_id = ?1 AND seq = 90", [session.as_bytes()]).unwrap();
    drop(connection);
    let store = connect(&format!("sqlite://{}", path.display()), rekindle::store::OpenOptions::default()).await.unwrap();
    assert!(is_access_recorded(store.as_ref()).await.unwrap(), "the newest event that can be read counts");
}
