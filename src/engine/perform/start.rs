//! The steps of a start that the world must take.

use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Performing;
use crate::engine::ports::{
    About, Document, MemoryRequest, Preparation, Prepared, Provision, Provisioned, Remembered, Runtime, RuntimeError,
    SecretValue, project,
};
use crate::session::mask::Caveat;
use crate::session::{
    Command, Content, Digest, Event, Extras, Observation, OnSetupFailure, PluginSpec, Report, RepositorySpec, RuntimeSpec,
    SecretRef, SecretUse, Seq, SessionSpec, StartStep, StepDone, Timestamp,
};
use crate::store::{Read, Row};

/// How many events are looked through, from the end, for the directory that the last command left.
const DIRECTORY_LOOKBACK: u32 = 256;
/// The most that is read of the files that tell an agent something, in bytes.
const DOCUMENTS_MAX: u64 = 4 * 1024 * 1024;
/// What is kept of the time for a setup script, so that one that hangs is ended, and told, before the step's own time is up.
const SETUP_GRACE: Duration = Duration::from_secs(5);

/// The longest that is waited for what the owner of a repository tells all agents.
const ORGANISATION_WAIT: Duration = Duration::from_secs(30);
/// How much longer, where it is read elsewhere.
const ORGANISATION_GRACE: Duration = Duration::from_secs(5);

/// A secret in the report of its step.
#[derive(Serialize)]
struct Named {
    #[serde(flatten)]
    secret: SecretRef,
    /// What cannot be promised of its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    caveat: Option<String>,
}

impl Performing {
    pub(super) async fn take_step(&mut self, step: StartStep, attempt: u32, deadline: Timestamp) -> Command {
        let within = self.until(deadline);
        let taken = tokio::time::timeout(within, async {
            match step {
                StartStep::Runtime => self.provision(attempt, within).await,
                StartStep::Replay => self.read_recording().await,
                StartStep::Repository => self.clone_repository(within).await,
                StartStep::SetupScript => self.run_setup_script(within).await,
                StartStep::GitHooks => self.install_hooks().await,
                StartStep::Secrets => self.name_secrets().await,
                StartStep::Memory => self.gather_memory().await,
                StartStep::McpTools => self.join_servers(within).await,
                StartStep::Controller => self.make_agent().await,
                StartStep::SecurityAnalyzer | StartStep::FirstMessage => Err(format!("the step {step} is decided, not taken")),
            }
        });
        match taken.await {
            Ok(Ok(done)) => Command::StepDone { step, attempt, done },
            Ok(Err(error)) => Command::StepFailed { step, attempt, error },
            Err(_) => Command::StepFailed { step, attempt, error: format!("not done within {} s", within.as_secs()) },
        }
    }

    async fn provision(&mut self, attempt: u32, within: Duration) -> Result<StepDone, String> {
        // The one before, if it is still there: two would share a workspace.
        if let Some(former) = self.holding.runtime.take() {
            former.release().await.map_err(|error| error.to_string())?;
        }
        let spec = self.spec()?;
        let for_commands = |secret: &SecretRef| secret.used != SecretUse::Engine;
        let environment = self.secrets(for_commands).await?;
        let key = match &spec.runtime {
            RuntimeSpec::Remote { key, .. } => self.secret(key.as_deref()).await?,
            RuntimeSpec::Local { .. } | RuntimeSpec::Command(_) => None,
        };
        let request = Provision {
            session: self.id,
            birth: self.birth().await,
            name: format!("{}-{}-{attempt}", self.id, StartStep::Runtime),
            epoch: self.session.epoch,
            workspace: spec.workspace.clone(),
            directory: self.last_directory().await.or_else(|| spec.repository.as_ref().map(|_| project(spec))),
            runtime: spec.runtime.clone(),
            environment,
            key,
            version: self.session.version,
            within,
        };
        let plugins = spec.plugins.clone();
        let Provisioned { runtime, report } =
            self.shared.ports.runtimes.provision(request).await.map_err(|error| error.to_string())?;
        let mut report = serde_json::to_value(&report).map_err(|error| error.to_string())?;
        self.holding.runtime = Some(Arc::clone(&runtime));
        match plug_in(runtime.as_ref(), plugins, within).await {
            Ok(reports) => {
                if let (Some(report), false) = (report.as_object_mut(), reports.is_empty()) {
                    report.insert("plugins".to_owned(), reports.into());
                }
                Ok(StepDone::Report(Report(report)))
            }
            Err(error) => {
                self.holding.runtime = None;
                match runtime.release().await {
                    Ok(()) => Err(error.to_string()),
                    Err(left) => Err(format!("{error}; and the runtime could not be released: {left}")),
                }
            }
        }
    }

    /// The chain hash of the session's first event.
    async fn birth(&self) -> Digest {
        let first = Read::one(self.id, Seq(1));
        match self.shared.store.read(first).await.ok().and_then(|page| page.rows.into_iter().next()) {
            Some(Row::Event { hash, .. }) => hash,
            _ => Digest::ZERO,
        }
    }

    /// Where the last command of the session left its shell.
    async fn last_directory(&self) -> Option<String> {
        let page = self.shared.store.read(Read::last(self.id, DIRECTORY_LOOKBACK)).await.ok()?;
        // Without a sandbox, what a fork shares names directories of another workspace.
        let shared = self.session.fork.as_ref().map_or(Seq::ZERO, |fork| fork.at);
        let here = |seq: Seq, directory: &String| seq > shared || directory.starts_with("/workspace");
        page.rows.iter().find_map(|row| match row {
            Row::Event { event, .. } if event.kind.as_str() == "observation.run" => match Event::read(event) {
                Event::Item(entry) => match entry.item.content {
                    Content::Observation(Observation { extras: Extras::Run(run), .. }) => {
                        run.metadata.working_dir.filter(|directory| here(event.seq, directory))
                    }
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
    }

    pub(super) fn spec(&self) -> Result<&SessionSpec, String> {
        self.session.spec.as_ref().ok_or_else(|| "the session has no spec".to_owned())
    }

    /// The values of the session's secrets that are wanted.
    pub(super) async fn secrets(&self, wanted: impl Fn(&SecretRef) -> bool) -> Result<Vec<SecretValue>, String> {
        let secrets: Vec<SecretRef> = self.spec()?.secrets.iter().filter(|secret| wanted(secret)).cloned().collect();
        let values = self.shared.ports.secrets.values(self.id, &secrets).await.map_err(|error| error.to_string())?;
        // Nobody gets a value that is not hidden.
        self.mask.learn(&self.shared.maskers, &values).map_err(|error| error.to_string())?;
        Ok(values)
    }

    /// The value of the secret of this name.
    pub(super) async fn secret(&self, name: Option<&str>) -> Result<Option<SecretValue>, String> {
        let Some(name) = name else {
            return Ok(None);
        };
        if !self.spec()?.secrets.iter().any(|secret| secret.name == name) {
            return Err(format!("the session has no secret {name}, which is asked for"));
        }
        Ok(self.secrets(|secret| secret.name == name).await?.pop())
    }

    async fn clone_repository(&mut self, within: Duration) -> Result<StepDone, String> {
        let began = Instant::now();
        let repository = self.spec()?.repository.clone().ok_or("the session names no repository")?;
        let organisation = repository.organisation().filter(|_| self.session.has_agent());
        let token = self.secret(repository.token.as_deref()).await?;
        let preparation = Preparation::Repository { session: self.id, repository, token: token.clone() };
        let done = self.prepare(preparation).await?;
        let (StepDone::Report(Report(mut report)), Some(organisation)) = (done.clone(), organisation) else {
            return Ok(done);
        };
        let left = within.saturating_sub(began.elapsed());
        let found = self.ask_organisation(organisation, token, ORGANISATION_WAIT.min(left / 2)).await;
        if let Some(report) = report.as_object_mut() {
            report.insert("organisation".to_owned(), found);
        }
        Ok(StepDone::Report(Report(report)))
    }

    /// Reads what the repository's owner tells all agents, and keeps it, so that it is the same after a restart. What goes wrong is in
    /// the report and keeps nobody from working.
    async fn ask_organisation(
        &mut self,
        repository: RepositorySpec,
        token: Option<SecretValue>,
        within: Duration,
    ) -> serde_json::Value {
        let name = repository.location.clone();
        let preparation = Preparation::Organisation { session: self.id, repository, token, within };
        let asked = tokio::time::timeout(within + ORGANISATION_GRACE, self.prepare(preparation)).await;
        let kept = match asked.unwrap_or_else(|_| Err(format!("not read within {} s", within.as_secs()))) {
            Ok(StepDone::Report(Report(report))) => self.keep_organisation(report).await,
            Ok(StepDone::Skipped(reason)) => Ok(json!({ "absent": reason })),
            Ok(StepDone::Tools { .. } | StepDone::Recording(_)) => Err("that is no answer".to_owned()),
            Err(problem) => Err(problem),
        };
        let mut report = kept.unwrap_or_else(|problem| json!({ "problem": problem }));
        if let Some(report) = report.as_object_mut() {
            report.entry("repository").or_insert_with(|| name.into());
        }
        report
    }

    async fn keep_organisation(&self, mut report: serde_json::Value) -> Result<serde_json::Value, String> {
        let fields = report.as_object_mut().ok_or("the report is no object")?;
        let documents = fields.remove("documents").unwrap_or_default();
        let documents: Vec<Document> = serde_json::from_value(documents).map_err(|error| error.to_string())?;
        let paths: Vec<&str> = documents.iter().map(|document| document.path.as_str()).collect();
        fields.insert("files".to_owned(), paths.into());
        if !documents.is_empty() {
            let text = serde_json::to_string(&documents).map_err(|error| error.to_string())?;
            let contents = self.shared.store.put_blob(self.id, self.mask.json(text).into_bytes()).await;
            let contents = contents.map_err(|error| error.to_string())?;
            fields.insert("contents".to_owned(), contents.to_string().into());
        }
        Ok(report)
    }

    /// What the repository's owner tells all agents, as it was read when the session began.
    async fn organisation(&self) -> Result<Vec<Document>, String> {
        let Some(contents) = self.session.organisation else { return Ok(Vec::new()) };
        let bytes = self.shared.store.blob(self.id, contents).await.map_err(|error| error.to_string())?;
        // What was redacted is told no more.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    async fn run_setup_script(&mut self, within: Duration) -> Result<StepDone, String> {
        let spec = self.spec()?;
        let (directory, fails) = (project(spec), spec.on_setup_failure == OnSetupFailure::Fail);
        let within = within.saturating_sub(SETUP_GRACE).max(within / 2);
        let done = self.prepare(Preparation::SetupScript { directory, within }).await?;
        match &done {
            StepDone::Report(Report(report)) if fails => match report.get("failed").and_then(|failed| failed.as_str()) {
                Some(failed) => {
                    let output = report.get("output").and_then(|output| output.as_str()).unwrap_or_default();
                    Err(format!("{failed}; it printed:\n{output}"))
                }
                None => Ok(done),
            },
            _ => Ok(done),
        }
    }

    async fn install_hooks(&mut self) -> Result<StepDone, String> {
        let directory = project(self.spec()?);
        self.prepare(Preparation::GitHooks { directory }).await
    }

    async fn prepare(&mut self, preparation: Preparation) -> Result<StepDone, String> {
        let runtime = self.holding.runtime.clone().ok_or("there is no runtime")?;
        match runtime.prepare(preparation).await.map_err(|error| error.to_string())? {
            Prepared::Done(report) => Ok(StepDone::Report(report)),
            Prepared::Skipped(reason) => Ok(StepDone::Skipped(reason)),
        }
    }

    /// Which secrets there are, by name and fingerprint; that their values can be had, and what cannot be promised of them.
    async fn name_secrets(&mut self) -> Result<StepDone, String> {
        let values = self.secrets(|_| true).await?;
        let named = self.spec()?.secrets.iter().map(|secret| {
            let value = values.iter().find(|value| value.name == secret.name);
            let fingerprint = value.and_then(|value| self.shared.ports.secrets.fingerprint(value));
            let caveat = value.and_then(|value| Caveat::of(&value.value)).map(|caveat| caveat.to_string());
            Named { secret: SecretRef { fingerprint, ..secret.clone() }, caveat }
        });
        let named = serde_json::to_value(named.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        Ok(StepDone::Report(Report(named)))
    }

    async fn gather_memory(&mut self) -> Result<StepDone, String> {
        let remembered = self.memory().await?;
        let problems = remembered.problems.iter().map(|problem| format!("{}: {}", problem.path, problem.why));
        let report = json!({ "names": remembered.names, "problems": problems.collect::<Vec<_>>() });
        Ok(StepDone::Report(Report(report)))
    }

    /// What there is to tell the agent, gathered once by each owner.
    pub(super) async fn memory(&mut self) -> Result<Remembered, String> {
        if let Some(remembered) = &self.holding.memory {
            return Ok(remembered.clone());
        }
        let spec = Arc::new(self.spec()?.clone());
        let paths = self.shared.ports.memories.paths(&spec);
        let (documents, about) = match &self.holding.runtime {
            Some(runtime) => {
                let documents = runtime.documents(&paths, DOCUMENTS_MAX).await.map_err(|error| error.to_string())?;
                (documents, runtime.about())
            }
            None => (Vec::new(), About::default()),
        };
        let organisation = self.organisation().await?;
        let request = MemoryRequest { session: self.id, spec, organisation, documents, about };
        let remembered = self.shared.ports.memories.gather(request).await?;
        self.holding.memory = Some(remembered.clone());
        Ok(remembered)
    }

    async fn make_agent(&mut self) -> Result<StepDone, String> {
        let briefed = self.briefed().await?;
        let report = serde_json::to_value(&briefed).map_err(|error| error.to_string())?;
        Ok(StepDone::Report(Report(report)))
    }
}

/// Makes the shell of `runtime` what the session's plugins make it; what each said of it.
async fn plug_in(
    runtime: &dyn Runtime,
    plugins: Vec<PluginSpec>,
    within: Duration,
) -> Result<Vec<serde_json::Value>, RuntimeError> {
    let within = within.saturating_sub(SETUP_GRACE).max(within / 2);
    let mut reports = Vec::with_capacity(plugins.len());
    for plugin in plugins {
        if let Prepared::Done(Report(report)) = runtime.prepare(Preparation::Plugin { plugin, within }).await? {
            reports.push(report);
        }
    }
    Ok(reports)
}
