//! The one integration test binary. File names are guarantees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod sqlite_version;
mod statements;
mod store_cancellation;
mod store_contract;
mod store_crash_points;
mod store_damage;
mod store_fixture;
mod store_open_errors;
