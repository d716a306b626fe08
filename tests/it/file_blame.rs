//! Which event wrote a line of a file: what the log knows, and what it says that it does not know.

use std::path::Path;

use proptest::prelude::*;
use rekindle::projection::Projection;
use rekindle::projection::file_blame::{By, Files, NoFile};
use rekindle::session::{Body, EventId, Kind, Recorded, Seq, SessionId, Source, Timestamp};
use rekindle::store::{MemoryStore, Read, Row, Store};
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Default)]
struct Log {
    files: Files,
    seq: u64,
}

impl Log {
    fn push(&mut self, kind: &str, cause: Option<u64>, body: &Value) -> u64 {
        self.seq += 1;
        self.files.apply(&Recorded {
            session: SessionId::from_uuid(Uuid::nil()),
            seq: Seq(self.seq),
            id: EventId::from_uuid(Uuid::nil()),
            kind: Kind::new(kind),
            v: 1,
            at: Timestamp(0),
            source: Source::Agent,
            cause: cause.map(Seq),
            must_understand: false,
            body: Body::Json(body.to_string()),
        });
        self.seq
    }

    fn write(&mut self, path: &str, content: &str) -> u64 {
        let action = self.push("action.write", None, &json!({"action": "write", "args": {"path": path, "content": content}}));
        let done = json!({"observation": "write", "content": "", "extras": {"path": format!("/workspace/{path}")}});
        self.push("observation.write", Some(action), &done);
        action
    }

    fn edit(&mut self, args: Value, diff: &str) -> u64 {
        let path = args["path"].clone();
        let action = self.push("action.edit", None, &json!({"action": "edit", "args": args}));
        let extras = json!({"path": path, "prev_exist": true, "old_content": null, "new_content": null, "impl_source": "oh_aci", "diff": diff});
        self.push("observation.edit", Some(action), &json!({"observation": "edit", "content": "edited", "extras": extras}));
        action
    }

    /// A look at some lines with the editor tool.
    fn view(&mut self, path: &str, first: usize, lines: &[&str]) -> u64 {
        let action = self.push("action.read", None, &json!({"action": "read", "args": {"path": path, "impl_source": "oh_aci"}}));
        let numbered: Vec<String> = lines.iter().enumerate().map(|(at, line)| format!("{:6}\t{line}", first + at)).collect();
        let content = format!("Here's the result of running `cat -n` on {path}:\n{}\n", numbered.join("\n"));
        let extras = json!({"path": path, "impl_source": "oh_aci"});
        self.push("observation.read", Some(action), &json!({"observation": "read", "content": content, "extras": extras}))
    }

    fn run(&mut self, command: &str) -> u64 {
        self.push("action.run", None, &json!({"action": "run", "args": {"command": command}}))
    }

    /// The lines of a file: who wrote each, 0 for nobody known, and its text.
    fn lines(&self, name: &str) -> Vec<(u64, Option<&str>)> {
        let (_, file) = self.files.find(name).unwrap();
        let by = |by: By| match by {
            By::Event { seq } => seq.0,
            By::Before | By::Outside { .. } => 0,
        };
        file.lines().iter().map(|line| (by(line.by), line.text.as_deref())).collect()
    }
}

#[test]
fn what_is_written_edited_and_inserted_is_by_the_event_that_did_it() {
    let mut log = Log::default();
    let first = log.write("a.txt", "one\ntwo\nthree");
    let path = "/workspace/a.txt";
    let second = log.edit(json!({"path": path, "command": "str_replace", "old_str": "two", "new_str": "2\n2.5"}), "");
    assert_eq!(log.lines(path), [(first, Some("one")), (second, Some("2")), (second, Some("2.5")), (first, Some("three"))]);
    let third = log.edit(
        json!({"path": path, "command": "insert", "insert_line": 1, "new_str": "1.5"}),
        "--- x\n+++ x\n@@ -1,0 +2 @@\n+1.5",
    );
    assert_eq!(log.lines("a.txt")[..3], [(first, Some("one")), (third, Some("1.5")), (second, Some("2"))]);
    let back = log.edit(json!({"path": path, "command": "undo_edit"}), "--- x\n+++ x\n@@ -2 +1,0 @@\n-1.5");
    assert!(back > third);
    assert_eq!(log.lines("a.txt").len(), 4);
    let again = log.write("a.txt", "one\n2\nthree\nfour");
    assert_eq!(log.lines("a.txt"), [(first, Some("one")), (second, Some("2")), (first, Some("three")), (again, Some("four"))]);
    let part = log.push(
        "action.write",
        None,
        &json!({"action": "write", "args": {"path": "a.txt", "content": "ONE", "start": 0, "end": 1}}),
    );
    assert_eq!(log.lines("a.txt")[0].0, first, "nothing is written before it is known to be");
    log.push("observation.write", Some(part), &json!({"observation": "write", "content": "", "extras": {"path": path}}));
    assert_eq!(log.lines("a.txt")[..2], [(part, Some("ONE")), (second, Some("2"))]);
}

#[test]
fn an_edit_that_failed_wrote_nothing() {
    let mut log = Log::default();
    let first = log.write("a.txt", "one");
    let args = json!({"path": "/workspace/a.txt", "command": "str_replace", "old_str": "one", "new_str": "1"});
    let failed = log.push("action.edit", None, &json!({"action": "edit", "args": args}));
    let extras = json!({"path": "/workspace/a.txt", "prev_exist": false, "impl_source": "oh_aci", "diff": ""});
    log.push("observation.edit", Some(failed), &json!({"observation": "edit", "content": "ERROR:\nno", "extras": extras}));
    let refused = log.push("action.write", None, &json!({"action": "write", "args": {"path": "a.txt", "content": "2"}}));
    log.push("observation.error", Some(refused), &json!({"observation": "error", "content": "no", "extras": {}}));
    assert_eq!(log.lines("a.txt"), [(first, Some("one"))]);
}

#[test]
fn an_edit_of_a_file_that_was_there_before_is_placed_by_its_difference() {
    let mut log = Log::default();
    log.view("/workspace/src/lib.rs", 10, &["ten", "eleven", "twelve"]);
    let edit = json!({"path": "/workspace/src/lib.rs", "command": "str_replace", "old_str": "eleven", "new_str": "11\n11.5"});
    let edit = log.edit(edit, "--- /workspace/src/lib.rs\n+++ /workspace/src/lib.rs\n@@ -11 +11,2 @@\n-eleven\n+11\n+11.5");
    let lines = log.lines("lib.rs");
    assert_eq!(lines[..9], vec![(0, None); 9]);
    assert_eq!(lines[9..], [(0, Some("ten")), (edit, Some("11")), (edit, Some("11.5")), (0, Some("twelve"))]);
    let (_, file) = log.files.find("src/lib.rs").unwrap();
    assert!(!file.is_whole());
}

#[test]
fn what_a_command_did_is_not_known_and_said_not_to_be() {
    let mut log = Log::default();
    let first = log.write("a.txt", "one\ntwo");
    let named = log.run("sed -i s/two/2/ a.txt");
    let other = log.run("make");
    let (path, file) = log.files.find("a.txt").unwrap();
    let since: Vec<(u64, bool)> =
        log.files.commands_since(file.last_known().unwrap(), path).map(|(seq, named)| (seq.0, named)).collect();
    assert_eq!(since, [(named, true), (other, false)]);
    let seen = log.view("/workspace/a.txt", 1, &["one", "2", ""]);
    let (_, file) = log.files.find("a.txt").unwrap();
    assert_eq!(file.lines()[1].by, By::Outside { seen: Seq(seen) });
    assert_eq!(file.lines()[1].text.as_deref(), Some("2"));
    assert_eq!(log.files.commands_since(Seq(seen), "a.txt").count(), 0);
    assert!(first < named);
}

#[test]
fn a_file_is_found_by_the_end_of_its_path_and_never_guessed() {
    let mut log = Log::default();
    log.write("src/a.rs", "x");
    log.write("tests/a.rs", "y");
    assert_eq!(log.files.find("src/a.rs").unwrap().0, "src/a.rs");
    assert_eq!(log.files.find("/workspace/tests/a.rs").unwrap().0, "tests/a.rs");
    assert_eq!(log.files.find("a.rs").unwrap_err(), NoFile::Several(vec!["src/a.rs".to_owned(), "tests/a.rs".to_owned()]));
    assert!(matches!(log.files.find("b.rs"), Err(NoFile::Unknown(known)) if known.len() == 2));
}

#[tokio::test]
async fn the_files_of_real_recordings_are_told() {
    for (name, file, line, text) in [
        ("basic.json", "game_2048.py", 1, "import random"),
        ("pony_parser_49.json", "parser.c", 696, "  SET_FLAG(AST_FLAG_IN_PARENS);"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/trajectories").join(name);
        let trajectory = rekindle::trajectory::read_file(&path).unwrap();
        let store = MemoryStore::new();
        let id = rekindle::trajectory::import(&store, Timestamp(7), &trajectory, None).await.unwrap().session;
        let mut files = Files::default();
        let mut edits = Vec::new();
        for row in store.read(Read::forward(id, Seq::ZERO)).await.unwrap().rows {
            let Row::Event { event, .. } = row else { continue };
            files.apply(&event);
            if event.kind.as_str() == "action.edit" {
                edits.push(event.seq);
            }
        }
        let found = &files.find(file).unwrap().1.lines()[line - 1];
        assert_eq!(found.text.as_deref(), Some(text), "{name}");
        assert!(matches!(found.by, By::Event { seq } if edits.contains(&seq)), "{name}: {found:?}");
    }
}

/// One change of a file whose lines are all different.
#[derive(Debug, Clone)]
enum Change {
    /// Lines go out where the bits say so, and new ones come in at a place; all is written anew.
    Rewrite(u64, prop::sample::Index, u8),
    /// A line becomes some others.
    Replace(prop::sample::Index, u8),
    /// Lines come in.
    Insert(prop::sample::Index, u8),
}

proptest! {
    #[test]
    fn every_line_is_by_the_event_that_brought_it(changes in prop::collection::vec(prop_oneof![
        (any::<u64>(), any::<prop::sample::Index>(), 0u8..4).prop_map(|(out, at, count)| Change::Rewrite(out, at, count)),
        (any::<prop::sample::Index>(), 1u8..4).prop_map(|(at, count)| Change::Replace(at, count)),
        (any::<prop::sample::Index>(), 1u8..4).prop_map(|(at, count)| Change::Insert(at, count)),
    ], 1..24)) {
        let mut log = Log::default();
        let mut made = 0;
        let mut fresh = |count: u8| -> Vec<String> {
            (0..count).map(|_| { made += 1; format!("line <{made}>") }).collect()
        };
        let seq = log.write("f", "first");
        let mut naive: Vec<(u64, String)> = vec![(seq, "first".to_owned())];
        let path = "/workspace/f";
        for change in changes {
            match change {
                Change::Rewrite(out, at, count) => {
                    let mut index = 0;
                    naive.retain(|_| { index += 1; out >> (index % 64) & 1 == 0 });
                    let at = at.index(naive.len() + 1);
                    let new = fresh(count.max(u8::from(naive.is_empty())));
                    let mut lines: Vec<String> = naive.iter().map(|(_, line)| line.clone()).collect();
                    lines.splice(at..at, new.clone());
                    let seq = log.write("f", &lines.join("\n"));
                    naive.splice(at..at, new.into_iter().map(|line| (seq, line)));
                }
                Change::Replace(at, count) => {
                    let at = at.index(naive.len());
                    let new = fresh(count);
                    let args = json!({"path": path, "command": "str_replace", "old_str": naive[at].1, "new_str": new.join("\n")});
                    let seq = log.edit(args, "");
                    naive.splice(at..=at, new.into_iter().map(|line| (seq, line)));
                }
                Change::Insert(at, count) => {
                    let at = at.index(naive.len() + 1);
                    let new = fresh(count);
                    let added: Vec<String> = new.iter().map(|line| format!("+{line}")).collect();
                    let diff = format!("--- f\n+++ f\n@@ -{at},0 +{},{} @@\n{}", at + 1, new.len(), added.join("\n"));
                    let seq = log.edit(json!({"path": path, "command": "insert", "insert_line": at, "new_str": new.join("\n")}), &diff);
                    naive.splice(at..at, new.into_iter().map(|line| (seq, line)));
                }
            }
            let told = log.lines("f");
            let naive: Vec<(u64, Option<&str>)> = naive.iter().map(|(seq, line)| (*seq, Some(line.as_str()))).collect();
            prop_assert_eq!(told, naive);
        }
    }
}
