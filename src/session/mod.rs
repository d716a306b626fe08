//! Layer 1 · pure: what a session is, what may be asked of it, what happened to it. No async, no clock, no I/O.
//!
//! `command → decide → event → apply → phase → effect`: a command is decided on into events, events are folded into the state, and
//! the state says what the world owes the session next.

pub mod audit;
pub mod command;
pub mod decide;
pub mod event;

pub mod vocabulary;

pub mod replay;

pub mod searchable;

pub mod mask;

pub mod model;
pub mod spec;
pub mod start;
pub mod stuck;
pub mod turn;
pub mod view;
pub mod workspace;

mod apply;
pub mod delegation;
pub mod effect;
pub mod fork;
mod omit;
pub mod phase;
pub mod state;

pub mod envelope;
pub mod id;
pub mod time;

pub use vocabulary::{action, item, json, metrics, observation};

pub use action::{Action, EffectClass};
pub use apply::title_of;
pub use command::{Command, Proof, Rejection, StepDone};
pub use decide::{Along, Decided, decide, decide_along, decide_hiding};
pub use effect::Effect;
pub use envelope::{Body, Kind, NewEvent, Recorded, Source};
pub use event::{Entry, Event};
pub use fork::{Forked, ForkedFrom};
pub use id::{Digest, Epoch, EventId, NodeId, Seq, SessionId, SessionName};
pub use item::{Content, ErrorKind, Item, ItemError};
pub use json::{Json, Object};
pub use mask::Masker;
pub use metrics::Metrics;
pub use observation::{Extras, Observation};
pub use phase::Phase;
pub use spec::{
    AgentConfig, AgentSpec, Analyzer, Condenser, ConfirmationPolicy, Deadlines, Interaction, Launcher, Limits, McpServer,
    McpTransport, MemorySpec, ModelApi, ModelSpec, OnBadFile, OnDivergence, OnSetupFailure, OnUnknown, Origin, Parent,
    PluginSpec, Price, Provider, RepositorySpec, Risk, RuntimeSpec, Sandbox, SecretRef, SecretUse, SecuritySpec, SessionSpec,
    Tool,
};
pub use start::{Report, StartStep};
pub use state::{REDUCER, Session};
pub use stuck::Recovery;
pub use time::Timestamp;
pub use turn::AgentState;
pub use workspace::SnapshotSpec;
