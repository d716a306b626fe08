//! What memory knows reaches the model, in the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::cli_support::{Rig, Said};
use crate::model_server::{ModelAnswer, ModelServer, Reply};

fn finishes() -> Reply {
    ModelAnswer::says("").calls("f", "finish", &json!({ "message": "done", "task_completed": "true" })).into()
}

/// The rig's program, asked to do `task` in `work`.
fn run(rig: &Rig, server: &ModelServer, task: &str, more: &[&str]) -> Said {
    let url = server.base_url();
    let mut args = vec!["run", "--headless", "--name", "told", "--model", "fake", "--base-url", &url, "-w", "work"];
    args.extend(more);
    args.push(task);
    rig.with_config(&args)
}

impl Rig {
    /// With a configuration directory of its own.
    fn with_config(&self, args: &[&str]) -> Said {
        let config = format!("XDG_CONFIG_HOME={}", self.path("config").display());
        self.through(&["env", &config], args)
    }
}

fn texts(body: &Value) -> String {
    body["messages"].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_user_keeps_is_told_with_the_message_that_asks_for_it_and_once() {
    let server = ModelServer::replying(|_| finishes()).await;
    let rig = Rig::new();
    fs::create_dir_all(rig.path("config/rekindle/microagents")).unwrap();
    fs::create_dir(rig.path("work")).unwrap();
    rig.write("config/rekindle/microagents/style.md", "Always write in iambs.");
    rig.write("config/rekindle/microagents/deploy.md", "---\ntriggers: [deploy]\n---\nDeploy with the blue lever.");
    rig.write("config/rekindle/microagents/bad.md", "---\ntype: wizard\n---\nx");
    let said = run(&rig, &server, "say hello", &[]);
    assert_eq!(said.code, 0, "{said:?}");
    let first = texts(&server.received()[0].body);
    assert!(first.contains("Always write in iambs.") && !first.contains("blue lever"), "{first}");
    let report = rig.run(&["tail", "told", "-n", "100", "-o", "ndjson"]).out;
    assert!(report.contains("bad.md") && report.contains("knowledge, repo, task"), "the bad file is in the log: {report}");
    for _ in 0..2 {
        let said = rig.with_config(&["send", "told", "now Deploy it"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let last = texts(&server.received().last().unwrap().body);
    assert_eq!(last.matches("blue lever").count(), 1, "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_session_does_not_start_with_a_bad_file_and_says_which() {
    let server = ModelServer::replying(|_| finishes()).await;
    let rig = Rig::new();
    fs::create_dir_all(rig.path("config/rekindle/microagents")).unwrap();
    rig.write("config/rekindle/microagents/bad.md", "---\ntype: wizard\n---\nx");
    let strict = rig.write("strict.toml", "[memory]\nstrict = true\n");
    let said = run(&rig, &server, "say hello", &["--config", &strict]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(server.received().is_empty());
    assert!(said.err.contains("bad.md") || said.out.contains("bad.md"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_workspace_keeps_is_told() {
    let server = ModelServer::replying(|_| finishes()).await;
    let rig = Rig::new();
    fs::create_dir_all(rig.path("work/.openhands/microagents")).unwrap();
    rig.write("work/AGENTS.md", "Use tabs in this project.");
    rig.write("work/.openhands/microagents/db.md", "---\ntriggers: [database]\n---\nThe database is a teapot.");
    fs::set_permissions(rig.path("work"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run(&rig, &server, "look at the database", &[]).code, 0);
    let first = texts(&server.received()[0].body);
    assert!(first.contains("Use tabs in this project.") && first.contains("teapot"), "{first}");
}
