//! A report is a page that needs nothing, obeys nothing, and tells what the log holds, however long or hostile that is.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli_support::Rig;
use crate::page_support::Read;

const SECTIONS: [&str; 6] = ["Summary", "Verification", "Replay verdicts", "Cost and tokens", "Timeline", "Transcript"];

#[track_caller]
fn report(rig: &Rig, address: &str) -> Read {
    report_ending_with(0, rig, address)
}

fn report_ending_with(code: i32, rig: &Rig, address: &str) -> Read {
    let said = rig.run(&["report", address, "--output", "r.html"]);
    assert_eq!(said.code, code, "{said:?}");
    let read = Read::of(&fs::read_to_string(rig.path("r.html")).unwrap());
    read.assert_needs_nothing();
    read.assert_leads_somewhere();
    for section in SECTIONS {
        assert!(read.text.contains(section), "{section}");
    }
    read
}

/// The events of a session.
fn events(rig: &Rig, session: &str) -> Vec<Value> {
    serde_json::from_value(rig.json(&["show", &format!("{session}:1.."), "-o", "json"])).unwrap()
}

#[test]
fn a_real_session_is_a_page_with_every_event_and_what_it_used() {
    let shared = Path::new("/work/shared/trajectories");
    for name in ["basic.json", "basic_interactions.json", "wrong_initial_state.json", "pony_parser_49.json"] {
        let file = shared.join(name);
        if !file.exists() {
            continue;
        }
        let rig = Rig::new();
        assert_eq!(rig.run(&["import", &file.display().to_string()]).code, 0, "{name}");
        let read = report(&rig, "@last");
        let ids = read.values("id");
        let events = events(&rig, "@last");
        for event in &events {
            assert!(ids.contains(&event["seq"].to_string().as_str()), "{name}: {event}");
            assert!(read.text.contains(event["kind"].as_str().unwrap()), "{name}: {event}");
        }
        assert!(read.text.contains("Intact") && read.text.contains("none missing") && read.text.contains("Same"), "{name}");
        assert!(read.text.contains(events.last().unwrap()["hash"].as_str().unwrap()), "the page names the last hash");
        if name.starts_with("pony") {
            assert_eq!((read.count("svg"), read.count("desc")), (2, 2), "tokens so far, and of each call");
            assert!(read.text.contains("openrouter-llama-4-maverick"));
            assert!(read.count("ins") > 0 && read.count("del") > 0, "edits are differences");
        }
    }
}

#[test]
fn a_replay_tells_its_verdicts_and_a_part_of_it_is_told_as_it_was() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo now", "then", 0), ("echo ok", "ok", 0)]);
    assert_eq!(rig.run(&["replay", &file, "--name", "mine"]).code, 6);
    let read = report(&rig, "mine");
    for told in
        ["Performed again", "diverged in content", "Decided again", "Folded again", "echo now", "finished", "session mine"]
    {
        assert!(read.text.replace("(mine)", "session mine").contains(told), "{told}: {}", read.text);
    }
    let last = events(&rig, "mine").len();
    let part = report(&rig, "mine@6");
    assert!(part.text.contains(&format!("up to event 6 of {last}")) && !part.values("id").contains(&"7"));
    assert!(part.text.contains("Decided again") && !part.text.contains("for whole sessions only"));
    let id = rig.json(&["ls", "-o", "json"])[0]["id"].as_str().unwrap().to_owned();
    for mode in ["fold", "verify"] {
        assert!(part.text.contains(&format!("replay --mode {mode} {id}@6")), "{mode} of the same part: {}", part.text);
    }
    let piped = rig.run(&["report", "mine"]);
    assert_eq!(piped.out, read.page, "the same log is the same page");
    rig.run(&["report", "mine@999"]).assert_refused(3, &["999"]);
    rig.run(&["report", "mine", "-o", "json"]).assert_refused(2, &["show"]);
}

/// Text that tries to be more than text.
const HOSTILE: [&str; 8] = [
    "</script><script>alert(1)</script>",
    "<img src=http://example.com/x onerror=alert(1)>",
    "</pre></style></title><svg onload=alert(1)>",
    "'\" onmouseover=alert(1) x='",
    "<!-- <![CDATA[ ]]> -->",
    "&lt;b&gt; &#60;script&#62;",
    "\u{1b}]0;owned\u{7}\u{1b}[31mred",
    "\u{202e}gnp.exe\u{2066} \u{0}\u{9b}31m",
];

#[test]
fn hostile_text_is_text_wherever_it_stands() {
    let rig = Rig::new();
    let all = HOSTILE.join("\n");
    let stamp = "2025-01-01T00:00:00.000001";
    let mut entries = vec![json!({
        "id": 0, "timestamp": stamp, "source": "user", "action": "message", "args": {"content": all},
    })];
    for (id, text) in (1..).step_by(2).zip(HOSTILE) {
        let run = json!({"command": text, "thought": text});
        entries.push(json!({"id": id, "timestamp": stamp, "source": "agent", "action": "run", "args": run,
            "llm_metrics": {"accumulated_cost": f64::from(id), "accumulated_token_usage": {"model": text, "prompt_tokens": id * 10}}}));
        entries.push(
            json!({"id": id + 1, "timestamp": stamp, "source": "agent", "cause": id, "observation": "run", "content": text,
            "extras": {"command": text, "metadata": {"exit_code": 1, "working_dir": text}}}),
        );
    }
    let args = json!({"path": all, "command": "str_replace", "old_str": all, "new_str": "x", "thought": all});
    entries.push(json!({"id": 100, "source": "agent", "action": "edit", "args": args}));
    let extras = json!({"path": all, "prev_exist": true, "diff": format!("-{all}\n+{all}")});
    entries.push(json!({"id": 101, "source": "agent", "cause": 100, "observation": "edit", "content": all, "extras": extras}));
    let args = json!({"name": all, "arguments": {all.as_str(): all}});
    entries.push(json!({"id": 102, "source": "agent", "action": "call_tool_mcp", "args": args}));
    entries.push(
        json!({"id": 103, "source": "agent", "cause": 102, "observation": "error", "content": all, "extras": {"error_id": all}}),
    );
    entries.push(json!({"id": 104, "source": "agent", "action": "</style><script>alert(1)</script>", "args": {}}));
    // What JSON cannot carry into a store is not what is tested here.
    let file = rig.write("t.json", Value::from(entries).to_string());
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let read = report(&rig, "@last");
    assert_eq!(read.count("b") + read.count("svg") - read.count("desc"), 0, "no element is one of theirs");
    for text in &HOSTILE[..6] {
        assert!(read.text.matches(text).count() >= 5, "{text} is shown: {}", read.text);
    }
    assert!(read.text.contains("\\e]0;owned\\x07\\e[31mred") && read.text.contains("\\u{202e}gnp.exe\\u{2066} \\x00\\u{9b}31m"));
    assert!(read.text.contains("action.</style><script>alert(1)</script>"), "a kind is text, too");
    assert!(!read.style.contains("alert"));

    let cast = rig.run(&["replay", &file, "--report", "again.html", "--upto", "0"]);
    assert!(cast.code == 0 || cast.code == 6, "{cast:?}");
    Read::of(&fs::read_to_string(rig.path("again.html")).unwrap()).assert_needs_nothing();
}

#[test]
fn a_long_output_is_cut_and_the_page_says_which_event_has_it_whole() {
    let rig = Rig::new();
    let output = format!("the beginning\n{}\nthe end", "0123456789abcde\n".repeat(10 * 65_536));
    let file = rig.recording("t.json", &[("cat big", &output, 0)]);
    assert_eq!(rig.run(&["import", &file, "--name", "big"]).code, 0);
    let read = report(&rig, "big");
    assert!(read.page.len() < 200_000, "{}", read.page.len());
    assert!(read.text.contains("the beginning\n") && read.text.contains("the end"));
    let events = events(&rig, "big");
    let event = events.iter().find(|event| event["kind"] == "observation.run").unwrap();
    let way = format!("rekindle show --full {}:{}", event["session"].as_str().unwrap(), event["seq"]);
    assert!(read.text.contains("10.0 MiB are left out") && read.text.contains(&way), "{}", read.text);
    let whole = rig.run(&["show", "--full", &format!("big:{}", event["seq"])]);
    assert!(whole.out.len() > output.len(), "the way that the page names leads to all of it");
}

#[test]
fn a_huge_session_is_a_bounded_page_that_says_what_it_leaves_out() {
    let rig = Rig::new();
    let output = "x".repeat(1500);
    let commands: Vec<(String, String, i64)> = (0..6000).map(|n| (format!("command {n}"), output.clone(), 0)).collect();
    let commands: Vec<(&str, &str, i64)> = commands.iter().map(|(c, o, e)| (c.as_str(), o.as_str(), *e)).collect();
    let file = rig.recording("t.json", &commands);
    assert_eq!(rig.run(&["import", &file, "--name", "huge"]).code, 0);
    let read = report(&rig, "huge");
    assert!(read.page.len() < 14 << 20, "{}", read.page.len());
    for told in ["command 0", "command 5999", "events, 4001 to ", "are left out here: the page would be too long"] {
        assert!(read.text.contains(told), "{told}");
    }
    assert_eq!(read.text.matches("are left out here").count(), 2, "in the timeline and in the transcript");
    assert!(!read.text.contains("command 3000\n"));
}

#[test]
fn a_damaged_log_is_still_a_page_which_says_so_first() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo a", "a", 0), ("echo b", "b", 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let id = rig.json(&["ls", "-o", "json"])[0]["id"].as_str().unwrap().to_owned();
    let script = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1])\n\
        c.execute(\"update event set body = replace(body, 'echo b', 'echo X') where seq = 5\")\n\
        c.commit()\n";
    let python = std::process::Command::new("python3").args(["-c", script]).arg(rig.store()).status().unwrap();
    assert!(python.success());
    assert_eq!(rig.run(&["verify", &id]).code, 5, "the log is damaged");
    let read = report_ending_with(5, &rig, &id);
    assert!(read.text.contains("The log is damaged at event 5") && read.text.contains("Events 1 to 4 hold"), "{}", read.text);
    assert!(read.text.contains("echo a"));
}
