//! Several processes on one SQLite file: each waits for the others, and none says what SQLite says.

use crate::cli_support::{Other, Rig, Said, lines, wait_until};

fn assert_for_people(said: &Said) {
    for text in [&said.out, &said.err] {
        assert!(!text.contains("locked") && !text.contains("SQLITE") && !text.contains("panicked"), "{said:?}");
    }
}

#[test]
fn a_writer_waits_for_another_process_and_says_so_for_people_when_that_takes_too_long() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    assert_eq!(rig.run(&["import", &file, "--name", "first"]).code, 0);
    let holder = Other::open(&rig, "begin immediate");
    let trace = rig.path("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=fcntl", "-o", trace.to_str().unwrap()];
    std::thread::scope(|scope| {
        // Nobody lets go before these give up.
        let tries = ["second", "third"].map(|name| {
            scope.spawn({
                let (rig, file) = (&rig, &file);
                move || rig.run(&["import", file, "--name", name])
            })
        });
        // Readers do not wait at all.
        for command in ["ls", "verify", "doctor"] {
            let said = rig.run(&[command]);
            assert_eq!(said.code, 0, "{said:?}");
        }
        for said in tries.map(|each| each.join().unwrap()) {
            said.assert_refused(8, &["another process"]);
            assert_for_people(&said);
        }
        // One that waits until the lock is let go.
        let waits = scope.spawn(|| rig.through(&strace, &["import", &file, "--name", "second"]));
        wait_until("it asks for the lock in vain", || lines(&trace).iter().any(|line| line.contains("EAGAIN")));
        holder.end();
        let said = waits.join().unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        assert_for_people(&said);
    });
    assert_eq!(rig.run(&["verify", "second"]).code, 0);
}

#[test]
fn commands_beside_a_running_engine_all_succeed() {
    let rig = Rig::new();
    let waits = |file: &str| format!("touch begun; while [ ! -e {file} ]; do sleep 0.01; done; echo {file}");
    let (first, last) = (waits("first"), waits("last"));
    let run = rig.recording("run.json", &[(&first, "first", 0), (&last, "last", 0), ("echo c", "c", 0)]);
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    assert_eq!(rig.run(&["import", &file, "--name", "sample"]).code, 0);
    let workspace = rig.path("ws");
    let patient = ["--quiet-timeout", "3600", "--action-timeout", "3600"];
    let replay = [&["replay", &run, "--name", "replayed", "--workspace", workspace.to_str().unwrap()], &patient[..]].concat();
    let mut engine = rig.spawn(&replay);
    wait_until("the engine is at work", || workspace.join("begun").exists());
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..8)
            .map(|runner| {
                let (rig, file, workspace) = (&rig, &file, &workspace);
                scope.spawn(move || {
                    for turn in 0..3 {
                        if turn == 1 {
                            // From here on the engine writes, too.
                            std::fs::write(workspace.join("first"), "").unwrap();
                        }
                        let name = format!("import-{runner}-{turn}");
                        for args in [
                            &["import", file, "--name", &name][..],
                            &["ls"],
                            &["show", "sample"],
                            &["tail", "--all"],
                            &["verify", &name],
                            &["usage"],
                        ] {
                            let said = rig.run(args);
                            assert_eq!(said.code, 0, "{args:?}: {said:?}");
                            assert_for_people(&said);
                        }
                    }
                })
            })
            .collect();
        for runner in runners {
            runner.join().unwrap();
        }
    });
    std::fs::write(workspace.join("last"), "").unwrap();
    assert_eq!(engine.wait().unwrap().code(), Some(0));
    let sessions = rig.json(&["ls", "--all", "-o", "json"]);
    assert_eq!(sessions.as_array().unwrap().len(), 1 + 1 + 24);
    let doctor = rig.run(&["doctor", "--deep"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    // The feed has every event once.
    let connection = rusqlite::Connection::open(rig.store()).unwrap();
    let (events, last, head): (i64, i64, i64) = connection
        .query_row("select count(*), max(pos), (select head_pos from shard) from event", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((events, last), (last, head));
    let actions: u64 = sessions.as_array().unwrap().iter().map(|row| row["actions"].as_u64().unwrap()).sum();
    let usage = rig.json(&["usage", "-o", "json"]);
    assert_eq!(usage.as_array().unwrap().last().unwrap()["actions"].as_u64(), Some(actions));
}
