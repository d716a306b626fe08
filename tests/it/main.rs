//! The integration tests. Each file is named after what it guarantees.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed, which is what it is for")]

mod engine_sessions;
mod golden_vectors;
mod layers;
mod session_properties;
mod session_scenarios;
