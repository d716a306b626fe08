//! Everything that is tested from outside, as one program; a file's name says what it guarantees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod runtime_containment;
mod runtime_files;
mod runtime_python;
mod runtime_shell;
mod runtime_support;
mod runtime_workspace_mount;
