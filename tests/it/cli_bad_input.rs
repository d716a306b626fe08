//! Bad input gets one clear message that names it and the way out, the right exit code, no panic, and loses nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::cli_support::{Rig, Said, recording};

/// Refused alike by the two commands that read recordings, and nothing is made of it.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, words: &[&str]) {
    let rig = Rig::new();
    let file = rig.write("bad.json", text);
    let name = ["bad.json"];
    for command in ["import", "replay"] {
        rig.run(&[command, &file]).assert_refused(1, &[&name, words].concat());
    }
    assert!(!rig.store().exists(), "no store is made for what is refused");
}

#[test]
fn a_file_that_is_no_recording_is_refused() {
    refused("hello", &["not json", "line 1"]);
    refused("", &["nothing in it"]);
    refused("[{\"action\": \"run\", \"args\": {\"comm", &["not json"]);
    refused("{\"a\": 1}", &["list of events", "keys a"]);
    refused("7", &["list of events", "the number 7"]);
    refused("[]", &["empty list"]);
    refused("[7]", &["element 0", "`action` or an `observation`"]);
    refused("[{\"action\": \"message\", \"args\": {\"content\": NaN}}]", &["NaN", "null in its place"]);
    refused(b"[\"\xff\xfe\"]", &["utf-8"]);
    refused("[{\"action\": \"run\", \"command\": \"ls\"}]", &["2024"]);
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = format!("[{{\"action\": \"message\", \"args\": {}{}}}]", "[".repeat(100_000), "]".repeat(100_000));
    refused(deep, &["100", "levels deep"]);
    refused("[".repeat(100_000), &["not json"]);
}

#[test]
fn a_hundred_megabytes_in_one_field_are_kept_and_given_back() {
    let rig = Rig::new();
    let mut events = recording(&[("cat big", "", 0)]);
    events[2]["content"] = serde_json::Value::from("x".repeat(100 * 1024 * 1024));
    let file = rig.write("big.json", events.to_string());
    let said = rig.run(&["import", &file]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(rig.run(&["show"]).out.len() < 10_000);
    let export = rig.run(&["export", "@last"]);
    assert!(serde_json::from_str::<serde_json::Value>(&export.out).unwrap() == events);
    assert_eq!(rig.run(&["verify"]).code, 0);
}

#[test]
fn a_path_without_a_recording_is_refused() {
    let rig = Rig::new();
    for command in ["import", "replay"] {
        rig.run(&[command, "missing.json"]).assert_refused(3, &["missing.json", "does not exist"]);
        rig.run(&[command, "."]).assert_refused(1, &["holds no events", "events/0.json"]);
    }
}

#[test]
fn a_recording_without_anything_to_do_is_not_replayed() {
    let rig = Rig::new();
    let file = rig.write("null.json", "[{\"id\": 0, \"source\": \"agent\", \"action\": \"null\", \"args\": {}}]");
    rig.run(&["replay", &file]).assert_refused(1, &["nothing to replay", "rekindle import"]);
}

#[test]
fn sessions_and_events_that_are_not_there_are_named() {
    let rig = Rig::new();
    rig.run(&["show"]).assert_refused(3, &["no sessions yet", "rekindle replay"]);
    let ls = rig.run(&["ls"]);
    assert_eq!((ls.code, ls.out.as_str()), (0, ""), "{ls:?}");
    assert!(ls.err.contains("no sessions yet"), "{ls:?}");
    assert_eq!(rig.run(&["ls", "-o", "json"]).out.trim(), "[]");
    let file = rig.recording("t.json", &[("true", "", 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    rig.run(&["show", "nobody"]).assert_refused(3, &["nobody", "rekindle ls"]);
    rig.run(&["show", "@-7"]).assert_refused(3, &["@-7", "@last"]);
    for address in ["@last:99", "@last@99", "@last:2..99"] {
        rig.run(&["show", address]).assert_refused(3, &["99", "last one is 6"]);
    }
    rig.run(&["tail", "--from", "99"]).assert_refused(3, &["99", "last one is 6"]);
    rig.run(&["state", "@last@99"]).assert_refused(3, &["last one is 6"]);
    rig.run(&["state", "@last@-99"]).assert_refused(3, &["99 before its last"]);
}

#[test]
fn an_ambiguous_beginning_lists_who_is_meant() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    // Ids of one minute begin alike.
    let id = |said: &Said| said.err.split_whitespace().nth(1).unwrap().to_owned();
    let ids = [id(&rig.run(&["replay", &file])), id(&rig.run(&["replay", &file]))];
    let common: String = ids[0].chars().zip(ids[1].chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let said = rig.run(&["show", &common]);
    said.assert_refused(2, &[&ids[0], &ids[1], "add digits"]);
    rig.run(&["show", &common[..3]]).assert_refused(2, &["at least 4 digits"]);
    assert_eq!(rig.run(&["show", &ids[0]]).code, 0);
}

#[test]
fn an_address_that_cannot_be_one_is_a_usage_error() {
    let rig = Rig::new();
    for args in [&["show", "@first"][..], &["show", "x@0"], &["show", "x:5..2"], &["state", "x:y"], &["frobnicate"], &["replay"]]
    {
        let said = rig.run(args);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.starts_with("error:"), "{said:?}");
    }
    let file = rig.recording("t.json", &[("true", "", 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    rig.run(&["state", "@last:3"]).assert_refused(2, &["@last@3"]);
    rig.run(&["close", "@last:3"]).assert_refused(2, &["whole session"]);
    rig.run(&["tail", "-f", "-o", "json"]).assert_refused(2, &["ndjson"]);
}

#[test]
fn a_store_that_is_none_is_left_as_it_is() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    rig.write("notes.txt", "my notes, longer than a header of a database, so that it could be taken for one\n".repeat(20));
    let before = fs::read(rig.path("notes.txt")).unwrap();
    let url = format!("sqlite://{}", rig.path("notes.txt").display());
    for args in [&["ls", "--store", &url][..], &["import", &file, "--store", &url], &["replay", &file, "--store", &url]] {
        rig.run(args).assert_refused(8, &["notes.txt", "not a Rekindle store"]);
    }
    assert_eq!(fs::read(rig.path("notes.txt")).unwrap(), before);
    let missing = format!("sqlite://{}", rig.path("missing.db").display());
    rig.run(&["ls", "--store", &missing]).assert_refused(8, &["missing.db", "name another place"]);
    assert!(!rig.path("missing.db").exists(), "reading makes no store");
    rig.run(&["ls", "--store", "mysql://x"]).assert_refused(2, &["mysql://x", "sqlite://PATH"]);
}

#[test]
fn a_store_that_another_process_holds_is_waited_for_and_then_told() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let other = rusqlite::Connection::open(rig.store()).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let two = rig.recording("two.json", &[("false", "", 1)]);
    rig.run(&["import", &two]).assert_refused(8, &["another process", "try again"]);
    assert_eq!(rig.run(&["ls"]).code, 0, "readers do not wait");
    drop(other);
    assert_eq!(rig.run(&["import", &two]).code, 0);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let rig = Rig::new();
    let small = rig.recording("small.json", &[("true", "", 0)]);
    let large = rig.recording("large.json", &[("cat", &"x".repeat(4 * 1024 * 1024), 0)]);
    assert_eq!(rig.run(&["import", &small]).code, 0);
    // What the system says on a full disk, to every write from the first that takes more room; no test needs root for that.
    let full = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=20+"];
    rig.through(&full, &["import", &large]).assert_refused(8, &["no room", "try again"]);
    assert_eq!(rig.run(&["verify", "--all"]).code, 0);
    assert_eq!(rig.run(&["import", &large]).code, 0, "with room it goes on");
    assert_eq!(rig.run(&["verify", "--all"]).code, 0);
}

#[test]
fn a_store_that_cannot_be_written_can_be_read() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let two = rig.recording("two.json", &[("false", "", 1)]);
    let dir = rig.store().parent().unwrap().to_owned();
    let permit = |file: u32, directory: u32| {
        fs::set_permissions(rig.store(), fs::Permissions::from_mode(file)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(directory)).unwrap();
    };
    permit(0o444, 0o555);
    // Root may write everywhere until it gives that up; everybody else may give up nothing, which does no harm.
    let without_powers: &[&str] =
        if nix::unistd::geteuid().is_root() { &["setpriv", "--bounding-set=-all", "--inh-caps=-all"] } else { &["env"] };
    let [read, write] = [&["show"][..], &["import", &two]].map(|args| rig.through(without_powers, args));
    permit(0o644, 0o755);
    assert_eq!(read.code, 0, "{read:?}");
    write.assert_refused(8, &["written"]);
}
