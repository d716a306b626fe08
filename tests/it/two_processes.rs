//! Several processes on one SQLite file: each waits for the others, and none says what SQLite says.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rekindle::session::SessionId;
use rekindle::store::conformance::{append, events, new_session};
use rekindle::store::{Expected, OpenOptions, StoreError, connect};

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
            said.assert_refused(8, &["another process", &format!("process {} (python3) writes to it", holder.pid())]);
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

#[tokio::test]
async fn a_process_that_was_stopped_while_it_wrote_is_named_with_the_way_out() {
    let rig = Rig::new();
    std::fs::create_dir_all(rig.store().parent().unwrap()).unwrap();
    let url = format!("sqlite://{}", rig.store().display());
    let impatient = OpenOptions { busy_wait: Duration::from_millis(50), ..OpenOptions::default() };
    let store = connect(&url, impatient).await.unwrap();
    let holder = Other::open(&rig, "begin immediate");
    let pid = Pid::from_raw(holder.pid().parse().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let stopped = format!("/proc/{pid}/stat");
    wait_until("it is stopped", || std::fs::read_to_string(&stopped).unwrap().contains(") T "));
    let session = new_session();
    let append = append(session, Expected::NoSession, events(2));
    let name = "sample".parse().unwrap();
    for refused in [store.append(append.clone()).await.err(), store.name(SessionId::named(&name), &name).await.err()] {
        let Some(StoreError::Busy(why)) = refused else { panic!("{refused:?}") };
        let why = why.to_string();
        assert!(why.contains(&format!("process {pid} (python3) was stopped")) && why.contains("kill -CONT"), "{why}");
    }
    kill(pid, Signal::SIGCONT).unwrap();
    holder.end();
    store.append(append).await.unwrap();
    store.close().await;
}

/// A command that stops itself at the `call`th system call of this kind that a thread of it makes on the store's file.
struct Stopping {
    strace: Child,
    trace: PathBuf,
}

impl Stopping {
    fn at(rig: &Rig, kind: &str, call: u32, args: &[&str]) -> Self {
        let trace = rig.path(&format!("trace of {} at {call}", args[0]));
        let program = rig.command(args);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-P"]).arg(rig.store()).arg("-o").arg(&trace);
        strace.arg("-e").arg(format!("inject={kind}:signal=SIGSTOP:when={call}"));
        strace.arg(program.get_program()).args(program.get_args()).current_dir(rig.path(""));
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        let strace = strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut this = Self { strace: strace.expect("this test needs strace: apt-get install strace"), trace };
        wait_until("it stops, or ends", || this.has_stopped() || this.strace.try_wait().unwrap().is_some());
        this
    }

    fn has_stopped(&self) -> bool {
        lines(&self.trace).iter().any(|line| line.contains("stopped by SIGSTOP"))
    }

    /// Lets it go on, each of its threads, until it ends.
    fn end(mut self) -> Said {
        let id = self.strace.id();
        let below = format!("/proc/{id}/task/{id}/children");
        wait_until("it ends", || {
            for pid in std::fs::read_to_string(&below).unwrap_or_default().split_whitespace() {
                let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGCONT);
            }
            self.strace.try_wait().unwrap().is_some()
        });
        Said::of_output(self.strace.wait_with_output().unwrap())
    }
}

/// The file has a longer database in its first page than it is long, and a moment later it is whole and its log is gone.
#[test]
fn a_store_that_its_last_process_just_closes_is_never_taken_for_somebody_elses() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    assert_eq!(rig.run(&["import", &file, "--name", "first"]).code, 0);
    let mut stops = 0;
    for call in 1..=12 {
        let file = rig.recording("t.json", &[("cat", &call.to_string().repeat(300_000), 0)]);
        let writer = Stopping::at(&rig, "pwrite64", 1, &["import", &file, "--name", &format!("s{call}")]);
        assert!(writer.has_stopped(), "it has written its first page back");
        let reader = Stopping::at(&rig, "all", call, &["ls"]);
        stops += u32::from(reader.has_stopped());
        for said in [writer.end(), reader.end()] {
            assert_eq!(said.code, 0, "{call}: {said:?}");
        }
        std::fs::remove_file(rig.path("trace of import at 1")).unwrap();
    }
    assert!(stops > 8, "{stops}");
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
