//! Sealing and checking as a person does it, and what a kill in between leaves.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::cli_support::Rig;

/// How long anything is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home with two sessions.
fn given_sessions() -> Rig {
    let rig = Rig::new();
    for name in ["one.json", "two.json"] {
        let file = rig.recording(name, &[("echo 1", "1", 0), ("echo 2", "2", 0)]);
        let said = rig.run(&["import", &file, "--name", name]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    rig
}

fn sql(rig: &Rig) -> Connection {
    Connection::open(rig.store()).unwrap()
}

fn checkpoints(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().filter(|line| line.starts_with("— ")).count()
}

#[test]
fn a_store_is_sealed_and_checked_from_outside() {
    let rig = given_sessions();
    let (file, repository) = (rig.path("checkpoints"), rig.path("repository"));
    let to = [format!("file:{}", file.display()), format!("git:{}", repository.display())];
    let seal = ["audit", "seal", "--to", &to[0], "--to", &to[1]];
    let said = rig.run(&seal);
    assert_eq!(said.code, 0, "{said:?}");
    let key = rig.run(&["audit", "key"]);
    let vkey = key.out.trim();
    assert!(said.err.contains(vkey) && said.out.contains(vkey), "{said:?}");
    let sealed = rig.json(&["audit", "seal", "--to", &to[0], "--to", &to[1], "-o", "json"]);
    assert_eq!((sealed["sessions"].as_u64(), sealed["size"].as_u64()), (Some(0), Some(3)), "{sealed}");
    assert_eq!(sealed["published"][0]["checkpoints"], 1, "{sealed}");

    // The same in both places, a commit each.
    assert_eq!(checkpoints(&file), 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), fs::read_to_string(repository.join("checkpoints")).unwrap());
    let git = |args: &[&str]| Command::new("git").arg("-C").arg(&repository).args(args).output().unwrap();
    assert_eq!(String::from_utf8(git(&["log", "--oneline"]).stdout).unwrap().lines().count(), 2);
    assert!(git(&["status", "--porcelain"]).stdout.is_empty());

    let against = ["verify", "--against", "checkpoints"];
    for args in [&against[..], &["verify", "--against", "repository/checkpoints", "--key", vkey]] {
        let said = rig.run(args);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("2 sessions as sealed"), "{said:?}");
    }
    // Somebody else has the file and the store, and must be told the key.
    let elsewhere = |args: &[&str]| {
        let mut command = rig.command(args);
        command.env("REKINDLE_AUDIT_KEYS", rig.path("nowhere"));
        crate::cli_support::Said::of(command)
    };
    elsewhere(&against).assert_refused(2, &["--key"]);
    assert_eq!(elsewhere(&["verify", "--against", "checkpoints", "--key", vkey]).code, 0);
    elsewhere(&seal).assert_refused(3, &["nowhere", "--new-key"]);
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let said = rig.run(&["verify", "--against", "checkpoints", "--key", other]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("line 1") && said.out.contains("PeterNeumann+c74f20a3"), "{said:?}");
    rig.run(&["verify", "--against", "checkpoints", "--key", "x"]).assert_refused(2, &["verifier key"]);
    rig.run(&["verify", "--against", "missing"]).assert_refused(3, &["missing"]);
    rig.run(&["audit", "seal", "--to", "ftp://x"]).assert_refused(2, &["git:DIR"]);
}

#[test]
fn what_was_done_to_the_store_ends_with_5_and_names_the_session() {
    let rig = given_sessions();
    assert_eq!(rig.run(&["audit", "seal", "--to", "file:checkpoints"]).code, 0);
    let cut = rig.json(&["ls", "-o", "json"])[0]["id"].as_str().unwrap().to_owned();
    let id = uuid::Uuid::parse_str(&cut).unwrap();
    let store = sql(&rig);
    let last: i64 =
        store.query_row("select head_seq from session where session_id = ?1", [id.as_bytes()], |row| row.get(0)).unwrap();
    for statement in [
        "delete from event where session_id = ?1 and seq = (select head_seq from session where session_id = ?1)",
        "update session set head_seq = head_seq - 1, head_hash = (select hash from event e where e.session_id = ?1 and e.seq = \
         session.head_seq - 1) where session_id = ?1",
    ] {
        assert_eq!(store.execute(statement, [id.as_bytes()]).unwrap(), 1);
    }
    drop(store);
    assert_eq!(rig.run(&["verify", "--all"]).code, 0, "its own hashes tell nothing");
    let said = rig.run(&["verify", "--against", "checkpoints"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains(&format!("{cut} event {last}:")) && said.out.contains("1 session as sealed"), "{said:?}");
    let found = rig.run(&["verify", "--against", "checkpoints", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(
        (found["findings"][0]["session"].as_str(), found["findings"][0]["seq"].as_i64()),
        (Some(cut.as_str()), Some(last))
    );
}

#[test]
fn the_audit_log_is_no_session_of_an_agents_and_reads_like_any_other() {
    let rig = given_sessions();
    let before = rig.json(&["usage", "-o", "json"]);
    assert_eq!(rig.run(&["audit", "seal"]).code, 0);
    let listed = rig.json(&["ls", "-o", "json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(!rig.run(&["ls"]).out.contains("rekindle.audit"));
    assert_eq!(rig.json(&["state", "@last", "-o", "json"])["session"], listed[0]["id"]);
    assert_eq!(rig.json(&["usage", "-o", "json"]), before);
    let found = rig.run(&["search", "kind:audit.sealed"]);
    assert!(!found.out.contains("audit"), "{found:?}");
    for args in [
        &["show", "rekindle.audit"][..],
        &["show", "rekindle.audit", "--events"],
        &["show", "rekindle.audit:1"],
        &["state", "rekindle.audit"],
        &["verify", "rekindle.audit"],
        &["verify", "--all"],
        &["replay", "--all", "--mode", "fold"],
        &["replay", "--all", "--mode", "verify"],
        &["doctor", "--deep"],
        &["store", "copy", "--to", "sqlite://copy.db"],
    ] {
        let said = rig.run(args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
    }
    let shown = rig.run(&["show", "rekindle.audit", "--events"]);
    assert!(shown.out.contains("audit.sealed") && shown.out.contains("a tree of 2, root "), "{shown:?}");
    // Nobody runs it, nothing is said in it, forked from it, or put in its place.
    let file = rig.recording("three.json", &[("echo 3", "3", 0)]);
    let said = rig.run(&["resume", "rekindle.audit"]);
    assert!(said.err.contains("nothing is left to do"), "{said:?}");
    for args in [
        &["send", "rekindle.audit", "hello"][..],
        &["close", "rekindle.audit"],
        &["fork", "rekindle.audit@1"],
        &["import", &file, "--name", "rekindle.audit"],
        &["replay", &file, "--name", "rekindle.audit"],
    ] {
        let said = rig.run(args);
        assert!(said.code != 0 && !said.err.contains("panicked"), "{args:?}: {said:?}");
    }
    // Nor is it purged with what is old.
    let said = rig.run(&["store", "gc", "--older-than", "0d"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(rig.run(&["verify", "rekindle.audit"]).code, 0);
    let copy = rig.run(&["--store", "sqlite://copy.db", "verify", "rekindle.audit"]);
    assert_eq!(copy.code, 0, "{copy:?}");
}

#[test]
fn the_key_is_the_users_own_and_is_in_no_store() {
    let rig = given_sessions();
    let said = rig.run(&["audit", "seal", "--origin", "log.example/ours", "--to", "file:checkpoints", "-v"]);
    assert_eq!(said.code, 0, "{said:?}");
    let keys = rig.path("rekindle/audit-keys");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&keys).unwrap();
    let line = text.lines().find(|line| line.starts_with("PRIVATE+KEY+log.example/ours+")).unwrap();
    let secret = line.splitn(5, '+').nth(4).expect("the secret itself, which is base64 and may have a + of its own");
    assert_eq!(secret.len(), 44, "one byte for the algorithm and the 32 of a seed");
    assert!(!said.out.contains(secret) && !said.err.contains(secret));
    let said = rig.run(&["audit", "key"]);
    assert!(said.out.starts_with("log.example/ours+") && !said.out.contains(secret), "{said:?}");
    for file in [rig.store(), rig.store().with_extension("db-wal"), rig.path("checkpoints")] {
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", file.display());
    }
    rig.run(&["audit", "seal", "--origin", "log.example/other"]).assert_refused(2, &["log.example/ours"]);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    rig.run(&["audit", "seal"]).assert_refused(1, &["chmod 600"]);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    // A key that is lost is replaced by another one of that name, and whoever checks must know both or the new one.
    fs::write(&keys, "").unwrap();
    for args in [&["audit", "seal"][..], &["audit", "key"]] {
        rig.run(args).assert_refused(3, &["log.example/ours", "--new-key"]);
    }
    let lost = said.out.trim().to_owned();
    let sealed = rig.run(&["audit", "seal", "--new-key", "--to", "file:checkpoints"]);
    assert_eq!(sealed.code, 0, "{sealed:?}");
    assert_eq!(rig.run(&["audit", "seal", "--to", "file:checkpoints"]).code, 0, "and goes on with it");
    let new = rig.run(&["audit", "key"]).out.trim().to_owned();
    assert_ne!(new, lost);
    let against = ["verify", "--against", "checkpoints"];
    assert_eq!(rig.run(&against).code, 0);
    assert_eq!(rig.run(&[&against[..], &["--key", &lost, "--key", &new]].concat()).code, 0);
    assert_eq!(rig.run(&[&against[..], &["--key", &new]].concat()).code, 5, "the first one is not signed with it");
}

/// A server that takes a checkpoint at a time, or hangs.
struct Taker {
    listener: TcpListener,
}

impl Taker {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}/log?token=geheim-geheim", self.listener.local_addr().unwrap())
    }

    /// The next request, and the connection that waits for its answer.
    fn request(&self) -> (String, String, TcpStream) {
        let (stream, _) = self.listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap(), stream)
    }
}

fn answer(mut stream: TcpStream, status: &str) {
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
}

#[test]
fn what_a_killed_seal_did_not_publish_the_next_one_does() {
    let rig = given_sessions();
    let taker = Taker::new();
    let url = taker.url();
    let seal = ["audit", "seal", "--to", &url, "--to", "file:checkpoints"];
    // It has appended its seal once the server hears of it; the file comes after the server.
    let mut child = rig.spawn(&seal);
    let (head, first, stream) = taker.request();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stream);
    assert!(head.starts_with("POST /log?token=geheim-geheim ") && !rig.path("checkpoints").exists(), "{head}");

    let (told, taken) = mpsc::channel();
    let taking = std::thread::spawn(move || {
        for status in ["201 Created", "500 Internal Server Error", "200 OK", "200 OK"] {
            let (_, body, stream) = taker.request();
            answer(stream, status);
            told.send(body).unwrap();
        }
    });
    // The one that was missed is taken, the next one is not.
    let said = rig.run(&seal);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("answers 500") && !said.out.contains("geheim") && !said.err.contains("geheim"), "{said:?}");
    assert_eq!(taken.recv().unwrap(), first);
    let missed = taken.recv().unwrap();
    assert_eq!(checkpoints(&rig.path("checkpoints")), 2, "the file got both");
    let said = rig.run(&seal);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(taken.recv().unwrap(), missed);
    let last = taken.recv().unwrap();
    taking.join().unwrap();
    let text = fs::read_to_string(rig.path("checkpoints")).unwrap();
    assert_eq!(text, format!("{first}\n{missed}\n{last}"));
    assert_eq!(rig.run(&["verify", "--against", "checkpoints"]).code, 0);
    // What stands in the address beside the place is not in the log.
    let log = rig.run(&["show", "rekindle.audit", "--raw"]);
    assert!(log.out.contains("audit.published") && log.out.contains("/log") && !log.out.contains("geheim"), "{log:?}");
}

#[test]
fn a_node_seals_at_its_cadence_also_when_nothing_happens() {
    let rig = given_sessions();
    let file = rig.path("checkpoints");
    let mut node = rig.spawn(&["serve", "--seal-every", "100ms", "--seal-to", "file:checkpoints"]);
    let begin = Instant::now();
    while checkpoints(&file) < 3 {
        assert!(begin.elapsed() < PATIENCE, "{}", fs::read_to_string(&file).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    node.kill().unwrap();
    node.wait().unwrap();
    let said = rig.run(&["verify", "--against", "checkpoints"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(rig.json(&["ls", "-o", "json"]).as_array().unwrap().len(), 2);
}
