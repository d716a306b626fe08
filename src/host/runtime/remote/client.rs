//! The client of a remote runtime.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Url};
use serde_json::value::RawValue;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::call::{self, Line, Said, Tries, Unheard};
use super::wire::{Alive, Answer, File, Handed, Opened, Opening, Task, Wanted, place, proof};
use crate::engine::ports::{
    ActionKey, Document, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes,
    SecretValue, Timeout,
};
use crate::session::{Action, Content, Item, Observation, RuntimeSpec, Seq};

/// How long one request waits for what runs to end.
const POLL_WAIT: Duration = Duration::from_secs(20);
/// How long it is tried to have a runtime released.
const RELEASE_WAIT: Duration = Duration::from_secs(10);
/// How long it is tried to reach a server at all.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// How remote runtimes are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteOptions {
    /// How long a server that was there may be out of reach before its runtime counts as lost.
    pub patience: Duration,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self { patience: Duration::from_secs(60) }
    }
}

/// Runtimes behind the HTTP API of a runtime server.
#[derive(Debug, Default)]
pub struct RemoteRuntimes {
    options: RemoteOptions,
    /// For servers on this machine, and for others; made when first needed, since reading certificates takes its time.
    clients: Mutex<[Option<reqwest::Client>; 2]>,
}

impl RemoteRuntimes {
    /// Speaks to servers as `options` say.
    pub fn new(options: RemoteOptions) -> Self {
        Self { options, clients: Mutex::default() }
    }

    fn client(&self, url: &Url) -> Result<reqwest::Client, RuntimeError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let [here, elsewhere] = &mut *clients;
        let slot = if call::is_here(url) { here } else { elsewhere };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        Ok(slot.insert(call::client(url)?).clone())
    }

    /// Whether the server at `url` answers within `wait`, and shows that it knows `key`, which is not sent.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when nobody can be asked there.
    pub async fn answers(&self, url: &str, key: &str, wait: Duration) -> Result<bool, RuntimeError> {
        let mut url = call::address(url)?;
        let client = self.client(&url)?;
        let challenge = Uuid::new_v4().simple().to_string();
        url.set_path(&format!("{}/alive", url.path().trim_end_matches('/')));
        url.set_query(Some(&format!("challenge={challenge}")));
        let asked = async { client.get(url).send().await.ok()?.json::<Alive>().await.ok() };
        let alive = tokio::time::timeout(wait, asked).await.ok().flatten();
        Ok(alive.is_some_and(|alive| alive.proof == Some(proof(key, &challenge))))
    }

    /// Asks the server at `url` for the session's runtime.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when it is not there, or will not.
    pub async fn at(
        &self,
        url: &str,
        key: Option<&SecretValue>,
        request: &Provision,
    ) -> Result<(Arc<RemoteRuntime>, RuntimeReport), RuntimeError> {
        let url = call::address(url)?;
        let place = place(request.session, request.birth);
        let line = Line::new(self.client(&url)?, url.clone(), &place, key, request.epoch)?;
        let body = serde_json::to_vec(&Opening::of(request)).map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        let server = line.server();
        let patience = FIRST_WAIT.min(request.within);
        let opened = match line.ask_again(Method::PUT, "", Some(&body), patience).await {
            Ok(Said::Done(answer)) => serde_json::from_slice::<Opened>(&answer).map_err(|_| {
                RuntimeError::Unavailable(format!("{server} does not answer as a runtime server of this version does"))
            }),
            Ok(Said::Missing(why) | Said::Gone(why)) | Err(Unheard::Refused(why) | Unheard::TakenOver(why)) => {
                Err(RuntimeError::Unavailable(why))
            }
            Ok(Said::Runs) => Err(RuntimeError::Unavailable(format!("{server} does not answer as a runtime server does"))),
            Err(Unheard::Unreachable(why)) => Err(RuntimeError::Unavailable(format!(
                "nobody answers at {server} ({why}); is `rekindle runtime-server` running there?"
            ))),
        }?;
        let mut report = opened.report;
        report.runtime = "remote".to_owned();
        if key.is_some() && url.scheme() == "http" && !call::is_here(&url) {
            report.warnings.push(format!("the key and all that is done travel to {server} unencrypted: use https or a tunnel"));
        }
        let line = line.meaning(opened.runtime);
        let owner_timeout = Duration::from_millis(opened.owner_timeout_ms);
        let heartbeat = tokio::spawn(keep_heard(line.clone(), owner_timeout)).abort_handle();
        let runtime = RemoteRuntime { line, patience: self.options.patience, owner_timeout, heartbeat };
        Ok((Arc::new(runtime), report))
    }
}

#[async_trait]
impl Runtimes for RemoteRuntimes {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let RuntimeSpec::Remote { url, .. } = &request.runtime else {
            return Err(RuntimeError::Unavailable("no remote runtime is asked for".to_owned()));
        };
        let (runtime, report) = self.at(url, request.key.as_ref(), &request).await?;
        Ok(Provisioned { runtime, report })
    }
}

/// Tells the server that the owner is there, so that the runtime of a session that rests stays.
async fn keep_heard(line: Line, owner_timeout: Duration) {
    loop {
        tokio::time::sleep((owner_timeout / 4).max(Duration::from_millis(20))).await;
        // One that is missed is made up for by the next.
        let _ = line.ask(Method::POST, "heard", None, Duration::ZERO).await;
    }
}

/// A runtime behind an HTTP API.
pub struct RemoteRuntime {
    line: Line,
    patience: Duration,
    owner_timeout: Duration,
    heartbeat: AbortHandle,
}

impl fmt::Debug for RemoteRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRuntime").field("server", &self.line.server()).finish_non_exhaustive()
    }
}

impl Drop for RemoteRuntime {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

/// What was handed over and not heard of again; what is dropped before it is heard of is interrupted.
struct Pending<'a> {
    line: &'a Line,
    path: &'a str,
    is_over: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Ok(tokio) = tokio::runtime::Handle::try_current() {
            let (line, path) = (self.line.clone(), self.path.to_owned());
            tokio.spawn(async move { line.ask_again(Method::DELETE, &path, None, RELEASE_WAIT).await.map(drop) });
        }
    }
}

impl RemoteRuntime {
    /// Hands something over and waits for what comes of it, however often the connection breaks meanwhile.
    async fn hand(&self, id: &str, handed: &Handed) -> Result<Answer, RuntimeError> {
        let body = serde_json::to_vec(handed).map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        let path = format!("tasks/{id}");
        let mut pending = Pending { line: &self.line, path: &path, is_over: false };
        let mut tries = Tries::new(self.patience);
        // What can be there already is asked for first.
        let mut asks = handed.again;
        let answer = loop {
            let said = if asks {
                self.line.ask(Method::GET, &path, None, POLL_WAIT).await
            } else {
                self.line.ask(Method::POST, &path, Some(&body), POLL_WAIT).await
            };
            match said {
                Ok(Said::Done(answer)) => break answer,
                Ok(Said::Runs) => {
                    tries.heard();
                    asks = true;
                }
                Ok(Said::Missing(_)) if asks => {
                    // It never arrived.
                    tries.heard();
                    asks = false;
                }
                Ok(Said::Gone(why)) => {
                    pending.is_over = true;
                    return Err(RuntimeError::Lost(why));
                }
                Ok(Said::Missing(why)) | Err(Unheard::Refused(why) | Unheard::TakenOver(why)) => {
                    pending.is_over = true;
                    return Err(RuntimeError::Unavailable(why));
                }
                Err(Unheard::Unreachable(why)) => {
                    asks = true;
                    if let Err(why) = tries.pause(why).await {
                        let (server, seconds) = (self.line.server(), self.patience.as_secs());
                        return Err(RuntimeError::Lost(format!("{server} was out of reach for {seconds} s: {why}")));
                    }
                }
            }
        };
        pending.is_over = true;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Lost(why)) => Err(RuntimeError::Lost(why)),
            Ok(Answer::Failed(why)) => Err(RuntimeError::Failed(why)),
            Ok(Answer::Unavailable(why)) => Err(RuntimeError::Unavailable(why)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(RuntimeError::Lost(format!("what {} answers cannot be read", self.line.server()))),
        }
    }

    async fn act(
        &self,
        id: &str,
        seq: Option<Seq>,
        again: bool,
        action: &Action,
        timeout: Timeout,
    ) -> Result<Observation, RuntimeError> {
        let text = Item::from(action.clone()).encode_body();
        let action = RawValue::from_string(text).map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let task = Task::Action { action, hard_ms: millis(timeout.hard), quiet_ms: millis(timeout.quiet) };
        match self.hand(id, &Handed { seq, again, task }).await? {
            Answer::Observed(text) => match Item::decode(text.get()).map(|item| item.content) {
                Ok(Content::Observation(observation)) => Ok(observation),
                Ok(Content::Action(_)) => Err(RuntimeError::Lost("the server answers an action with an action".to_owned())),
                Err(error) => Err(RuntimeError::Lost(format!("the observation cannot be read: {error}"))),
            },
            _ => Err(RuntimeError::Lost("the server answers an action with something else".to_owned())),
        }
    }

    /// Has everything ended, unless it is another owner's by now.
    pub(in crate::host::runtime) async fn end(&self) -> Result<Released, RuntimeError> {
        self.heartbeat.abort();
        match self.line.ask_again(Method::DELETE, "", None, RELEASE_WAIT).await {
            // What is not there needs no release.
            Ok(_) => Ok(Released::Ended),
            Err(Unheard::TakenOver(_)) => Ok(Released::TakenOver),
            Err(Unheard::Refused(why)) => Err(RuntimeError::Unavailable(why)),
            Err(Unheard::Unreachable(why)) => {
                let (server, seconds) = (self.line.server(), self.owner_timeout.as_secs());
                let what = format!("{server} cannot be told to end it ({why}); it does so by itself within {seconds} s");
                Err(RuntimeError::Unavailable(what))
            }
        }
    }
}

/// What a release came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// Everything has ended.
    Ended,
    /// It is another owner's now, who will release it.
    TakenOver,
}

#[async_trait]
impl Runtime for RemoteRuntime {
    async fn execute(&self, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        self.act(&format!("once-{}", Uuid::new_v4()), None, false, action, timeout).await
    }

    async fn execute_keyed(&self, key: ActionKey, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        let ActionKey { action: seq, attempt } = key;
        self.act(&format!("action-{seq}"), Some(seq), attempt > 1, action, timeout).await
    }

    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        let handed = Handed { seq: None, again: false, task: Task::Prepare(preparation.into()) };
        match self.hand(&format!("prepare-{}", Uuid::new_v4()), &handed).await? {
            Answer::Done(report) => Ok(Prepared::Done(report)),
            Answer::Skipped(reason) => Ok(Prepared::Skipped(reason)),
            _ => Err(RuntimeError::Lost("the server answers a preparation with something else".to_owned())),
        }
    }

    async fn documents(&self, paths: &[String], limit: u64) -> Result<Vec<Document>, RuntimeError> {
        let wanted = Wanted { paths: paths.to_vec(), limit };
        let body = serde_json::to_vec(&wanted).map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        match self.line.ask_again(Method::POST, "documents", Some(&body), self.patience).await {
            Ok(Said::Done(answer)) => {
                let files: Vec<File> = serde_json::from_slice(&answer).map_err(|error| RuntimeError::Lost(error.to_string()))?;
                Ok(files.into_iter().map(Document::from).collect())
            }
            Ok(Said::Runs) => Err(RuntimeError::Lost("the server answers with something else".to_owned())),
            Ok(Said::Missing(why) | Said::Gone(why)) => Err(RuntimeError::Lost(why)),
            Err(Unheard::Refused(why) | Unheard::TakenOver(why)) => Err(RuntimeError::Unavailable(why)),
            Err(Unheard::Unreachable(why)) => Err(RuntimeError::Lost(why)),
        }
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        self.end().await.map(drop)
    }
}
