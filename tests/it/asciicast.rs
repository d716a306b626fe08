//! A session exported as asciicast is what the format says, in time, with a marker for each event, and drives no terminal.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli_support::{Rig, recording};

/// A recording as players read it: the header, then time, code and data.
fn parse(text: &str) -> (Value, Vec<(f64, String, String)>) {
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    (header, lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect())
}

#[track_caller]
fn cast(rig: &Rig, args: &[&str]) -> (Value, Vec<(f64, String, String)>) {
    let said = rig.run(&[&["export", "@last", "--to", "asciicast"], args].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    let (header, events) = parse(&said.out);
    assert_eq!(header["version"], 2);
    assert!(header["width"].as_u64().is_some_and(|wide| wide > 0) && header["height"].as_u64().is_some_and(|high| high > 0));
    assert!(events.is_sorted_by(|a, b| a.0 <= b.0), "time goes on");
    assert!(events.iter().all(|(_, code, _)| matches!(code.as_str(), "o" | "m")));
    (header, events)
}

fn output(events: &[(f64, String, String)]) -> String {
    events.iter().filter(|event| event.1 == "o").map(|event| event.2.as_str()).collect()
}

#[test]
fn a_real_session_is_a_recording_with_a_marker_for_each_event() {
    let shared = Path::new("/work/shared/trajectories");
    for name in ["basic.json", "basic_interactions.json", "wrong_initial_state.json", "pony_parser_49.json"] {
        let file = shared.join(name);
        let Ok(source) = fs::read_to_string(&file) else { continue };
        let rig = Rig::new();
        assert_eq!(rig.run(&["import", &file.display().to_string(), "--name", "real"]).code, 0, "{name}");
        let (header, events) = cast(&rig, &["--idle-limit", "1.5"]);
        let recorded = rig.json(&["show", "real:1..", "-o", "json"]);
        let label = |event: &Value| format!("real:{} {}", event["seq"], event["kind"].as_str().unwrap());
        let wanted: Vec<String> = recorded.as_array().unwrap().iter().map(label).collect();
        let markers: Vec<&str> = events.iter().filter(|event| event.1 == "m").map(|event| event.2.as_str()).collect();
        assert_eq!(markers, wanted, "{name}");
        let waits = events.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(waits.into_iter().all(|wait| wait <= 1.500_001), "{name}: nothing is waited for longer");
        let source: Value = serde_json::from_str(&source).unwrap();
        let began =
            chrono::NaiveDateTime::parse_from_str(source[0]["timestamp"].as_str().unwrap(), "%Y-%m-%dT%H:%M:%S%.f").unwrap();
        assert_eq!(
            header["timestamp"],
            began.and_utc().timestamp(),
            "{name} begins when it was recorded, not when it was imported"
        );
        let shown = output(&events);
        for event in source.as_array().unwrap() {
            if event["action"] == "run" {
                let first = event["args"]["command"].as_str().unwrap().lines().next().unwrap();
                assert!(shown.contains(&format!("$\u{1b}[0m {first}")), "{name}: {first}");
            }
        }
    }
}

#[test]
fn what_a_program_wrote_keeps_its_colours_and_reaches_nothing() {
    let rig = Rig::new();
    let hostile = "\u{1b}[1;32mok\u{1b}[0m\u{1b}]0;owned\u{7}\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[2J\u{1b}[H\u{1b}[?1049h\u{9b}31m\u{202e}\u{0}\r\nnext";
    let mut events = recording(&[("run it", hostile, 0)]);
    events[0]["args"]["content"] = json!(hostile);
    events[1]["args"]["thought"] = json!(hostile);
    events[2]["extras"]["metadata"]["working_dir"] = json!(hostile);
    let file = rig.write("t.json", events.to_string());
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let (_, events) = cast(&rig, &[]);
    let shown = output(&events);
    assert!(
        shown.contains(
            "\u{1b}[1;32mok\u{1b}[0m\\e]0;owned\\x07\\e]52;c;ZXZpbA==\\x07\\e[2J\\e[H\\e[?1049h\\u{9b}31m\\u{202e}\\x00\r\nnext"
        ),
        "{shown:?}"
    );
    let mut rest = shown.as_str();
    while let Some(at) = rest.find('\u{1b}') {
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        assert!(rest.starts_with('[') && &rest[end..=end] == "m", "{:?}", &rest[..20.min(rest.len())]);
    }
    let controls = shown.replace('\u{1b}', "");
    assert!(!controls.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n')), "{controls:?}");
}

#[test]
fn an_option_that_says_nothing_to_the_format_is_refused() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo a", "a", 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    rig.run(&["export", "@last", "--idle-limit", "2"]).assert_refused(2, &["--idle-limit", "asciicast"]);
    for wrong in ["x", "-1", "NaN", "inf", "1e9"] {
        let said = rig.run(&["export", "@last", "--to", "asciicast", &format!("--idle-limit={wrong}")]);
        assert_eq!(said.code, 2, "{said:?}");
    }
    let (_, events) = cast(&rig, &["--idle-limit", "0"]);
    assert!(events.iter().all(|event| event.0 == 0.0));
    assert_eq!(rig.run(&["export", "@last", "--to", "asciicast", "--output", "s.cast"]).code, 0);
    assert_eq!(parse(&fs::read_to_string(rig.path("s.cast")).unwrap()).1.len(), cast(&rig, &[]).1.len());
}
