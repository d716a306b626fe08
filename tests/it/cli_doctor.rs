//! `rekindle doctor` finds what is not well, says what to do about it, and ends with 5 only for damage.

use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;

use crate::cli_support::{Other, Rig, Said, wait_until};

/// A rig with sessions called `one` and `two`.
fn rig() -> Rig {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    for name in ["one", "two"] {
        assert_eq!(rig.run(&["import", &file, "--name", name]).code, 0);
    }
    rig
}

fn findings(said: &Said) -> Vec<Value> {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Runs the doctor, which must end with `code`, and returns what it found of `check`.
#[track_caller]
fn found(rig: &Rig, args: &[&str], code: i32, check: &str) -> Vec<Value> {
    let said = rig.run(&[&["doctor", "-o", "json"], args].concat());
    assert_eq!(said.code, code, "{said:?}");
    findings(&said).into_iter().filter(|finding| finding["check"] == check).collect()
}

#[track_caller]
fn assert_one(findings: &[Value], state: &str, words: &[&str]) {
    let [finding] = findings else { panic!("not one: {findings:?}") };
    assert_eq!(finding["state"], state, "{finding}");
    let text = format!("{} {}", finding["found"], finding["advice"]);
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} are not in {text}");
    if state != "well" {
        assert!(finding["advice"].is_string(), "nothing to do about {finding}");
    }
}

fn execute(rig: &Rig, sql: &str) {
    rusqlite::Connection::open(rig.store()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_store_that_is_well_says_so_of_everything() {
    let rig = rig();
    let said = rig.run(&["doctor", "--deep", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let findings = findings(&said);
    for check in ["disk", "free", "log", "transaction", "left", "rows", "logs", "feed", "runtimes"] {
        let of_check: Vec<_> = findings.iter().filter(|finding| finding["check"] == check).cloned().collect();
        assert_one(&of_check, "well", &[]);
    }
    let table = rig.run(&["doctor"]);
    assert!(table.out.contains("`") && table.out.contains("doctor --deep"), "{table:?}");
}

#[test]
fn who_reads_or_writes_in_an_open_transaction_is_named() {
    let rig = rig();
    let reader = Other::open(&rig, "begin;select count(*) from event");
    let pid = reader.pid();
    assert_one(&found(&rig, &[], 0, "transaction"), "note", &[&pid, "python", "reading"]);
    reader.end();
    let writer = Other::open(&rig, "begin immediate");
    let pid = writer.pid();
    assert_one(&found(&rig, &[], 0, "transaction"), "note", &[&pid, "writing"]);
    writer.end();
    assert_one(&found(&rig, &[], 0, "transaction"), "well", &[]);
}

#[test]
fn room_inside_the_file_is_told_with_the_way_to_get_it_back() {
    let rig = rig();
    execute(
        &rig,
        "insert into blob (shard, digest, bytes) values (0, x'00', zeroblob(4000000)); delete from blob where digest = x'00'",
    );
    assert_one(&found(&rig, &[], 0, "free"), "note", &["MiB", "gc --compact"]);
}

#[test]
fn a_projection_that_is_behind_says_how_far_and_who_brings_it_up() {
    let rig = rig();
    assert_eq!(rig.run(&["usage"]).code, 0);
    assert_one(&found(&rig, &[], 0, "projection"), "well", &["activity"]);
    assert_eq!(rig.run(&["import", rig.path("t.json").to_str().unwrap(), "--name", "three"]).code, 0);
    assert_one(&found(&rig, &[], 0, "projection"), "note", &["events behind", "usage"]);
}

#[test]
fn a_head_that_is_not_there_is_damage_at_a_glance() {
    let rig = rig();
    execute(
        &rig,
        "delete from event where seq = (select max(seq) from event) and session_id = (select session_id from session limit 1)",
    );
    assert_one(&found(&rig, &[], 5, "rows"), "bad", &["last event", "verify"]);
}

#[test]
fn a_row_that_no_list_shows_is_damage_at_a_glance() {
    let rig = rig();
    execute(&rig, "update session set head_hash = x'00' where name = 'one'");
    assert_one(&found(&rig, &[], 5, "rows"), "bad", &["1 session", "copy"]);
}

#[test]
fn a_hole_in_the_feed_is_right_when_it_was_purged_and_damage_when_it_was_not() {
    let rig = rig();
    assert_eq!(rig.run(&["store", "gc", "--older-than", "0m", "--keep-last", "1"]).code, 0);
    assert_one(&found(&rig, &["--deep"], 0, "feed"), "well", &[]);
    execute(&rig, "update hole set first_pos = first_pos + 2");
    assert_one(&found(&rig, &["--deep"], 5, "feed"), "bad", &["positions", "shard 0", "copy"]);
    execute(&rig, "update hole set first_pos = first_pos - 2; update shard set head_pos = head_pos + 1");
    assert_one(&found(&rig, &["--deep"], 5, "feed"), "bad", &["position", "no event"]);
    execute(&rig, "update shard set head_pos = head_pos - 2");
    assert_one(&found(&rig, &["--deep"], 5, "feed"), "bad", &["behind the end"]);
}

/// What an engine that is gone has left: a process with the mark of its runtime, and the fence of its session.
fn leave(rig: &Rig) -> (Child, PathBuf) {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let child = Command::new("sleep").arg("1000").env("REKINDLE_RUNTIME", &mark).spawn().unwrap();
    let directory = rig.path(&format!("rekindle-{}", nix::unistd::geteuid()));
    let _ = std::fs::create_dir(&directory);
    let fence = directory.join(format!("{}-0123456789ab", uuid::Uuid::now_v7()));
    let held = format!(r#"{{"epoch":1,"runtime":{{"first":null,"mark":"REKINDLE_RUNTIME={mark}"}}}}"#);
    std::fs::write(&fence, held).unwrap();
    (child, fence)
}

#[test]
fn processes_without_their_engine_are_named_and_swept_away_with_their_fence() {
    let rig = rig();
    let (mut child, fence) = leave(&rig);
    assert_one(&found(&rig, &[], 0, "runtimes")[..1], "warn", &["run on", "doctor --sweep"]);
    assert!(child.try_wait().unwrap().is_none() && fence.exists(), "nothing goes without being asked to");
    assert_one(&found(&rig, &["--sweep"], 0, "runtimes")[..1], "well", &["ended"]);
    assert!(!child.wait().unwrap().success());
    assert!(!fence.exists());
    assert_one(&found(&rig, &[], 0, "runtimes"), "well", &[]);
}

#[test]
fn a_fence_that_nobody_needs_is_swept_away_and_one_that_is_held_stays() {
    let rig = rig();
    let (mut child, fence) = leave(&rig);
    child.kill().unwrap();
    child.wait().unwrap();
    let file = rig.recording("slow.json", &[("touch begun; while [ ! -e go ]; do sleep 0.01; done", "", 0)]);
    let workspace = rig.path("ws");
    let mut engine = rig.spawn(&["replay", &file, "--workspace", workspace.to_str().unwrap(), "--name", "slow"]);
    wait_until("the command runs", || workspace.join("begun").exists());
    assert_one(&found(&rig, &[], 0, "runtimes"), "note", &["1 fence file", "doctor --sweep"]);
    assert_one(&found(&rig, &["--sweep"], 0, "runtimes"), "well", &["1 fence file removed"]);
    assert!(!fence.exists());
    assert_one(&found(&rig, &[], 0, "runtimes"), "well", &["1 runtime here"]);
    std::fs::write(workspace.join("go"), "").unwrap();
    assert_eq!(engine.wait().unwrap().code(), Some(0), "the sweep has cost the session nothing");
    // The engine is gone, and with it the need for its fence.
    assert_one(&found(&rig, &["--sweep"], 0, "runtimes"), "well", &["1 fence file removed"]);
    let left = std::fs::read_dir(fence.parent().unwrap()).unwrap().count();
    assert_eq!(left, 0, "the doctor leaves no fence of its own");
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

    use super::*;
    use crate::postgres_server::shared;

    async fn served() -> (Rig, String) {
        let (rig, url) = (rig(), shared().fresh_database().await);
        assert_eq!(rig.run(&["store", "copy", "--to", &url]).code, 0);
        (rig, url)
    }

    async fn execute(url: &str, sql: &str) {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_well_says_so_of_everything() {
        let (rig, url) = served().await;
        for check in ["room", "dead-rows", "transaction", "left", "rows", "logs", "feed"] {
            assert_one(&found(&rig, &["--store", &url, "--deep"], 0, check), "well", &[]);
        }
    }

    #[tokio::test]
    async fn a_transaction_that_somebody_left_open_is_named() {
        let (rig, url) = served().await;
        let mut connection = PgConnection::connect(&format!("{url}?application_name=forgetful")).await.unwrap();
        let transaction = connection.begin().await.unwrap();
        assert_one(&found(&rig, &["--store", &url], 0, "transaction"), "note", &["forgetful", "pg_terminate_backend"]);
        transaction.rollback().await.unwrap();
        assert_one(&found(&rig, &["--store", &url], 0, "transaction"), "well", &[]);
    }

    #[tokio::test]
    async fn dead_rows_are_told_by_table_with_the_way_to_be_rid_of_them() {
        let (rig, url) = served().await;
        execute(&url, "alter table node set (autovacuum_enabled = false)").await;
        let insert = "insert into node select gen_random_uuid(), 1, 0, 'gone' from generate_series(1, 12000)";
        execute(&url, &format!("{insert}; delete from node")).await;
        // The statistics come when they come.
        let mut seen = Vec::new();
        wait_until("the statistics know", || {
            seen = found(&rig, &["--store", &url], 0, "dead-rows");
            seen[0]["state"] == "warn"
        });
        assert_one(&seen, "warn", &["node", "12000 dead rows", "gc --compact"]);
    }

    #[tokio::test]
    async fn damage_on_a_server_is_found_too() {
        let (rig, url) = served().await;
        let all = |args: &[&'static str]| [&["--store", url.as_str()], args].concat();
        execute(&url, "update shard set head_pos = head_pos + 2 where head_pos > 0").await;
        let feed = found(&rig, &all(&["--deep"]), 5, "feed");
        assert!(feed.iter().all(|finding| finding["state"] == "bad"), "{feed:?}");
        execute(&url, "update shard set head_pos = head_pos - 2 where head_pos > 0").await;
        assert_one(&found(&rig, &all(&["--deep"]), 0, "feed"), "well", &[]);
        execute(
            &url,
            "delete from event using session where event.session_id = session.session_id and seq = head_seq and name = 'one'",
        )
        .await;
        assert_one(&found(&rig, &all(&[]), 5, "rows"), "bad", &["last event"]);
    }
}
