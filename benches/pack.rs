//! Packed sessions: how small they are, and how fast they are restored and read, beside the same sessions as they were.
//!
//! `cargo bench --bench pack [-- EVENTS… RECORDING…]`: made-up events, whose words come by chance and so compress worse and are read
//! slower than any agent's; and those of a recording, over and over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::path::PathBuf;
use std::time::Instant;

use rekindle::engine::restore::{Trust, restore};
use rekindle::session::{Body, EventId, NewEvent, Recorded, Seq, SessionId, Timestamp};
use rekindle::store::{Append, Directory, Expected, MemoryStore, Packed, Read, Row, SharedStore, Store as _, Writer};
use rekindle::trajectory::{import, read_file};
use support::filled::fill;
use support::{Stream, directory, ms, new_session, next_event, open, shown};

const ROUNDS: usize = 9;

/// Says that nothing more is expected of a session, so that it may be packed.
async fn end(store: &SharedStore, session: SessionId) {
    let directory = Directory { phase: "closed".to_owned(), ..Directory::default() };
    let events = vec![next_event(&mut Stream::new(7))];
    let append = Append { session, expected: Expected::Any, writer: Writer::Anyone, events, directory: Some(directory) };
    store.append(append).await.expect("the append succeeds");
}

async fn restored(store: &SharedStore, session: SessionId) -> f64 {
    let begin = Instant::now();
    restore(store.as_ref(), session, Trust::Nothing).await.expect("the session restores");
    ms(begin)
}

async fn last_page(store: &SharedStore, session: SessionId) -> f64 {
    let begin = Instant::now();
    assert_eq!(store.read(Read::last(session, 50)).await.expect("the page is read").rows.len(), 50);
    ms(begin)
}

fn ratios(plain: &[f64], packed: &[f64]) -> Vec<f64> {
    plain.iter().zip(packed).map(|(plain, packed)| plain / packed).collect()
}

/// What a session is filled with.
enum Filling {
    MadeUp(usize),
    Recording(PathBuf),
}

/// How often the events of a recording are appended, so that a restore takes long enough to be measured.
const TIMES: usize = 100;

impl Filling {
    fn of(argument: &str) -> Self {
        argument.parse().map_or_else(|_| Self::Recording(argument.into()), Self::MadeUp)
    }

    fn name(&self) -> String {
        match self {
            Self::MadeUp(count) => format!("{count} made up"),
            Self::Recording(path) => format!("{} × {TIMES}", path.file_name().unwrap_or_default().display()),
        }
    }

    async fn fill(&self, store: &SharedStore, session: SessionId) {
        let path = match self {
            Self::MadeUp(count) => return fill(store, session, *count).await,
            Self::Recording(path) => path,
        };
        let recording = read_file(path).expect("the recording is read");
        let aside = MemoryStore::new();
        let imported = import(&aside, Timestamp(0), &recording, None).await.expect("it is imported").session;
        let rows = aside.read(Read::forward(imported, Seq::ZERO)).await.expect("it is read").rows;
        fill(store, session, 1).await;
        for _ in 0..TIMES {
            let again = rows.iter().skip(1).filter_map(Row::event).map(|event| {
                let Body::Json(body) = event.body.clone() else { panic!("nothing is redacted") };
                let id = EventId::from_uuid(uuid::Uuid::now_v7());
                let Recorded { kind, v, at, source, .. } = event.clone();
                NewEvent { id, kind, v, at, source, cause: None, must_understand: false, body }
            });
            let append =
                Append { session, expected: Expected::Any, writer: Writer::Anyone, events: again.collect(), directory: None };
            store.append(append).await.expect("the append succeeds");
        }
    }
}

async fn of(filling: Filling) {
    let directory = directory();
    let store = open(&directory).await;
    let (plain, packed) = (new_session(), new_session());
    for session in [plain, packed] {
        filling.fill(&store, session).await;
        end(&store, session).await;
    }
    let count = filling.name();
    let begin = Instant::now();
    let Packed { bytes_before, bytes_after, .. } = store.pack(packed).await.expect("the session is packed");
    let took = ms(begin);
    let (mut restores, mut pages) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..ROUNDS {
        restores.0.push(restored(&store, plain).await);
        restores.1.push(restored(&store, packed).await);
        pages.0.push(last_page(&store, plain).await);
        pages.1.push(last_page(&store, packed).await);
    }
    println!(
        "| {count} | {:.3} | {:.0} | {} | {} | {} | {} | {} | {} |",
        bytes_after as f64 / bytes_before as f64,
        bytes_before as f64 / 1e6 / (took / 1e3),
        shown(&restores.0, 1),
        shown(&restores.1, 1),
        shown(&ratios(&restores.0, &restores.1), 2),
        shown(&pages.0, 2),
        shown(&pages.1, 2),
        shown(&ratios(&pages.0, &pages.1), 2),
    );
    store.close().await;
}

fn main() {
    let mut asked: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if asked.is_empty() {
        asked = vec!["1000".to_owned(), "10000".to_owned(), "100000".to_owned()];
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("one session, packed and as it was, by turns, median (min–max) of {ROUNDS} rounds\n");
    println!("| events | packed / JSON | packing, MB/s | restore, ms | packed | speed | last 50, ms | packed | speed |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for argument in asked {
        tokio.block_on(async move { tokio::spawn(of(Filling::of(&argument))).await.expect("the bench runs") });
    }
}
