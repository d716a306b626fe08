//! Rekindle: an event-sourced session engine for AI agents.
//!
//! Layers, each using only those above it in this list: [`session`] is pure; [`store`] keeps the log; [`projection`] folds it
//! into views; [`engine`] makes things happen; [`trajectory`] reads and writes other systems' recordings, `audit` proves
//! that a log is what it was; `host` is the real world behind the engine's ports; `cli` is the program.

pub mod session;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "host"))]
mod private;

pub mod store;

pub mod projection;

pub mod engine;

pub mod trajectory;

#[cfg(feature = "audit")]
pub mod audit;

#[cfg(feature = "host")]
pub mod host;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Holds README's code to what the library does.
#[cfg(all(doctest, feature = "sqlite", feature = "host"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
