//! What auditors ask is answered from the log: who decided what before it ran, what came of it, what no seal covers, what was taken out
//! and who has read; as a table, as JSON, and as a page that says the same.

use std::fs;
use std::sync::Arc;

use rekindle::audit::report::{Asked, Flag, Outcome, Period, Report, report};
use rekindle::session::event::{ActionConfirmed, ActionJudged, ActionRefused, Closed, Created, Dispatched, LimitsChanged};
use rekindle::session::model::Judgement;
use rekindle::session::{
    Analyzer, ConfirmationPolicy, Epoch, Event, Item, Limits, NewEvent, Risk, SecuritySpec, Seq, SessionId, SessionSpec, Source,
    Timestamp,
};
use rekindle::store::conformance::{append, event, forked, new_session};
use rekindle::store::{Adoption, Expected, MemoryStore, Read, SharedStore, connect};
use rekindle::testing::Scenario;
use serde_json::{Value, json};

use crate::audit_support::sealer;
use crate::cli_support::{Rig, Said};
use crate::model_server::{ModelAnswer, ModelServer, Received, Reply};
use crate::page_support::Read as Page;

/// A day that nothing but what is made by hand lies in.
const DAY: [&str; 4] = ["--from", "2001-09-09", "--to", "2001-09-10"];
/// Noon of it, in microseconds.
const NOON: i64 = 1_000_036_800_000_000;

fn noon(seconds: i64) -> Timestamp {
    Timestamp(NOON + seconds * 1_000_000)
}

/// A command as a person of that name gives it.
fn by(rig: &Rig, user: &str, args: &[&str]) -> Said {
    let mut command = rig.command(args);
    command.env("USER", user);
    Said::of(command)
}

/// The report of what happened until now, as JSON.
fn so_far(rig: &Rig, more: &[&str]) -> Value {
    rig.json(&[&["audit", "report", "--from", "2025-01-01", "-o", "json"], more].concat())
}

fn session<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["sessions"].as_array().unwrap().iter().find(|session| session["name"] == name).unwrap_or_else(|| panic!("{report}"))
}

/// An event of a session that is made by hand.
fn made(event: &Event, at: i64, source: Source, cause: Option<u64>) -> NewEvent {
    let mut made = rekindle::store::conformance::event("x");
    (made.kind, made.body, made.at, made.source, made.cause) = (event.kind(), event.body(), noon(at), source, cause.map(Seq));
    made
}

fn created(judges: bool) -> NewEvent {
    let analyzers = if judges { vec![Analyzer::Rules] } else { Vec::new() };
    let security = SecuritySpec { analyzers, confirmation: ConfirmationPolicy::AtOrAbove(Risk::High) };
    let spec = SessionSpec { security, user: Some("grace".to_owned()), ..Scenario::agent_spec() };
    made(&Event::Created(Created { spec: Box::new(spec) }), 0, Source::User, None)
}

fn run(at: i64, command: &str) -> NewEvent {
    let item = Item::decode(&json!({"action": "run", "args": {"command": command}}).to_string()).unwrap();
    made(&Event::Item(Box::new(rekindle::session::Entry::new(item))), at, Source::Agent, None)
}

fn judged(at: i64, action: u64, confirm: bool) -> NewEvent {
    let judgement = Judgement { risk: Risk::High, reasons: vec!["rules/1: a test".into()], by: vec!["rules/1".into()] };
    made(&Event::Judged(ActionJudged { judgement, confirm }), at, Source::Environment, Some(action))
}

fn dispatched(at: i64, action: u64) -> NewEvent {
    made(&Event::Dispatched(Dispatched { attempt: 1, epoch: Epoch(1) }), at, Source::Environment, Some(action))
}

fn confirmed(at: i64, action: u64) -> NewEvent {
    made(&Event::Confirmed(ActionConfirmed { by: "grace".to_owned() }), at, Source::User, Some(action))
}

fn refused(at: i64, action: u64) -> NewEvent {
    let body = ActionRefused { by: "grace".to_owned(), reason: Some("never".to_owned()) };
    made(&Event::Refused(body), at, Source::User, Some(action))
}

fn observed(at: i64, action: u64, extras: Value) -> NewEvent {
    let text = json!({"observation": extras["of"], "content": "c", "extras": extras["extras"]}).to_string();
    let item = Item::decode(&text).unwrap();
    made(&Event::Item(Box::new(rekindle::session::Entry::new(item))), at, Source::Environment, Some(action))
}

fn ran(at: i64, action: u64, code: i64) -> NewEvent {
    observed(at, action, json!({"of": "run", "extras": {"command": "c", "metadata": {"exit_code": code}}}))
}

async fn memory(events: Vec<NewEvent>) -> (SharedStore, SessionId) {
    let (store, id): (SharedStore, _) = (Arc::new(MemoryStore::new()), new_session());
    store.append(append(id, Expected::NoSession, events)).await.unwrap();
    (store, id)
}

async fn asked(store: &SharedStore, from: i64, to: i64) -> Report {
    let period = Period { from: noon(from), to: noon(to) };
    let asked = Asked { period, session: None, cadence: None, now: noon(1_000_000), by: "a test".to_owned() };
    report(store.as_ref(), &asked, |_| {}).await.unwrap()
}

/// What is flagged of the one action of a log that goes on so after it, and what came of it.
async fn told(judges: bool, rest: Vec<NewEvent>) -> (Outcome, Vec<Flag>) {
    let (store, _) = memory([vec![created(judges), run(1, "make")], rest].concat()).await;
    let report = asked(&store, 0, 100).await;
    let [action] = &report.sessions[0].actions[..] else { panic!("{report:?}") };
    (action.outcome.state, action.flags.clone())
}

#[tokio::test]
async fn what_ran_before_it_was_decided_and_what_has_no_outcome_is_flagged() {
    use Flag::{NeverJudged, NoOutcome, RanAfterRefusal, RanBeforeConsent, RanBeforeJudged, UnknownOutcome};
    let error = |id: &str| observed(9, 2, json!({"of": "error", "extras": {"error_id": id}}));
    let closed = made(&Event::Closed(Closed { reason: "done".into(), unreleased: Vec::new() }), 9, Source::User, None);
    for (judges, rest, expected) in [
        (true, vec![judged(2, 2, false), dispatched(3, 2), ran(4, 2, 0)], (Outcome::Done, vec![])),
        (true, vec![judged(2, 2, true), confirmed(3, 2), dispatched(4, 2), ran(5, 2, 0)], (Outcome::Done, vec![])),
        (true, vec![dispatched(2, 2), judged(3, 2, false), ran(4, 2, 1)], (Outcome::Failed, vec![RanBeforeJudged])),
        (true, vec![dispatched(2, 2), ran(3, 2, 0)], (Outcome::Done, vec![NeverJudged])),
        (false, vec![dispatched(2, 2), ran(3, 2, 0)], (Outcome::Done, vec![])),
        (
            true,
            vec![judged(2, 2, true), dispatched(3, 2), confirmed(4, 2), ran(5, 2, 0)],
            (Outcome::Done, vec![RanBeforeConsent]),
        ),
        (true, vec![judged(2, 2, true), dispatched(3, 2), ran(5, 2, 0)], (Outcome::Done, vec![RanBeforeConsent])),
        (true, vec![judged(2, 2, true), refused(3, 2), dispatched(4, 2), ran(5, 2, 0)], (Outcome::Done, vec![RanAfterRefusal])),
        (true, vec![judged(2, 2, true)], (Outcome::Open, vec![NoOutcome])),
        (true, vec![judged(2, 2, false), dispatched(3, 2), closed], (Outcome::Open, vec![NoOutcome])),
        (
            true,
            vec![judged(2, 2, false), dispatched(3, 2), error("REKINDLE$OUTCOME_UNKNOWN")],
            (Outcome::Unknown, vec![UnknownOutcome]),
        ),
        (true, vec![judged(2, 2, false), dispatched(3, 2), ran(4, 2, -1)], (Outcome::Unknown, vec![UnknownOutcome])),
        (true, vec![judged(2, 2, false), error("AGENT_ERROR$ERROR_ACTION_NOT_EXECUTED")], (Outcome::NotExecuted, vec![])),
        (true, vec![judged(2, 2, false), dispatched(3, 2), error("")], (Outcome::Failed, vec![])),
        (
            true,
            vec![judged(2, 2, true), refused(3, 2), observed(3, 2, json!({"of": "user_rejected", "extras": {}}))],
            (Outcome::Rejected, vec![]),
        ),
        (true, vec![judged(2, 2, false), ran(3, 2, 0)], (Outcome::Elsewhere, vec![])),
    ] {
        let kinds: Vec<String> = rest.iter().map(|event| event.kind.to_string()).collect();
        assert_eq!(told(judges, rest).await, expected, "{kinds:?}");
    }
}

#[tokio::test]
async fn a_period_begins_with_its_first_moment_and_ends_before_its_last() {
    let events = vec![created(true), run(10, "make"), judged(20, 2, false), dispatched(30, 2), ran(40, 2, 0)];
    let (store, _) = memory(events).await;
    let shape = |report: &Report| {
        let [session] = &report.sessions[..] else { return None };
        let action = session.actions.first().map(|action| (action.dispatched.len(), action.outcome.state));
        Some((session.events, session.first.unwrap().0, session.upto.0, action))
    };
    for ((from, to), expected) in [
        ((0, 10), Some((1, 1, 1, None))),
        ((0, 11), Some((2, 1, 2, Some((0, Outcome::Open))))),
        ((20, 30), Some((1, 3, 3, Some((0, Outcome::Open))))),
        // The end of the period is the end of what is known.
        ((30, 40), Some((1, 4, 4, Some((1, Outcome::Open))))),
        ((40, 41), Some((1, 5, 5, Some((1, Outcome::Done))))),
        ((41, 99), None),
        ((-9, 0), None),
    ] {
        assert_eq!(shape(&asked(&store, from, to).await), expected, "{from} to {to}");
    }
}

#[tokio::test]
async fn what_is_in_force_is_one_digest_and_each_change_of_it_is_listed() {
    let limits = Limits { iterations: 7, budget_micro_usd: None };
    let changed = made(&Event::LimitsChanged(LimitsChanged { limits, reason: "asked for".into() }), 5, Source::User, None);
    let (store, id) = memory(vec![created(true), run(1, "make"), changed]).await;
    let all = asked(&store, 0, 100).await.sessions.remove(0);
    let [change] = &all.configuration_changes[..] else { panic!("{all:?}") };
    assert_eq!((change.seq, change.kind.as_str()), (Seq(3), "session.limits_changed"));
    assert!(all.configuration.is_some() && change.fingerprint.is_some() && all.configuration != change.fingerprint);
    assert_eq!((all.user.as_deref(), &all.judges[..]), (Some("grace"), &["rules".to_owned()][..]));
    // What was in force before is what a later period begins with.
    let later = asked(&store, 5, 100).await.sessions.remove(0);
    assert_eq!((later.configuration, later.configuration_changes.len()), (all.configuration, 1));
    // Of a fork what it shares was done by its parent.
    let fork = forked(&store, id, 2, 1).await;
    let report = asked(&store, -1_000_000_000, 1_000_000_000_000).await;
    let fork = report.sessions.iter().find(|session| session.session == fork).unwrap();
    assert_eq!((fork.events, fork.actions.len(), fork.parent), (1, 0, Some(id)));
    assert_eq!(fork.configuration, all.configuration, "what it was set up with it shares");
}

#[tokio::test]
async fn what_was_written_anew_or_blanked_without_a_word_is_damage_also_where_its_own_hashes_hold() {
    let id = new_session();
    let stores: [SharedStore; 2] = [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())];
    for (store, second) in stores.iter().zip(["two", "other"]) {
        store.append(append(id, Expected::NoSession, vec![event("one"), event(second)])).await.unwrap();
        store.append(append(new_session(), Expected::NoSession, vec![event("one")])).await.unwrap();
    }
    let [sealed, anew] = &stores;
    sealer(sealed, &[]).seal().await.unwrap();
    let (from, to) = (-1_000_000_000, 1_000_000_000_000);
    let good = asked(sealed, from, to).await;
    assert!(!good.damaged && good.proof.unsealed.is_empty() && good.sessions.len() == 2, "{good:?}");
    // The audit log of the one beside the session of the other, which is whole by itself.
    let rows = sealed.read(Read::forward(SessionId::AUDIT_LOG, Seq::ZERO)).await.unwrap().rows;
    anew.adopt(vec![Adoption { session: SessionId::AUDIT_LOG, base: None, rows }]).await.unwrap();
    let bad = asked(anew, from, to).await;
    let damage = bad.sessions.iter().find(|session| session.session == id).unwrap().damage.clone().unwrap();
    assert!(bad.damaged && damage.seq == Some(Seq(2)) && damage.what.contains("written anew"), "{damage:?}");

    sealed.redact(id, Seq(1)).await.unwrap();
    let blank = asked(sealed, from, to).await;
    let damage = blank.sessions.iter().find(|session| session.session == id).unwrap().damage.clone().unwrap();
    assert!(damage.seq == Some(Seq(1)) && damage.what.contains("does not say that anybody redacted it"), "{damage:?}");
    assert_eq!(blank.sessions.iter().filter(|session| session.damage.is_some()).count(), 1, "the other one is not blamed");
}

/// Wants a risky command, and is done when it has heard what came of it.
async fn model() -> ModelServer {
    ModelServer::replying(move |received: &Received| {
        let has_heard = received.body["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
        let (tool, arguments) = match has_heard {
            true => ("finish", json!({ "message": "done", "task_completed": "true" })),
            false => ("bash", json!({ "command": "rm -rf .git; echo ran >> journal" })),
        };
        Reply::from(ModelAnswer::says("").calls(if has_heard { "b" } else { "a" }, tool, &arguments))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_was_approved_or_rejected_shows_by_whom_before_it_ran() {
    let server = model().await;
    let (rig, url) = (Rig::new(), server.base_url());
    for name in ["yes", "no"] {
        fs::create_dir(rig.path(name)).unwrap();
        let args =
            ["run", "--name", name, "--model", "fake", "--base-url", &url, "-w", name, "--confirm", "high", "--user", "kim"];
        by(&rig, "kim", &[&args[..], &["--headless", "do it"]].concat());
    }
    assert_eq!(by(&rig, "grace", &["approve", "yes"]).code, 0);
    assert_eq!(by(&rig, "ada", &["reject", "no", "--reason", "keep the history"]).code, 0);
    let report = so_far(&rig, &[]);
    let (yes, no) = (session(&report, "yes"), session(&report, "no"));
    for one in [yes, no] {
        assert_eq!(
            (&one["user"], &one["agent"], &one["models"]),
            (&json!("kim"), &json!("coder"), &json!(["fake-model-1"])),
            "{one}"
        );
        assert_eq!(one["verdicts"]["integrity"]["verdict"], "holds");
        assert_eq!(one["confirmation"], json!({"at_or_above": "high"}));
        assert_eq!(one["configuration"], yes["configuration"], "they are set up alike: {one}");
    }
    let [approved, rejected] = [yes, no].map(|session| {
        let actions = session["actions"].as_array().unwrap();
        assert_eq!(actions.len(), 1, "{session}");
        &actions[0]
    });
    assert_eq!((&approved["consent"]["approved"], &approved["consent"]["by"]), (&json!(true), &json!("grace")), "{approved}");
    assert_eq!((&approved["judged"]["risk"], &approved["judged"]["confirm"]), (&json!("high"), &json!(true)));
    let seq = |place: &str| approved.pointer(place).and_then(Value::as_u64).unwrap_or_else(|| panic!("{place}: {approved}"));
    assert!(seq("/seq") < seq("/judged/seq") && seq("/judged/seq") < seq("/consent/seq"));
    assert!(seq("/consent/seq") < seq("/dispatched/0/seq") && seq("/dispatched/0/seq") < seq("/outcome/seq"));
    assert_eq!((&approved["outcome"]["state"], &approved["flags"]), (&json!("done"), &json!([])));
    assert_eq!((&rejected["consent"]["approved"], &rejected["consent"]["by"]), (&json!(false), &json!("ada")), "{rejected}");
    assert_eq!((&rejected["consent"]["reason"], &rejected["dispatched"]), (&json!("keep the history"), &json!([])));
    assert_eq!((&rejected["outcome"]["state"], &rejected["flags"]), (&json!("rejected"), &json!([])));
    let table = rig.run(&["audit", "report", "--from", "2025-01-01"]);
    for told in ["approved by grace", "rejected by ada", "keep the history", "kim", "coder"] {
        assert!(table.out.contains(told), "{told}: {}", table.out);
    }
}

/// A store in which everything that is asked about has happened.
fn lived_in() -> Rig {
    let rig = Rig::new();
    let hostile = [("echo <script>alert(1)</script>", "</style><b>", 0), ("false", "", 1)];
    for name in ["kept", "bare"] {
        let file = rig.recording("t.json", &hostile);
        assert_eq!(rig.run(&["import", &file, "--name", name]).code, 0);
    }
    let told = |args: &[&str]| {
        let said = by(&rig, "ada", args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
    };
    told(&["audit", "access", "on"]);
    told(&["audit", "retain", "1d"]);
    told(&["audit", "retain", "none"]);
    told(&["audit", "seal", "--to", "file:checkpoints"]);
    told(&["audit", "seal", "--to", "file:checkpoints"]);
    told(&["redact", "kept:2", "--reason", "a <b>password</b>"]);
    told(&["purge", "bare", "--reason", "asked for by its user"]);
    told(&["store", "hold", "kept", "--reason", "case 12"]);
    told(&["show", "kept"]);
    let file = rig.recording("u.json", &hostile);
    told(&["import", &file, "--name", "late"]);
    rig
}

#[test]
fn gaps_erasures_holds_and_access_are_told_and_what_no_seal_is_about_is_named() {
    let rig = lived_in();
    let report = so_far(&rig, &["--cadence", "366d"]);
    assert_eq!((&report["format"], &report["damaged"]), (&json!("rekindle-audit-report/1"), &json!(false)), "{report}");
    let proof = &report["proof"];
    assert_eq!(proof["audit_log"]["verdict"], "holds");
    assert_eq!(proof["seals"].as_array().unwrap().len(), 2, "also one where nothing had changed");
    assert!(proof["seals"][0]["to"][0].as_str().unwrap().starts_with("file:"));
    let late = session(&report, "late");
    assert_eq!(proof["unsealed"], json!([{"session": late["session"], "last": late["last"], "sealed": null}]), "{proof}");
    // A gap is one whatever the clock does: the period begins long before the first seal.
    assert_eq!(proof["kept"], json!(false), "from 2025 on");
    let gap = &proof["gaps"][0];
    assert_eq!((&gap["from"], &gap["to"]), (&json!("2025-01-01T00:00:00.000000Z"), &proof["seals"][0]["at"]));
    let today = proof["seals"][0]["at"].as_str().unwrap();
    let of_today = rig.json(&["audit", "report", "--from", today, "--cadence", "366d", "-o", "json"]);
    assert_eq!((&of_today["proof"]["kept"], &of_today["proof"]["gaps"]), (&json!(true), &json!([])));

    let kept = session(&report, "kept");
    assert_eq!((&kept["purged"], &session(&report, "bare")["purged"]), (&json!(false), &json!(true)));
    let erasures: Vec<(&Value, &Value, &Value, &Value)> = report["erasures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|erasure| (&erasure["erasure"]["what"], &erasure["by"], &erasure["reason"], &erasure["outcome"]["state"]))
        .collect();
    let [ada, erased] = [json!("ada"), json!("erased")];
    let [body, password, whole, user] = ["body", "a <b>password</b>", "session", "asked for by its user"].map(|text| json!(text));
    assert_eq!(erasures, [(&body, &ada, &password, &erased), (&whole, &ada, &user, &erased)]);
    assert_eq!(report["legal_holds"], json!([{"session": kept["session"], "reason": "case 12"}]));
    assert_eq!(report["retention"]["days"], 0);
    assert_eq!(report["retention"]["changes"].as_array().unwrap().len(), 2);
    let access = &report["access"];
    assert_eq!(
        (&access["at_begin"], &access["throughout"], &access["changes"][0]["recorded"]),
        (&json!(false), &json!(false), &json!(true))
    );
    let read = &access["reads"].as_array().unwrap()[0];
    assert_eq!((&read["by"], &read["how"], &read["access"]["session"]), (&json!("ada"), &json!("show"), &kept["session"]));
    assert_eq!(access["reads"].as_array().unwrap().iter().filter(|read| read["how"] == "audit report").count(), 0, "not yet");
    let again = so_far(&rig, &[]);
    let reports = again["access"]["reads"].as_array().unwrap().iter().filter(|read| read["how"] == "audit report");
    assert_eq!(reports.map(|read| read["access"]["what"].as_str().unwrap()).collect::<Vec<_>>(), ["all", "all"], "{again}");
    assert_eq!(of_today["access"]["throughout"], true);

    // One session alone.
    let one = so_far(&rig, &["--session", "kept"]);
    assert_eq!((one["sessions"].as_array().unwrap().len(), one["erasures"].as_array().unwrap().len()), (1, 1));
    assert_eq!(one["proof"]["unsealed"], json!([]));
    assert_eq!(rig.json(&[&["audit", "report", "-o", "json"], &DAY[..]].concat())["sessions"], json!([]), "and none that day");
}

/// Every text and number of these fields, wherever they stand.
fn values(value: &Value, of: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|value| values(value, of, found)),
        Value::Object(all) => {
            for (name, value) in all {
                match value {
                    Value::String(text) if of.contains(&name.as_str()) => found.push(text.clone()),
                    Value::Number(number) if of.contains(&name.as_str()) => found.push(number.to_string()),
                    _ => values(value, of, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_page_says_what_the_json_says_and_needs_obeys_and_loads_nothing() {
    let rig = lived_in();
    let said = rig.run(&["audit", "report", "--from", "2025-01-01", "--cadence", "1h", "--html", "r.html", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let page = Page::of(&fs::read_to_string(rig.path("r.html")).unwrap());
    page.assert_needs_nothing();
    page.assert_leads_somewhere();
    let mut told = Vec::new();
    let fields =
        ["session", "name", "at", "made_at", "what", "reason", "by", "how", "root", "key", "configuration", "user", "from", "to"];
    for part in ["sessions", "proof", "erasures", "retention", "legal_holds", "access", "period"] {
        values(&report[part], &fields, &mut told);
    }
    // Words that name what stands beside them.
    told.retain(|text| !["body", "session", "all", "list", "error"].contains(&text.as_str()));
    assert!(told.len() > 60, "{told:?}");
    for text in &told {
        assert!(page.text.contains(text), "{text:?} is not on the page: {}", page.text);
    }
    assert!(page.text.contains("<script>alert(1)</script>") && page.text.contains("failed, exit 1"), "as text");
    for section in ["Sessions", "Actions", "No gaps", "Taken out", "Kept", "Access to the log"] {
        assert!(page.text.contains(section), "{section}");
    }
    let plain = rig.run(&["audit", "report", "--from", "2025-01-01", "--html", "r.html"]);
    assert_eq!((plain.code, plain.out.as_str()), (0, ""), "the page stands in place of the table");
}

#[test]
fn what_is_damaged_is_named_and_ends_with_5_and_the_others_are_told_all_the_same() {
    let rig = lived_in();
    let report = so_far(&rig, &[]);
    let late = session(&report, "late")["session"].as_str().unwrap().to_owned();
    let change = |kind: &str, session: &str, from: &str, to: &str| {
        let connection = rusqlite::Connection::open(rig.store()).unwrap();
        let session: SessionId = session.parse().unwrap();
        let statement = format!(
            "UPDATE event SET body = replace(body, '{from}', '{to}') WHERE kind = '{kind}' AND session_id = ?1 AND seq < 6"
        );
        assert!(connection.execute(&statement, [session.as_bytes()]).unwrap() > 0, "{statement}");
    };
    change("action.run", &late, "\"false\"", "\"true \"");
    let said = rig.run(&["audit", "report", "--from", "2025-01-01", "-o", "json", "--html", "r.html"]);
    assert_eq!(said.code, 5, "{said:?}");
    let damaged: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&damaged["damaged"], damaged["sessions"].as_array().unwrap().len()), (&json!(true), 3));
    let session = session(&damaged, "late");
    assert_eq!((&session["damage"]["seq"], &session["verdicts"]["integrity"]["bad"]), (&json!(5), &json!(5)), "{session}");
    assert!(said.err.contains(&late), "{said:?}");
    assert!(fs::read_to_string(rig.path("r.html")).unwrap().contains("not what was written"));
    let table = rig.run(&["audit", "report", "--from", "2025-01-01"]);
    assert!(table.code == 5 && table.out.contains("damaged") && table.out.contains("case 12"), "{table:?}");
    let blamed = damaged["sessions"].as_array().unwrap().iter().filter(|session| !session["damage"].is_null()).count();
    assert_eq!((blamed, &damaged["proof"]["audit_log"]["verdict"]), (1, &json!("holds")));

    change("audit.access_set", &SessionId::AUDIT_LOG.to_string(), "true", "1234");
    let said = rig.run(&["audit", "report", "--from", "2025-01-01", "-o", "json"]);
    let damaged: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &damaged["proof"]["audit_log"]["verdict"]), (5, &json!("fails")), "{damaged}");
    assert!(said.err.contains("audit log is damaged"), "{said:?}");
}

#[tokio::test]
async fn a_log_in_the_store_is_told_of_by_the_program_as_it_stands_there() {
    let rig = Rig::new();
    let url = format!("sqlite://{}", rig.path("s.db").display());
    let store = connect(&url, rekindle::store::OpenOptions::default()).await.unwrap();
    let events = vec![created(true), run(10, "make all"), dispatched(20, 2), judged(30, 2, true), ran(40, 2, 3)];
    store.append(append(new_session(), Expected::NoSession, events)).await.unwrap();
    store.close().await;
    let said = rig.run(&[&["audit", "report", "--store", &url], &DAY[..]].concat());
    for told in
        ["make all", "ran before it was judged, ran before anybody agreed", "failed, exit 3", "nobody yet", "grace", "not sealed"]
    {
        assert!(said.out.contains(told), "{told}: {}", said.out);
    }
    assert_eq!(said.code, 0);
}

/// What is judged is the log up to the end of the period.
#[tokio::test]
async fn what_is_damaged_behind_the_period_is_no_damage_in_it() {
    let rig = Rig::new();
    let path = rig.path("s.db");
    let url = format!("sqlite://{}", path.display());
    let store = connect(&url, rekindle::store::OpenOptions::default()).await.unwrap();
    let events = vec![created(true), run(10, "make all"), judged(20, 2, false), dispatched(30, 2), ran(86_400, 2, 0)];
    store.append(append(new_session(), Expected::NoSession, events)).await.unwrap();
    store.close().await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(connection.execute("UPDATE event SET body = '{}' WHERE seq = 5", []).unwrap(), 1);
    drop(connection);
    let report = rig.json(&[&["audit", "report", "--store", &url, "-o", "json"], &DAY[..]].concat());
    let session = &report["sessions"][0];
    assert_eq!(
        (&session["upto"], &session["damage"], &session["verdicts"]["integrity"]["verdict"]),
        (&json!(4), &Value::Null, &json!("holds"))
    );
    assert_eq!(session["actions"][0]["outcome"]["state"], "open");
    let longer = rig.run(&["audit", "report", "--store", &url, "--from", "2001-09-09", "--to", "2001-09-12"]);
    assert_eq!(longer.code, 5, "{longer:?}");
}

#[test]
fn a_period_that_is_none_is_refused_with_what_can_be_said() {
    let rig = lived_in();
    let report = |args: &[&str]| rig.run(&[&["audit", "report"], args].concat());
    report(&["--from", "yesterday"]).assert_refused(2, &["2026-11-01"]);
    report(&["--from", "2026-01-02", "--to", "2026-01-02"]).assert_refused(2, &["not after its begin"]);
    report(&["--from", "2026-01-02", "--session", "nobody"]).assert_refused(3, &["nobody"]);
    report(&["--from", "2026-01-02", "--cadence", "soon"]).assert_refused(2, &["--cadence"]);
    report(&["--from", "2026-01-02", "--session", "kept:2"]).assert_refused(2, &["whole session"]);
}
