//! The shared vocabulary: actions and observations of OpenHands V0, typed, read and written as V0 does.

pub mod action;
pub mod item;
pub mod json;
pub mod metrics;
pub mod observation;

mod decode;
mod encode;
mod lax;
mod message_text;
mod python_literal;
mod python_repr;
mod upcast;
