//! `rekindle store`: what a person who keeps a store does, and what they are told.

use rekindle::store::{OpenOptions, connect, verify_session};

use crate::cli_support::{Other, Rig, wait_until};

/// A rig whose store holds one imported session, called `kept`.
fn with_a_session() -> Rig {
    let rig = Rig::new();
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json");
    let said = rig.run(&["import", recording, "--name", "kept"]);
    assert_eq!(said.code, 0, "{said:?}");
    rig
}

#[test]
fn a_store_is_made_once_and_tells_about_itself() {
    let rig = Rig::new();
    let said = rig.run(&["store", "init"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("rekindle.db") && said.out.contains("0 events"), "{said:?}");
    let again = rig.run(&["store", "init", "-o", "json"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("\"sessions\""), "{again:?}");
    let distributed = rig.run(&["store", "init", "--distributed"]);
    assert_eq!(distributed.code, 2, "{distributed:?}");
    assert!(distributed.err.contains("PostgreSQL"), "{distributed:?}");
    assert_eq!(rig.run(&["store", "migrate"]).code, 0);
}

#[test]
fn a_backup_is_a_store_and_comes_back() {
    let rig = with_a_session();
    let file = rig.path("backup.db");
    let file = file.to_str().unwrap();
    let said = rig.run(&["store", "backup", file]);
    assert_eq!(said.code, 0, "{said:?}");
    let again = rig.run(&["store", "backup", file]);
    assert_eq!(again.code, 4, "{again:?}");
    assert!(again.err.contains("exists"), "{again:?}");
    let again = rig.run(&["store", "restore", file]);
    assert_eq!(again.code, 0, "what is all there already is no conflict: {again:?}");
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json");
    assert_eq!(rig.run(&["import", recording, "--name", "later"]).code, 0);
    rig.run(&["store", "restore", file]).assert_refused(4, &["store copy", "backup"]);
    let elsewhere = format!("sqlite://{}", rig.path("elsewhere.db").display());
    let restored = rig.run(&["--store", &elsewhere, "store", "restore", file]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let verified = rig.run(&["--store", &elsewhere, "verify", "kept"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let nothing = rig.run(&["--store", &elsewhere, "store", "restore", "/no/such/file.db"]);
    assert_ne!(nothing.code, 0, "{nothing:?}");
}

/// Makes a file as the version before packing left it.
fn make_older(path: &std::path::Path) {
    let older = "drop view event_text; create view event_text as select 1; alter table session drop column packed_seq; \
         alter table blob drop column form; alter table store drop column encrypted; update store set format = 9; \
         pragma user_version = 9; delete from _sqlx_migrations where version > 9";
    rusqlite::Connection::open(path).unwrap().execute_batch(older).unwrap();
}

#[test]
fn what_an_older_version_has_written_is_read_and_restored() {
    let rig = with_a_session();
    let backup = rig.path("backup.db");
    assert_eq!(rig.run(&["store", "backup", backup.to_str().unwrap()]).code, 0);
    let shown = rig.run(&["show", "kept"]).out;
    make_older(&backup);
    let before = std::fs::read(&backup).unwrap();
    let elsewhere = format!("sqlite://{}", rig.path("elsewhere.db").display());
    let restored = rig.run(&["--store", &elsewhere, "store", "restore", backup.to_str().unwrap()]);
    assert!(restored.code == 0 && restored.err.contains("format 9"), "{restored:?}");
    assert_eq!(rig.run(&["--store", &elsewhere, "show", "kept"]).out, shown);
    assert_eq!(std::fs::read(&backup).unwrap(), before, "the backup stays as it is");
    // A command that only reads finds the tables of its own version, too, where it may make them.
    make_older(&rig.store());
    let read = rig.run(&["show", "kept"]);
    assert!(read.code == 0 && read.out == shown, "{read:?}");
    assert_eq!(rig.json(&["store", "info", "-o", "json"])["format"], 11);
}

#[test]
fn a_held_session_is_not_purged_and_a_purged_one_says_so() {
    let rig = with_a_session();
    assert_eq!(rig.run(&["store", "hold", "kept", "--reason", "a lawsuit"]).code, 0);
    let held = rig.run(&["store", "gc", "--older-than", "0m"]);
    assert_eq!(held.code, 0, "{held:?}");
    assert!(held.out.contains("a lawsuit") && held.err.contains("0 sessions purged"), "{held:?}");
    assert_eq!(rig.run(&["store", "release", "kept"]).code, 0);
    let would = rig.run(&["store", "gc", "--older-than", "0m", "--dry-run"]);
    assert!(would.out.contains("would be purged"), "{would:?}");
    assert_eq!(rig.run(&["verify", "kept"]).code, 0);
    let purged = rig.run(&["store", "gc", "--older-than", "0m", "-o", "json"]);
    assert!(purged.out.contains("\"purged\""), "{purged:?}");
    let state = rig.run(&["state", "kept"]);
    assert_eq!(state.code, 3, "{state:?}");
    assert!(state.err.contains("purged"), "{state:?}");
    let info = rig.run(&["store", "info"]);
    assert!(info.out.contains("1 purged"), "{info:?}");
    assert_eq!(rig.run(&["doctor", "--deep"]).code, 0);
    assert_eq!(rig.run(&["store", "gc", "--older-than", "soon"]).code, 2);
}

#[test]
fn what_was_purged_leaves_no_trace_in_documents_and_its_room_comes_back() {
    let rig = with_a_session();
    let usage = rig.json(&["usage", "-o", "json"]);
    let documents = || -> i64 {
        let sql = "select count(*) from document where key like 'session/%'";
        rusqlite::Connection::open(rig.store()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(documents(), 1, "{usage}");
    rig.run(&["store", "gc"]).assert_refused(2, &["--older-than", "--compact"]);
    rusqlite::Connection::open(rig.store())
        .unwrap()
        .execute_batch(
            "insert into blob (shard, digest, bytes) values (0, x'00', zeroblob(4000000)); delete from blob where digest = x'00'",
        )
        .unwrap();
    let done = rig.json(&["store", "gc", "--older-than", "0m", "--compact", "-o", "json"]);
    assert_eq!(done["sessions"][0]["outcome"], "purged", "{done}");
    let bytes = |when: &str| done["compacted"][when].as_u64().unwrap();
    assert!(bytes("bytes_before") > bytes("bytes_after") + 4_000_000, "{done}");
    assert_eq!(std::fs::metadata(rig.store()).unwrap().len(), bytes("bytes_after"));
    assert_eq!(documents(), 0);
    assert_eq!(rig.json(&["usage", "-o", "json"]), usage, "what went on that day is still counted");
    assert_eq!(rig.run(&["doctor", "--deep"]).code, 0);
    let said = rig.run(&["store", "gc", "--compact"]);
    assert!(said.code == 0 && said.out.contains("the store took"), "{said:?}");
}

#[test]
fn a_file_that_another_process_uses_is_not_compacted_and_nothing_is_purged_then() {
    let rig = with_a_session();
    let refused = |words: &[&str]| {
        rig.run(&["store", "gc", "--older-than", "0m", "--compact"]).assert_refused(4, words);
        assert_eq!(rig.run(&["verify", "kept"]).code, 0, "nothing was purged");
    };
    for begin in ["begin; select count(*) from event", "begin immediate"] {
        let connection = Other::open(&rig, begin);
        refused(&["in use", &connection.pid(), "try again"]);
        connection.end();
    }
    let url = format!("sqlite://{}", rig.store().display());
    let node = crate::node_support::Node::start(&url, "10s");
    wait_until("the node has its lease", || {
        let sql = "select count(*) from node where address like '%role=serves%'";
        rusqlite::Connection::open(rig.store()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap_or(0) > 0
    });
    refused(&["in use", "pid"]);
    node.stop();
    assert_eq!(rig.run(&["store", "gc", "--older-than", "0m", "--compact"]).code, 0);
}

#[tokio::test]
async fn a_copy_goes_to_any_store() {
    let rig = with_a_session();
    let to = format!("sqlite://{}", rig.path("copy.db").display());
    for _ in 0..2 {
        let said = rig.run(&["store", "copy", "--to", &to]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("1 session"), "{said:?}");
    }
    let copy = connect(&to, OpenOptions::default()).await.unwrap();
    let id = rekindle::session::SessionId::named(&"kept".parse().unwrap());
    verify_session(copy.as_ref(), id).await.unwrap();
    copy.close().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn the_same_commands_work_on_a_server() {
    let rig = with_a_session();
    let url = crate::postgres_server::shared().fresh_database().await;
    let unmade = rig.run(&["--store", &url, "ls"]);
    assert_eq!(unmade.code, 8, "{unmade:?}");
    assert!(unmade.err.contains("store init"), "{unmade:?}");
    for args in [vec!["store", "init"], vec!["store", "info"], vec!["ls"], vec!["doctor"], vec!["usage"]] {
        let said = rig.run(&[&["--store", url.as_str()], args.as_slice()].concat());
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
    }
    assert_eq!(rig.run(&["store", "copy", "--to", &url]).code, 0);
    let compacted = rig.json(&["--store", &url, "store", "gc", "--compact", "-o", "json"]);
    assert!(compacted["compacted"]["bytes_after"].as_u64().unwrap() > 0, "{compacted}");
    for args in [vec!["verify", "kept"], vec!["show", "kept"], vec!["tail", "--all"], vec!["doctor", "--deep"]] {
        let said = rig.run(&[&["--store", url.as_str()], args.as_slice()].concat());
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
    }
    let shown = rig.run(&["--store", &url, "show", "kept"]);
    let packed = rig.json(&["--store", &url, "store", "pack", "--older-than", "0m", "--compact", "-o", "json"]);
    assert_eq!(packed["sessions"][0]["outcome"], "packed", "{packed}");
    assert_eq!(rig.run(&["--store", &url, "show", "kept"]).out, shown.out);
    assert_eq!(rig.run(&["--store", &url, "audit", "access", "on"]).code, 0);
    assert_eq!(rig.run(&["--store", &url, "show", "kept"]).out, shown.out);
    let report = rig.json(&["--store", &url, "audit", "report", "--from", "2020-01-01", "-o", "json"]);
    let how: Vec<&str> = report["access"]["reads"].as_array().unwrap().iter().filter_map(|read| read["how"].as_str()).collect();
    assert!(how.contains(&"show"), "{report}");
    assert_eq!(report["sessions"][0]["name"], "kept", "{report}");
    assert_eq!(rig.run(&["--store", &url, "audit", "access", "off"]).code, 0);
    let backup = rig.path("server.db");
    let said = rig.run(&["--store", &url, "store", "backup", backup.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    let there = format!("sqlite://{}", backup.display());
    assert_eq!(rig.run(&["--store", &there, "verify", "kept"]).code, 0);
    let replay = rig.run(&["--store", &url, "replay", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json")]);
    assert_eq!(replay.code, 0, "{replay:?}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_server_that_cannot_distribute_says_so_and_is_left_as_it_was() {
    use sqlx::{Connection as _, Row as _};
    let rig = Rig::new();
    let url = crate::postgres_server::shared().fresh_database().await;
    let refused = rig.run(&["--store", &url, "store", "init", "--distributed"]);
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.err.contains("Citus") && refused.err.contains("without --distributed"), "{refused:?}");
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    let tables: i64 = sqlx::query(tables).fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(tables, 0, "something was made");
    assert_eq!(rig.run(&["--store", &url, "store", "init"]).code, 0);
    let late = rig.run(&["--store", &url, "store", "init", "--distributed"]);
    assert_eq!(late.code, 8, "{late:?}");
    assert!(late.err.contains("store copy"), "{late:?}");
}
