//! Layer 4 · the only place where things happen: effects are performed here, and their results go back as commands.

pub mod ports;
