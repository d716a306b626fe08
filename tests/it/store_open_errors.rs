//! A store that cannot be opened or written says why and what to do, and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rekindle::session::{Seq, SessionId};
use rekindle::store::conformance::{append, event_of, events, given, new_session};
use rekindle::store::{Expected, MemoryStore, OpenError, OpenOptions, SharedStore, Store, StoreError, connect, verify_session};
use rusqlite::Connection;

use crate::store_fixture::Place;

const OPEN: OpenOptions = OpenOptions { create: false, ..OpenOptions::DEFAULT };
const READ: OpenOptions = OpenOptions { read_only: true, ..OPEN };
const CREATE: OpenOptions = OpenOptions { create: true, ..OPEN };

/// All files of a directory, with their content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap_or_default())).collect()
}

async fn refused(place: &Place, options: OpenOptions) -> StoreError {
    match place.try_open(options).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn other_addresses_are_refused() {
    for address in [
        "",
        "mysql://host/db",
        "store.db",
        "sqlite:",
        "sqlite://",
        "memory",
        "mysql:x",
        "sqlite::memory:",
        "sqlite://a.db?mode=ro",
    ] {
        let error = connect(address, OPEN).await.err();
        assert!(matches!(error, Some(StoreError::Open(OpenError::Address(_)))), "{address}: {error:?}");
    }
    assert!(connect("memory:", OPEN).await.is_ok());
}

#[tokio::test]
async fn a_missing_store_is_only_made_when_asked() {
    let place = Place::new();
    for options in [OPEN, READ, OpenOptions { read_only: true, ..CREATE }] {
        assert!(matches!(refused(&place, options).await, StoreError::Open(OpenError::Missing(path)) if path == place.path));
        assert!(files(place.directory.path()).is_empty());
    }
    place.try_open(CREATE).await.unwrap().close().await;
    place.try_open(OPEN).await.unwrap().close().await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let mut place = Place::new();
    place.path = place.directory.path().join("no/such/place.db");
    assert!(matches!(refused(&place, CREATE).await, StoreError::Open(OpenError::Io { path, .. }) if path == place.path));
}

#[tokio::test]
async fn what_is_not_a_store_is_left_as_it_is() {
    let text = Place::new();
    std::fs::write(&text.path, "dear diary, ".repeat(1000)).unwrap();
    let short = Place::new();
    std::fs::write(&short.path, "x").unwrap();
    let note = Place::new();
    std::fs::write(&note.path, "x".repeat(700)).unwrap();
    let zeros = Place::new();
    std::fs::write(&zeros.path, vec![0; 100_000]).unwrap();
    let folder = Place::new();
    std::fs::create_dir(&folder.path).unwrap();
    let theirs = Place::new();
    theirs.sql().execute_batch("create table theirs (x); insert into theirs values (1)").unwrap();
    let marked = Place::new();
    marked.sql().execute_batch("pragma application_id = 7").unwrap();
    let others = [
        ("text", &text),
        ("short", &short),
        ("note", &note),
        ("zeros", &zeros),
        ("folder", &folder),
        ("theirs", &theirs),
        ("marked", &marked),
    ];
    for (what, place) in others {
        let before = files(place.directory.path());
        for options in [OPEN, READ, CREATE] {
            let error = place.try_open(options).await.err();
            assert!(matches!(error, Some(StoreError::Open(OpenError::NotAStore(_)))), "{what}: {error:?}");
            assert_eq!(files(place.directory.path()), before, "{what}");
        }
    }
}

#[tokio::test]
async fn a_database_in_use_by_another_program_is_left_as_it_is() {
    let place = Place::new();
    let theirs = place.sql();
    theirs.execute_batch("pragma journal_mode = wal; create table theirs (x); insert into theirs values (1)").unwrap();
    // Everything they wrote is still in their log; only the mode is in the file.
    let before = files(place.directory.path());
    let error = refused(&place, CREATE).await;
    assert!(matches!(error, StoreError::Open(OpenError::NotAStore(_))), "{error:?}");
    let after = files(place.directory.path());
    assert_eq!(after.get(&place.path), before.get(&place.path));
    assert_eq!(theirs.query_row("select x from theirs", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn a_newer_store_is_left_as_it_is() {
    let place = Place::new();
    place.open().await.close().await;
    place.sql().execute_batch("pragma user_version = 99").unwrap();
    let before = files(place.directory.path());
    for options in [OPEN, READ, CREATE] {
        let error = refused(&place, options).await;
        assert!(matches!(error, StoreError::Open(OpenError::Newer { found: 99, .. })), "{error:?}");
        assert_eq!(files(place.directory.path()), before);
    }
}

#[tokio::test]
async fn a_store_whose_making_was_interrupted_is_finished() {
    let empty = Place::new();
    std::fs::write(&empty.path, "").unwrap();
    let marked = Place::new();
    marked.sql().execute_batch("pragma application_id = 1380272974; pragma journal_mode = wal").unwrap();
    for place in [empty, marked] {
        let store = place.open().await;
        given(&store, new_session(), 1).await;
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_make_the_same_store_at_once() {
    let place = Place::new();
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let url = place.url();
            tokio::spawn(async move { connect(&url, CREATE).await.unwrap() })
        })
        .collect();
    let session = new_session();
    for store in opening {
        let store = store.await.unwrap();
        given(&store, session, 1).await;
        store.close().await;
    }
    let store = place.open().await;
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, 6);
    store.close().await;
}

#[tokio::test]
async fn a_store_that_is_opened_for_reading_refuses_to_write() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    given(&store, session, 2).await;
    let reader = place.try_open(READ).await.unwrap();
    refuses_to_write(&reader, session).await;
    // It follows the writer.
    given(&store, session, 1).await;
    assert_eq!(verify_session(reader.as_ref(), session).await.unwrap().events, 3);
    reader.close().await;
    store.close().await;
}

async fn refuses_to_write(store: &SharedStore, session: SessionId) {
    assert!(verify_session(store.as_ref(), session).await.is_ok());
    assert!(store.info().await.is_ok());
    let error = store.append(append(session, Expected::Any, events(1))).await.err();
    assert!(matches!(error, Some(StoreError::ReadOnly(_))), "{error:?}");
    let error = store.put_blob(session, vec![1]).await.err();
    assert!(matches!(error, Some(StoreError::ReadOnly(_))), "{error:?}");
    let error = store.redact(session, Seq(1)).await.err();
    assert!(matches!(error, Some(StoreError::ReadOnly(_))), "{error:?}");
}

/// A file system of a few megabytes that is gone with the value; needs root.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).status();
        done.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn read_only(&self) {
        assert!(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs a test of this binary in a user namespace, where it may mount.
fn once_more_as_root(test: &str) {
    const AGAIN: &str = "REKINDLE_TEST_AS_ROOT";
    assert!(std::env::var_os(AGAIN).is_none(), "mounting a file system needs root, or user namespaces that are permitted");
    let this = std::env::current_exe().unwrap();
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(this)
        .args(["--exact", test])
        .env(AGAIN, "1")
        .output()
        .unwrap();
    assert!(again.status.success(), "{}{}", String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&again.stderr));
}

#[tokio::test]
async fn a_store_where_nothing_may_be_written_can_be_read() {
    let place = Place::new();
    let Some(tmpfs) = Tmpfs::mount(place.directory.path(), "16m") else {
        return once_more_as_root("store_open_errors::a_store_where_nothing_may_be_written_can_be_read");
    };
    let store = place.open().await;
    let session = new_session();
    given(&store, session, 2).await;
    store.close().await;
    tmpfs.read_only();
    for options in [OPEN, READ, CREATE] {
        let store = place.try_open(options).await.unwrap();
        refuses_to_write(&store, session).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_appends_until_there_is_room() {
    let place = Place::new();
    let Some(_tmpfs) = Tmpfs::mount(place.directory.path(), "8m") else {
        return once_more_as_root("store_open_errors::a_full_disk_refuses_appends_until_there_is_room");
    };
    let filler = place.directory.path().join("filler");
    std::fs::write(&filler, vec![0; 4 * 1024 * 1024]).unwrap();
    let store = place.open().await;
    let session = new_session();
    let stored = fill(&store, session).await;
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, stored);
    std::fs::remove_file(filler).unwrap();
    given(&store, session, 1).await;
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, stored + 1);
    store.close().await;
}

#[tokio::test]
async fn a_store_that_may_not_grow_refuses_appends_and_stays_readable() {
    let place = Place::new();
    let bounded = OpenOptions { bytes_max: Some(1024 * 1024), ..CREATE };
    let store = place.try_open(bounded).await.unwrap();
    let session = new_session();
    let stored = fill(&store, session).await;
    let blob = store.put_blob(session, vec![7; 600_000]).await;
    assert!(matches!(blob, Err(StoreError::Full(_))), "{blob:?}");
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, stored);
    store.close().await;
    let store = place.open().await;
    given(&store, session, 1).await;
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, stored + 1);
    store.close().await;
}

/// Appends until there is no room, and says how many events there are then.
async fn fill(store: &SharedStore, session: SessionId) -> u64 {
    for stored in 0..10_000 {
        let body = format!("\"{}\"", "x".repeat(30_000));
        match store.append(append(session, Expected::Exact(Seq(stored)), vec![event_of(body)])).await {
            Ok(_) => {}
            Err(StoreError::Full(_)) => {
                assert!(stored > 5);
                return stored;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("there was always room");
}

#[tokio::test]
async fn a_writer_in_another_process_is_waited_for_and_then_named() {
    let place = Place::new();
    place.open().await.close().await;
    let theirs = place.sql();
    let impatient = OpenOptions { busy_wait: Duration::from_millis(50), ..OPEN };
    theirs.execute_batch("begin immediate").unwrap();
    // Opening does not need the lock.
    let store = place.try_open(impatient).await.unwrap();
    let session = new_session();
    let busy = store.append(append(session, Expected::Any, events(1))).await;
    assert!(matches!(busy, Err(StoreError::Busy(_))), "{busy:?}");
    let busy = store.put_blob(session, vec![1]).await;
    assert!(matches!(busy, Err(StoreError::Busy(_))), "{busy:?}");
    theirs.execute_batch("rollback").unwrap();
    given(&store, session, 1).await;
    store.put_blob(session, vec![1]).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_of_one_file_do_not_disturb_each_other() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let session = new_session();
    let writers: Vec<_> = stores
        .iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    given(&store, session, 2).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for store in stores {
        assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, 400);
        store.close().await;
    }
}

#[tokio::test]
async fn messages_name_the_way_out() {
    let missing = StoreError::from(OpenError::Missing("/x/store.db".into())).to_string();
    assert!(missing.starts_with("there is no store at /x/store.db; name another place"), "{missing}");
    let memory = MemoryStore::new();
    memory.close().await;
    assert!(memory.info().await.unwrap_err().to_string().contains("try again"));
    let network = OpenError::Network { path: "/x".into(), filesystem: "nfs" }.to_string();
    assert!(network.contains("put the store on a local disk"));
}

#[test]
fn a_store_is_known_by_its_first_bytes() {
    // What `file` and people go by; it must never change.
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { place.open().await.close().await });
    let header = std::fs::read(&place.path).unwrap();
    assert_eq!((&header[..15], &header[68..72]), (b"SQLite format 3".as_slice(), b"REKN".as_slice()));
    let journal: String = Connection::open(&place.path).unwrap().query_row("pragma journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(journal, "wal");
}
