//! A model endpoint over real HTTP that answers as a test tells it to, and remembers what it was asked.
//!
//! It speaks the streaming chat completions of `OpenAI` at `/v1/chat/completions` and the messages of Anthropic at `/v1/messages`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running endpoint. Its connections break when it is dropped.
pub struct ModelServer {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    received: Mutex<Vec<Received>>,
    replies: Box<dyn Fn(&Received) -> Reply + Send + Sync>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    pub body: Value,
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The model answers.
    Answer(ModelAnswer),
    /// The model begins to answer, and the connection breaks.
    BreakOff(ModelAnswer),
    /// An error with this status, these headers and this body.
    Error(u16, Vec<(&'static str, String)>, String),
    /// A stream of exactly these lines.
    Raw(String),
    /// Nothing, for as long as the client waits.
    Hang,
}

/// What a model answers.
#[derive(Debug, Clone, Default)]
pub struct ModelAnswer {
    pub text: String,
    pub reasoning: String,
    /// Id, tool, and arguments as text, which need not be JSON.
    pub calls: Vec<(String, String, String)>,
    /// `stop` or `tool_calls` when unset.
    pub finish_reason: Option<&'static str>,
    /// 100 tokens read, 60 of them from the cache, 20 written.
    pub cost_usd: Option<f64>,
}

impl ModelAnswer {
    pub fn says(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Calls one tool more.
    pub fn calls(mut self, id: &str, tool: &str, arguments: &Value) -> Self {
        self.calls.push((id.to_owned(), tool.to_owned(), arguments.to_string()));
        self
    }
}

impl From<ModelAnswer> for Reply {
    fn from(answer: ModelAnswer) -> Self {
        Self::Answer(answer)
    }
}

impl Reply {
    /// An error as endpoints of both kinds word it.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        let body = json!({ "type": "error", "error": { "type": kind, "code": kind, "message": message } });
        Self::Error(status, Vec::new(), body.to_string())
    }
}

impl ModelServer {
    /// Gives these replies, one after the other, and refuses what is asked afterwards.
    pub async fn scripted(replies: impl IntoIterator<Item = Reply>) -> Self {
        let queue = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        let end = || Reply::error(400, "script_ended", "the test scripted no further reply");
        Self::replying(move |_| queue.lock().unwrap().pop_front().unwrap_or_else(end)).await
    }

    /// Decides from each request; what it says of a conversation does not depend on what was asked before.
    pub async fn replying(replies: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { received: Mutex::default(), replies: Box::new(replies) });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, task }
    }

    /// The base URL for either API.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// What was asked so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client that goes away while it is answered is no fault of the server.
            let _ = serve(stream, &state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream).await?;
    let reply = (state.replies)(&request);
    let is_anthropic = request.path.ends_with("/messages");
    state.received.lock().unwrap().push(request);
    match reply {
        Reply::Answer(answer) => stream_out(&mut stream, &frames(&answer, is_anthropic), true).await,
        Reply::BreakOff(answer) => {
            let frames = frames(&answer, is_anthropic);
            stream_out(&mut stream, &frames[..frames.len() / 2], false).await
        }
        Reply::Raw(text) => stream_out(&mut stream, &[text], true).await,
        Reply::Error(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} Error\r\ncontent-type: application/json\r\nconnection: close\r\n");
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(whole.as_bytes()).await?;
            stream.shutdown().await
        }
        Reply::Hang => {
            // Until the client goes away.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.map(|_| ())
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Received { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// Without its `end` a chunked answer is one that broke off.
async fn stream_out(stream: &mut BufReader<TcpStream>, frames: &[String], end: bool) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for frame in frames {
        stream.write_all(format!("{:x}\r\n{frame}\r\n", frame.len()).as_bytes()).await?;
        stream.flush().await?;
    }
    if end {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.shutdown().await
}

/// `text` in pieces, as a model writes.
fn pieces(text: &str) -> Vec<String> {
    text.chars().collect::<Vec<_>>().chunks(7).map(|piece| piece.iter().collect()).collect()
}

fn frames(answer: &ModelAnswer, is_anthropic: bool) -> Vec<String> {
    if is_anthropic { anthropic(answer) } else { openai(answer) }
}

fn openai(answer: &ModelAnswer) -> Vec<String> {
    let choice = |delta: Value, finish: Option<&str>| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "fake-model-1", "choices": choices })
    };
    let mut frames = vec![choice(json!({ "role": "assistant", "content": "" }), None)];
    frames.extend(pieces(&answer.reasoning).into_iter().map(|piece| choice(json!({ "reasoning_content": piece }), None)));
    frames.extend(pieces(&answer.text).into_iter().map(|piece| choice(json!({ "content": piece }), None)));
    for (index, (id, name, arguments)) in answer.calls.iter().enumerate() {
        let begun = json!([{ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" } }]);
        frames.push(choice(json!({ "tool_calls": begun }), None));
        for piece in pieces(arguments) {
            frames.push(choice(json!({ "tool_calls": [{ "index": index, "function": { "arguments": piece } }] }), None));
        }
    }
    let finish = answer.finish_reason.unwrap_or(if answer.calls.is_empty() { "stop" } else { "tool_calls" });
    frames.push(choice(json!({}), Some(finish)));
    let mut usage = json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": { "cached_tokens": 60 } });
    if let Some(cost) = answer.cost_usd {
        usage["cost"] = json!(cost);
    }
    frames.push(json!({ "id": "chatcmpl-1", "model": "fake-model-1", "choices": [], "usage": usage }));
    let frames = frames.iter().map(|frame| format!("data: {frame}\n\n"));
    frames.chain(["data: [DONE]\n\n".to_owned()]).collect()
}

fn anthropic(answer: &ModelAnswer) -> Vec<String> {
    let usage =
        json!({ "input_tokens": 40, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 0, "output_tokens": 1 });
    let message =
        json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "fake-model-1", "content": [], "usage": usage });
    let mut frames = vec![json!({ "type": "message_start", "message": message }), json!({ "type": "ping" })];
    let mut index = 0;
    let mut block = |frames: &mut Vec<Value>, start: Value, deltas: Vec<Value>| {
        frames.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        frames.extend(deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })));
        frames.push(json!({ "type": "content_block_stop", "index": index }));
        index += 1;
    };
    if !answer.reasoning.is_empty() {
        let deltas = pieces(&answer.reasoning).into_iter().map(|piece| json!({ "type": "thinking_delta", "thinking": piece }));
        block(&mut frames, json!({ "type": "thinking", "thinking": "" }), deltas.collect());
    }
    if !answer.text.is_empty() {
        let deltas = pieces(&answer.text).into_iter().map(|piece| json!({ "type": "text_delta", "text": piece }));
        block(&mut frames, json!({ "type": "text", "text": "" }), deltas.collect());
    }
    for (id, name, arguments) in &answer.calls {
        let deltas = pieces(arguments).into_iter().map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }));
        block(&mut frames, json!({ "type": "tool_use", "id": id, "name": name, "input": {} }), deltas.collect());
    }
    let reason = match answer.finish_reason {
        Some("length") => "max_tokens",
        Some(reason) => reason,
        None if answer.calls.is_empty() => "end_turn",
        None => "tool_use",
    };
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    frames.push(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 20 } }));
    frames.push(json!({ "type": "message_stop" }));
    frames.iter().map(|frame| format!("event: {}\ndata: {frame}\n\n", frame["type"].as_str().unwrap())).collect()
}
