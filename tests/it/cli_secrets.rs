//! `rekindle secrets`: values go in unseen, never come out again, and are found in old logs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::cli_support::{Rig, Said};

const VALUE: &str = "tok-9f8e7d6c5b4a39281706";

fn set(rig: &Rig, name: &str, value: &str) -> Said {
    let mut command = rig.command(&["secrets", "set", name, "--description", "what it is for"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses before it reads has closed its end already.
    let _ = child.stdin.take().unwrap().write_all(value.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_value_is_kept_for_its_user_alone_and_never_shown() {
    let rig = Rig::new();
    let said = set(&rig, "API_TOKEN", &format!("{VALUE}\n"));
    assert_eq!(said.code, 0, "{said:?}");
    let file = rig.path("secrets.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&file).unwrap().contains(&format!("\"{VALUE}\"")), "without the line break");
    let listed = rig.json(&["secrets", "ls", "-o", "json"]);
    assert_eq!((listed[0]["name"].as_str(), listed[0]["from"].as_str()), (Some("API_TOKEN"), Some("keyring")));
    let fingerprint = listed[0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(fingerprint.len(), 16);
    assert_eq!(set(&rig, "API_TOKEN", "tok-another-value").code, 0);
    let listed = rig.run(&["secrets", "ls"]);
    assert!(listed.out.contains("1 former value hidden still") && !listed.out.contains(&fingerprint), "{listed:?}");
    for said in [said, listed, rig.run(&["secrets", "ls", "-vv"])] {
        assert!(!said.out.contains("tok-") && !said.err.contains("tok-"), "{said:?}");
    }
    assert_eq!(rig.run(&["secrets", "rm", "API_TOKEN"]).code, 0);
    assert!(!fs::read_to_string(&file).unwrap().contains("tok-"));
    rig.run(&["secrets", "rm", "API_TOKEN"]).assert_refused(3, &["API_TOKEN", "secrets ls"]);
}

#[test]
fn what_cannot_be_hidden_is_refused_and_what_is_weak_is_told() {
    let rig = Rig::new();
    for (value, word) in [("", "empty"), ("\n", "empty"), ("abc", "fewer than 4"), ("secret_hidden", "stands where")] {
        set(&rig, "WEAK", value).assert_refused(2, &["WEAK", word]);
    }
    assert!(!rig.path("secrets.json").exists());
    let said = set(&rig, "WEAK", "hunter2");
    assert!(said.code == 0 && said.err.contains("stands alone") && !said.err.contains("hunter2"), "{said:?}");
    let said = set(&rig, "WEAK", "correcthorse");
    assert!(said.code == 0 && said.err.contains("plain word"), "{said:?}");
    for name in ["A=value", "1A", "a-b", ""] {
        set(&rig, name, VALUE).assert_refused(2, &["name"]);
    }
    rig.run(&["secrets", "set", "NAME", VALUE]).assert_refused(2, &[]);
}

#[test]
fn a_keyring_that_others_can_read_is_used_by_nothing() {
    let rig = Rig::new();
    assert_eq!(set(&rig, "API_TOKEN", VALUE).code, 0);
    let file = rig.path("secrets.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let way_out = format!("chmod 600 {}", file.display());
    rig.run(&["secrets", "ls"]).assert_refused(1, &[&way_out]);
    set(&rig, "API_TOKEN", "tok-another-value").assert_refused(1, &[&way_out]);
    rig.run(&["run", "hi", "--headless", "-m", "x", "--base-url", "http://127.0.0.1:9/v1"]).assert_refused(1, &[&way_out]);
    let recording = rig.recording("t.json", &[("echo 1", "1", 0)]);
    rig.run(&["replay", &recording]).assert_refused(1, &[&way_out]);
    assert_eq!(rig.run(&["ls"]).code, 0, "reading needs none");
}

#[test]
fn a_value_of_an_old_log_is_found_in_every_form_and_not_repeated() {
    let rig = Rig::new();
    let base64 = "dXNlcjp0b2stOWY4ZTdkNmM1YjRhMzkyODE3MDY=";
    let recording = rig.recording(
        "t.json",
        &[
            (&format!("curl -H 'Authorization: {VALUE}' x"), "ok", 0),
            ("env", &format!("A={VALUE}\nB={base64}"), 0),
            ("ls", "none", 0),
        ],
    );
    assert_eq!(rig.run(&["import", &recording, "--name", "old"]).code, 0);
    rig.run(&["secrets", "scan"]).assert_refused(3, &["secrets set NAME"]);
    assert_eq!(set(&rig, "API_TOKEN", VALUE).code, 0);
    let said = rig.run(&["secrets", "scan", "old"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains(":3") && said.out.contains("args.command") && said.out.contains("API_TOKEN"), "{said:?}");
    assert!(!said.out.contains(VALUE) && !said.err.contains(VALUE), "{said:?}");
    let found = rig.command(&["secrets", "scan", "-o", "json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let places: Vec<_> =
        found.as_array().unwrap().iter().map(|leak| (leak["seq"].as_u64(), leak["form"].as_str().unwrap())).collect();
    assert!(
        places.contains(&(Some(3), "plain")) && places.contains(&(Some(6), "plain")) && places.contains(&(Some(6), "base64")),
        "{places:?}"
    );
    assert!(places.iter().all(|(seq, _)| seq.is_none_or(|seq| seq == 3 || seq == 4 || seq == 6)), "{places:?}");
    assert_eq!(set(&rig, "API_TOKEN", "tok-another-value-0").code, 0);
    assert_eq!(rig.run(&["secrets", "scan"]).code, 5, "a former value is looked for too");
    assert_eq!(rig.run(&["secrets", "rm", "API_TOKEN"]).code, 0);
    assert_eq!(set(&rig, "API_TOKEN", "tok-another-value-1").code, 0);
    let said = rig.run(&["secrets", "scan"]);
    assert!(said.code == 0 && said.err.contains("nothing found"), "{said:?}");
}
