//! Models behind HTTP endpoints, by the `genai` client.
//!
//! Only its streaming call is used: its other one gives up a whole answer for one malformed tool call, and shows the request in the
//! error. What its errors say is never passed on as it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    CacheControl, ChatMessage, ChatOptions, ChatRequest, ChatStream, ChatStreamEvent, ContentPart, MessageContent,
    MessageOptions, Tool, ToolCall, ToolResponse,
};
use genai::resolver::{AuthData, Endpoint as GenaiEndpoint};
use genai::{Client, Headers, ModelIden, ServiceTarget};
use serde_json::{Value, json};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::frames::{Frames, Said};
use super::http::{self, Http};
use super::{ChatModel, Endpoint, fault, price};
use crate::engine::ports::{AgentError, Delta, Deltas, ModelErrorClass, ModelFailure, Usage};
use crate::host::agent::chat::{Answer, AnsweredCall, Message, Part, Request};
use crate::session::{ModelApi, ModelSpec};

/// A model behind an HTTP endpoint.
pub struct GenaiModel {
    spec: ModelSpec,
    endpoint: Endpoint,
    client: Client,
    /// The library writes the bodies of errors to the log, which may hold what must not stand there.
    silence: Dispatch,
}

impl fmt::Debug for GenaiModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenaiModel").field("model", &self.spec.name).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl GenaiModel {
    /// The model that `spec` names, at `endpoint`.
    ///
    /// # Errors
    /// [`AgentError::Misconfigured`] when this machine cannot open secure connections.
    pub fn new(spec: ModelSpec, endpoint: Endpoint, http: &Http) -> Result<Self, AgentError> {
        let http = http.client(&endpoint)?;
        let client = Client::builder().with_reqwest(http).build();
        let client = client.map_err(|_| AgentError::Misconfigured("no model client can be had".to_owned()))?;
        Ok(Self { spec, endpoint, client, silence: Dispatch::new(NoSubscriber::new()) })
    }

    fn target(&self) -> ServiceTarget {
        let adapter = match self.endpoint.api() {
            ModelApi::OpenAi => AdapterKind::OpenAI,
            ModelApi::Anthropic => AdapterKind::Anthropic,
        };
        let mut headers = Headers::default();
        self.endpoint.headers().into_iter().for_each(|header| headers.merge(header));
        // Address and headers are given whole, so that an endpoint without a key works, and none is taken from the environment.
        let auth = AuthData::RequestOverride { url: self.endpoint.url().to_owned(), headers };
        let model = ModelIden::new(adapter, self.spec.name.as_str());
        ServiceTarget { endpoint: GenaiEndpoint::from_owned(self.endpoint.url()), auth, model }
    }

    fn options(&self, frames: Arc<Frames>) -> ChatOptions {
        let mut options = ChatOptions::default()
            .with_capture_usage(true)
            .with_capture_content(true)
            .with_capture_reasoning_content(true)
            .with_capture_tool_calls(true)
            .with_raw_frame_sink_arc(frames);
        options.temperature = self.spec.temperature_milli.map(|milli| f64::from(milli) / 1000.0);
        options.max_tokens = self.spec.max_output_tokens;
        // The library reads endings like `-high` as settings, and takes them off; the endpoint knows the model by its whole name.
        let name = &self.spec.name;
        options.extra_body = Some(if self.endpoint.tells_cost_on_request() {
            json!({ "model": name, "usage": { "include": true } })
        } else {
            json!({ "model": name })
        });
        options
    }

    async fn stream(&self, request: &Request, deltas: &dyn Deltas, frames: &Arc<Frames>) -> Result<Heard, genai::Error> {
        let options = self.options(Arc::clone(frames));
        let chat = chat_request(request, self.endpoint.api());
        let opened = self.client.exec_chat_stream(self.target(), chat, Some(&options)).with_subscriber(self.silence.clone());
        let mut stream: ChatStream = opened.await?.stream;
        let mut heard = Heard::default();
        while let Some(event) = stream.next().with_subscriber(self.silence.clone()).await {
            match event? {
                ChatStreamEvent::Chunk(chunk) => {
                    heard.text.push_str(&chunk.content);
                    deltas.delta(Delta::Text(chunk.content));
                }
                ChatStreamEvent::ReasoningChunk(chunk) => {
                    heard.reasoning.push_str(&chunk.content);
                    deltas.delta(Delta::Reasoning(chunk.content));
                }
                ChatStreamEvent::ToolCallChunk(chunk) => heard.call(chunk.tool_call, deltas),
                ChatStreamEvent::End(_) => heard.ended = true,
                ChatStreamEvent::Start | ChatStreamEvent::ThoughtSignatureChunk(_) | ChatStreamEvent::Heartbeat => {}
            }
        }
        Ok(heard)
    }

    fn failure(&self, class: ModelErrorClass, what: impl fmt::Display, said: &Said) -> ModelFailure {
        let message = self.endpoint.masked(&format!("{} at {}: {what}", self.spec.name, self.endpoint.host()));
        ModelFailure { class, message, retry_after: None, usage: self.usage(said) }
    }

    fn refused(&self, status: Option<u16>, body: &str, said: &Said) -> ModelFailure {
        let class = fault::class(status, body);
        let words = fault::said(body);
        let status_words = status.map(|status| format!("HTTP {status}: ")).unwrap_or_default();
        let way_out = match (class, self.endpoint.key_name()) {
            (ModelErrorClass::Authentication, Some(name)) => format!("; check the key in the secret `{name}`"),
            (ModelErrorClass::Authentication, None) => "; it was asked without a key: name one for this model".to_owned(),
            _ if status.is_some_and(|status| (300..400).contains(&status)) => {
                "; it redirects elsewhere, which is not followed: correct the base URL".to_owned()
            }
            _ => String::new(),
        };
        self.failure(class, format_args!("{status_words}{words}{way_out}"), said)
    }

    fn fault(&self, error: &genai::Error, said: &Said) -> ModelFailure {
        match error {
            genai::Error::HttpError { status, body, headers, .. } => {
                let mut failure = self.refused(Some(status.as_u16()), body, said);
                failure.retry_after = fault::retry_after(headers);
                failure
            }
            genai::Error::WebStream { error, .. } => {
                if let Some(inner) = error.downcast_ref::<genai::Error>() {
                    self.fault(inner, said)
                } else if let Some(error) = error.downcast_ref::<reqwest::Error>() {
                    self.disconnected(error, said)
                } else {
                    self.failure(ModelErrorClass::Internal, "its answer is no event stream", said)
                }
            }
            genai::Error::ChatResponse { body, .. } => self.refused(None, &body.to_string(), said),
            genai::Error::StreamParse { .. } | genai::Error::JsonValueExt(_) | genai::Error::SerdeJson(_) => {
                self.failure(ModelErrorClass::Internal, "a piece of its answer cannot be read", said)
            }
            _ => self.failure(ModelErrorClass::BadRequest, "the request cannot be made in this form", said),
        }
    }

    fn disconnected(&self, error: &reqwest::Error, said: &Said) -> ModelFailure {
        if error.is_timeout() {
            return self.failure(ModelErrorClass::Timeout, "it does not answer", said);
        }
        let what = if error.is_connect() {
            "it cannot be reached"
        } else if error.is_builder() {
            return self.failure(ModelErrorClass::BadRequest, "the request cannot be made", said);
        } else {
            "the connection broke"
        };
        self.failure(ModelErrorClass::Unavailable, format_args!("{what}: {}", http::innermost(error)), said)
    }

    fn usage(&self, said: &Said) -> Usage {
        let used = &said.used;
        let counted = used.prompt > 0 || used.completion > 0 || used.cost_usd.is_some();
        Usage {
            prompt_tokens: used.prompt,
            completion_tokens: used.completion,
            cached_tokens: used.cached,
            cost_micro_usd: if counted { price::cost(&self.spec, used) } else { None },
        }
    }

    fn answer(&self, heard: Heard, said: Said) -> Result<Answer, ModelFailure> {
        // Some endpoints leave the mark of the end out; that the model said why it ended is as good.
        if !heard.ended && said.finish_reason.is_none() {
            return Err(if said.any {
                self.failure(ModelErrorClass::Unavailable, "the answer broke off in the middle", &said)
            } else {
                self.failure(ModelErrorClass::Internal, "its answer is no event stream", &said)
            });
        }
        let reason = said.finish_reason.as_deref().unwrap_or_default();
        let is_empty = heard.calls.is_empty() && heard.text.trim().is_empty();
        if matches!(reason, "refusal" | "content_filter") && heard.calls.is_empty() {
            let words = fault::said(&heard.text);
            return Err(self.failure(
                ModelErrorClass::ContentPolicy,
                format_args!("it refuses to answer ({reason}): {words}"),
                &said,
            ));
        }
        if reason == "model_context_window_exceeded" && is_empty {
            return Err(self.failure(ModelErrorClass::ContextWindow, "the conversation is longer than its window", &said));
        }
        let usage = self.usage(&said);
        let Said { id, model, finish_reason, .. } = said;
        Ok(Answer { id, model, text: heard.text, reasoning: heard.reasoning, calls: heard.calls, finish_reason, usage })
    }
}

#[async_trait]
impl ChatModel for GenaiModel {
    async fn ask(&self, request: &Request, deltas: &dyn Deltas) -> Result<Answer, ModelFailure> {
        let frames = Arc::new(Frames::default());
        let limit = Duration::from_millis(self.spec.timeout_ms.max(1));
        match tokio::time::timeout(limit, self.stream(request, deltas, &frames)).await {
            Ok(Ok(heard)) => self.answer(heard, frames.said()),
            Ok(Err(error)) => Err(self.fault(&error, &frames.said())),
            Err(_) => {
                let what = format!("it did not finish its answer within {} s", limit.as_secs_f64());
                Err(self.failure(ModelErrorClass::Timeout, what, &frames.said()))
            }
        }
    }
}

/// What was heard of an answer so far.
#[derive(Default)]
struct Heard {
    text: String,
    reasoning: String,
    calls: Vec<AnsweredCall>,
    ended: bool,
}

impl Heard {
    /// Takes the state of a call, whose arguments grow from piece to piece.
    fn call(&mut self, call: ToolCall, deltas: &dyn Deltas) {
        let arguments = match call.fn_arguments {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match self.calls.iter_mut().find(|known| known.id == call.call_id) {
            Some(known) => known.arguments = arguments,
            None => {
                deltas.delta(Delta::Call(call.fn_name.clone()));
                self.calls.push(AnsweredCall { id: call.call_id, name: call.fn_name, arguments });
            }
        }
    }
}

fn chat_request(request: &Request, api: ModelApi) -> ChatRequest {
    let briefing = &request.briefing;
    let tools = briefing.tools.iter().map(|tool| {
        let definition = Tool::new(tool.name.clone()).with_description(tool.description.clone());
        definition.with_schema(tool.parameters.clone())
    });
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    messages.push(ChatMessage::system(briefing.prompt.clone()));
    messages.extend(request.messages.iter().map(|message| chat_message(message, api)));
    if api == ModelApi::Anthropic {
        // What comes before a mark is read from the cache by the next call: once prompt and tools, once the conversation so far.
        let last = messages.len() - 1;
        for (at, message) in messages.iter_mut().enumerate() {
            if at == 0 || at == last {
                message.options = Some(MessageOptions::from(CacheControl::Ephemeral));
            }
        }
    }
    let request = ChatRequest::new(messages);
    if briefing.tools.is_empty() { request } else { request.with_tools(tools) }
}

fn chat_message(message: &Message, api: ModelApi) -> ChatMessage {
    match message {
        Message::User { parts } => {
            ChatMessage::user(MessageContent::from_parts(parts.iter().map(|part| of_part(part, api)).collect::<Vec<_>>()))
        }
        Message::Assistant { text, calls } => {
            let text = (!text.is_empty()).then(|| ContentPart::Text(text.clone()));
            let calls = calls.iter().map(|call| {
                ContentPart::ToolCall(ToolCall {
                    call_id: call_id(&call.id, api),
                    fn_name: call.name.clone(),
                    fn_arguments: call.arguments.clone(),
                    thought_signatures: None,
                })
            });
            ChatMessage::assistant(MessageContent::from_parts(text.into_iter().chain(calls).collect::<Vec<_>>()))
        }
        Message::Result { call, text, .. } => ChatMessage::tool(ToolResponse::new(call_id(call, api), text.clone())),
    }
}

fn of_part(part: &Part, api: ModelApi) -> ContentPart {
    match part {
        Part::Text(text) => ContentPart::Text(text.clone()),
        Part::Image(url) => match data_url(url) {
            Some((kind, bytes)) => ContentPart::from_binary_base64(kind, bytes, None),
            // The library knows no pictures by address for Anthropic, whose API does.
            None if api == ModelApi::Anthropic => {
                ContentPart::from_custom(json!({ "type": "image", "source": { "type": "url", "url": url } }), None)
            }
            None => ContentPart::from_binary_url("image/png", url.clone(), None),
        },
    }
}

/// The media type and the base64 text of a `data:` URL.
fn data_url(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

/// Anthropic takes only some letters in ids, which may come from another endpoint.
fn call_id(id: &str, api: ModelApi) -> String {
    match api {
        ModelApi::OpenAi => id.to_owned(),
        ModelApi::Anthropic => {
            id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
        }
    }
}
