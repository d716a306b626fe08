//! The real program forks and rewinds sessions: what it says, what is in the workspaces, and that all other commands read forks.

use std::fs;
use std::path::Path;

use rekindle::session::SessionId;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::cli_support::Rig;
use crate::live_support::{asked, assert_conversation, calls, finishes, following, messages, said, seqs, words};
use crate::model_server::ModelServer;

async fn answered(rig: &Rig, args: &[&str]) -> Value {
    let said = asked(rig, args).await;
    assert_eq!(said.code, 0, "{args:?}: {said:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said.out))
}

async fn log(rig: &Rig, session: &str) -> Vec<Value> {
    let tail = asked(rig, &["show", session, "--raw"]).await;
    tail.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All rows of a session, as they lie in the file.
pub fn rows(store: &Path, id: &str) -> Vec<Vec<Cell>> {
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let id = uuid::Uuid::parse_str(id).unwrap();
    let mut all = Vec::new();
    for table in ["session", "event"] {
        let mut query = connection.prepare(&format!("select * from {table} where session_id = ?1 order by 1, 2, 3")).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([id.as_bytes().as_slice()], |row| (0..columns).map(|column| row.get(column)).collect());
        all.extend(rows.unwrap().map(Result::unwrap));
    }
    all
}

/// A session `live` that has written two files in a workspace that held one, in one turn.
async fn finished() -> (Rig, ModelServer) {
    let script = vec![
        calls(1, "bash", &json!({ "command": "cd /workspace && echo two > a" })),
        calls(2, "bash", &json!({ "command": "cd /workspace && echo here > b" })),
        finishes(3, "Done."),
        finishes(4, "Done once more."),
    ];
    let (rig, model) = (Rig::new(), following(script).await);
    fs::create_dir(rig.path("work")).unwrap();
    rig.write("work/a", "one\n");
    let ran = said(rig.live(&model, &["go"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    (rig, model)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_works_in_a_workspace_of_its_own_with_the_files_as_they_were() {
    let (rig, model) = finished().await;
    let there = log(&rig, "live").await;
    let parent = there[0]["session"].as_str().unwrap().to_owned();
    let (kept, outcomes) = (seqs(&there, "workspace.captured"), seqs(&there, "observation.run"));
    let before = rows(&rig.store(), &parent);
    let at = format!("live@{}", outcomes[0]);
    let forked = answered(&rig, &["fork", &at, "--name", "what-if", "--reason", "a look", "-o", "json"]).await;
    assert_eq!((&forked["parent"], &forked["at"]), (&json!(parent), &json!(outcomes[0])));
    assert_eq!((&forked["files"]["at"], &forked["files"]["files"]), (&json!(kept[0]), &json!(1)));
    assert_eq!(forked.get("run"), None, "it waits");
    let work = Path::new(forked["workspace"].as_str().unwrap());
    assert_eq!(fs::read_to_string(work.join("a")).unwrap(), "one\n");
    let asked_before = model.received().len();
    let resumed = asked(&rig, &["resume", "what-if"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(work.join("b").exists() && fs::read_to_string(work.join("a")).unwrap() == "one\n");
    assert_eq!(fs::read_to_string(rig.path("work/a")).unwrap(), "two\n", "the parent's workspace is not the fork's");
    let received = model.received();
    let first = &received[asked_before];
    let told: Vec<String> = messages(first).iter().map(words).collect();
    assert!(told.iter().any(|words| words.contains(&format!("as that was at event {}", kept[0]))), "{told:?}");
    received.iter().for_each(assert_conversation);
    assert_eq!(rows(&rig.store(), &parent), before, "the parent is untouched, byte for byte");

    // At the end of the turn the files are all there, and nothing need be told.
    let all = answered(&rig, &["fork", "live", "--message", "and now?", "-w", "again", "-o", "json"]).await;
    assert_eq!((&all["files"]["at"], &all["run"]["state"]), (&json!(kept[1]), &json!("finished")));
    assert_eq!(fs::read_to_string(rig.path("again/b")).unwrap(), "here\n");
    let last = model.received().pop().unwrap();
    assert!(messages(&last).iter().all(|message| !words(message).contains("goes on from event")));
    assert_eq!(rows(&rig.store(), &parent), before);

    let plain = asked(&rig, &["fork", "live@2", "-w", "none", "--no-files"]).await;
    assert_eq!(plain.code, 0, "{plain:?}");
    assert!(plain.out.contains("none were brought") && plain.out.contains("resume"), "{plain:?}");
    asked(&rig, &["fork", "live", "-w", "work"]).await.assert_refused(4, &["work", "not empty"]);
    // As one that was killed between its files and its first event leaves it.
    let left = rig.path("rekindle/workspaces").join(SessionId::named(&"again".parse().unwrap()).to_string());
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("a"), "left").unwrap();
    let again = asked(&rig, &["fork", "live", "--name", "again", "--no-run"]).await;
    assert!(again.code == 0 && again.out.contains(&format!("{}.2", left.display())), "{again:?}");
    assert_eq!(fs::read_to_string(left.join("a")).unwrap(), "left", "it is left as it is");
    assert_eq!(fs::read_to_string(left.with_extension("2").join("b")).unwrap(), "here\n");
    asked(&rig, &["fork", "live@9999"]).await.assert_refused(3, &["9999"]);
    asked(&rig, &["fork", "live", "--name", "what-if"]).await.assert_refused(4, &["what-if"]);
    asked(&rig, &["fork", "live@1", "--result", "x"]).await.assert_refused(2, &["outcome"]);
    asked(&rig, &["fork", "live", "--model", "anthropic/x"]).await.assert_refused(2, &["provider"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_if_it_had_been_otherwise_is_played_through() {
    let (rig, model) = finished().await;
    let there = log(&rig, "live").await;
    let said = seqs(&there, "action.message")[0];
    let outcome = seqs(&there, "observation.run")[1];
    let at = format!("live@{said}");
    let other = answered(&rig, &["fork", &at, "--message", "halt", "-o", "json", "--name", "message"]).await;
    assert_eq!((&other["run"]["state"], &other["at"]), (&json!("finished"), &json!(said - 1)));
    assert!(messages(&model.received().pop().unwrap()).iter().any(|message| words(message).contains("halt")));
    assert!(messages(&model.received().pop().unwrap()).iter().all(|message| words(message) != "go"));

    let at = format!("live@{outcome}");
    let made_up = answered(&rig, &["fork", &at, "--result", "no space left", "-o", "json", "--name", "result"]).await;
    assert_eq!(made_up["run"]["state"], "finished");
    let last = model.received().pop().unwrap();
    assert!(messages(&last).iter().any(|message| message["role"] == "tool" && words(message).contains("no space left")));

    let model_of = answered(&rig, &["fork", &at, "--model", "openai/other", "-o", "json", "--name", "model"]).await;
    assert_eq!(model_of["run"]["state"], "finished");
    assert_eq!(model.received().pop().unwrap().body["model"], "other");

    let few = asked(&rig, &["fork", &at, "--iterations", "2", "-o", "json", "--name", "few"]).await;
    assert_eq!(few.code, 1, "{few:?}");
    let few: Value = serde_json::from_str(&few.out).unwrap();
    assert_eq!((&few["run"]["state"], &few["run"]["agent"]["iterations"]), (&json!("error"), &json!(2)));
    let more = asked(&rig, &["resume", "few", "--iterations", "9"]).await;
    assert_eq!(more.code, 0, "{more:?}");
    let only = answered(&rig, &["fork", &at, "--iterations", "2", "--no-run", "-o", "json"]).await;
    assert_eq!(only.get("run"), None);
    model.received().iter().for_each(assert_conversation);
    for name in ["message", "result", "model", "few"] {
        for mode in ["verify", "fold"] {
            let again = asked(&rig, &["replay", name, "--mode", mode]).await;
            assert_eq!(again.code, 0, "{name} {mode}: {again:?}");
        }
        assert_eq!(asked(&rig, &["verify", name]).await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_stand_below_what_they_were_forked_from_and_every_command_reads_them() {
    let (rig, _model) = finished().await;
    let there = log(&rig, "live").await;
    let outcomes = seqs(&there, "observation.run");
    let at = format!("live@{}", outcomes[0]);
    answered(&rig, &["replay", "--mode", "fork", &at, "--name", "one", "-o", "json"]).await;
    assert_eq!(asked(&rig, &["resume", "one"]).await.code, 0);
    let own = log(&rig, "one").await;
    assert_eq!(
        own[..outcomes[0] as usize].iter().map(|event| &event["hash"]).collect::<Vec<_>>(),
        there[..outcomes[0] as usize].iter().map(|event| &event["hash"]).collect::<Vec<_>>()
    );
    answered(&rig, &["fork", "one", "--name", "two", "-o", "json"]).await;

    let listed = asked(&rig, &["ls"]).await;
    let lines: Vec<&str> = listed.out.lines().skip(1).collect();
    let place = |name: &str| lines.iter().position(|line| line.contains(&format!(" {name} "))).unwrap();
    assert!(place("live") < place("one") && place("one") < place("two"), "{listed:?}");
    assert!(lines[place("one")].starts_with("└ ") && lines[place("two")].starts_with("  └ "), "{listed:?}");
    assert!(lines[place("one")].contains(&format!("fork@{}", outcomes[0])));
    let listed = answered(&rig, &["ls", "-o", "json"]).await;
    let one = listed.as_array().unwrap().iter().find(|row| row["name"] == "one").unwrap();
    assert_eq!((&one["origin"], &one["at"], &one["parent"]), (&json!("fork"), &json!(outcomes[0]), &there[0]["session"]));

    let head = own.len();
    let last = format!("one@{head}");
    let told = asked(&rig, &["show", "one", "--events"]).await;
    assert!(told.out.contains("session.forked") && told.out.contains(&format!("from event {}", outcomes[0])), "{told:?}");
    assert!(asked(&rig, &["show", "one"]).await.out.contains("go"));
    let (here, there) =
        (answered(&rig, &["state", "one@1", "-o", "json"]).await, answered(&rig, &["state", "live@1", "-o", "json"]).await);
    assert_eq!((&here["state"], &here["hash"]), (&there["state"], &there["hash"]));
    assert_eq!(asked(&rig, &["diff", "live", &last]).await.code, 0);
    assert_eq!(asked(&rig, &["blame", "one", "/agent"]).await.code, 0);
    let exported = answered(&rig, &["export", "one"]).await;
    let exported = exported.to_string();
    assert!(exported.contains("echo two > a") && exported.contains("echo here > b"), "shared and own: {exported}");
    for mode in ["verify", "fold"] {
        let again = asked(&rig, &["replay", "--all", "--mode", mode]).await;
        assert_eq!(again.code, 0, "{mode}: {again:?}");
    }
    assert_eq!(asked(&rig, &["verify", "--all"]).await.code, 0);
    let found = answered(&rig, &["-o", "json", "search", "\"echo two\""]).await;
    let actions = found.as_array().unwrap().iter().filter(|hit| hit["kind"] == "action.run").count();
    assert_eq!(actions, 1, "shared history is found once: {found}");

    let copied = asked(&rig, &["store", "copy", "--to", "sqlite://copy.db"]).await;
    assert_eq!(copied.code, 0, "{copied:?}");
    let backed = asked(&rig, &["store", "backup", "backup.db"]).await;
    assert_eq!(backed.code, 0, "{backed:?}");
    for store in ["sqlite://copy.db", "sqlite://backup.db"] {
        for name in ["live", "one", "two"] {
            let here = asked(&rig, &["show", name, "--raw"]).await.out;
            assert_eq!(asked(&rig, &["--store", store, "show", name, "--raw"]).await.out, here, "{store} {name}");
            assert_eq!(asked(&rig, &["--store", store, "verify", name]).await.code, 0, "{store} {name}");
        }
    }
    // What a fork reads is kept as long as the fork is.
    for name in ["live", "one", "two"] {
        assert_eq!(asked(&rig, &["close", name]).await.code, 0);
    }
    assert_eq!(asked(&rig, &["store", "hold", "two", "--reason", "evidence"]).await.code, 0);
    let outcomes = async |args: &[&str]| {
        let lines = answered(&rig, args).await;
        let mut outcomes: Vec<String> = lines.as_array().unwrap().iter().map(|line| line["outcome"].to_string()).collect();
        outcomes.sort();
        outcomes.join(" ")
    };
    let gc = ["store", "gc", "--older-than", "0m", "-o", "json"];
    assert_eq!(outcomes(&gc).await, r#""held" "shared" "shared""#);
    assert_eq!(asked(&rig, &["verify", "two"]).await.code, 0, "what it reads is still there");
    assert_eq!(asked(&rig, &["store", "release", "two"]).await.code, 0);
    assert_eq!(outcomes(&gc).await, r#""purged" "purged" "purged""#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_rewound_is_closed_and_another_goes_on_in_its_place() {
    let (rig, model) = finished().await;
    let there = log(&rig, "live").await;
    let outcome = seqs(&there, "observation.run")[0];
    let at = format!("live@{outcome}");
    let rewound = answered(&rig, &["rewind", &at, "--name", "back", "-o", "json"]).await;
    assert_eq!((&rewound["rewinds"], &rewound["at"]), (&json!(true), &json!(outcome)));
    let old = log(&rig, "live").await;
    assert_eq!(old[..there.len()], there, "nothing of it is taken away");
    let closed = old.iter().find(|event| event["kind"] == "session.closed").unwrap();
    assert_eq!(closed["body"]["reason"], json!(format!("rewound to event {outcome}")));
    let last = answered(&rig, &["ls", "-n", "1", "-o", "json"]).await;
    assert_eq!(last[0]["name"], "back", "@last is the one that goes on");
    let sent = asked(&rig, &["send", "back", "on with it"]).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    model.received().iter().for_each(assert_conversation);
    // What was closed can be rewound, too; and with another message it goes on at once.
    let said = format!("live@{}", seqs(&there, "action.message")[0]);
    let again = answered(&rig, &["rewind", &said, "--message", "go on", "-o", "json"]).await;
    assert_eq!(again["run"]["state"], "finished");
    fs::create_dir(rig.path("full")).unwrap();
    rig.write("full/x", "x");
    asked(&rig, &["rewind", "back@3", "-w", "full"]).await.assert_refused(4, &["full", "not empty"]);
    let untouched = log(&rig, "back").await;
    assert!(untouched.iter().all(|event| event["kind"] != "session.closed"), "what is refused closes nothing");
}
