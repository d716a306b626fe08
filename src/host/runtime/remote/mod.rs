//! The remote runtime: actions run behind an HTTP API, on another machine or in a container.
//!
//! Whatever is handed over has an id and is remembered with what came of it. So a request whose answer was lost is sent again without
//! harm, an owner that takes a session over asks what came of what its predecessor handed over, and nothing is executed twice.

mod call;
mod client;
mod server;
mod wire;

pub(super) use client::Released;
pub use client::{RemoteOptions, RemoteRuntime, RemoteRuntimes};
pub use server::{RuntimeServer, ServerError, ServerOptions, Workspaces};
pub use wire::{API_KEY_VARIABLE, proof};
