//! How risky the rules find what an agent wants to run: real commands, one by one, and whatever else can be written.

use std::time::Instant;

use proptest::prelude::*;
use rekindle::engine::ports::{Judge, Judgement, Question};
use rekindle::host::policy::{Analyzers, RULES};
use rekindle::session::{Analyzer, ConfirmationPolicy, Item, Risk, SecuritySpec};
use serde_json::json;

const RISKS: &str = include_str!("../data/risks.txt");

fn spec(analyzers: &[Analyzer]) -> SecuritySpec {
    SecuritySpec { analyzers: analyzers.to_vec(), confirmation: ConfirmationPolicy::default() }
}

fn item(action: &str, args: serde_json::Value) -> Item {
    Item::decode(&json!({ "action": action, "args": args }).to_string()).unwrap()
}

fn command(text: &str) -> Item {
    item("run", json!({ "command": text }))
}

fn judged(item: &Item) -> Judgement {
    in_place(item, None, &[])
}

fn in_place(action: &Item, directory: Option<&str>, before: &[Item]) -> Judgement {
    let spec = spec(&[Analyzer::Rules]);
    Analyzers::new().judge(Question { spec: &spec, action, declared: None, directory, before })
}

/// A line of the table.
struct Case {
    line: usize,
    risk: String,
    rule: String,
    item: Item,
}

fn cases() -> Vec<Case> {
    let mut python = false;
    let mut cases = Vec::new();
    for (at, line) in RISKS.lines().enumerate() {
        match line {
            "[python]" => python = true,
            "[shell]" => python = false,
            line if line.is_empty() || line.starts_with('#') => {}
            line => {
                let (risk, rest) = line.split_once(' ').unwrap();
                let (rule, text) = rest.trim_start().split_once(' ').unwrap();
                let text = text.trim_start().replace("\\n", "\n");
                let item = if python { item("run_ipython", json!({ "code": text })) } else { command(&text) };
                cases.push(Case { line: at + 1, risk: risk.to_owned(), rule: rule.to_owned(), item });
            }
        }
    }
    cases
}

#[test]
fn each_command_has_the_risk_that_it_is_and_the_rule_that_saw_it() {
    let cases = cases();
    assert!(cases.len() > 300, "{}", cases.len());
    let mut wrong = Vec::new();
    let begun = Instant::now();
    for Case { line, risk, rule, item } in &cases {
        let judgement = judged(item);
        let begins = format!("rules {rule} ");
        let is_named = rule == "-" || judgement.reasons.iter().any(|reason| reason.starts_with(&begins));
        if judgement.risk.as_str() != risk || !is_named {
            wrong.push(format!("line {line}: {risk} {rule} expected, found {} {:?}", judgement.risk, judgement.reasons));
        }
        assert_eq!(judgement.by, [RULES]);
        assert_eq!(judgement.risk == Risk::Low, judgement.reasons.is_empty(), "line {line}: what is not harmless has a reason");
    }
    println!("{} commands, {} µs each", cases.len(), begun.elapsed().as_micros() / cases.len() as u128);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_relative_path_is_judged_where_the_shell_stands() {
    let rm = command("rm -rf lib");
    assert_eq!(in_place(&rm, None, &[]).risk, Risk::Low);
    assert_eq!(in_place(&rm, Some("/workspace/sub"), &[]).risk, Risk::Low);
    assert_eq!(in_place(&rm, Some("/usr"), &[]).risk, Risk::High);
    // Calls of one answer are judged before the first of them runs.
    assert_eq!(in_place(&rm, None, &[command("cd /usr")]).risk, Risk::High);
    assert_eq!(in_place(&rm, Some("/usr"), &[command("cd /workspace")]).risk, Risk::Low);
    assert_eq!(in_place(&command("$X -rf /"), None, &[command("X=rm")]).reasons[0].split(' ').nth(1), Some("delete.root"));
    let unknown = in_place(&rm, None, &[command("cd \"$SOMEWHERE\"")]);
    assert_eq!(unknown.risk, Risk::Medium, "{unknown:?}");
}

#[test]
fn files_and_tools_are_judged_by_where_and_what_they_are() {
    let edit = |command: &str, path: &str| item("edit", json!({ "command": command, "path": path }));
    for (item, risk, rule) in [
        (edit("create", "/workspace/a.rs"), Risk::Low, ""),
        (edit("create", "/workspace/../etc/cron.d/x"), Risk::High, "outside.startup"),
        (edit("str_replace", "/workspace/.git/hooks/pre-commit"), Risk::Medium, "git.hook"),
        (edit("view", "/root/.ssh/id_rsa"), Risk::High, "secret.read"),
        (item("read", json!({ "path": "/workspace" })), Risk::Low, ""),
        (item("read", json!({ "path": "/home/x/notes" })), Risk::Medium, "outside.read"),
        (item("write", json!({ "path": "/etc/hosts.d/x", "content": "" })), Risk::High, "outside.startup"),
        (item("call_tool_mcp", json!({ "name": "get_current_time", "arguments": {} })), Risk::Medium, "tool.unknown"),
        (item("call_tool_mcp", json!({ "name": "deleteRepository", "arguments": {} })), Risk::High, "tool.name"),
        (item("browse", json!({ "url": "https://example.com" })), Risk::Medium, "network.reach"),
        (item("run", json!({ "command": "C-c", "is_input": true })), Risk::Low, ""),
        (item("run", json!({ "command": "y", "is_input": true })), Risk::Medium, "hidden.input"),
        (item("run", json!({ "command": "rm -rf /", "is_input": true })), Risk::High, "delete.root"),
    ] {
        let judgement = judged(&item);
        assert_eq!(judgement.risk, risk, "{item:?}: {judgement:?}");
        assert!(rule.is_empty() || judgement.reasons[0].contains(rule), "{judgement:?}");
    }
}

#[test]
fn the_strictest_of_several_counts_and_who_cannot_tell_hides_nothing() {
    let ask = |analyzers: &[Analyzer], text: &str, declared| {
        let (spec, action) = (spec(analyzers), command(text));
        Analyzers::new().judge(Question { spec: &spec, action: &action, declared, directory: None, before: &[] })
    };
    let both = [Analyzer::Rules, Analyzer::Model];
    for (text, declared, risk) in [
        ("rm -rf /", Some(Risk::Low), Risk::High),
        ("rm -rf /", None, Risk::High),
        ("ls", Some(Risk::High), Risk::High),
        ("ls", Some(Risk::Medium), Risk::Medium),
        ("ls", None, Risk::Low),
        ("./x", Some(Risk::Low), Risk::Medium),
    ] {
        let judgement = ask(&both, text, declared);
        assert_eq!(judgement.risk, risk, "{text} {declared:?}");
        assert_eq!(judgement.by, [RULES, "model"]);
        assert_eq!(ask(&[Analyzer::Model, Analyzer::Rules], text, declared).risk, risk, "in whatever order");
    }
    assert_eq!(ask(&[Analyzer::Model], "ls", None).risk, Risk::Unknown);
    assert_eq!(ask(&[Analyzer::Model], "rm -rf /", Some(Risk::Low)).risk, Risk::Low, "it is asked alone");
    assert_eq!(ask(&[Analyzer::Rules, Analyzer::Rules], "ls", None).by, [RULES], "who is named twice speaks once");
}

#[test]
fn a_reason_cannot_rewrite_the_terminal_that_it_is_shown_in() {
    let judgement = judged(&command("rm -rf / #\u{1b}[2K\u{202e}\r\nx\u{200b}"));
    let reason = &judgement.reasons[0];
    assert!(!reason.chars().any(|char| char.is_control() || char == '\u{202e}' || char == '\u{200b}'), "{reason:?}");
    let long = judged(&command(&format!("rm -rf / {}", "x".repeat(10_000))));
    assert!(long.reasons[0].len() < 400);
    let many = judged(&command(&(0..500).map(|n| format!("./run-{n}; ")).collect::<String>()));
    assert!(many.reasons.len() < 20, "{}", many.reasons.len());
}

/// Large, deep and tangled ones; each must end, and none may be found harmless because it is too much.
#[test]
fn what_is_too_large_or_too_deep_ends_and_is_not_called_harmless() {
    for text in [
        "a;".repeat(500_000),
        "(".repeat(1_000_000),
        "$(".repeat(500_000),
        "\"$(".repeat(300_000),
        "{".repeat(1_000_000),
        "<<A ".repeat(250_000),
        "if x; then ".repeat(90_000),
        "case x in ".repeat(90_000),
        "'".repeat(999_999),
        format!("{}x{}", "echo $(".repeat(3000), ")".repeat(3000)),
        format!("A=aaaaaaaa;{} $A", "A=$A$A;".repeat(2000)),
        format!("{} x", "sudo nohup env ".repeat(10_000)),
        "eval eval eval ".repeat(5000),
        format!("find {} {}", "a ".repeat(300), "-exec a \\; ".repeat(300)),
        "a|".repeat(100_000),
    ] {
        let judgement = judged(&command(&text));
        assert!(judgement.risk >= Risk::Medium, "{text:.40}: {judgement:?}");
        judged(&item("run_ipython", json!({ "code": text })));
    }
    // A long file that is only written is what it is.
    let document = format!("cat > notes.md <<'EOF'\n{}\nEOF\n", "some text $(rm -rf /) line\n".repeat(40_000));
    assert_eq!(judged(&command(&document)).risk, Risk::Low);
    let hidden = format!("cat > notes.md <<'EOF'\n{}\nEOF\nrm -rf /\n", "some text\n".repeat(40_000));
    assert_eq!(judged(&command(&hidden)).risk, Risk::High);
}

fn shellish() -> impl Strategy<Value = String> {
    let parts = [
        "rm",
        "-rf",
        "/",
        "$(",
        ")",
        "`",
        "'",
        "\"",
        "$",
        "{",
        "}",
        "|",
        "&&",
        ";",
        "<<EOF",
        "EOF",
        "\n",
        " ",
        "\\",
        "*",
        "~",
        "sudo",
        "X=",
        "$X",
        "${X:-",
        "bash -c",
        "eval",
        "find . -exec",
        "\u{fffc}",
        "é",
        "$'\\x",
        "(",
        "((",
        "[[",
        "]]",
        "for x in",
        "do",
        "done",
        "if",
        "then",
        "fi",
        ">",
        "<(",
        "&",
        "xargs",
        "python3 -c",
        "git push -f",
        "case",
        "esac",
        "echo",
        "#",
        "!",
        "curl x",
        "\0",
        "=",
        ",",
        "-",
        "--",
        "env -S",
        "cd ..",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_written_is_judged_and_the_same_way_twice(text in prop_oneof![any::<String>(), shellish()]) {
        let typed = item("run", json!({ "command": text, "is_input": true }));
        for item in [command(&text), item("run_ipython", json!({ "code": text })), typed] {
            let judgement = judged(&item);
            prop_assert!(judgement.risk != Risk::Unknown);
            prop_assert_eq!(judged(&item), judgement);
        }
    }

    #[test]
    fn harm_stays_harm_whatever_stands_beside_it(
        before in prop::sample::select(vec!["ls; ", "true && ", "cd src; ", "X=1 ", "# note\n",
            "echo 'a b' | cat; ", "( ls ); "]),
        hidden in prop::sample::select(vec!["rm -rf /", "r''m -rf /", "\\rm -r -f /", "sudo rm -rf /",
            "bash -c 'rm -rf /'", "echo x | xargs -I{} rm -rf /"]),
        after in prop::sample::select(vec!["", "; ls", " && echo ok", " || true",
            " > out.txt 2>&1", " &", "\n# end", " | tee log"]),
    ) {
        let judgement = judged(&command(&format!("{before}{hidden}{after}")));
        prop_assert_eq!(judgement.risk, Risk::High);
    }
}
