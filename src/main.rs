//! The `rekindle` program.

fn main() {}
