//! One binary for all integration tests, so that the crate is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy spares only the tests themselves, not what they share"
)]

mod golden_vectors;
mod trajectory_bad_input;
mod trajectory_round_trip;
