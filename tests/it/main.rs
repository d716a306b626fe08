//! The integration tests. Each file is named after what it guarantees.

mod golden_vectors;
mod session_properties;
mod session_scenarios;
