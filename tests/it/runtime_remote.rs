//! A remote runtime does what it is handed exactly once, whatever becomes of connections, of its server and of whoever asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle::engine::ports::{
    Document, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, Runtimes, SecretValue, Timeout,
};
use rekindle::host::runtime::remote::RuntimeServer;
use rekindle::session::action::{ReadFile, WriteFile};
use rekindle::session::{Action, Epoch, Extras, Observation, PluginSpec, Report, RepositorySpec, Seq, SessionId};
use rekindle::testing::{Answer, FakeRuntimes};
use serde_json::{Value, json};

use crate::cutting_proxy::CuttingProxy;
use crate::remote_support::{KEY, Serving, asked, client, key, keyed, local, provision, sh, until, within};
use crate::runtime_support::{PATIENT, marked, metadata, told};

fn action<T: serde::de::DeserializeOwned>(fields: Value) -> T {
    serde_json::from_value(fields).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_does_happens_at_the_server() {
    let serving = Serving::start().await;
    let made = provision(asked(&serving.url(), 1)).await;
    assert_eq!(made.report.runtime, "remote");
    let observation = keyed(&made, 5, 1, "cd / && export A='$x `y` é' && printf 'out\\n%s' \"$A\"").await.unwrap();
    assert_eq!(told(&observation), (0, "out\n$x `y` é"));
    assert_eq!(told(&keyed(&made, 7, 1, "pwd; echo $A").await.unwrap()).1, "/\n$x `y` é");
    let failed = keyed(&made, 9, 1, "exit 3").await.unwrap();
    assert_eq!(metadata(&failed).exit_code, 3);
    let write: WriteFile = action(json!({ "path": "/workspace/a", "content": "one\ntwo" }));
    made.runtime.execute(&Action::Write(write), PATIENT).await.unwrap();
    assert_eq!(std::fs::read_to_string(serving.workspace().join("a")).unwrap(), "one\ntwo\n");
    let read: ReadFile = action(json!({ "path": "/workspace/a" }));
    let read = made.runtime.execute(&Action::Read(read), PATIENT).await.unwrap();
    assert!(read.content.contains("two"), "{read:?}");
    made.runtime.release().await.unwrap();
    made.runtime.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_is_asked_for_and_nothing_runs_twice() {
    let serving = Serving::start().await;
    let proxy = CuttingProxy::start(serving.address.port()).await;
    let made = provision(asked(&proxy.url(), 1)).await;
    for round in 0..20_u64 {
        if round % 2 == 0 {
            proxy.cut_answers(1 + round % 3);
        } else {
            proxy.cut_requests(1 + round % 3);
        }
        let command = format!("echo {round} >> journal; seq 2000; echo {round}");
        let observation = keyed(&made, 5 + round, 1, &command).await.unwrap();
        assert!(observation.content.ends_with(&round.to_string()), "{observation:?}");
        assert_eq!(serving.journal().len() as u64, round + 1, "{:?}", serving.journal());
    }
    made.runtime.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_that_is_cut_off_finds_the_runtime_that_it_made() {
    let serving = Serving::start().await;
    let proxy = CuttingProxy::start(serving.address.port()).await;
    proxy.cut_answers(2);
    let made = provision(asked(&proxy.url(), 1)).await;
    keyed(&made, 5, 1, "export A=1").await.unwrap();
    let places = std::fs::read_dir(&serving.options.state).unwrap().count();
    assert_eq!(places, 1);
    assert_eq!(told(&keyed(&made, 7, 1, "echo $A").await.unwrap()).1, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_survives_an_outage() {
    let serving = Serving::start().await;
    let proxy = CuttingProxy::start(serving.address.port()).await;
    let made = provision(asked(&proxy.url(), 1)).await;
    let command = "echo begun >> journal; while ! test -e go; do sleep 0.05; done; echo done";
    let (executed, ()) = tokio::join!(keyed(&made, 5, 1, command), async {
        until("it runs", || !serving.journal().is_empty()).await;
        proxy.set_down(true);
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::fs::write(serving.workspace().join("go"), "").unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.set_down(false);
    });
    assert_eq!(told(&executed.unwrap()), (0, "done"));
    assert_eq!(serving.journal(), ["begun"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_out_of_reach_is_lost_with_what_it_ran() {
    let serving = Serving::start().await;
    let proxy = CuttingProxy::start(serving.address.port()).await;
    let made = client(Duration::from_millis(500)).provision(asked(&proxy.url(), 1)).await.unwrap();
    let (executed, ()) = tokio::join!(keyed(&made, 5, 1, "echo x >> journal; sleep 60"), async {
        until("it runs", || !serving.journal().is_empty()).await;
        proxy.set_down(true);
    });
    let error = executed.unwrap_err();
    assert!(matches!(&error, RuntimeError::Lost(why) if why.contains("out of reach")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_and_the_secret_named_but_never_shown() {
    let serving = Serving::start().await;
    let request = asked(&serving.url(), 1);
    let with = |value: &str| Provision {
        key: Some(SecretValue { name: "RUNTIME_KEY".to_owned(), value: value.to_owned() }),
        ..request.clone()
    };
    for (request, word) in [
        (with("wrong-key-value"), "RUNTIME_KEY"),
        (with(""), "RUNTIME_KEY"),
        (with("two\nlines-wrong-key-value"), "RUNTIME_KEY"),
        (Provision { key: None, ..request.clone() }, "secrets set"),
    ] {
        let error = client(Duration::from_secs(5)).provision(request).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains(word) && !error.to_string().contains("wrong-key-value"), "{error}");
    }
    let made = provision(request).await;
    assert!(!format!("{:?}", serving.options).contains(KEY));
    keyed(&made, 5, 1, "true").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_does_not_follow_a_redirect() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = elsewhere.local_addr().unwrap();
    let here = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", here.local_addr().unwrap());
    let redirecting = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = here.accept().await.unwrap();
        let _ = stream.read(&mut [0; 65536]).await;
        let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{there}/\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let error = client(Duration::from_secs(5)).provision(asked(&url, 1)).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("points elsewhere"), "{error}");
    redirecting.await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await.is_err(), "nobody comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_taken_over_does_nothing_any_more() {
    let serving = Serving::start().await;
    let request = asked(&serving.url(), 1);
    let first = provision(request.clone()).await;
    keyed(&first, 5, 1, "export A=kept").await.unwrap();
    let second = provision(Provision { epoch: Epoch(2), name: "other".to_owned(), ..request.clone() }).await;
    let error = keyed(&first, 7, 1, "echo late >> journal").await.unwrap_err();
    assert!(error.to_string().contains("epoch 1 was taken over by epoch 2"), "{error}");
    first.runtime.release().await.unwrap();
    assert!(client(Duration::from_secs(5)).provision(request.clone()).await.is_err());
    // The shell of the first is the second's now.
    assert_eq!(told(&keyed(&second, 7, 1, "echo $A").await.unwrap()).1, "kept");
    assert!(serving.journal().is_empty());
    // Also when the server was started anew.
    let mut serving = serving;
    serving.stop().await;
    serving.start_again(local()).await;
    let error = client(Duration::from_secs(5)).provision(request).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("taken over by epoch 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_owner_is_told_what_came_of_what_was_handed_over() {
    let serving = Serving::start().await;
    let request = asked(&serving.url(), 1);
    let first = provision(request.clone()).await;
    let command = "echo once >> journal; while ! test -e go; do sleep 0.05; done; echo seen";
    let action = sh(command);
    let task = tokio::spawn(async move {
        // As an engine that is killed: nobody is told.
        let executed = first.runtime.execute_keyed(key(5, 1), &action, PATIENT);
        let _ = executed.await;
        std::mem::forget(first);
    });
    until("it runs", || !serving.journal().is_empty()).await;
    let second = provision(Provision { epoch: Epoch(2), version: Seq(9), ..request.clone() }).await;
    let (executed, ()) = tokio::join!(keyed(&second, 5, 2, command), async {
        std::fs::write(serving.workspace().join("go"), "").unwrap();
    });
    assert_eq!(told(&executed.unwrap()), (0, "seen"));
    assert_eq!(serving.journal(), ["once"]);
    let third = provision(Provision { epoch: Epoch(3), version: Seq(12), ..request }).await;
    assert_eq!(told(&keyed(&third, 5, 3, command).await.unwrap()), (0, "seen"));
    // One that never arrived is done now.
    assert_eq!(told(&keyed(&third, 7, 2, "echo late | tee -a journal").await.unwrap()), (0, "late"));
    assert_eq!(serving.journal(), ["once", "late"]);
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_owner_that_does_something_else_ends_what_still_runs() {
    let serving = Serving::start().await;
    let request = asked(&serving.url(), 1);
    let first = provision(request.clone()).await;
    let running = tokio::spawn(async move { keyed(&first, 5, 1, "echo begun >> journal; sleep 100").await });
    until("it runs", || !serving.journal().is_empty()).await;
    let second = provision(Provision { epoch: Epoch(2), ..request }).await;
    assert_eq!(told(&keyed(&second, 9, 1, "echo next").await.unwrap()), (0, "next"));
    let error = keyed(&second, 5, 2, "echo begun >> journal; sleep 100").await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Lost(why) if why.contains("taken over")), "{error:?}");
    assert!(running.await.unwrap().is_err());
    assert_eq!(serving.journal(), ["begun"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_action_under_the_same_key_is_refused() {
    let serving = Serving::start().await;
    let made = provision(asked(&serving.url(), 1)).await;
    keyed(&made, 5, 1, "echo one >> journal").await.unwrap();
    let error = keyed(&made, 5, 1, "echo two >> journal").await.unwrap_err();
    assert!(error.to_string().contains("another content"), "{error}");
    assert_eq!(serving.journal(), ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_anew_tells_what_it_knows_and_runs_nothing_again() {
    let mut serving = Serving::start().await;
    let request = asked(&serving.url(), 1);
    let made = provision(request.clone()).await;
    keyed(&made, 5, 1, "echo done | tee -a journal").await.unwrap();
    let (executed, ()) = tokio::join!(keyed(&made, 7, 1, "echo begun >> journal; sleep 100"), async {
        until("it runs", || serving.journal().len() == 2).await;
        serving.stop().await;
        serving.start_again(local()).await;
    });
    assert!(matches!(executed.unwrap_err(), RuntimeError::Lost(_)));
    // The runtime is another one, and says so rather than run something in a shell that is not the one of before.
    assert!(matches!(keyed(&made, 9, 1, "echo never >> journal").await.unwrap_err(), RuntimeError::Lost(_)));
    let next = provision(Provision { epoch: Epoch(2), version: Seq(12), ..request.clone() }).await;
    assert_eq!(told(&keyed(&next, 5, 2, "echo done | tee -a journal").await.unwrap()), (0, "done"));
    let error = keyed(&next, 7, 2, "echo begun >> journal; sleep 100").await.unwrap_err();
    assert!(matches!(error, RuntimeError::Lost(_)), "{error:?}");
    assert_eq!(serving.journal(), ["done", "begun"]);
    next.runtime.release().await.unwrap();
    // A server that has lost its memory cannot tell, and says that.
    serving.stop().await;
    std::fs::remove_dir_all(&serving.options.state).unwrap();
    serving.start_again(local()).await;
    let later = provision(Provision { epoch: Epoch(3), version: Seq(15), ..request }).await;
    let error = keyed(&later, 5, 3, "echo done | tee -a journal").await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Lost(why) if why.contains("not known here any more")), "{error:?}");
    // What was only queued until now can never have run.
    keyed(&later, 14, 1, "echo queued >> journal").await.unwrap();
    assert_eq!(serving.journal(), ["done", "begun", "queued"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_wait_any_more_has_it_interrupted() {
    let serving = Serving::start().await;
    let made = provision(asked(&serving.url(), 1)).await;
    {
        let command = sh("trap 'echo ended >> journal' EXIT; echo begun >> journal; sleep 100");
        let executed = made.runtime.execute_keyed(key(5, 1), &command, PATIENT);
        tokio::select! {
            _ = executed => panic!("it sleeps"),
            () = until("it runs", || !serving.journal().is_empty()) => {}
        }
    }
    // It is interrupted, else this would wait for it.
    assert_eq!(told(&keyed(&made, 7, 1, "echo free").await.unwrap()).0, 0);
    assert!(matches!(keyed(&made, 5, 1, "").await.unwrap_err(), RuntimeError::Unavailable(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_before_it_arrived_never_runs() {
    let serving = Serving::start().await;
    let request = asked(&serving.url(), 1);
    let path = format!("/v1/sessions/{}-{}/tasks/action-5", request.session, request.birth.short());
    let made = provision(request).await;
    let headers = [("x-session-api-key", KEY), ("x-rekindle-epoch", "1")];
    let answer = http(&serving, "DELETE", &path, &headers, "").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    keyed(&made, 5, 1, "echo late >> journal").await.unwrap_err();
    keyed(&made, 7, 1, "echo next >> journal").await.unwrap();
    assert_eq!(serving.journal(), ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_ends_when_the_owner_is_not_heard_of_and_not_before() {
    let serving = Serving::with(local(), Duration::from_millis(1500)).await;
    let request = asked(&serving.url(), 1);
    let place = format!("{}-{}", request.session, request.birth.short());
    let made = provision(request.clone()).await;
    keyed(&made, 5, 1, "setsid sleep 1000 & sleep 0.1").await.unwrap();
    // A session that rests is heard of.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!marked(&place).is_empty(), "it was ended though its owner is there");
    drop(made);
    until("its processes end", || marked(&place).is_empty()).await;
    let next = provision(Provision { epoch: Epoch(2), version: Seq(9), ..request }).await;
    assert_eq!(metadata(&keyed(&next, 5, 2, "setsid sleep 1000 & sleep 0.1").await.unwrap()).exit_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_and_stopping_end_every_process() {
    let mut serving = Serving::start().await;
    for stops in [false, true] {
        let request = asked(&serving.url(), 1);
        let place = format!("{}-{}", request.session, request.birth.short());
        let made = provision(request).await;
        keyed(&made, 5, 1, "setsid sleep 1000 & sleep 0.1").await.unwrap();
        assert!(!marked(&place).is_empty());
        if stops {
            serving.stop().await;
        } else {
            made.runtime.release().await.unwrap();
        }
        assert_eq!(marked(&place), [] as [String; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_with_its_session_does() {
    let mut serving = Serving::start().await;
    serving.stop().await;
    serving.options.once = true;
    serving.start_again(local()).await;
    let made = provision(asked(&serving.url(), 1)).await;
    keyed(&made, 5, 1, "true").await.unwrap();
    made.runtime.release().await.unwrap();
    until("the server ends", || serving.is_over()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_is_shortened_and_a_long_one_arrives_whole() {
    let fakes = FakeRuntimes::new(|action| {
        let Action::Run(run) = action else { panic!("{action:?}") };
        let length: usize = run.command.parse().unwrap();
        Answer::Observe(Box::new(Observation { content: "é".repeat(length / 2), extras: Extras::Think }))
    });
    let serving = Serving::with(Arc::new(fakes), Duration::from_secs(60)).await;
    let made = provision(asked(&serving.url(), 1)).await;
    let long = keyed(&made, 5, 1, "4000000").await.unwrap();
    assert_eq!(long.content.len(), 4_000_000);
    let too_long = keyed(&made, 7, 1, "40000000").await.unwrap();
    assert!(too_long.content.len() < 100_000 && too_long.content.contains("left out"));
    // One that cannot be taken is refused, and hurts nobody.
    let error = keyed(&made, 9, 1, &"1".repeat(40_000_000)).await.unwrap_err();
    assert!(error.to_string().contains("413"), "{error}");
    assert_eq!(keyed(&made, 11, 1, "10").await.unwrap().content.len(), 10);
}

/// Remembers what it is asked to prepare.
struct Preparing;

#[async_trait]
impl Runtimes for Preparing {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        assert_eq!(request.environment[0].value, "$x `y`\n\"é'");
        assert_eq!(request.directory.as_deref(), Some("/workspace/proj"));
        let made = FakeRuntimes::new(|_| Answer::Hang).provision(request).await?;
        Ok(Provisioned { runtime: Arc::new(Self), report: made.report })
    }
}

#[async_trait]
impl Runtime for Preparing {
    async fn execute(&self, _: &Action, _: Timeout) -> Result<Observation, RuntimeError> {
        Err(RuntimeError::Unavailable("not today".to_owned()))
    }

    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        match preparation {
            Preparation::Repository { session, repository, token } => {
                let report = json!({ "session": session, "location": repository.location, "token": token.unwrap().value });
                Ok(Prepared::Done(Report(report)))
            }
            Preparation::Organisation { repository, token, within, .. } => {
                let (location, secret) = (repository.location, token.is_some());
                Ok(Prepared::Skipped(format!("{location} with a token: {secret}, for {} s", within.as_secs())))
            }
            Preparation::SetupScript { directory, within } => {
                Ok(Prepared::Skipped(format!("there is none in {directory} for {} s", within.as_secs())))
            }
            Preparation::Plugin { plugin, within } => {
                Ok(Prepared::Skipped(format!("{}: {} for {} s", plugin.name, plugin.script, within.as_secs())))
            }
            Preparation::GitHooks { .. } => Err(RuntimeError::Unavailable("the disk is full".to_owned())),
        }
    }

    async fn documents(&self, paths: &[String], limit: u64) -> Result<Vec<Document>, RuntimeError> {
        Ok(paths.iter().map(|path| Document { path: path.clone(), text: format!("{limit} é") }).collect())
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preparations_documents_and_the_environment_reach_the_runtime_behind_the_server() {
    let serving = Serving::with(Arc::new(Preparing), Duration::from_secs(60)).await;
    let proxy = CuttingProxy::start(serving.address.port()).await;
    let environment = vec![SecretValue { name: "A".to_owned(), value: "$x `y`\n\"é'".to_owned() }];
    let directory = Some("/workspace/proj".to_owned());
    let made = provision(Provision { environment, directory, ..asked(&proxy.url(), 1) }).await;
    let repository = serde_json::from_value(json!({ "provider": { "type": "plain" }, "location": "https://x/y.git" }));
    let repository: RepositorySpec = repository.unwrap_or_else(|error| panic!("{error}"));
    let token = Some(SecretValue { name: "T".to_owned(), value: "tok".to_owned() });
    let (kept_in, secret) = (repository.clone(), token.clone());
    let session = SessionId::from_uuid(uuid::Uuid::from_u128(7));
    proxy.cut_answers(1);
    let prepared = made.runtime.prepare(Preparation::Repository { session, repository, token }).await.unwrap();
    let report = json!({ "session": session, "location": "https://x/y.git", "token": "tok" });
    assert_eq!(prepared, Prepared::Done(Report(report)));
    let directory = "/workspace/y".to_owned();
    let kept_in = Preparation::Organisation { session, repository: kept_in, token: secret, within: Duration::from_secs(7) };
    let skipped = made.runtime.prepare(kept_in).await.unwrap();
    assert_eq!(skipped, Prepared::Skipped("https://x/y.git with a token: true, for 7 s".to_owned()));
    let script = Preparation::SetupScript { directory: directory.clone(), within: Duration::from_secs(7) };
    let skipped = made.runtime.prepare(script).await.unwrap();
    assert_eq!(skipped, Prepared::Skipped("there is none in /workspace/y for 7 s".to_owned()));
    let plugin = PluginSpec { name: "p".to_owned(), script: "export A='x'".to_owned() };
    let plugged = made.runtime.prepare(Preparation::Plugin { plugin, within: Duration::from_secs(7) }).await.unwrap();
    assert_eq!(plugged, Prepared::Skipped("p: export A='x' for 7 s".to_owned()));
    let failed = made.runtime.prepare(Preparation::GitHooks { directory }).await.unwrap_err();
    assert!(failed.to_string().contains("the disk is full"), "{failed}");
    proxy.cut_answers(1);
    let found = made.runtime.documents(&["AGENTS.md".to_owned()], 99).await.unwrap();
    assert_eq!(found, [Document { path: "AGENTS.md".to_owned(), text: "99 é".to_owned() }]);
    // Nothing of it stays on the server's disk.
    for entry in std::fs::read_dir(&serving.options.state).unwrap().flatten() {
        let kept = std::fs::read_to_string(entry.path().join("tasks")).unwrap();
        assert!(!kept.contains("`y`"), "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_key_is_never_open_to_others() {
    let mut serving = Serving::start().await;
    serving.stop().await;
    serving.options.key = None;
    let refused = RuntimeServer::bind("0.0.0.0:0".parse().unwrap(), local(), serving.options.clone()).await;
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("REKINDLE_RUNTIME_KEY") && refused.contains("127.0.0.1"), "{refused}");
    serving.start_again(local()).await;
    let request = Provision { key: None, ..asked(&serving.url(), 1) };
    provision(request).await;
    let answer = http(&serving, "POST", "/execute_action", &[("host", "evil.example")], r#"{"action":{}}"#).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("localhost"), "{answer}");
}

/// A request as any client sends it, and the whole answer.
async fn http(serving: &Serving, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(serving.address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peers_own_clients_are_answered() {
    let serving = Serving::start().await;
    let auth = [("x-session-api-key", KEY)];
    let alive = http(&serving, "GET", "/alive", &[], "").await;
    assert!(alive.ends_with(r#"{"status":"ok"}"#), "{alive}");
    let info = http(&serving, "GET", "/server_info", &[], "").await;
    assert!(info.contains("uptime") && info.contains("idle_time") && info.contains("resources"), "{info}");
    let run = r#"{"action":{"action":"run","args":{"command":"mkdir -p b; echo hi > a; cat a","thought":""},"timeout":30}}"#;
    let refused = http(&serving, "POST", "/execute_action", &[], run).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("detail"), "{refused}");
    let answer = http(&serving, "POST", "/execute_action", &auth, run).await;
    let observation: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&observation["observation"], &observation["content"]), (&json!("run"), &json!("hi")));
    assert_eq!(observation["extras"]["metadata"]["exit_code"], 0);
    let listed = http(&serving, "POST", "/list_files", &auth, "{}").await;
    assert!(listed.ends_with(r#"["b/","a"]"#), "{listed}");
    for outside in ["/etc", "../..", "/workspace/../.."] {
        let listed = http(&serving, "POST", "/list_files", &auth, &json!({ "path": outside }).to_string()).await;
        assert!(listed.ends_with("[]"), "{outside}: {listed}");
    }
    let bad = http(&serving, "POST", "/execute_action", &auth, r#"{"action":{"action":"fly"}}"#).await;
    assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("unknown action `fly`"), "{bad}");
    let missing = http(&serving, "GET", "/nowhere", &auth, "").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("detail"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_leads_out_of_the_servers_directory() {
    let serving = Serving::start().await;
    for at in ["..%2F..%2Fetc", "x", "%2e%2e", "00000000-0000-0000-0000-000000000000-zzzzzzzzzzzz"] {
        let headers = [("x-session-api-key", KEY), ("x-rekindle-epoch", "1")];
        let answer = http(&serving, "GET", &format!("/v1/sessions/{at}/tasks/a"), &headers, "").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{at}: {answer}");
    }
    assert_eq!(std::fs::read_dir(&serving.options.state).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_command_is_left_running_and_can_be_asked_for_more() {
    let serving = Serving::start().await;
    let made = provision(asked(&serving.url(), 1)).await;
    let quick = Timeout { hard: Duration::from_secs(30), quiet: Duration::from_millis(300) };
    let begun = within(&made, key(5, 1), "echo first; sleep 2; echo second", quick).await.unwrap();
    assert_eq!((metadata(&begun).exit_code, begun.content.starts_with("first")), (-1, true), "{begun:?}");
    let more = within(&made, key(7, 1), "", PATIENT).await.unwrap();
    assert!(more.content.contains("second"), "{more:?}");
}
