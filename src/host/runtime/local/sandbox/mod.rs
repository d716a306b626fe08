//! What keeps a session's commands from the rest of the machine.

pub(super) mod bwrap;
pub(super) mod landlock;
pub(super) mod places;
pub(super) mod view;

use std::io;

use crate::engine::ports::{Gap, Guard, SandboxReport};
use crate::session::Sandbox;

/// What a session asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) sandbox: Sandbox,
    pub(super) network: bool,
}

impl Asked {
    /// Whether there is any sandbox.
    pub(super) const fn is_confined(self) -> bool {
        !matches!(self.sandbox, Sandbox::Unsafe)
    }

    /// Whether the session gets a network of its own, in which there is nobody else.
    pub(super) const fn shuts_network(self) -> bool {
        self.is_confined() && !self.network
    }
}

/// What was made for a session, as far as it matters for what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Made {
    /// The version of Landlock that holds.
    pub(super) landlock: Option<u32>,
    /// A view and processes of its own.
    pub(super) own_view: bool,
    /// A network of its own.
    pub(super) own_network: bool,
    /// What root may do is taken away.
    pub(super) tamed: bool,
}

/// The version of Landlock that shuts TCP.
const TCP: u32 = 4;
/// The version of Landlock that keeps signals in.
const SIGNALS: u32 = 6;
/// The version of Landlock that keeps files from being cut short.
const TRUNCATION: u32 = 3;
/// The version of Landlock that shuts sockets by their path.
const SOCKETS: u32 = 9;

/// What holds and what does not.
pub(super) fn report(asked: Asked, made: Made) -> SandboxReport {
    let mut report = SandboxReport {
        kind: asked.sandbox,
        landlock: made.landlock,
        network: !asked.shuts_network(),
        enforced: Vec::new(),
        missing: Vec::new(),
    };
    if !asked.is_confined() {
        return report;
    }
    let has = |version: u32| made.landlock.is_some_and(|abi| abi >= version);
    let lacks = |version: u32| format!("it takes namespaces, or version {version} of Landlock");
    let mut tell = |guard: Guard, holds: bool, why: String| {
        if holds { report.enforced.push(guard) } else { report.missing.push(Gap { guard, why }) }
    };
    tell(Guard::Writes, made.own_view || has(TRUNCATION), format!("files elsewhere can be cut short: {}", lacks(TRUNCATION)));
    tell(Guard::Attributes, made.own_view, "it takes namespaces".to_owned());
    tell(Guard::Reads, true, String::new());
    tell(Guard::Temporary, true, String::new());
    if asked.shuts_network() {
        tell(Guard::Tcp, made.own_network || has(TCP), lacks(TCP));
        tell(Guard::Network, made.own_network, "it takes network namespaces".to_owned());
    }
    tell(Guard::Sockets, made.own_view || has(SOCKETS), lacks(SOCKETS));
    tell(Guard::Processes, made.own_view, "it takes namespaces".to_owned());
    tell(Guard::Signals, made.own_view || has(SIGNALS), lacks(SIGNALS));
    tell(Guard::Terminals, true, String::new());
    tell(Guard::Privileges, made.tamed, "it takes the program setpriv, and the right to give up rights".to_owned());
    report
}

/// Says that Landlock is not to be had here, and the ways out.
pub(super) fn no_landlock() -> io::Error {
    let what = "this kernel has no Landlock, which keeps commands in their workspace; use Linux 5.13 or newer with `landlock` among its \
                security modules (the boot parameter lsm=), or --sandbox bwrap where bubblewrap is installed, or --unsafe-local to run \
                commands with all your own rights";
    io::Error::new(io::ErrorKind::Unsupported, what)
}
