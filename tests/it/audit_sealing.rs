//! A seal takes the newest head of every session that changed, on every store; what it signs, it never denies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rekindle::audit::against::check;
use rekindle::audit::merkle::{CompactRange, leaf_hash};
use rekindle::audit::text::notes;
use rekindle::audit::{AuditError, Checkpoint, Eraser, Note, Outcome, origin};
use rekindle::session::audit::{AUDIT_LOG, Head, Sealed};
use rekindle::session::{Event, Seq, SessionId};
use rekindle::store::conformance::{all_events, append, events, forked, given, new_session};
use rekindle::store::{Expected, MemoryStore, SessionFilter, SharedStore, copy, verify_session};

use crate::audit_support::{ORIGIN, TextSink, Ticking, key, sealer, trusted};

/// The leaves of the audit log, in order, and its seals.
async fn sealed(store: &SharedStore) -> (Vec<Head>, Vec<Sealed>) {
    let (mut heads, mut seals) = (Vec::new(), Vec::new());
    for event in all_events(store, SessionId::AUDIT_LOG).await {
        match Event::read(&event) {
            Event::HeadsListed(body) => heads.extend(body.heads),
            Event::Sealed(body) => {
                heads.extend(body.heads.clone());
                seals.push(body);
            }
            Event::Published(_) | Event::Erasing(_) | Event::Erased(_) => {}
            other => panic!("{other:?} in the audit log"),
        }
    }
    (heads, seals)
}

async fn head(store: &SharedStore, session: SessionId) -> Head {
    let row = store.session(session).await.unwrap().unwrap();
    Head { session, seq: row.head, hash: row.hash }
}

/// Every checkpoint of the audit log, as a file would hold them.
async fn checkpoints(store: &SharedStore) -> String {
    sealed(store).await.1.iter().map(|sealed| sealed.checkpoint.clone()).collect::<Vec<_>>().join("\n")
}

async fn assert_holds(store: &SharedStore) {
    let against = check(store.as_ref(), &checkpoints(store).await, &trusted()).await.unwrap();
    assert_eq!(against.findings, []);
    let (heads, _) = sealed(store).await;
    assert_eq!(against.leaves, heads.len() as u64);
    let sessions: BTreeSet<_> = heads.iter().map(|head| head.session).filter(|id| !id.is_audit_log()).collect();
    assert_eq!(against.intact + against.purged.len() as u64, sessions.len() as u64);
    verify_session(store.as_ref(), SessionId::AUDIT_LOG).await.unwrap();
}

pub async fn a_seal_takes_the_newest_head_of_each_session_that_changed(store: &SharedStore) {
    let (one, two) = (new_session(), new_session());
    for session in [one, two] {
        given(store, session, 3).await;
    }
    given(store, one, 2).await;
    assert_eq!(origin(store.as_ref()).await.unwrap(), None);
    let sealer = sealer(store, &[]);
    let seal = sealer.seal().await.unwrap();
    assert_eq!((seal.sessions, seal.checkpoint.size, seal.unreadable), (2, 2, 0));
    assert_eq!(origin(store.as_ref()).await.unwrap().as_deref(), Some(ORIGIN));
    let mut expected = vec![head(store, one).await, head(store, two).await];
    expected.sort();
    let own = head(store, SessionId::AUDIT_LOG).await;
    assert_eq!(sealed(store).await.0, expected);
    // Of those that go on, only these are new; and the seal before is sealed with them.
    given(store, two, 4).await;
    let seal = sealer.seal().await.unwrap();
    assert_eq!((seal.sessions, seal.checkpoint.size), (1, 4));
    expected.extend([own, head(store, two).await]);
    let (heads, seals) = sealed(store).await;
    assert_eq!(heads, expected);
    let mut tree = CompactRange::new();
    tree.extend(heads.iter().map(|head| leaf_hash(&head.bytes())));
    assert_eq!((seal.checkpoint.size, seal.checkpoint.root), (tree.size(), tree.root()));
    let note: Note = seals[1].checkpoint.parse().unwrap();
    assert_eq!(Checkpoint::open(&note, &trusted()).unwrap(), seal.checkpoint);
    assert_eq!(seals[1].key, key().verifier().to_string());
    let row = store.session(SessionId::AUDIT_LOG).await.unwrap().unwrap();
    assert_eq!((row.name.unwrap().as_str(), row.directory.phase.as_str(), row.directory.due), (AUDIT_LOG, "audit", false));
    assert!(store.sessions(SessionFilter::Due, 10).await.unwrap().is_empty());
    assert_holds(store).await;
}

pub async fn a_period_in_which_nothing_happened_is_sealed_too(store: &SharedStore) {
    let sealer = sealer(store, &[]);
    let mut seen = BTreeSet::new();
    for size in 0..4 {
        let seal = sealer.seal().await.unwrap();
        assert_eq!((seal.sessions, seal.checkpoint.size), (0, size));
        assert!(seen.insert(seal.checkpoint.to_string()), "no two are alike");
    }
    assert_holds(store).await;
}

pub async fn many_sessions_are_sealed_by_several_events_in_one_append(store: &SharedStore) {
    for _ in 0..600 {
        given(store, new_session(), 1).await;
    }
    let seal = sealer(store, &[]).seal().await.unwrap();
    assert_eq!((seal.sessions, seal.checkpoint.size), (600, 600));
    let log = all_events(store, SessionId::AUDIT_LOG).await;
    let kinds: Vec<_> = log.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["audit.heads", "audit.heads", "audit.sealed"]);
    assert!(log.iter().all(|event| event.body.as_json().len() < 64 * 1024 && event.must_understand));
    assert_holds(store).await;
}

pub async fn sealers_at_the_same_time_do_not_fork_the_log(store: &SharedStore) {
    given(store, new_session(), 3).await;
    let sink = TextSink::new("sink");
    let mut sealing = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let sealer = sealer(store, &[&sink]);
        let store = SharedStore::clone(store);
        sealing.spawn(async move {
            for _ in 0..3 {
                given(&store, new_session(), 1).await;
                sealer.seal().await.unwrap();
            }
        });
    }
    while let Some(sealed) = sealing.join_next().await {
        sealed.unwrap();
    }
    let (_, seals) = sealed(store).await;
    assert_eq!(seals.len(), 12);
    assert!(seals.is_sorted_by(|a, b| a.size < b.size));
    assert_holds(store).await;
    let against = check(store.as_ref(), &sink.text(), &trusted()).await.unwrap();
    assert_eq!(against.findings, []);
    assert_eq!(against.leaves, seals.last().unwrap().size, "the last one was published");
}

pub async fn a_fork_and_what_was_purged_are_what_was_sealed(store: &SharedStore) {
    let (parent, gone) = (new_session(), new_session());
    given(store, parent, 6).await;
    given(store, gone, 4).await;
    let fork = forked(store, parent, 4, 3).await;
    let sealer = sealer(store, &[]);
    assert_eq!(sealer.seal().await.unwrap().sessions, 3);
    let eraser = Eraser::begin(SharedStore::clone(store), Arc::new(Ticking::default()), "tester".to_owned()).await.unwrap();
    assert!(eraser.purge(gone, "too old").await.unwrap());
    given(store, fork, 2).await;
    assert_eq!(sealer.seal().await.unwrap().sessions, 1);
    let against = check(store.as_ref(), &checkpoints(store).await, &trusted()).await.unwrap();
    assert_eq!((against.findings, against.intact, against.purged), (vec![], 2, vec![gone]));
}

pub async fn a_copy_is_sealed_on_where_the_store_was_left(store: &SharedStore) {
    let (one, two) = (new_session(), new_session());
    for session in [one, two] {
        given(store, session, 3).await;
    }
    sealer(store, &[]).seal().await.unwrap();
    let other: SharedStore = Arc::new(MemoryStore::new());
    copy(store.as_ref(), other.as_ref(), |_| ()).await.unwrap();
    given(&other, two, 1).await;
    let seal = sealer(&other, &[]).seal().await.unwrap();
    assert_eq!((seal.sessions, seal.checkpoint.size), (1, 4), "what was sealed is not sealed again");
    assert_holds(&other).await;
    let against = check(other.as_ref(), &checkpoints(store).await, &trusted()).await.unwrap();
    assert!(against.holds(), "also against what was signed before: {against:?}");
    let against = check(store.as_ref(), &checkpoints(&other).await, &trusted()).await.unwrap();
    assert!(!against.holds(), "the store that was left behind is an older one");
}

pub async fn it_is_due_once_the_time_has_passed(store: &SharedStore) {
    use std::time::Duration;
    let sealer = sealer(store, &[]);
    let hour = Duration::from_hours(1);
    assert_eq!(sealer.due_in(hour).await.unwrap(), Duration::ZERO);
    sealer.seal().await.unwrap();
    // The clock of these tests is one second further each time that it is looked at.
    assert_eq!(sealer.due_in(hour).await.unwrap(), Duration::from_secs(3599));
    assert_eq!(sealer.due_in(Duration::from_secs(2)).await.unwrap(), Duration::ZERO);
}

macro_rules! on_a_store {
    ($make:path) => {
        on_a_store! { @ $make;
            a_seal_takes_the_newest_head_of_each_session_that_changed,
            a_period_in_which_nothing_happened_is_sealed_too,
            many_sessions_are_sealed_by_several_events_in_one_append,
            sealers_at_the_same_time_do_not_fork_the_log,
            a_fork_and_what_was_purged_are_what_was_sealed,
            a_copy_is_sealed_on_where_the_store_was_left,
            it_is_due_once_the_time_has_passed,
        }
    };
    (@ $make:path; $($case:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _kept) = $make().await;
            super::$case(&store).await;
            store.close().await;
        })*
    };
}

mod memory {
    async fn make_store() -> (super::SharedStore, ()) {
        (super::Arc::new(super::MemoryStore::new()), ())
    }
    on_a_store!(make_store);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    async fn make_store() -> (super::SharedStore, crate::store_fixture::Place) {
        let place = crate::store_fixture::Place::new();
        (place.open().await, place)
    }
    on_a_store!(make_store);
}

#[cfg(feature = "postgres")]
mod postgres {
    async fn make_store() -> (super::SharedStore, ()) {
        let url = crate::postgres_server::shared().fresh_database().await;
        (rekindle::store::connect(&url, rekindle::store::OpenOptions::default()).await.unwrap(), ())
    }
    on_a_store!(make_store);
}

fn memory() -> SharedStore {
    Arc::new(MemoryStore::new())
}

fn sizes(text: &str) -> Vec<u64> {
    let size = |note: &str| note.parse::<Note>().unwrap().text().parse::<Checkpoint>().unwrap().size;
    notes(text).whole.into_iter().map(|(_, note)| size(note)).collect()
}

#[tokio::test]
async fn a_sink_that_failed_gets_what_it_missed_with_the_next_seal() {
    let store = memory();
    let (whole, failing, unseen) = (TextSink::new("whole"), TextSink::new("failing"), TextSink::unseen("unseen"));
    let sealer = sealer(&store, &[&whole, &failing, &unseen]);
    sealer.seal().await.unwrap();
    for sink in [&failing, &unseen] {
        sink.fail_after(0);
    }
    for _ in 0..2 {
        let seal = sealer.seal().await.unwrap();
        let outcomes: Vec<_> = seal.published.iter().map(|(_, outcome)| matches!(outcome, Outcome::Published(_))).collect();
        assert_eq!(outcomes, [true, false, false], "{seal:?}");
    }
    for sink in [&failing, &unseen] {
        sink.fail_after(usize::MAX);
    }
    let seal = sealer.seal().await.unwrap();
    assert_eq!(
        seal.published[1..],
        [("failing".to_owned(), Outcome::Published(3)), ("unseen".to_owned(), Outcome::Published(3))]
    );
    assert_eq!(whole.text(), failing.text());
    assert_eq!(sizes(&whole.text()).len(), 4);
    // Each by itself, as a server gets them.
    assert_eq!((sizes(&unseen.text()), unseen.appends.load(Ordering::Relaxed)), (sizes(&whole.text()), 6));
}

#[tokio::test]
async fn a_sink_that_shows_nothing_gets_each_checkpoint_once_also_when_it_fails_in_between() {
    let store = memory();
    let sink = TextSink::unseen("unseen");
    let sealer = sealer(&store, &[&sink]);
    sink.fail_after(0);
    for _ in 0..3 {
        sealer.seal().await.unwrap();
    }
    let first = sealed(&store).await.1[0].checkpoint.len();
    sink.fail_after(first);
    sealer.seal().await.unwrap();
    assert_eq!(sizes(&sink.text()).len(), 1);
    sink.fail_after(usize::MAX);
    sealer.seal().await.unwrap();
    let all: Vec<u64> = sealed(&store).await.1.iter().map(|sealed| sealed.size).collect();
    assert_eq!(sizes(&sink.text()), all);
    // Nothing is new to it, but the next seal.
    sealer.seal().await.unwrap();
    assert_eq!(sizes(&sink.text()).len(), all.len() + 1);
}

#[tokio::test]
async fn a_checkpoint_that_was_cut_off_while_it_was_written_is_made_whole() {
    let store = memory();
    let (whole, torn) = (TextSink::new("whole"), TextSink::new("torn"));
    let sealer = sealer(&store, &[&whole, &torn]);
    for cut in [0, 1, 7, 40, 70, 120, 150] {
        torn.fail_after(cut);
        sealer.seal().await.unwrap();
        torn.fail_after(usize::MAX);
        sealer.seal().await.unwrap();
        assert_eq!(torn.text(), whole.text(), "cut after {cut} bytes");
    }
    // What is none of this log's is not written behind.
    torn.hold(&format!("{}\nsomebody's words", torn.text()));
    let seal = sealer.seal().await.unwrap();
    assert!(matches!(&seal.published[1].1, Outcome::Failed(why) if why.contains("no checkpoint of this log")), "{seal:?}");
}

#[tokio::test]
async fn nothing_is_signed_that_denies_what_a_sink_holds() {
    let (store, session) = (memory(), new_session());
    given(&store, session, 3).await;
    let earlier: SharedStore = Arc::new(MemoryStore::new());
    let sink = TextSink::new("sink");
    sealer(&store, &[&sink]).seal().await.unwrap();
    copy(store.as_ref(), earlier.as_ref(), |_| ()).await.unwrap();
    given(&store, session, 3).await;
    sealer(&store, &[&sink]).seal().await.unwrap();

    // A copy of before goes on as if nothing had been sealed since: its tree is smaller, and then another one.
    let held = sink.text();
    for _ in 0..3 {
        let before = all_events(&earlier, SessionId::AUDIT_LOG).await.len();
        let error = sealer(&earlier, &[&sink]).seal().await.unwrap_err();
        assert!(matches!(error, AuditError::Inconsistent { .. }), "{error}");
        assert!(error.to_string().contains("sink"), "{error}");
        assert_eq!(all_events(&earlier, SessionId::AUDIT_LOG).await.len(), before, "nothing was signed");
        assert_eq!(sink.text(), held, "nor published");
        // Without the sink nobody can know.
        given(&earlier, session, 1).await;
        sealer(&earlier, &[]).seal().await.unwrap();
    }
    // A store that was sealed nowhere does not go on with the checkpoints of another one.
    let error = sealer(&memory(), &[&sink]).seal().await.unwrap_err();
    assert!(matches!(error, AuditError::Inconsistent { .. }), "{error}");
    // Nor does one behind what another key has signed.
    let forged = TextSink::new("forged");
    let other = Checkpoint::new(ORIGIN.to_owned(), 1, leaf_hash(b"")).sign(&crate::audit_support::others_key()).unwrap();
    forged.hold(&other.to_string());
    let error = sealer(&store, &[&forged]).seal().await.unwrap_err();
    assert!(matches!(error, AuditError::Inconsistent { .. }), "{error}");
}

#[tokio::test]
async fn a_log_is_sealed_by_its_own_key_and_by_no_other() {
    let store = memory();
    sealer(&store, &[]).seal().await.unwrap();
    let seal = |key| {
        let clock = Arc::new(Ticking::default());
        rekindle::audit::Sealer::new(SharedStore::clone(&store), clock, key)
    };
    let other_log = rekindle::audit::SignerKey::from_seed("log.example/other", [1; 32]).unwrap();
    assert!(matches!(seal(other_log).seal().await.unwrap_err(), AuditError::OtherLog { .. }));
    assert!(matches!(seal(crate::audit_support::others_key()).seal().await.unwrap_err(), AuditError::Unsigned { .. }));
    // A new key goes on where the earlier one is trusted.
    seal(crate::audit_support::others_key()).trusting(trusted()).seal().await.unwrap();
}

#[tokio::test]
async fn a_session_that_took_the_name_is_left_as_it_is() {
    let store = memory();
    store.append(append(SessionId::AUDIT_LOG, Expected::NoSession, events(2))).await.unwrap();
    assert!(matches!(sealer(&store, &[]).seal().await.unwrap_err(), AuditError::Occupied(Seq(2))));
    assert_eq!(all_events(&store, SessionId::AUDIT_LOG).await.len(), 2);
}
