//! A connection to one server, from its first word to its last.

use std::error::Error;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, Tool,
};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, ServiceError, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use tokio::time::{Instant, timeout, timeout_at};

use super::launch::{Isolation, Process, Started};
use super::means::Means;
use super::meter::{MESSAGE_MAX, Measure, Meter};

/// How many pages a list of tools may have.
const PAGES_MAX: usize = 64;
/// How long a connection may take to be taken down.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
/// How much of an error is told, in characters.
const ERROR_CHARS_MAX: usize = 400;

/// A server that answers.
pub(super) struct Connection {
    service: RunningService<RoleClient, ClientConfig>,
    process: Option<Process>,
    measure: Measure,
}

/// What came of a call.
pub(super) enum Called {
    /// The server answered; that it failed is an answer too.
    Answered(Box<CallToolResult>),
    /// The server refused the call.
    Refused(String),
    /// Nobody knows whether the tool ran.
    Unknown(String),
}

impl Connection {
    /// Reaches a server.
    ///
    /// # Errors
    /// In words: what went wrong, and what a program that was started said.
    pub(super) async fn open(means: &Means, isolation: Isolation, within: Duration) -> Result<Self, String> {
        let deadline = Instant::now() + within;
        let late = || format!("it did not answer within {}", seconds(within));
        match means {
            Means::Program(program) => {
                let Started { mut process, stdin, stdout } =
                    timeout_at(deadline, program.start(isolation)).await.map_err(|_| late())??;
                let measure = Measure::default();
                let transport =
                    AsyncRwTransport::new(Meter::new(stdout, measure.clone()), stdin).with_max_line_length(MESSAGE_MAX);
                match timeout_at(deadline, Box::pin(serve_client(introduction(), transport))).await {
                    Ok(Ok(service)) => Ok(Self { service, process: Some(process), measure }),
                    Ok(Err(error)) => Err(match measure.too_much() {
                        Some(why) => why.to_owned(),
                        None => format!("{} ({})", process.last_words().await, told(&error)),
                    }),
                    Err(_) => Err(format!("{}; {}", late(), process.last_words().await)),
                }
            }
            Means::Http { url, key, client, old } => {
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                    .max_json_response_size(MESSAGE_MAX)
                    .max_sse_event_size(MESSAGE_MAX);
                if let Some(key) = key {
                    config = config.auth_header(key.value.as_str());
                }
                let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
                let why = match timeout_at(deadline, Box::pin(serve_client(introduction(), transport))).await {
                    Ok(Ok(service)) => return Ok(Self { service, process: None, measure: Measure::default() }),
                    Ok(Err(error)) => told(&error),
                    Err(_) => late(),
                };
                Err(if *old {
                    format!(
                        "{why}; it was asked by streamable HTTP, since the old HTTP+SSE is not spoken any more: give the address at \
                         which it speaks that, often one that ends in /mcp"
                    )
                } else {
                    why
                })
            }
        }
    }

    /// What the server says that it is.
    pub(super) fn is(&self) -> Option<String> {
        let info = self.service.peer_info()?;
        let server = info.server_info.as_ref()?;
        Some(shortened(&format!("{} {}", server.name, server.version)))
    }

    /// What a person should know of how it runs.
    pub(super) fn note(&self) -> Option<&str> {
        self.process.as_ref()?.note()
    }

    /// Its tools.
    ///
    /// # Errors
    /// In words, when it does not say.
    pub(super) async fn tools(&mut self, within: Duration) -> Result<Vec<Tool>, String> {
        self.measure.asked();
        let listed = timeout(within, async {
            let mut tools = Vec::new();
            let mut cursor = None;
            for _ in 0..PAGES_MAX {
                let page = self.service.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
                tools.extend(page.tools);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            Ok::<_, ServiceError>(tools)
        });
        match listed.await {
            Ok(Ok(tools)) => Ok(tools),
            Ok(Err(error)) => Err(self.why(&error).await),
            Err(_) => Err(format!("it did not name its tools within {}", seconds(within))),
        }
    }

    /// Calls a tool.
    pub(super) async fn call(&mut self, request: CallToolRequestParams, within: Duration) -> Called {
        self.measure.asked();
        match timeout(within, self.service.peer().call_tool(request)).await {
            Ok(Ok(result)) => Called::Answered(Box::new(result)),
            Ok(Err(ServiceError::McpError(error))) => Called::Refused(shortened(&error.message)),
            Ok(Err(error)) => Called::Unknown(self.why(&error).await),
            Err(_) => Called::Unknown(format!("it did not answer within {}", seconds(within))),
        }
    }

    /// What went wrong, with the last words of a program that is gone.
    async fn why(&mut self, error: &ServiceError) -> String {
        match (self.measure.too_much(), &mut self.process) {
            (Some(why), _) => why.to_owned(),
            (None, Some(process)) if matches!(error, ServiceError::TransportClosed | ServiceError::TransportSend(_)) => {
                process.last_words().await
            }
            _ => told(error),
        }
    }

    /// Whether nothing can be asked of it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.is_transport_closed()
    }

    /// Takes the connection down, and ends a program with all that it started.
    pub(super) async fn close(mut self) {
        let _ = self.service.close_with_timeout(CLOSE_WAIT).await;
        if let Some(process) = self.process.take() {
            process.end().await;
        }
    }
}

/// Who asks: one that neither samples nor elicits for servers.
fn introduction() -> ClientConfig {
    ClientConfig::new(ClientCapabilities::default(), Implementation::new("rekindle", env!("CARGO_PKG_VERSION")))
}

/// An error in few words.
fn told(error: &(dyn Error + 'static)) -> String {
    // What stands outside repeats what stands inside.
    let mut error = error;
    loop {
        if let Some(ClientInitializeError::TransportError { error: outside, .. }) = error.downcast_ref::<ClientInitializeError>()
        {
            error = &*outside.error;
        }
        if let Some(StreamableHttpError::Client(inside)) = error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
            error = inside;
        }
        match error.source() {
            Some(source) => error = source,
            None => return shortened(&error.to_string()),
        }
    }
}

/// Words of a server, or of a library about it, in one line that is not too long.
fn shortened(text: &str) -> String {
    let line =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A time as people say it.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
