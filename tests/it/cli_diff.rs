//! What two sessions did differently, and what changed between two states.

use serde_json::Value;

use crate::cli_support::Rig;

fn rig() -> Rig {
    let rig = Rig::new();
    for (name, commands) in [
        ("first", [("ls", "a  b", 0), ("make", "built in 0.1s", 0), ("make test", "ok", 0), ("git status", "clean", 0)]),
        ("again", [("ls", "a  b", 0), ("make", "built in 0.2s", 0), ("make test", "ok", 0), ("git status", "clean", 0)]),
        ("other", [("ls", "a  b", 0), ("ninja", "built", 0), ("make test", "1 failed", 2), ("git status", "clean", 0)]),
    ] {
        let file = rig.recording(&format!("{name}.json"), &commands);
        assert_eq!(rig.run(&["import", &file, "--name", name]).code, 0);
    }
    rig
}

#[test]
fn sessions_part_where_their_calls_do_and_not_where_their_words_or_times_do() {
    let rig = rig();
    let same = rig.run(&["diff", "first", "again", "--fail-on-divergence"]);
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.out.contains("no divergence"), "{same:?}");
    let diff = rig.json(&["diff", "first", "other", "-o", "json"]);
    let seq = |side: &str, command: &str| {
        let all = rig.run(&["show", side, "--raw"]).out;
        let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut asked = all.filter(|event| event["body"]["args"]["command"] == command);
        asked.next().unwrap()["seq"].clone()
    };
    assert_eq!(diff["common_prefix"], 1);
    let first = &diff["first_divergence"];
    assert_eq!((&first["type"], &first["left"]["seq"]), (&"left".into(), &seq("first", "make")), "{diff:#}");
    let kinds: Vec<&str> = diff["pairs"].as_array().unwrap().iter().map(|pair| pair["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..5], ["same", "left", "right", "other_outcome", "same"], "{diff:#}");
    let outcome = &diff["pairs"][3];
    assert_eq!(outcome["differences"][0]["field"], "exit_code");
    assert_eq!((&outcome["left"]["seq"], &outcome["right"]["seq"]), (&seq("first", "make test"), &seq("other", "make test")));
    assert_eq!((&diff["left"]["tool_calls"], &diff["right"]["errors"]), (&diff["right"]["tool_calls"], &0.into()), "{diff:#}");
    let parted = rig.run(&["diff", "first", "other", "--fail-on-divergence"]);
    assert_eq!(parted.code, 6, "{parted:?}");
    for words in ["1 call, to A:4 and B:4", "first divergence  at call 2", "run  make\n", "run  ninja\n", "exit_code: 0 → 2"] {
        assert!(parted.out.contains(words), "{words}: {}", parted.out);
    }
    assert_eq!(rig.run(&["diff", "first", "other"]).code, 0, "that they differ is no failure unless one asks");
}

#[test]
fn a_patch_of_two_states_makes_the_first_the_second() {
    let rig = rig();
    let state = |address: &str| rig.json(&["state", address, "-o", "json"])["state"].clone();
    for (from, to) in [("first@3", "first@6"), ("first@6", "first@3"), ("first@5", "other@5"), ("first@4", "first@4")] {
        let patch: json_patch::Patch = serde_json::from_value(rig.json(&["diff", from, to, "-o", "json"])).unwrap();
        let mut state_of = state(from);
        json_patch::patch(&mut state_of, &patch).unwrap();
        assert_eq!(state_of, state(to), "{from} {to}");
    }
    let newest = rig.run(&["diff", "first@3"]);
    assert!(newest.out.contains("/version: 3 → ") && newest.err.contains("differences from"), "{newest:?}");
    assert_eq!(rig.run(&["diff", "first@3", "first@6", "--fail-on-divergence"]).code, 6);
    assert_eq!(rig.run(&["diff", "first@6", "first@6", "--fail-on-divergence"]).code, 0);
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_way_out() {
    let rig = rig();
    rig.run(&["diff", "first"]).assert_refused(2, &["first@N"]);
    rig.run(&["diff", "first", "nobody"]).assert_refused(3, &["nobody"]);
    rig.run(&["diff", "first:3", "other"]).assert_refused(2, &["first"]);
    rig.run(&["diff", "first@99", "first"]).assert_refused(3, &["99"]);
}
