//! Packed sessions on disk: how small they are, that what is taken out leaves no byte, and that a packing that is killed or raced loses
//! nothing.

use std::process::Stdio;

use rekindle::session::{Body, Recorded, Seq, Timestamp};
use rekindle::store::conformance::{all_rows, append, event_of, new_session};
use rekindle::store::{Append, Directory, Expected, OpenOptions, Row, SharedStore, StoreError, connect, verify_session};

use crate::cli_support::{Rig, wait_until};
use crate::store_fixture::Place;

/// Bodies as an agent makes them: no two alike, and each much like the one before.
fn bodies(count: usize, marked: &str) -> Vec<String> {
    let body = |number: usize| {
        let numbers: Vec<String> =
            (0..60).map(|line| format!("{line}: value {} of {marked}{number}", number * 7919 + line)).collect();
        format!(r#"{{"observation":"run","content":"{}","extras":{{"exit_code":0,"hidden":false}}}}"#, numbers.join("\\n"))
    };
    (0..count).map(body).collect()
}

/// A closed session with these bodies.
async fn ended(store: &SharedStore, bodies: Vec<String>) -> rekindle::session::SessionId {
    let session = new_session();
    for bodies in bodies.chunks(64) {
        let events = bodies.iter().cloned().map(event_of).collect();
        store.append(append(session, Expected::Any, events)).await.unwrap();
    }
    let directory = Directory { phase: "closed".to_owned(), ..Directory::default() };
    let last = Append { directory: Some(directory), ..append(session, Expected::Any, vec![event_of("{}".to_owned())]) };
    store.append(last).await.unwrap();
    session
}

fn holds(place: &Place, text: &str) -> bool {
    let bytes = |suffix: &str| std::fs::read(format!("{}{suffix}", place.path.display())).unwrap_or_default();
    [bytes(""), bytes("-wal")].iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test]
async fn a_packed_session_takes_a_third_of_its_json_at_most_and_its_text_is_in_no_row() {
    let place = Place::new();
    let store = place.open().await;
    let texts = bodies(300, "mark");
    let json: usize = texts.iter().map(String::len).sum();
    let session = ended(&store, texts).await;
    let packed = store.pack(session).await.unwrap();
    assert_eq!(packed.events, 301);
    assert!(packed.bytes_before >= json as u64, "{packed:?}");
    store.close().await;
    let connection = place.sql();
    let stored: i64 = connection.query_row("select sum(length(bytes)) from blob", [], |row| row.get(0)).unwrap();
    assert_eq!(packed.bytes_after, stored as u64);
    assert!(stored as f64 <= json as f64 * 0.35, "{stored} of {json}");
    let plain: i64 = connection.query_row("select count(*) from event where body is not null", [], |row| row.get(0)).unwrap();
    assert_eq!(plain, 0);
}

#[tokio::test]
async fn what_is_taken_out_of_a_packed_session_is_in_no_byte_of_the_file_and_its_log() {
    let place = Place::new();
    let store = place.open().await;
    let mut texts = bodies(100, "stays");
    texts.insert(50, r#"{"said":"xyzzyredacted"}"#.to_owned());
    let session = ended(&store, texts).await;
    store.pack(session).await.unwrap();
    store.redact(session, Seq(51)).await.unwrap();
    assert!(!holds(&place, "xyzzyredacted"), "it is still where it was before it was packed");
    let rows = all_rows(&store, session, 512).await;
    let bodies = rows.iter().filter_map(Row::event).filter(|event| event.body == Body::Redacted).count();
    assert_eq!((rows.len(), bodies), (102, 1));
    store.close().await;
    // Nor compressed: every segment that is left can be read, and none has it.
    let connection = place.sql();
    let mut rows = connection.prepare("select bytes from blob").unwrap();
    let blobs: Vec<Vec<u8>> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(!blobs.is_empty());
    for bytes in blobs {
        let text = zstd::bulk::decompress(&bytes, 1 << 24).unwrap();
        assert!(!text.windows(13).any(|window| window == b"xyzzyredacted"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_redacts_while_a_session_is_packed_leaves_nothing_behind_in_a_segment() {
    let place = Place::new();
    let store = place.open().await;
    for round in 0..8_u64 {
        let session = ended(&store, bodies(200, "race")).await;
        let wanted: Vec<Seq> = (0..20).map(|number| Seq(1 + (number * 37 + round * 11) % 200)).collect();
        let (packing, redacting) = (SharedStore::clone(&store), SharedStore::clone(&store));
        let places = wanted.clone();
        let pack = tokio::spawn(async move {
            loop {
                match packing.pack(session).await {
                    Err(StoreError::Busy(_)) => {}
                    done => break done,
                }
            }
        });
        let redact = tokio::spawn(async move {
            for seq in places {
                redacting.redact(session, seq).await.unwrap();
            }
        });
        pack.await.unwrap().unwrap();
        redact.await.unwrap();
        let rows = all_rows(&store, session, 512).await;
        let redacted = |event: &Recorded| event.body == Body::Redacted;
        for event in rows.iter().map(|row| row.event().unwrap()) {
            assert_eq!(redacted(event), wanted.contains(&event.seq), "event {}", event.seq);
        }
        verify_session(store.as_ref(), session).await.unwrap();
    }
    store.close().await;
    let connection = place.sql();
    let mut rows = connection.prepare("select bytes from blob where form = 2").unwrap();
    let segments: Vec<Vec<u8>> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let text: Vec<u8> = segments.iter().flat_map(|bytes| zstd::bulk::decompress(bytes, 1 << 24).unwrap()).collect();
    let left = text.windows(22).filter(|window| *window == b"\"observation\":\"run\",\"c").count();
    let kept: i64 = connection.query_row("select count(*) from event where blob is not null", [], |row| row.get(0)).unwrap();
    assert_eq!(left as i64, kept - 8, "each segment holds the bodies of the events that refer to it, and no other");
}

/// How many events are packed.
fn packed(url: &str) -> i64 {
    let path = url.trim_start_matches("sqlite://");
    let connection = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.query_row("select sum(packed_seq) from session", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packing_that_is_killed_anywhere_leaves_every_session_as_it_reads() {
    let rig = Rig::new();
    let url = format!("sqlite://{}", rig.path("killed.db").display());
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..6 {
        let session = ended(&store, bodies(400, "kill")).await;
        sessions.push((session, all_rows(&store, session, 512).await));
    }
    store.close().await;
    let all = 6 * 401;
    let mut cut_short = 0;
    for share in [0, 300, 700, 1300, 2000] {
        let mut child = rig
            .command(&["--store", &url, "store", "pack", "--older-than", "0m"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("so much is packed, or all", || packed(&url) >= share || child.try_wait().unwrap().is_some());
        let _ = child.kill();
        child.wait().unwrap();
        cut_short += usize::from(packed(&url) < all);
        let store = connect(&url, OpenOptions::default()).await.unwrap();
        for (session, before) in &sessions {
            assert_eq!(&all_rows(&store, *session, 512).await, before);
            verify_session(store.as_ref(), *session).await.unwrap();
        }
        store.close().await;
    }
    assert!(cut_short > 0, "each packing was done before it was killed");
    let said = rig.run(&["--store", &url, "store", "pack", "--older-than", "0m"]);
    assert_eq!(said.code, 0, "{said:?}");
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    assert_eq!(store.packable(Timestamp(i64::MAX), 100).await.unwrap(), []);
    for (session, before) in &sessions {
        assert_eq!(&all_rows(&store, *session, 512).await, before);
    }
    store.close().await;
}

#[tokio::test]
async fn a_damaged_session_is_named_and_not_packed() {
    let place = Place::new();
    let store = place.open().await;
    let session = ended(&store, bodies(200, "damaged")).await;
    store.close().await;
    place.sql().execute("update event set body = '{\"other\":1}' where seq = 77", []).unwrap();
    let store = place.open().await;
    let refused = store.pack(session).await;
    assert!(matches!(refused, Err(StoreError::Damaged { seq: Seq(77), .. })), "{refused:?}");
    assert!(matches!(verify_session(store.as_ref(), session).await, Err(StoreError::Damaged { seq: Seq(77), .. })));
    store.close().await;
    let left: String = place.sql().query_row("select body from event where seq = 77", [], |row| row.get(0)).unwrap();
    assert_eq!(left, "{\"other\":1}", "what is damaged stays for whoever looks at it");
}

#[tokio::test]
async fn a_damaged_segment_is_named_with_its_events_and_hides_no_other() {
    let place = Place::new();
    let store = place.open().await;
    let (session, other) = (ended(&store, bodies(200, "bad")).await, ended(&store, bodies(200, "good")).await);
    let before = all_rows(&store, other, 512).await;
    for session in [session, other] {
        store.pack(session).await.unwrap();
    }
    store.close().await;
    let damage = "update blob set bytes = zeroblob(length(bytes)) where digest = (select blob from event where session_id = ?1 and seq = 100)";
    assert_eq!(place.sql().execute(damage, [session.as_bytes()]).unwrap(), 1);
    let store = place.open().await;
    let rows = all_rows(&store, session, 512).await;
    let damaged: Vec<u64> = rows.iter().filter(|row| row.event().is_none()).map(|row| row.seq().0).collect();
    assert!(damaged.contains(&100) && damaged.len() < 201 && rows.len() == 201, "{damaged:?}");
    assert_eq!(all_rows(&store, other, 512).await, before);
    store.close().await;
}

#[test]
fn packing_says_what_it_did_and_finds_nothing_the_second_time() {
    let rig = Rig::new();
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json");
    assert_eq!(rig.run(&["import", recording, "--name", "old"]).code, 0);
    let young = rig.run(&["store", "pack"]);
    assert!(young.code == 0 && young.out.contains("nothing is left to be packed"), "{young:?}");
    assert!(young.err.contains("1 session ended too short a time ago; --older-than"), "{young:?}");
    let (shown, exported) = (rig.run(&["show", "old"]), rig.run(&["export", "old"]));
    let would = rig.run(&["store", "pack", "--older-than", "0m", "--dry-run"]);
    assert!(would.code == 0 && would.err.contains("1 session would be packed"), "{would:?}");
    let packed = rig.run(&["store", "pack", "--older-than", "0m", "--compact", "-o", "json"]);
    assert_eq!(packed.code, 0, "{packed:?}");
    let said: serde_json::Value = serde_json::from_str(&packed.out).unwrap();
    let line = &said["sessions"][0];
    assert_eq!(line["outcome"], "packed");
    let number = |name: &str| line[name].as_u64().unwrap();
    assert!(number("bytes_after") * 100 <= number("bytes_before") * 35, "{line}");
    assert!(said["compacted"]["bytes_after"].as_u64() < said["compacted"]["bytes_before"].as_u64());
    let again = rig.run(&["store", "pack", "--older-than", "0m"]);
    assert!(again.code == 0 && again.out.contains("nothing is left to be packed") && again.err.is_empty(), "{again:?}");
    assert_eq!((rig.run(&["show", "old"]).out, rig.run(&["export", "old"]).out), (shown.out, exported.out));
    assert_eq!(rig.run(&["verify", "old"]).code, 0);
    assert!(rig.run(&["search", "fizz"]).out.contains("fizz"));
}
