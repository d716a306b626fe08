//! Restoring a session: the full fold with its chain check, and the opening from a snapshot, beside the raw scan of the same rows.
//!
//! `cargo bench --bench restore [-- EVENTS…]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use rekindle::engine::restore::{Trust, restore, snapshot};
use rekindle::session::Seq;
use rekindle::store::Read;
use support::filled::fill;
use support::{Watch, directory, new_session, open, shown};

const ROUNDS: usize = 5;

/// The resident memory of this process, and the most that it ever was, in MiB.
fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 10_000, 100_000] } else { asked };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("restore of one session, median (min–max) of {ROUNDS} rounds\n");
    println!(
        "| events | scan alone, µs CPU/event | fold and chain, µs CPU/event | restore, ms | beyond the state, MiB | with a snapshot, ms |"
    );
    println!("|---|---|---|---|---|---|");
    for size in sizes {
        let directory = directory();
        tokio.block_on(async {
            let store = open(&directory).await;
            let session = new_session();
            fill(&store, session, size).await;
            let (mut scans, mut folds, mut walls, mut opens) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let per_event = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / size as f64;
            // Small sessions are restored often enough to be seen by a clock of 10 ms ticks.
            let repeat = (100_000 / size).max(1);
            std::fs::write("/proc/self/clear_refs", "5").ok();
            let (before, _) = memory();
            for _ in 0..ROUNDS {
                let watch = Watch::start();
                for _ in 0..repeat {
                    restore(store.as_ref(), session, Trust::Nothing).await.expect("the session restores");
                }
                let took = watch.stop();
                folds.push(per_event(took.cpu) / repeat as f64);
                walls.push(took.wall.as_secs_f64() * 1e3 / repeat as f64);
            }
            let (_, most) = memory();
            for _ in 0..ROUNDS {
                let watch = Watch::start();
                for _ in 0..repeat {
                    let mut after = Seq::ZERO;
                    loop {
                        let page = store.read(Read::forward(session, after)).await.expect("the page is read");
                        let Some(last) = page.rows.last() else { break };
                        after = last.seq();
                    }
                }
                scans.push(per_event(watch.stop().cpu) / repeat as f64);
            }
            let restored = restore(store.as_ref(), session, Trust::Nothing).await.expect("the session restores");
            store.put_snapshot(snapshot(session, &restored.session, restored.hash)).await.expect("the snapshot is kept");
            for _ in 0..20 {
                let watch = Watch::start();
                let quick = restore(store.as_ref(), session, Trust::Snapshot).await.expect("the session restores");
                opens.push(watch.stop().wall.as_secs_f64() * 1e3);
                assert!(quick.proof.snapshot.is_some() && quick.proof.digest == restored.proof.digest);
            }
            println!(
                "| {size} | {} | {} | {} | {:.1} | {} |",
                shown(&scans, 2),
                shown(&folds, 2),
                shown(&walls, 1),
                most - before,
                shown(&opens, 2)
            );
            store.close().await;
        });
    }
}
