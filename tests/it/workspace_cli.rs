//! The real program keeps what an agent's workspace holds, shows it, writes it out again, and names what changed behind its back.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cli_support::{Rig, wait_until};
use crate::live_support::{asked, calls, finishes, following, log, said, seqs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_shown_and_written_out_as_they_were_and_what_changed_is_named_on_resume() {
    let script = vec![
        calls(
            1,
            "bash",
            &json!({ "command": "cd /workspace && echo two > a && mkdir -p src && printf 'x\\0y' > src/b && chmod +x src/b" }),
        ),
        finishes(2, "Done."),
    ];
    let (rig, model) = (Rig::new(), following(script).await);
    fs::create_dir(rig.path("work")).unwrap();
    rig.write("work/a", "one\n");
    rig.write("work/.gitignore", "*.log\n");
    rig.write("work/x.log", "noise");
    let ran = said(rig.live(&model, &["go"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let kept = seqs(&log(&rig).await, "workspace.captured");
    assert_eq!(kept.len(), 2);

    let listed: Value = serde_json::from_str(&asked(&rig, &["files", "live", "-o", "json"]).await.out).unwrap();
    let paths: Vec<&str> = listed.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [".gitignore", "a", "src/b", "x.log"]);
    assert_eq!((&listed[2]["kind"], &listed[2]["executable"], &listed[2]["size"]), (&json!("file"), &json!(true), &json!(3)));
    assert_eq!(listed[3]["left_out"], "ignored");
    let table = asked(&rig, &["files", "live", "/workspace/src"]).await;
    assert!(table.out.contains("program") && table.out.contains("src/b") && !table.out.contains(".gitignore"), "{table:?}");
    let before = format!("live@{}", kept[1] - 1);
    assert_eq!(asked(&rig, &["files", &before, "a"]).await.out, "one\n");
    assert_eq!(asked(&rig, &["files", "live", "./a"]).await.out, "two\n");
    asked(&rig, &["files", "live", "x.log"]).await.assert_refused(3, &["x.log", "ignored"]);
    asked(&rig, &["files", "live@1"]).await.assert_refused(3, &["no snapshot"]);
    let out = asked(&rig, &["files", &before, "--to", "then"]).await;
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(fs::read_to_string(rig.path("then/a")).unwrap(), "one\n");
    assert!(!rig.path("then/src").exists());
    asked(&rig, &["files", "live", "--to", "then"]).await.assert_refused(4, &["then", "not empty"]);
    let steps = asked(&rig, &["show", "--steps", "live"]).await;
    assert!(steps.out.contains("snapshot") && steps.out.contains("3 files"), "{steps:?}");

    let quiet = asked(&rig, &["resume", "live"]).await;
    assert!(!quiet.err.contains("differ"), "{quiet:?}");
    rig.write("work/a", "three\n");
    fs::remove_file(rig.path("work/src/b")).unwrap();
    rig.write("work/new", "x");
    let resumed = asked(&rig, &["resume", "live"]).await;
    let told = "3 files differ from the log's last claim: a (changed), src/b (missing), new (added)";
    assert!(resumed.err.contains(told), "{resumed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_where_nothing_is_to_be() {
    let (rig, model) = (Rig::new(), following(vec![finishes(1, "Done.")]).await);
    let ran = said(rig.live(&model, &["--no-snapshots", "go"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(log(&rig).await.iter().all(|event| !event["kind"].as_str().unwrap().starts_with("workspace.")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_killed_while_it_keeps_the_workspace_keeps_it_once() {
    let command = "cd /workspace && for n in $(seq 3000); do echo $n > f$n; done";
    let script = vec![calls(1, "bash", &json!({ "command": command })), finishes(2, "Done.")];
    let (rig, model) = (Rig::new(), following(script).await);
    let mut child = rig.live(&model, &["go"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let rig = tokio::task::spawn_blocking(move || {
        wait_until("the turn is over", || {
            let tail = rig.run(&["tail", "live", "-n", "1000", "-o", "ndjson"]);
            tail.out.contains("\"turn.ended\"")
        });
        child.kill().unwrap();
        child.wait().unwrap();
        rig
    })
    .await
    .unwrap();
    let resumed = asked(&rig, &["resume", "live"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let log = log(&rig).await;
    let (kept, ended) = (seqs(&log, "workspace.captured"), seqs(&log, "turn.ended"));
    assert_eq!((kept.len(), ended.len()), (2, 1), "{log:#?}");
    let files = asked(&rig, &["files", "live", "-o", "ndjson"]).await;
    assert_eq!(files.out.lines().count(), 3000);
    assert_eq!(asked(&rig, &["verify", "live"]).await.code, 0);
}
