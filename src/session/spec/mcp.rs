//! Servers that bring further tools, by the Model Context Protocol.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServer {
    /// What it is called here; unique within a session.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// How long a connection or a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum McpTransport {
    /// A program that is started and spoken to over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        #[serde(default)]
        args: Vec<String>,
        /// Its environment beside a plain one. A value `${NAME}` is that of the session's secret of that name.
        #[serde(default)]
        env: BTreeMap<String, String>,
    },
    /// Streamable HTTP.
    Http {
        /// Where it is.
        url: String,
        /// The name of the secret that holds its key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// An entry of an old configuration for the HTTP+SSE transport; tried as streamable HTTP.
    Sse {
        /// Where it is.
        url: String,
        /// The name of the secret that holds its key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
}

const fn default_timeout_ms() -> u64 {
    30_000
}
