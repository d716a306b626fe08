//! A session that is as long as it is wanted.

use std::path::PathBuf;

use rekindle::session::event::Created;
use rekindle::session::{Event, EventId, Kind, NewEvent, Origin, Seq, SessionId, SessionSpec, Source, Timestamp};
use rekindle::store::{Append, Expected, SharedStore, Writer};

use super::{Stream, next_event};

const BATCH: usize = 1000;

fn created() -> NewEvent {
    let spec = SessionSpec::new(Origin::fresh(None), PathBuf::from("/tmp"));
    let event = Event::Created(Created { spec: Box::new(spec) });
    NewEvent {
        id: EventId::from_uuid(uuid::Uuid::now_v7()),
        kind: event.kind(),
        v: 1,
        at: Timestamp(0),
        source: Source::Environment,
        cause: None,
        must_understand: false,
        body: event.body(),
    }
}

/// Fills a session with `count` events; every observation answers the action before it, as in a real one.
pub async fn fill(store: &SharedStore, session: SessionId, count: usize) {
    let mut stream = Stream::new(42);
    let mut waiting = None;
    let mut seq = 0;
    let mut batch = vec![created()];
    while seq < count {
        while batch.len() < BATCH && seq + batch.len() < count {
            let at = Seq((seq + batch.len() + 1) as u64);
            let mut event = next_event(&mut stream);
            event.kind = match (event.kind.family(), waiting) {
                ("observation", Some(_)) => Kind::known("observation.run"),
                ("action", None) if event.kind.tag() != "message" => Kind::known("action.run"),
                ("action", _) if event.kind.tag() == "message" => Kind::known("action.message"),
                _ => Kind::known("action.think"),
            };
            match event.kind.as_str() {
                "observation.run" => event.cause = waiting.take(),
                "action.run" => waiting = Some(at),
                _ => {}
            }
            batch.push(event);
        }
        seq += batch.len();
        let events = std::mem::take(&mut batch);
        let append = Append { session, expected: Expected::Any, writer: Writer::Anyone, events, directory: None };
        store.append(append).await.expect("the append succeeds");
    }
}
