//! Requests: what each of them means.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::guard::guard;
use super::hosted::{Owner, Standing};
use super::refusal::Refusal;
use super::{Server, v0};
use crate::engine::ports::Document;
use crate::host::runtime::remote::wire::{
    Alive, Answer, EPOCH_HEADER, File, Handed, Opened, Opening, REQUEST_MAX, RUNTIME_HEADER, WAIT_MAX_MS, Wanted, place, proof,
};
use crate::session::Epoch;

/// The longest challenge that is answered.
const CHALLENGE_MAX: usize = 128;

pub(super) fn router(server: Arc<Server>) -> Router {
    let guarded = Router::new()
        .route("/v1/sessions/{place}", put(open).delete(release))
        .route("/v1/sessions/{place}/heard", post(heard))
        .route("/v1/sessions/{place}/documents", post(documents))
        .route("/v1/sessions/{place}/tasks/{id}", post(hand).get(ask).delete(interrupt))
        .route("/execute_action", post(v0::execute_action))
        .route("/list_files", post(v0::list_files))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), guard));
    let open = Router::new().route("/alive", get(alive)).route("/server_info", get(v0::server_info));
    let missing = || async { (StatusCode::NOT_FOUND, Json(serde_json::json!({ "detail": "there is nothing here" }))) };
    guarded.merge(open).fallback(missing).layer(DefaultBodyLimit::max(REQUEST_MAX)).with_state(server)
}

#[derive(Deserialize)]
struct Challenge {
    challenge: Option<String>,
}

/// That the server is there; and, to whoever asks with a challenge, that it knows the key.
async fn alive(State(server): State<Arc<Server>>, Query(asked): Query<Challenge>) -> Json<Alive> {
    let challenge = asked.challenge.filter(|challenge| challenge.len() <= CHALLENGE_MAX);
    let proof = challenge.and_then(|challenge| Some(proof(server.options.key.as_deref()?, &challenge)));
    Json(Alive { status: "ok".to_owned(), proof })
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    // The text of what is wrong could repeat a part of the body, which can hold secrets.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refusal::BadRequest(format!(
            "the body cannot be read, at line {line}, column {column}; is the client of another version?"
        ))
    })
}

fn owner(headers: &HeaderMap) -> Result<Owner, Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let epoch = text(EPOCH_HEADER).and_then(|epoch| epoch.parse().ok());
    let epoch = epoch.ok_or_else(|| Refusal::BadRequest(format!("the header {EPOCH_HEADER} is missing")))?;
    Ok(Owner { epoch: Epoch(epoch), runtime: text(RUNTIME_HEADER).and_then(|id| id.parse().ok()) })
}

async fn open(State(server): State<Arc<Server>>, Path(at): Path<String>, body: Bytes) -> Result<Json<Opened>, Refusal> {
    let opening: Opening = parsed(&body)?;
    if place(opening.session, opening.birth) != at {
        return Err(Refusal::BadRequest("the address is another session's".to_owned()));
    }
    // Goes on when whoever asked is cut off, and asks again.
    let opened = tokio::spawn(async move { server.open(&at, opening).await });
    opened.await.map_err(|error| Refusal::Unavailable(error.to_string()))?.map(Json)
}

async fn release(State(server): State<Arc<Server>>, Path(at): Path<String>, headers: HeaderMap) -> Result<StatusCode, Refusal> {
    let owner = owner(&headers)?;
    let released = tokio::spawn(async move { server.release(&at, owner.epoch).await });
    released.await.map_err(|error| Refusal::Unavailable(error.to_string()))??;
    Ok(StatusCode::NO_CONTENT)
}

async fn heard(State(server): State<Arc<Server>>, Path(at): Path<String>, headers: HeaderMap) -> Result<StatusCode, Refusal> {
    let hosted = server.known(&at).await?;
    let _heard = hosted.hear();
    hosted.live(owner(&headers)?)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Waiting {
    #[serde(default)]
    wait_ms: u64,
}

async fn hand(
    State(server): State<Arc<Server>>,
    Path((at, id)): Path<(String, String)>,
    Query(waiting): Query<Waiting>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (owner, handed) = (owner(&headers)?, parsed::<Handed>(&body)?);
    let hosted = server.known(&at).await?;
    let _heard = hosted.hear();
    let (begun, name) = (Arc::clone(&hosted), id.clone());
    let standing = tokio::task::spawn_blocking(move || begun.hand(owner, &name, handed)).await;
    let standing = standing.map_err(|error| Refusal::Unavailable(error.to_string()))??;
    let standing = server.await_end(standing, waiting.wait_ms, || hosted.standing(owner, &id)).await?;
    answer(standing)
}

async fn ask(
    State(server): State<Arc<Server>>,
    Path((at, id)): Path<(String, String)>,
    Query(waiting): Query<Waiting>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let owner = owner(&headers)?;
    let hosted = server.known(&at).await?;
    let _heard = hosted.hear();
    let standing = hosted.standing(owner, &id)?;
    let standing = server.await_end(standing, waiting.wait_ms, || hosted.standing(owner, &id)).await?;
    answer(standing)
}

async fn interrupt(
    State(server): State<Arc<Server>>,
    Path((at, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let hosted = server.known(&at).await?;
    let _heard = hosted.hear();
    let (owner, ends) = (owner(&headers)?, Arc::clone(&hosted));
    let interrupted = tokio::task::spawn_blocking(move || ends.interrupt(owner, &id)).await;
    interrupted.map_err(|error| Refusal::Unavailable(error.to_string()))??;
    Ok(StatusCode::NO_CONTENT)
}

impl Server {
    /// Waits for the end of what runs, at most `wait_ms`, and at most until the server is stopped.
    async fn await_end(
        &self,
        standing: Standing,
        wait_ms: u64,
        look: impl Fn() -> Result<Standing, Refusal>,
    ) -> Result<Standing, Refusal> {
        let Standing::Runs(mut done) = standing else { return Ok(standing) };
        let wait = Duration::from_millis(wait_ms.min(WAIT_MAX_MS));
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait, done.wait_for(|done| *done)).await;
        }
        look()
    }
}

fn answer(standing: Standing) -> Result<Response, Refusal> {
    let text = match standing {
        Standing::Runs(_) => return Ok((StatusCode::ACCEPTED, Json(serde_json::json!({}))).into_response()),
        Standing::Ended(text) => text,
    };
    if let Ok(Answer::Lost(why)) = serde_json::from_str(&text) {
        return Err(Refusal::Gone(why));
    }
    Ok(([(CONTENT_TYPE, "application/json")], text.to_string()).into_response())
}

async fn documents(
    State(server): State<Arc<Server>>,
    Path(at): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<File>>, Refusal> {
    let (owner, wanted) = (owner(&headers)?, parsed::<Wanted>(&body)?);
    let hosted = server.known(&at).await?;
    let _heard = hosted.hear();
    let live = hosted.live(owner)?;
    let found: Result<Vec<Document>, _> = live.runtime.documents(&wanted.paths, wanted.limit).await;
    Ok(Json(found.map_err(|error| Refusal::Unavailable(error.to_string()))?.into_iter().map(File::from).collect()))
}
