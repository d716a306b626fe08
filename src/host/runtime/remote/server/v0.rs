//! The peer's own endpoints, for its clients: one session, whatever they call it, and nothing remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::Server;
use super::refusal::Refusal;
use crate::engine::ports::{Provision, Provisioned, RuntimeError, Timeout, WORKSPACE};
use crate::session::{Content, Digest, Epoch, Item, SessionId};

/// The longest that an action may take, whatever it asks for.
const HARD_MAX: Duration = Duration::from_hours(1);
/// How long an action may take that does not say, as the peer has it.
const HARD: Duration = Duration::from_secs(120);
/// How long a command may be quiet, as the peer has it.
const QUIET: Duration = Duration::from_secs(30);

/// The one session of the peer's clients.
#[derive(Default)]
pub(super) struct Peer {
    session: Mutex<Option<(Provisioned, Instant)>>,
}

impl Peer {
    /// Ends everything when nobody was heard for `timeout`, or in any case.
    pub(super) async fn release(&self, timeout: Option<Duration>) {
        let mut session = self.session.lock().await;
        let goes = |(_, heard): &(Provisioned, Instant)| timeout.is_none_or(|timeout| heard.elapsed() >= timeout);
        if session.as_ref().is_some_and(goes)
            && let Some((provisioned, _)) = session.take()
            && let Err(error) = provisioned.runtime.release().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a runtime was not released");
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Executing {
    action: Box<RawValue>,
}

/// `POST /execute_action`: an action as V0 writes it, answered with its observation.
pub(super) async fn execute_action(
    State(server): State<Arc<Server>>,
    Json(executing): Json<Executing>,
) -> Result<Response, Refusal> {
    server.hear();
    let item = Item::decode(executing.action.get()).map_err(|error| Refusal::BadRequest(error.to_string()))?;
    let seconds = item.timeout.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    let hard = seconds.map_or(HARD, |seconds| Duration::from_secs_f64(seconds.min(HARD_MAX.as_secs_f64())));
    let Content::Action(action) = item.content else {
        return Err(Refusal::BadRequest("this is an observation, and an action is wanted".to_owned()));
    };
    let mut session = server.peer.session.lock().await;
    let provisioned = provisioned(&server, &mut session).await?;
    let executed = provisioned.runtime.execute(&action, Timeout { hard, quiet: QUIET }).await;
    match executed {
        Ok(observation) => {
            if let Some((_, heard)) = &mut *session {
                *heard = Instant::now();
            }
            Ok(([(CONTENT_TYPE, "application/json")], Item::from(observation).encode()).into_response())
        }
        Err(error) => {
            if matches!(error, RuntimeError::Lost(_)) {
                *session = None;
            }
            Err(Refusal::Unavailable(error.to_string()))
        }
    }
}

async fn provisioned(server: &Server, session: &mut Option<(Provisioned, Instant)>) -> Result<Provisioned, Refusal> {
    if let Some((provisioned, _)) = session {
        return Ok(provisioned.clone());
    }
    let id = SessionId::from_uuid(Uuid::new_v4());
    let workspace = server.options.workspaces.of(&format!("peer-{id}"));
    let request = Provision::new(id, Digest::ZERO, format!("peer-{id}"), Epoch(1), workspace);
    let request = Provision { runtime: server.options.runtime.clone(), ..request };
    let made = server.runtimes.provision(request).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    *session = Some((made.clone(), Instant::now()));
    Ok(made)
}

/// `GET /server_info`.
pub(super) async fn server_info(State(server): State<Arc<Server>>) -> Json<Value> {
    let idle = server.idle().as_secs_f64();
    let uptime = server.began.elapsed().as_secs_f64();
    Json(json!({ "uptime": uptime, "idle_time": idle, "resources": {}, "version": env!("CARGO_PKG_VERSION") }))
}

#[derive(Default, Deserialize)]
pub(super) struct Listing {
    path: Option<String>,
}

/// `POST /list_files`: what is in a directory of the workspace, directories first.
pub(super) async fn list_files(
    State(server): State<Arc<Server>>,
    Json(listing): Json<Listing>,
) -> Result<Json<Vec<String>>, Refusal> {
    server.hear();
    let root = {
        let mut session = server.peer.session.lock().await;
        provisioned(&server, &mut session).await?.report.workspace
    };
    let listed = tokio::task::spawn_blocking(move || list(&root, listing.path.as_deref().unwrap_or_default())).await;
    Ok(Json(listed.unwrap_or_default()))
}

/// The names in `path`, as commands name it; nothing where it does not lie in the workspace.
fn list(root: &Path, path: &str) -> Vec<String> {
    let inside = path.strip_prefix(WORKSPACE).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let wanted = match Path::new(path).strip_prefix(root) {
        Ok(rest) => root.join(rest),
        Err(_) => root.join(inside.trim_start_matches('/')),
    };
    let resolved = |path: &Path| -> std::io::Result<PathBuf> { path.canonicalize() };
    let (Ok(root), Ok(wanted)) = (resolved(root), resolved(&wanted)) else { return Vec::new() };
    if !wanted.starts_with(&root) {
        return Vec::new();
    }
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(wanted).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            directories.push(format!("{name}/"));
        } else {
            files.push(name);
        }
    }
    let folded = |name: &String| name.to_lowercase();
    directories.sort_by_key(folded);
    files.sort_by_key(folded);
    directories.extend(files);
    directories
}
