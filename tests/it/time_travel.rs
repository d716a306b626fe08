//! States at any event, and which event made them so: what the short ways find is what folding every event finds.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rekindle::engine::EngineError;
use rekindle::engine::restore::{Trust, restore, snapshot};
use rekindle::engine::travel::{BisectError, Refolded, bisect, blame, refold, state_at};
use rekindle::projection::part::StatePath;
use rekindle::session::event::{Created, TurnEnded};
use rekindle::session::{
    AgentState, Body, Digest, Event, EventId, Kind, NewEvent, Origin, REDUCER, Recorded, Seq, Session, SessionId, SessionSpec,
    Source, Timestamp,
};
use rekindle::store::{Append, Expected, MemoryStore, RUNG, Read, Row, SharedStore, Writer};
use serde_json::{Value, json};
use uuid::Uuid;

fn memory() -> SharedStore {
    Arc::new(MemoryStore::new())
}

fn new_session() -> SessionId {
    SessionId::from_uuid(Uuid::now_v7())
}

async fn append(store: &SharedStore, session: SessionId, events: Vec<NewEvent>) {
    for events in events.chunks(512) {
        let append =
            Append { session, expected: Expected::Any, writer: Writer::Anyone, events: events.to_vec(), directory: None };
        store.append(append).await.unwrap();
    }
}

async fn log(store: &SharedStore, id: SessionId) -> Vec<(Recorded, Digest)> {
    let mut events: Vec<(Recorded, Digest)> = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |(event, _)| event.seq);
        let page = store.read(Read::forward(id, after)).await.unwrap();
        events.extend(page.rows.into_iter().map(|row| match row {
            Row::Event { event, hash, .. } => (event, hash),
            Row::Damaged { seq, what } => panic!("event {seq} is damaged: {what}"),
        }));
        if !page.more {
            return events;
        }
    }
}

/// The state after each event, with its chain hash, the one before the first among them.
async fn every_state(store: &SharedStore, id: SessionId) -> Vec<(Session, Digest)> {
    let mut session = Session::default();
    let mut states = vec![(session.clone(), Digest::ZERO)];
    for (event, hash) in log(store, id).await {
        session.apply(&event);
        states.push((session.clone(), hash));
    }
    states
}

/// A log under way: what comes to it is folded at once, so that it can record its states.
struct Writing {
    session: Session,
    events: Vec<NewEvent>,
}

impl Writing {
    fn new() -> Self {
        let mut writing = Self { session: Session::default(), events: Vec::new() };
        let spec = SessionSpec::new(Origin::fresh(None), "/tmp/none");
        let created = Event::Created(Created { spec: Box::new(spec) });
        writing.push(created.kind().as_str(), created.body(), None);
        writing
    }

    fn push(&mut self, kind: &str, body: String, cause: Option<u64>) -> u64 {
        let seq = self.session.version.next();
        let kind = Kind::new(kind);
        let (id, at, cause) = (EventId::from_uuid(Uuid::now_v7()), Timestamp(seq.0.cast_signed() * 1000), cause.map(Seq));
        let source = if kind.family() == "action" { Source::Agent } else { Source::Environment };
        self.session.apply(&Recorded {
            session: SessionId::from_uuid(Uuid::nil()),
            seq,
            id,
            kind: kind.clone(),
            v: 1,
            at,
            source,
            cause,
            must_understand: false,
            body: Body::Json(body.clone()),
        });
        self.events.push(NewEvent { id, kind, v: 1, at, source, cause, must_understand: false, body });
        seq.0
    }

    /// Something that an agent did or saw, or that became of it; `what` is a random number.
    fn any(&mut self, what: u8) {
        match what % 8 {
            0 => self.push("observation.error", json!({"observation": "error", "content": "no", "extras": {}}).to_string(), None),
            1 => self.state(AgentState::Running),
            2 => self.state(AgentState::AwaitingUserInput),
            3 => self.push(
                "action.message",
                json!({"action": "message", "args": {"content": format!("word {what}")},
                       "llm_metrics": {"accumulated_cost": f64::from(what) / 7.0}})
                .to_string(),
                None,
            ),
            4 => self.end_turn(),
            _ => {
                self.push("action.think", json!({"action": "think", "args": {"thought": format!("hm {what}")}}).to_string(), None)
            }
        };
    }

    fn state(&mut self, state: AgentState) -> u64 {
        self.push("turn.state_changed", json!({"state": state}).to_string(), None)
    }

    fn end_turn(&mut self) -> u64 {
        let ended = TurnEnded { digest: self.session.digest(), reducer: REDUCER.to_owned() };
        self.push("turn.ended", serde_json::to_string(&ended).unwrap(), None)
    }

    async fn keep(self, store: &SharedStore) -> SessionId {
        let id = new_session();
        append(store, id, self.events).await;
        id
    }
}

/// A session of so many events, in which turns end.
async fn long(store: &SharedStore, events: u64) -> SessionId {
    let mut writing = Writing::new();
    while writing.session.version.0 < events {
        let seq = writing.session.version.0;
        writing.any(if seq.is_multiple_of(97) { 4 } else { [3, 5, 0, 1, 5, 2][(seq % 6) as usize] });
    }
    writing.keep(store).await
}

/// A line of a stored log.
#[derive(serde::Deserialize)]
struct Stored<'a> {
    kind: Kind,
    v: u16,
    at: Timestamp,
    source: Source,
    cause: Option<Seq>,
    must_understand: bool,
    #[serde(borrow)]
    body: &'a serde_json::value::RawValue,
}

/// The recordings of other systems, and the logs that every version must be able to read.
async fn recorded(store: &SharedStore) -> Vec<SessionId> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ids = Vec::new();
    for name in ["basic.json", "basic_interactions.json", "pony_parser_49.json", "wrong_initial_state.json"] {
        let path = here.join("../shared/trajectories").join(name);
        let trajectory = rekindle::trajectory::read_file(&path).unwrap();
        ids.push(rekindle::trajectory::import(store.as_ref(), Timestamp(7), &trajectory, None).await.unwrap().session);
    }
    for name in ["session-1.jsonl", "agent-1.jsonl", "delegate-1.jsonl"] {
        let text = std::fs::read_to_string(here.join("tests/data/stored").join(name)).unwrap();
        // The text of a body stays as it is: the order of its keys goes into the state, and so into its digest.
        let line = |line: &str| {
            let Stored { kind, v, at, source, cause, must_understand, body } = serde_json::from_str(line).unwrap();
            let id = EventId::from_uuid(Uuid::now_v7());
            NewEvent { id, kind, v, at, source, cause, must_understand, body: body.get().to_owned() }
        };
        let id = new_session();
        append(store, id, text.lines().skip(1).map(line).collect()).await;
        ids.push(id);
    }
    ids
}

#[derive(Debug, Clone, Copy)]
enum Ladder {
    Absent,
    Present,
    Damaged,
}

/// Three snapshots that stand in the log; damaged in three ways where they are to be.
async fn lay(store: &SharedStore, id: SessionId, states: &[(Session, Digest)], ladder: Ladder) {
    for part in 1..=3 {
        let (state, hash) = &states[(states.len() - 1) * part / 3];
        let mut kept = snapshot(id, state, *hash);
        match (ladder, part) {
            (Ladder::Absent, _) => return,
            (Ladder::Present, _) => {}
            (Ladder::Damaged, 1) => kept.bytes.reverse(),
            (Ladder::Damaged, 2) => kept = snapshot(id, state, Digest::of(b"elsewhere")),
            (Ladder::Damaged, _) => {
                kept.bytes.truncate(kept.bytes.len() / 2);
                kept.digest = Digest::of(&kept.bytes);
            }
        }
        store.put_snapshot(kept).await.unwrap();
    }
}

#[tokio::test]
async fn the_state_at_every_event_is_the_full_fold_with_snapshots_without_and_with_damaged_ones() {
    for ladder in [Ladder::Absent, Ladder::Present, Ladder::Damaged] {
        let store = memory();
        for id in recorded(&store).await {
            let states = every_state(&store, id).await;
            lay(&store, id, &states, ladder).await;
            let mut from_snapshots = 0;
            for (at, (state, hash)) in states.iter().enumerate() {
                let found = state_at(store.as_ref(), id, Seq(at as u64)).await.unwrap();
                assert_eq!(&found.session, state, "{ladder:?}, event {at} of {id}");
                assert_eq!((found.proof.events, found.proof.digest), (at as u64, state.digest()));
                assert_eq!(found.hash, *hash);
                from_snapshots += usize::from(found.proof.snapshot.is_some());
            }
            assert_eq!(from_snapshots > 0, matches!(ladder, Ladder::Present), "{ladder:?}");
        }
    }
}

#[tokio::test]
async fn a_long_session_gets_a_ladder_from_whoever_folds_it_and_keeps_it() {
    let store = memory();
    let id = long(&store, 3 * RUNG).await;
    let states = every_state(&store, id).await;
    let head = Seq(states.len() as u64 - 1);
    restore(store.as_ref(), id, Trust::Nothing).await.unwrap();
    assert_eq!(store.snapshot(id, REDUCER, head).await.unwrap(), None, "who trusts nothing leaves nothing to trust");
    restore(store.as_ref(), id, Trust::Snapshot).await.unwrap();
    for at in [1, 700, RUNG - 1, RUNG, RUNG + 1, 2 * RUNG + 50, head.0 - 1, head.0, 5, RUNG + 9] {
        let found = state_at(store.as_ref(), id, Seq(at)).await.unwrap();
        assert_eq!(found.session, states[at as usize].0, "event {at}");
        assert_eq!(found.proof.snapshot.map_or(0, |seq| seq.0), at / RUNG * RUNG, "event {at}");
    }
    // Snapshots of a session that is worked on come and go; the ladder stays.
    for at in [head.0 - 300, head.0 - 200, head.0 - 100] {
        let (state, hash) = &states[at as usize];
        store.put_snapshot(snapshot(id, state, *hash)).await.unwrap();
    }
    let found = state_at(store.as_ref(), id, Seq(RUNG + 1)).await.unwrap();
    assert_eq!(found.proof.snapshot, Some(Seq(RUNG)));
    // A damaged rung is passed over, and made anew by who folds past it.
    let mut kept = store.snapshot(id, REDUCER, Seq(2 * RUNG)).await.unwrap().unwrap();
    kept.bytes.reverse();
    store.put_snapshot(kept).await.unwrap();
    for snapshot in [RUNG, 2 * RUNG] {
        let found = state_at(store.as_ref(), id, Seq(2 * RUNG + 3)).await.unwrap();
        assert_eq!(found.session, states[2 * RUNG as usize + 3].0);
        assert_eq!(found.proof.snapshot, Some(Seq(snapshot)));
    }
}

#[tokio::test]
async fn what_was_taken_out_of_a_long_session_does_not_make_its_later_states_unproven() {
    let store = memory();
    let id = long(&store, 2 * RUNG + 100).await;
    let message = log(&store, id).await.into_iter().find(|(event, _)| event.kind.as_str() == "action.message").unwrap().0;
    state_at(store.as_ref(), id, Seq(2 * RUNG)).await.unwrap();
    store.redact(id, message.seq).await.unwrap();
    let states = every_state(&store, id).await;
    assert_eq!(states[RUNG as usize].0.title, states[2 * RUNG as usize].0.title);
    // Twice: without the snapshots, which went with the text, and with those that the first time has made.
    for _ in 0..2 {
        for at in [2 * RUNG + 50, RUNG + 200, RUNG] {
            let found = state_at(store.as_ref(), id, Seq(at)).await.unwrap();
            assert_eq!(found.session, states[at as usize].0, "event {at}");
        }
    }
    let found = refold(store.as_ref(), id, None).await.unwrap();
    assert_eq!(found.mismatches, 0);
    assert!(found.passed_over > 0, "{found:?}");
}

#[tokio::test]
async fn travelling_beyond_the_end_or_to_no_session_is_refused() {
    let store = memory();
    let id = long(&store, 20).await;
    let beyond = state_at(store.as_ref(), id, Seq(21)).await;
    assert!(matches!(beyond, Err(EngineError::Unproven { seq: Seq(21), .. })), "{beyond:?}");
    assert!(matches!(state_at(store.as_ref(), new_session(), Seq(1)).await, Err(EngineError::NotFound(_))));
}

#[tokio::test]
async fn folding_a_log_again_compares_every_state_that_it_records() {
    let store = memory();
    for id in recorded(&store).await {
        let claims = |event: &Recorded| matches!(event.kind.as_str(), "turn.ended" | "session.restored");
        let claimed = log(&store, id).await.iter().filter(|(event, _)| claims(event)).count() as u64;
        let Refolded { compared, passed_over, mismatches, first, .. } = refold(store.as_ref(), id, None).await.unwrap();
        assert_eq!((compared + passed_over, mismatches, first), (claimed, 0, None), "{id}");
    }
    let mut writing = Writing::new();
    (0..40).for_each(|what| writing.any(what));
    let right = writing.session.digest();
    let wrong = TurnEnded { digest: Digest::of(b"another"), reducer: REDUCER.to_owned() };
    let seq = writing.push("turn.ended", serde_json::to_string(&wrong).unwrap(), None);
    writing.end_turn();
    let later = TurnEnded { digest: Digest::of(b"unknown"), reducer: "session/0".to_owned() };
    writing.push("turn.ended", serde_json::to_string(&later).unwrap(), None);
    let id = writing.keep(&store).await;
    let found = refold(store.as_ref(), id, None).await.unwrap();
    assert_eq!((found.compared, found.passed_over, found.mismatches), (7, 1, 1), "{found:?}");
    let first = found.first.unwrap();
    assert_eq!((first.seq, first.after, first.recorded, first.folded), (Seq(seq), Seq(seq - 1), wrong.digest, right));
    assert_eq!(refold(store.as_ref(), id, Some(Seq(seq - 1))).await.unwrap().mismatches, 0);
}

/// What a session that changed hands recorded is compared with the state before it did.
#[tokio::test]
async fn a_state_that_a_restore_recorded_is_compared_too() {
    for wrong in [false, true] {
        let store = memory();
        let mut writing = Writing::new();
        (0..9).for_each(|what| writing.any(what * 2 + 1));
        let (events, digest) = (writing.session.version.0, writing.session.digest());
        let digest = if wrong { Digest::of(b"another") } else { digest };
        let node = Uuid::nil();
        writing.push("session.owner_acquired", json!({"epoch": 2, "node": node, "reason": "test"}).to_string(), None);
        let restored = json!({"events": events, "snapshot": null, "digest": digest, "reducer": REDUCER});
        writing.push("session.restored", restored.to_string(), None);
        let id = writing.keep(&store).await;
        let found = refold(store.as_ref(), id, None).await.unwrap();
        assert_eq!(found.first.map(|first| first.after), wrong.then_some(Seq(events)), "{found:?}");
    }
}

const PATHS: [&str; 9] = [
    "/agent",
    "/counts/errors",
    "/counts/actions",
    "/usage/cost_micro_usd",
    "/title",
    "/phase",
    "/spec/limits/iterations",
    "/turn_open",
    "/nothing/here",
];

/// What folding every event says of a path: the last event that changed it, and what from.
fn naive_blame(states: &[(Session, Digest)], at: usize, pointer: &str) -> Option<(u64, Option<Value>, Option<Value>)> {
    let value = |at: usize| serde_json::to_value(&states[at].0).unwrap().pointer(pointer).cloned();
    (1..=at).rev().find(|at| value(*at) != value(at - 1)).map(|at| (at as u64, value(at - 1), value(at)))
}

#[tokio::test]
async fn a_part_of_the_state_is_blamed_on_the_event_that_set_it_last() {
    let store = memory();
    let mut ids = recorded(&store).await;
    ids.push(long(&store, 300).await);
    for id in ids {
        let states = every_state(&store, id).await;
        for ladder in [Ladder::Absent, Ladder::Present] {
            lay(&store, id, &states, ladder).await;
            for pointer in PATHS {
                let path: StatePath = pointer.parse().unwrap();
                for at in [0, 1, states.len() / 3, states.len() / 2, states.len() - 1] {
                    let found = blame(store.as_ref(), id, Seq(at as u64), &path).await.unwrap();
                    let found = found.map(|found| (found.event.seq.0, found.old, found.new));
                    assert_eq!(found, naive_blame(&states, at, pointer), "{pointer} at {at} of {id}");
                }
            }
        }
    }
}

/// The first event after which it holds, by looking at every one.
fn linear(states: &[(Session, Digest)], good: usize, bad: usize, holds: impl Fn(&Session) -> bool) -> Option<usize> {
    (good + 1..=bad).find(|at| holds(&states[*at].0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn bisecting_finds_what_looking_at_every_event_finds(
        moves in prop::collection::vec(any::<u8>(), 1..200),
        wanted in 0u64..30,
        ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let store = memory();
            let mut writing = Writing::new();
            moves.iter().for_each(|what| writing.any(*what));
            let id = writing.keep(&store).await;
            let states = every_state(&store, id).await;
            let (one, other) = (ends.0.index(states.len()), ends.1.index(states.len()));
            let (good, bad) = (one.min(other), one.max(other));
            let holds = |state: &Session| state.counts.errors >= wanted;
            let found = bisect(store.as_ref(), id, Seq(good as u64), Some(Seq(bad as u64)), |state| Ok(holds(state))).await;
            match found {
                Ok(found) => {
                    prop_assert_eq!(Some(found.event.seq.0 as usize), linear(&states, good, bad, holds));
                    prop_assert_eq!(&found.before, &states[found.event.seq.0 as usize - 1].0);
                    prop_assert_eq!(&found.after, &states[found.event.seq.0 as usize].0);
                    prop_assert!(f64::from(found.folds) <= ((bad - good) as f64).log2().ceil() + 2.0, "{} of {}", found.folds, bad - good);
                }
                Err(BisectError::HoldsAlready(at)) => prop_assert!(at.0 as usize == good && holds(&states[good].0)),
                Err(BisectError::NeverHolds(at)) => prop_assert!(at.0 as usize == bad && !holds(&states[bad].0)),
                Err(BisectError::Bounds { .. }) => prop_assert_eq!(good, bad),
                Err(other) => prop_assert!(false, "{other}"),
            }
            // What comes and goes: an event at which it comes.
            let runs = |state: &Session| state.agent == AgentState::Running;
            if let Ok(found) = bisect(store.as_ref(), id, Seq::ZERO, None, |state| Ok(runs(state))).await {
                prop_assert!(!runs(&found.before) && runs(&states[found.event.seq.0 as usize].0));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn bisecting_a_long_session_steps_from_rung_to_rung() {
    let store = memory();
    let id = long(&store, 3 * RUNG).await;
    let states = every_state(&store, id).await;
    for wanted in [1, 300, 900, 1500] {
        let holds = |state: &Session| state.counts.errors >= wanted;
        let found = bisect(store.as_ref(), id, Seq::ZERO, None, |state| Ok(holds(state))).await.unwrap();
        assert_eq!(Some(found.event.seq.0 as usize), linear(&states, 0, states.len() - 1, holds));
        assert!(found.folds <= 24, "{}", found.folds);
    }
    let untold =
        bisect(
            store.as_ref(),
            id,
            Seq::ZERO,
            None,
            |state| {
                if state.version.0 == 3 * RUNG { Err("no".to_owned()) } else { Ok(false) }
            },
        );
    assert!(matches!(untold.await, Err(BisectError::Untold { what, .. }) if what == "no"));
}
