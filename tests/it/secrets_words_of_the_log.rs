//! Whatever a secret's value is, the log stays readable and says the same: a value may be a word of the log itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::Ports;
use rekindle::engine::restore::{Trust, restore};
use rekindle::engine::{Engine, Status};
use rekindle::session::mask::{Caveat, HIDDEN, Masker};
use rekindle::session::{
    Action, Body, Command, Event, EventId, Extras, Item, Kind, Observation, Origin, Phase, Recorded, Seq, Session, SessionId,
    SessionSpec, Source, Timestamp,
};
use rekindle::store::{MemoryStore, Read, Row, SharedStore};
use rekindle::testing::{Answer, FakeRuntimes};
use serde_json::Value;
use uuid::Uuid;

use crate::secrets_support::{Values, secret};

fn stored(name: &str) -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stored").join(name);
    std::fs::read_to_string(path).unwrap().lines().skip(1).map(recorded).collect()
}

fn recorded(line: &str) -> Recorded {
    let value: Value = serde_json::from_str(line).unwrap();
    let body = line.split_once(",\"body\":").unwrap().1.strip_suffix('}').unwrap();
    Recorded {
        session: SessionId::from_uuid(Uuid::nil()),
        seq: Seq(value["seq"].as_u64().unwrap()),
        id: EventId::from_uuid(Uuid::nil()),
        kind: Kind::new(value["kind"].as_str().unwrap()),
        v: 1,
        at: serde_json::from_value(value["at"].clone()).unwrap(),
        source: serde_json::from_value::<Source>(value["source"].clone()).unwrap(),
        cause: value["cause"].as_u64().map(Seq),
        must_understand: false,
        body: Body::Json(body.to_owned()),
    }
}

/// Every key, text and number of a JSON value, and what is between the dashes, dots and underscores of a text.
fn words(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            into.extend(text.split(['-', '.', '/', ' ', ':']).map(str::to_owned));
            into.insert(text.clone());
        }
        Value::Number(number) => drop(into.insert(number.to_string())),
        Value::Array(values) => values.iter().for_each(|value| words(value, into)),
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            words(value, into);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

/// What of a state is the log's own.
fn shape(session: &Session) -> String {
    let Session { phase, agent, steps, open, counts, iterations, epoch, .. } = session;
    let phase = match phase {
        Phase::Closed { .. } => "closed",
        other => other.as_str(),
    };
    format!("{phase} {agent:?} {steps:?} {} {counts:?} {iterations} {epoch:?}", open.len())
}

#[test]
fn no_value_makes_an_event_of_any_kind_unreadable() {
    for log in ["session-1.jsonl", "agent-1.jsonl"] {
        let events = stored(log);
        let mut all = BTreeSet::new();
        for event in &events {
            words(&serde_json::from_str(event.body.as_json()).unwrap(), &mut all);
        }
        let mut plain = Session::default();
        events.iter().for_each(|event| plain.apply(event));
        all.retain(|word| Caveat::of(word).is_none_or(Caveat::is_hidden));
        assert!(all.len() > 100, "{}", all.len());
        for word in &all {
            let masker = Masker::new([("S", word.as_str())]).unwrap();
            let mut hidden = Session::default();
            for event in &events {
                let mut event = event.clone();
                let read = Event::read(&event);
                if let Some((_, body)) = masker.event(&read, event.body.as_json()) {
                    event.body = Body::Json(body);
                    assert_eq!(Event::read(&event).kind(), event.kind);
                    assert!(!matches!(Event::read(&event), Event::Unknown(_)), "{word:?} makes {event:?} unreadable");
                }
                hidden.apply(&event);
            }
            assert_eq!(hidden.not_understood, None, "{word:?}");
            assert_eq!(shape(&hidden), shape(&plain), "{word:?} changes what the log says");
        }
    }
}

fn echo(action: &Action) -> Answer {
    let Action::Run(run) = action else {
        return Answer::Observe(Box::new(Observation::error("not a command", "")));
    };
    let extras = serde_json::json!({"command": run.command, "metadata": {"exit_code": 0}});
    let content = run.command.trim_start_matches("echo ").to_owned();
    Answer::Observe(Box::new(Observation { content, extras: Extras::Run(serde_json::from_value(extras).unwrap()) }))
}

async fn bodies(store: &SharedStore, id: SessionId) -> Vec<String> {
    let page = store.read(Read::forward(id, Seq::ZERO)).await.unwrap();
    let body = |row: Row| match row {
        Row::Event { event, .. } => event.body.as_json().to_owned(),
        Row::Damaged { seq, what } => panic!("{seq}: {what}"),
    };
    page.rows.into_iter().map(body).collect()
}

#[tokio::test]
async fn a_session_runs_to_its_end_whatever_the_value_is() {
    for value in [
        "run",
        "agent",
        "message",
        "running",
        "command",
        "content",
        "awaiting_user_input",
        "session",
        "observation",
        "fake",
        "spec",
        "00000000",
        "local",
        "a",
        "7",
        "",
        " ",
        "<secret_hidden>",
        "hidden",
        "true",
        "null",
        "{}",
        "\"",
        "\\",
    ] {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let runtimes = FakeRuntimes::new(echo);
        let ports = Ports::new(Arc::new(runtimes.clone()), rekindle::trajectory::recording);
        let ports = Ports { secrets: Arc::new(Values::of(&[("S", value)])), ..ports };
        let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
        let id = engine.new_session_id();
        let origin = Origin::fresh(Some(format!("the word is ({value}), not more")));
        let spec = SessionSpec { secrets: vec![secret("S")], ..SessionSpec::new(origin, "/tmp/none") };
        engine.create(id, None, spec).await.unwrap();
        assert_eq!(engine.rest(id).await, Status::Resting, "{value:?}");
        let command = serde_json::json!({"action": "run", "args": {"command": format!("echo {value}")}}).to_string();
        engine.submit(id, Command::Act { actions: vec![Item::decode(&command).unwrap()] }).await.unwrap();
        assert_eq!(engine.rest(id).await, Status::Resting, "{value:?}");
        engine.submit(id, Command::Close { reason: format!("enough of ({value})") }).await.unwrap();
        assert_eq!(engine.rest(id).await, Status::Resting, "{value:?}");
        let restored = restore(store.as_ref(), id, Trust::Nothing).await.unwrap();
        assert!(matches!(restored.session.phase, Phase::Closed { .. }), "{value:?}: {:?}", restored.session.phase);
        assert_eq!(runtimes.executed().len(), 1, "{value:?}");
        let log = bodies(&store, id).await.join("\n");
        let is_hidden = Caveat::of(value).is_none_or(Caveat::is_hidden) || value == HIDDEN;
        assert_eq!(log.contains(&format!("the word is ({HIDDEN})")), is_hidden, "{value:?}: {log}");
        assert_eq!(log.contains(&format!("enough of ({HIDDEN})")), is_hidden, "{value:?}");
        let report = log.lines().find(|body| body.contains("\"step\":\"secrets\"") && body.contains("outcome")).unwrap();
        assert_eq!(report.contains("\"caveat\""), Caveat::of(value).is_some(), "{value:?}: {report}");
    }
}

#[test]
fn a_value_of_digits_leaves_the_numbers_of_the_log_alone() {
    let masker = Masker::new([("S", "1000001")]).unwrap();
    let event = stored("session-1.jsonl").remove(0);
    assert_eq!(event.at, Timestamp(1_000_001));
    let read = Event::read(&event);
    assert!(masker.event(&read, event.body.as_json()).is_none_or(|(event, _)| !matches!(event, Event::Unknown(_))));
}
