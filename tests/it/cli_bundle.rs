//! A session leaves its store as one file, and is verified where there is no store.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::bundle_support::checker;
use crate::cli_support::{Rig, Said};

/// A session that was run to its end, and a bundle of it.
fn given() -> Rig {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello\n", 0)]);
    let said = rig.run(&["replay", &file, "--name", "sample"]);
    assert!(said.code == 0 || said.code == 6, "{said:?}");
    assert_eq!(rig.run(&["close", "sample"]).code, 0);
    let said = rig.run(&["export", "sample", "--to", "bundle", "--output", "sample.bundle"]);
    assert_eq!(said.code, 0, "{said:?}");
    rig
}

fn damage(rig: &Rig, sql: &str) {
    let store = rusqlite::Connection::open(rig.store()).unwrap();
    assert!(store.execute(sql, []).unwrap() > 0, "{sql}");
}

fn checked(rig: &Rig, file: &str) -> Option<i32> {
    checker(&[file]).current_dir(rig.home.path()).output().unwrap().status.code()
}

#[test]
fn a_bundle_says_without_a_store_what_the_store_says() {
    let rig = given();
    let there = rig.json(&["verify", "sample", "-o", "json"]);
    let elsewhere = Rig::new();
    fs::copy(rig.path("sample.bundle"), elsewhere.path("b")).unwrap();
    let here = elsewhere.json(&["verify", "./b", "-o", "json"]);
    for field in ["session", "ok", "events", "hash", "digest", "bad", "integrity", "completeness", "determinism"] {
        assert_eq!(here[field], there[field], "{field}");
    }
    for verdict in ["integrity", "completeness", "determinism"] {
        assert_eq!(here[verdict]["verdict"], "holds", "{verdict}");
    }
    assert_eq!((&here["name"], &here["of"], &here["signed"]["by"]), (&"sample".into(), &here["events"], &"nobody".into()));
    assert!(!elsewhere.store().exists(), "no store was made");
    assert_eq!(checked(&elsewhere, "b"), Some(0));
    let said = elsewhere.run(&["verify", "b"]);
    assert!(said.code == 0 && said.out.contains("intact") && said.out.contains("determinism holds"), "{said:?}");

    // Through a pipe, from one end to the other.
    let bytes = rig.run(&["export", "sample", "--to", "bundle"]).out;
    let at = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let lines = (at(&bytes), at(&fs::read_to_string(rig.path("sample.bundle")).unwrap()));
    assert_eq!(lines.0[..lines.0.len() - 1], lines.1[..lines.1.len() - 1], "all but the moment is the same");
    let mut command = elsewhere.command(&["verify", "-"]);
    command.stdin(Stdio::from(fs::File::open(rig.path("sample.bundle")).unwrap()));
    assert_eq!(Said::of(command).code, 0);
}

#[test]
fn a_cut_or_changed_bundle_ends_with_5_naming_the_event() {
    let rig = given();
    let whole = fs::read_to_string(rig.path("sample.bundle")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(rig.path("cut"), lines[..5].join("\n") + "\n").unwrap();
    fs::write(rig.path("changed"), whole.replacen("hello", "jello", 1)).unwrap();
    for (file, failing, holding, word) in [
        ("cut", "completeness", "integrity", "the log ends at event 4"),
        ("changed", "integrity", "completeness", "not what was appended"),
    ] {
        let said = rig.run(&["verify", file, "-o", "json"]);
        let found: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((said.code, found["ok"].as_bool()), (5, Some(false)), "{said:?}");
        assert_eq!((&found[failing]["verdict"], &found[holding]["verdict"]), (&"fails".into(), &"holds".into()), "{said:?}");
        assert!(found["bad"].is_u64() && found["bad"] == found[failing]["bad"], "{said:?}");
        assert!(rig.run(&["verify", file]).out.contains(word), "{file}");
        assert_eq!(checked(&rig, file), Some(5), "{file}");
    }
}

#[test]
fn a_damaged_session_is_exported_only_when_that_is_wanted() {
    for (sql, bad) in [
        ("update event set body = body || ' ' where seq = 3", 3),
        ("update event set kind = cast(x'ff' as text) where seq = 4", 4),
        ("delete from event where seq = 2", 2),
        ("delete from event where seq > 5", 6),
    ] {
        let rig = given();
        damage(&rig, sql);
        let args = ["export", "sample", "--to", "bundle", "--output", "bad.bundle"];
        rig.run(&args).assert_refused(5, &[&format!("event {bad}"), "--keep-damaged"]);
        assert!(!rig.path("bad.bundle").exists(), "{sql}");
        let piped = rig.run(&args[..4]);
        assert_eq!(piped.code, 5);
        fs::write(rig.path("piped"), piped.out).unwrap();
        let said = rig.run(&["verify", "./piped"]);
        assert!(
            said.code == 5 && said.out.contains("completeness fails"),
            "what came through the pipe is known as cut: {said:?}"
        );
        let said = rig.run(&[&args[..], &["--keep-damaged"]].concat());
        assert!(said.code == 0 && said.err.contains(&format!("event{} {bad}", if bad == 6 { "s" } else { "" })), "{said:?}");
        let found: Value = serde_json::from_str(&rig.run(&["verify", "bad.bundle", "-o", "json"]).out).unwrap();
        assert_eq!(found["bad"], bad, "{sql}: {found}");
        assert_eq!(checked(&rig, "bad.bundle"), Some(5), "{sql}");
    }
}

#[test]
fn a_part_of_a_session_and_a_fork_are_bundles_too() {
    let rig = given();
    assert_eq!(rig.run(&["fork", "sample@7", "--name", "forked", "--no-run"]).code, 0);
    for (address, part) in [("sample@5", true), ("forked", false), ("forked@3", true)] {
        assert_eq!(rig.run(&["export", address, "--to", "bundle", "--output", "one"]).code, 0, "{address}");
        let there = rig.json(&["verify", address, "-o", "json"]);
        let here = rig.json(&["verify", "one", "-o", "json"]);
        for field in ["ok", "events", "hash", "digest", "integrity", "completeness", "determinism"] {
            assert_eq!(here[field], there[field], "{address} {field}");
        }
        // The chain vouches for whose the last event is, and for no fork that has none of its own there.
        let vouched = if address == "forked@3" { "sample" } else { address.split('@').next().unwrap() };
        assert_eq!(here["session"], rig.json(&["verify", &format!("{vouched}@-0"), "-o", "json"])["session"], "{address}");
        assert_eq!(here["of"] != here["events"], part, "{address}");
        assert_eq!(rig.run(&["verify", "one"]).out.contains("events 1 to"), part, "{address}");
        assert_eq!(checked(&rig, "one"), Some(0), "{address}");
    }
}

#[test]
fn a_file_is_a_bundle_and_a_session_of_its_name_is_meant_by_its_address() {
    let rig = given();
    rig.write("sample", "[]");
    rig.run(&["verify", "sample"]).assert_refused(2, &["sample is a file, but no bundle", "sample@-0"]);
    assert_eq!(rig.run(&["verify", "sample@-0"]).code, 0);
    rig.run(&["verify", "./nowhere"]).assert_refused(3, &["nowhere"]);
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    rig.run(&["verify", "sample@-0", "--key", key]).assert_refused(2, &["--key is for bundles and --against"]);
    rig.run(&["verify", "sample.bundle", "--key", "nonsense"]).assert_refused(2, &["no verifier key"]);
    let said = rig.run(&["verify", "sample.bundle", "--key", key]);
    assert!(said.code == 5 && said.out.contains("nothing in it is signed with PeterNeumann"), "{said:?}");
    rig.run(&["export", "sample@-0", "--keep-damaged"]).assert_refused(2, &["--to bundle"]);
    rig.run(&["export", "sample@-0", "--to", "bundle", "--idle-limit", "2"]).assert_refused(2, &["--idle-limit"]);
}

#[test]
fn a_bundle_of_a_sealed_store_says_whose_signature_its_session_bears() {
    let rig = given();
    assert_eq!(rig.run(&["audit", "seal", "--origin", "example.com/log"]).code, 0);
    let export = ["export", "sample", "--to", "bundle", "--output", "sealed"];
    assert_eq!(rig.run(&export).code, 0);
    let key = rig.run(&["audit", "key"]).out.trim().to_owned();
    let found = rig.json(&["verify", "./sealed", "-o", "json"]);
    assert_eq!((&found["signed"]["by"], &found["signed"]["key"]), (&"own_key".into(), &key.as_str().into()), "{found}");
    assert_eq!((&found["signed"]["upto"], &found["counts"]["proofs"]), (&found["events"], &1.into()), "{found}");
    assert!(rig.run(&["verify", "sealed"]).out.contains("by a key that this file itself brings"));
    let pinned = rig.run(&["verify", "sealed", "--key", &key]);
    assert!(pinned.code == 0 && pinned.out.contains(&format!("by {key}")), "{pinned:?}");
    let check = |key: &str| checker(&["sealed", key]).current_dir(rig.home.path()).output().unwrap().status.code();
    assert_eq!(check(&key), Some(0));

    // The same store under another key, as whoever rewrites it would seal it.
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let said = rig.run(&["verify", "sealed", "--key", other]);
    assert!(said.code == 5 && said.out.contains("integrity fails: the file is signed with example.com/log+"), "{said:?}");
    assert_eq!(check(other), Some(5));

    // An audit log that is not what was signed proves nothing.
    damage(&rig, "update event set body = body || ' ' where kind = 'audit.sealed'");
    rig.run(&export).assert_refused(5, &["audit log", "--keep-damaged"]);
    assert_eq!(rig.run(&[&export[..], &["--keep-damaged"]].concat()).code, 0);
    assert_eq!(rig.json(&["verify", "./sealed", "-o", "json"])["signed"]["by"], "nobody");
}
