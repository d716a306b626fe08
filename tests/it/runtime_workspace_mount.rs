//! What commands find at `/workspace`, and what the machine keeps of it.

use rekindle::engine::ports::{Containment, Mount, Runtimes};
use rekindle::host::runtime::local::{Isolation, LocalRuntimes};
use rekindle::session::Epoch;

use super::runtime_support::{isolations, local, metadata, options, request};

#[tokio::test]
async fn the_workspace_is_found_at_its_name() {
    for isolation in isolations() {
        let existed = std::path::Path::new("/workspace").exists();
        let local = local(isolation).await;
        local.ok("mkdir -p /workspace/a && echo x > /workspace/a/f && cd /workspace/a").await;
        assert_eq!(local.file("a/f"), b"x\n");
        let told = local.sh("pwd; ls -d /workspace/a/*; realpath .; pwd -P; python3 -c 'import os; print(os.getcwd())'").await;
        assert_eq!(told.content, "/workspace/a\n/workspace/a/f\n/workspace/a\n/workspace/a\n/workspace/a", "{isolation:?}");
        assert_eq!(metadata(&told).working_dir.as_deref(), Some("/workspace/a"));
        assert_eq!(std::path::Path::new("/workspace").exists(), existed, "nothing is made in the real root");
    }
}

#[tokio::test]
async fn two_sessions_have_two_workspaces_at_one_name() {
    let (one, two) = (local(Isolation::Auto).await, local(Isolation::Auto).await);
    one.ok("echo one > /workspace/f").await;
    two.ok("echo two > /workspace/f").await;
    assert_eq!((one.ok("cat /workspace/f").await, two.ok("cat /workspace/f").await), ("one".into(), "two".into()));
}

#[tokio::test]
async fn the_report_says_what_was_reached() {
    let plain = local(Isolation::Plain).await;
    assert_eq!((plain.report.mount, plain.report.containment), (Mount::PathMapping, Containment::Watchdog));
    assert!(plain.report.warnings.iter().any(|warning| warning.contains("/workspace")), "{:?}", plain.report);
    if !isolations().contains(&Isolation::Namespaces) {
        return;
    }
    let own = local(Isolation::Namespaces).await;
    assert_eq!((own.report.mount, own.report.containment), (Mount::Namespace, Containment::PidNamespace));
    assert_eq!((own.report.runtime.as_str(), &own.report.workspace, own.report.warnings.len()), ("local", &own.workspace, 0));
}

#[tokio::test]
async fn a_session_in_namespaces_sees_its_own_processes_and_the_machines_files() {
    if !isolations().contains(&Isolation::Namespaces) {
        return;
    }
    let local = local(Isolation::Namespaces).await;
    assert_eq!(
        local.ok("cat /proc/1/comm; test -d /usr/bin -a -r /etc/passwd -a -w /dev/null -a -w /tmp && echo usable").await,
        "bash\nusable"
    );
    // Orphans are waited for.
    assert_eq!(
        local.ok("(true & true) ; (setsid true &); sleep 0.2; grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l").await,
        "0"
    );
    // The first process cannot be ended from inside.
    local.sh("kill -9 1; kill -9 -1").await;
    assert_eq!(local.ok("echo alive").await, "alive");
}

#[tokio::test]
async fn a_second_provision_of_a_name_attaches_and_a_lower_epoch_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let runtimes = LocalRuntimes::new(options(Isolation::Auto));
    let asked = request("attach", directory.path().join("ws"));
    let first = runtimes.provision(asked.clone()).await.unwrap();
    let run = |command: &str| rekindle::session::Action::Run(super::runtime_support::run(command));
    first.runtime.execute(&run("X=kept"), super::runtime_support::PATIENT).await.unwrap();
    let second = runtimes.provision(rekindle::engine::ports::Provision { epoch: Epoch(2), ..asked.clone() }).await.unwrap();
    let told = second.runtime.execute(&run("echo $X"), super::runtime_support::PATIENT).await.unwrap();
    assert_eq!(told.content, "kept");
    assert!(runtimes.provision(asked.clone()).await.is_err(), "the first owner is fenced off");
    assert!(first.runtime.execute(&run("true"), super::runtime_support::PATIENT).await.is_err());
    first.runtime.release().await.unwrap();
    second.runtime.execute(&run("true"), super::runtime_support::PATIENT).await.unwrap();
    second.runtime.release().await.unwrap();
    second.runtime.release().await.unwrap();
    assert!(second.runtime.execute(&run("true"), super::runtime_support::PATIENT).await.is_err());
}

#[tokio::test]
async fn a_session_begins_where_it_is_told() {
    for isolation in isolations() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("ws/repo")).unwrap();
        for (asked, got) in
            [(Some("/workspace/repo"), "/workspace/repo"), (Some("/workspace/gone"), "/workspace"), (None, "/workspace")]
        {
            let mut request = request(&format!("begin-{}", uuid::Uuid::now_v7()), directory.path().join("ws"));
            request.directory = asked.map(Into::into);
            let made = LocalRuntimes::new(options(isolation)).provision(request).await.unwrap();
            let action = rekindle::session::Action::Run(super::runtime_support::run("pwd"));
            assert_eq!(made.runtime.execute(&action, super::runtime_support::PATIENT).await.unwrap().content, got);
        }
    }
}
