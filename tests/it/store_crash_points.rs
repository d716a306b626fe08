//! A crash, a failed fsync or a full disk at any system call of a writer loses nothing that was acknowledged.
//!
//! The victim is this test binary, run under `strace`, which kills it or makes a system call fail at every point in turn.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use rekindle::session::Seq;
use rekindle::store::conformance::{all_events, append};
use rekindle::store::{Expected, OpenOptions, StoreError, connect, verify_session};

use crate::store_fixture::{Place, fixed_event, fixed_session};

/// Tells the victim where its store is.
const STORE: &str = "REKINDLE_VICTIM_STORE";
const APPENDS: u64 = 6;

/// Appends a known sequence and says what came of each append.
#[test]
#[ignore = "a part of the other tests here, which run it in a process of its own"]
fn victim() {
    let url = std::env::var(STORE).expect("the place of the store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = match connect(&url, OpenOptions::default()).await {
            Ok(store) => store,
            Err(error) => return println!("\nOPEN {error:?}"),
        };
        for index in 1..=APPENDS {
            let appended = store.append(append(fixed_session(), Expected::Any, vec![fixed_event(index)])).await;
            match appended {
                Ok(_) => println!("\nACK {index}"),
                Err(StoreError::Full(_)) => println!("\nFULL {index}"),
                Err(StoreError::Poisoned(_)) => println!("\nPOISONED {index}"),
                Err(StoreError::Unknown(_)) => println!("\nUNKNOWN {index}"),
                Err(error) => println!("\nERROR {index} {error:?}"),
            }
        }
        store.close().await;
    });
}

/// Runs the victim under `strace` with these arguments.
fn run(place: &Place, log: &Path, inject: &[&str]) -> Output {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fsync,pwrite64"])
        .args(inject)
        .arg("-o")
        .arg(log)
        .arg(std::env::current_exe().unwrap())
        .args(["store_crash_points::victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(STORE, place.url())
        .output();
    output.expect("this test needs strace: apt-get install strace")
}

fn indexes(output: &Output, word: &str) -> BTreeSet<u64> {
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = text.lines().filter_map(|line| line.strip_prefix(word)?.split_whitespace().next()?.parse().ok());
    numbers.collect()
}

/// How often an undisturbed victim calls `syscall`, per thread the most: `strace` counts for each thread.
fn calls(syscall: &str) -> usize {
    let place = Place::new();
    let log = place.directory.path().join("strace.log");
    let output = run(&place, &log, &[]);
    assert_eq!(indexes(&output, "ACK").len() as u64, APPENDS, "{}", String::from_utf8_lossy(&output.stdout));
    let log = std::fs::read_to_string(log).unwrap();
    let mut threads = std::collections::BTreeMap::<&str, usize>::new();
    for line in log.lines().filter(|line| line.contains(&format!(" {syscall}("))) {
        *threads.entry(line.split_whitespace().next().unwrap_or_default()).or_default() += 1;
    }
    threads.into_values().max().unwrap_or_default()
}

/// What must hold after whatever happened to the victim: all that was acknowledged is there, nothing is there that was not asked for,
/// and what was in flight can be asked for again.
async fn holds(place: &Place, output: &Output, what: &str) {
    let acked = indexes(output, "ACK");
    let refused = indexes(output, "FULL");
    let store = place.open().await;
    let session = fixed_session();
    let stored: Vec<_> = all_events(&store, session).await;
    if !stored.is_empty() {
        verify_session(store.as_ref(), session).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let present: BTreeSet<u64> =
        (1..=APPENDS).filter(|index| stored.iter().any(|event| event.id == fixed_event(*index).id)).collect();
    assert_eq!(present.len(), stored.len(), "{what}: something is there twice, or was never asked for");
    assert!(acked.is_subset(&present), "{what}: acknowledged {acked:?}, stored {present:?}");
    assert!(refused.is_disjoint(&present), "{what}: refused {refused:?}, stored {present:?}");
    let unheard: Vec<_> = present.difference(&acked).collect();
    assert!(unheard.len() <= 1, "{what}: {unheard:?} are there without having been answered");
    for index in 1..=APPENDS {
        let appended = store.append(append(session, Expected::Any, vec![fixed_event(index)])).await.unwrap();
        assert_eq!(appended.repeated, present.contains(&index), "{what}: event {index}");
    }
    assert_eq!(store.session(session).await.unwrap().unwrap().head, Seq(APPENDS), "{what}");
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, APPENDS, "{what}");
    store.close().await;
}

async fn at_every(syscall: &str, fault: &str, repeats: &str, check: impl Fn(&Output, &str)) {
    let calls = calls(syscall);
    assert!(calls > 3, "only {calls} calls of {syscall}");
    for call in 1..=calls {
        let place = Place::new();
        let inject = format!("inject={syscall}:{fault}:when={call}{repeats}");
        let output = run(&place, &place.directory.path().join("strace.log"), &["-e", &inject]);
        check(&output, &inject);
        holds(&place, &output, &inject).await;
    }
}

#[tokio::test]
async fn a_kill_at_any_fsync_loses_nothing() {
    at_every("fsync", "signal=KILL", "", |output, what| assert!(!output.status.success(), "{what}: it lived")).await;
}

#[tokio::test]
async fn a_kill_at_any_write_loses_nothing() {
    at_every("pwrite64", "signal=KILL", "", |output, what| assert!(!output.status.success(), "{what}: it lived")).await;
}

#[tokio::test]
async fn a_failed_fsync_poisons_the_handle_and_loses_nothing() {
    at_every("fsync", "error=EIO", "", |output, what| {
        let (acked, unknown) = (indexes(output, "ACK"), indexes(output, "UNKNOWN"));
        let first_bad = unknown.union(&indexes(output, "POISONED")).min().copied();
        let after: Vec<_> = acked.iter().filter(|index| first_bad.is_some_and(|bad| **index > bad)).collect();
        assert!(after.is_empty(), "{what}: {after:?} were acknowledged after a failed fsync at {first_bad:?}");
        assert!(indexes(output, "ERROR").is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_fills_up_at_any_write_loses_nothing() {
    at_every("pwrite64", "error=ENOSPC", "+", |output, what| {
        assert!(indexes(output, "ERROR").is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_moment_refuses_and_goes_on() {
    at_every("pwrite64", "error=ENOSPC", "", |output, what| {
        let done = indexes(output, "ACK").len() + indexes(output, "FULL").len();
        let opened = !String::from_utf8_lossy(&output.stdout).contains("OPEN");
        assert!(!opened || done as u64 == APPENDS, "{what}: {}", String::from_utf8_lossy(&output.stdout));
    })
    .await;
}
