//! `tail --all` and `usage`: all sessions together.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::cli_support::Rig;

fn rig() -> Rig {
    let rig = Rig::new();
    for name in ["one", "other"] {
        let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
        assert_eq!(rig.run(&["import", &file, "--name", name]).code, 0);
    }
    rig
}

fn ndjson(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_consumer_goes_on_exactly_behind_any_event_of_the_feed() {
    let rig = rig();
    let all = ndjson(&rig.run(&["tail", "--all", "-n", "1000", "-o", "ndjson"]).out);
    let sessions: std::collections::BTreeSet<_> = all.iter().map(|row| row["session"].to_string()).collect();
    assert_eq!(sessions.len(), 2);
    assert!(all.iter().all(|row| row["kind"].is_string() && row["body"].is_object()));
    for (index, row) in all.iter().enumerate() {
        let rest = rig.run(&["tail", "--all", "--after", row["cursor"].as_str().unwrap(), "-o", "ndjson"]);
        assert_eq!((rest.code, ndjson(&rest.out).as_slice()), (0, &all[index + 1..]));
    }
    assert_eq!(rig.json(&["tail", "--all", "-n", "1000", "-o", "json"]).as_array().unwrap(), &all);
    let last = ndjson(&rig.run(&["tail", "--all", "-n", "3", "-o", "ndjson"]).out);
    assert_eq!(last, all[all.len() - 3..]);
    let table = rig.run(&["tail", "--all"]);
    assert!(table.out.contains("action.finish"), "{table:?}");
}

#[test]
fn what_comes_is_followed() {
    let rig = rig();
    let last = ndjson(&rig.run(&["tail", "--all", "-n", "1", "-o", "ndjson"]).out).remove(0);
    let after = last["cursor"].as_str().unwrap();
    let mut child = rig.spawn(&["tail", "--all", "-f", "--after", after, "-o", "ndjson"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let file = rig.recording("t.json", &[("echo again", "again", 0)]);
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| lines.next());
        assert_eq!(rig.run(&["import", &file, "--name", "more"]).code, 0);
        first.join().unwrap()
    });
    let row: Value = serde_json::from_str(&first.unwrap().unwrap()).unwrap();
    assert!(row["cursor"].as_str().unwrap().starts_with("c2-"), "{row}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_cursor_that_is_none_or_of_another_store_is_refused() {
    let rig = rig();
    rig.run(&["tail", "--all", "--after", "c1-zzzz"]).assert_refused(2, &[]);
    let far = ndjson(&rig.run(&["tail", "--all", "-n", "1", "-o", "ndjson"]).out)[0]["cursor"].as_str().unwrap().to_owned();
    let small = Rig::new();
    let file = small.recording("t.json", &[("true", "", 0)]);
    assert_eq!(small.run(&["import", &file]).code, 0);
    small.run(&["tail", "--all", "--after", &far]).assert_refused(3, &["another store"]);
    assert_eq!(rig.run(&["tail", "--all", "--after", &far]).out, "");
    rig.run(&["tail", "--all", "-f", "-o", "json"]).assert_refused(2, &["ndjson"]);
    rig.run(&["tail", "--after", &far]).assert_refused(2, &["--all"]);
}

#[test]
fn usage_is_told_by_day_and_agrees_with_the_sessions() {
    let rig = rig();
    let sessions = rig.json(&["ls", "--all", "-o", "json"]);
    let sum = |key: &str| sessions.as_array().unwrap().iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
    let usage = rig.json(&["usage", "-o", "json"]);
    let total = usage.as_array().unwrap().last().unwrap();
    assert_eq!(total["day"], "total");
    assert_eq!(total["sessions"].as_u64(), Some(2));
    for key in ["actions", "messages", "errors", "tokens"] {
        assert_eq!(total[key].as_u64(), Some(sum(key)), "{key}: {total}");
    }
    assert_eq!(rig.json(&["usage", "-o", "json"]), usage, "asking again adds nothing");
    assert_eq!(ndjson(&rig.run(&["usage", "-o", "ndjson"]).out), *usage.as_array().unwrap());
    let table = rig.run(&["usage"]);
    assert!(table.out.starts_with("DAY") && table.out.contains("total") && table.err.is_empty(), "{table:?}");
    let none = rig.json(&["usage", "--since", "9999-01-01", "-o", "json"]);
    assert_eq!((none.as_array().unwrap().len(), none[0]["actions"].as_u64()), (1, Some(0)));
    rig.run(&["usage", "--since", "yesterday"]).assert_refused(2, &["yesterday"]);
    let doctor = rig.run(&["doctor"]);
    assert!(doctor.out.contains("activity version 1 has read all"), "{doctor:?}");
}
