//! `rekindle search`: hits can be shown, filters narrow, what is wrong is told apart from what is not there.

use std::io::Write as _;
use std::process::Stdio;

use crate::cli_support::Rig;

fn rig() -> Rig {
    let rig = Rig::new();
    let one = rig.recording(
        "one.json",
        &[("curl -L http://a/loop", "curl: too many redirect\u{1b}[2Jloops", 47), ("ls src", "main.rs", 0)],
    );
    let two = rig.recording("two.json", &[("grep -r redirect .", "src/foo_bar.rs: redirect", 0)]);
    assert_eq!(rig.run(&["import", &one, "--name", "one"]).code, 0);
    assert_eq!(rig.run(&["import", &two, "--name", "two"]).code, 0);
    rig
}

#[test]
fn a_hit_has_an_address_that_show_takes() {
    let rig = rig();
    let said = rig.run(&["search", "redirect", "tool:bash"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    assert!(said.out.contains("«redirect»") && said.err.contains("3 hits in 2 sessions"), "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
    for line in said.out.lines() {
        let address = line.split_whitespace().next().unwrap();
        let shown = rig.run(&["show", address]);
        assert!(shown.code == 0 && shown.out.contains("redirect"), "{address}: {shown:?}");
    }
    let json = rig.json(&["search", "\"foo_bar\"", "-o", "json"]);
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["kind"], "observation.run");
    assert!(json[0]["snippet"].as_str().unwrap().contains("«foo_bar»"), "{json}");
}

#[test]
fn filters_narrow_a_search() {
    let rig = rig();
    let hits = |query: &str| rig.json(&["search", query, "-o", "json"]).as_array().unwrap().len();
    assert_eq!(hits("redirect"), 3);
    assert_eq!(hits("redirect kind:action"), 1);
    assert_eq!(hits("redirect kind:observation.run"), 2);
    assert_eq!(hits("redirect session:one"), 1);
    assert_eq!(hits("redirect -session:one"), 2);
    assert_eq!(hits("redirect session:@last"), 2);
    assert_eq!(hits("redirect source:user"), 0);
    assert_eq!(hits("redirect since:2001-01-01"), 3);
    assert_eq!(hits("redirect until:2001-01-01"), 0);
    assert_eq!(hits("redirect cost:>1000"), 0);
    assert_eq!(hits("redirect state:nonesuch"), 0);
    assert_eq!(hits("redirect -loops -grep"), 1);
    assert_eq!(hits("curl OR grep kind:action"), 2);
}

#[test]
fn a_query_that_cannot_be_read_and_a_search_without_hits_are_told_apart() {
    let rig = rig();
    rig.run(&["search", "kin:action"]).assert_refused(2, &["did you mean kind:action"]);
    rig.run(&["search", "--", "->"]).assert_refused(2, &["no letter"]);
    let said = rig.run(&["search", "nowhere"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert!(said.err.contains("0 hits"), "{said:?}");
    assert_eq!(rig.run(&["search", "nowhere", "-o", "json"]).out.trim(), "[]");
    assert_eq!(Rig::new().run(&["search", "nothing"]).code, 0);
}

#[test]
fn pages_of_a_search_go_on_from_the_command_line() {
    let rig = rig();
    let first = rig.run(&["search", "redirect", "-n", "2"]);
    let cursor = first.err.split("--cursor ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let rest = rig.run(&["search", "redirect", "--cursor", &cursor]);
    assert_eq!((first.out.lines().count(), rest.out.lines().count()), (2, 1), "{rest:?}");
}

#[test]
fn what_was_just_imported_is_found_by_the_next_search() {
    let rig = rig();
    assert_eq!(rig.run(&["search", "freshly"]).out, "");
    let three = rig.recording("three.json", &[("echo freshly", "freshly", 0)]);
    assert_eq!(rig.run(&["import", &three, "--name", "three"]).code, 0);
    let unindexed = rig.run(&["search", "--now", "freshly"]);
    assert!(unindexed.out.is_empty() && unindexed.err.contains("not indexed yet"), "{unindexed:?}");
    assert_eq!(rig.run(&["search", "freshly"]).out.lines().count(), 2);
    assert_eq!(rig.run(&["search", "--now", "freshly"]).out.lines().count(), 2);
}

#[test]
fn a_secret_is_hidden_from_search_as_it_is_in_the_log() {
    const VALUE: &str = "tok-9f8e7d6c5b4a39281706";
    let rig = Rig::new();
    let mut command = rig.command(&["secrets", "set", "API_TOKEN"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(VALUE.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let recording = rig.recording("t.json", &[(&format!("echo begin {VALUE} end"), &format!("begin {VALUE} end"), 0)]);
    let replayed = rig.run(&["replay", &recording]);
    assert!(matches!(replayed.code, 0 | 6), "{replayed:?}");
    for query in [VALUE, "9f8e7d6c5b4a39281706", "9f8e7d6c*"] {
        assert_eq!(rig.run(&["search", query]).out, "", "{query}");
    }
    let said = rig.run(&["search", "\"begin secret_hidden end\""]);
    assert!(said.out.contains("«begin <secret_hidden> end»"), "{said:?}");
    assert!(!said.out.contains("9f8e"), "{said:?}");
}
