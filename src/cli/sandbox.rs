//! How it is said what keeps commands from the rest of the machine, and how it is told.

use super::exit::CliError;
use crate::engine::ports::SandboxReport;
use crate::session::{Report, RuntimeSpec, Sandbox};

/// What may be said of the local runtime.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct SandboxArgs {
    /// What keeps commands from the rest of the machine
    #[arg(long, value_enum, value_name = "WHAT")]
    sandbox: Option<Kind>,
    /// Let commands open connections
    #[arg(long)]
    network: bool,
    /// Run commands without any sandbox, with all your own rights on this machine
    #[arg(long, conflicts_with_all = ["sandbox", "network"])]
    unsafe_local: bool,
}

/// The sandboxes that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// By the kernel itself, with namespaces where they are permitted
    Landlock,
    /// By bubblewrap, where it is installed
    Bwrap,
}

impl SandboxArgs {
    /// Whether anything was said.
    pub const fn is_said(self) -> bool {
        self.sandbox.is_some() || self.network || self.unsafe_local
    }

    /// Whether commands could reach what lies outside the sandbox.
    pub const fn lets_out(self) -> bool {
        self.network || self.unsafe_local
    }

    /// The local runtime that is asked for; what no flag says is as in the configuration, by the word of a sandbox and whether
    /// there is a network.
    ///
    /// # Errors
    /// [`CliError::Usage`] when the configuration names no sandbox.
    pub fn spec(self, configured: Option<&str>, network: Option<bool>) -> Result<RuntimeSpec, CliError> {
        let configured = match configured {
            None | Some("landlock") => Sandbox::Landlock,
            Some("bwrap") => Sandbox::Bubblewrap,
            Some(other) => {
                let why = format!(
                    "`{other}` is no sandbox: runtime.sandbox is landlock or bwrap; without any only by the flag --unsafe-local"
                );
                return Err(CliError::Usage(why));
            }
        };
        if self.unsafe_local {
            return Ok(RuntimeSpec::Local { sandbox: Sandbox::Unsafe, network: true });
        }
        let sandbox = match self.sandbox {
            None => configured,
            Some(Kind::Landlock) => Sandbox::Landlock,
            Some(Kind::Bwrap) => Sandbox::Bubblewrap,
        };
        Ok(RuntimeSpec::Local { sandbox, network: self.network || network == Some(true) })
    }
}

/// What the start of a runtime reported of its sandbox.
pub fn of_report(report: &Report) -> Option<SandboxReport> {
    serde_json::from_value(report.0.get("sandbox")?.clone()).ok()
}

/// A few words on what keeps a session's commands from the machine.
pub fn brief(report: &SandboxReport) -> String {
    let by = match (report.kind, report.landlock) {
        (Sandbox::Unsafe, _) => return "no sandbox: commands have all rights of the user who runs them".to_owned(),
        (Sandbox::Landlock, Some(version)) => format!("Landlock {version}"),
        (Sandbox::Landlock, None) => "Landlock".to_owned(),
        (Sandbox::Bubblewrap, Some(version)) => format!("bubblewrap and Landlock {version}"),
        (Sandbox::Bubblewrap, None) => "bubblewrap".to_owned(),
    };
    format!("sandboxed by {by}, {}", if report.network { "network allowed" } else { "no network" })
}

/// What could not be shut, and why.
pub fn gaps(report: &SandboxReport) -> Option<String> {
    let open: Vec<String> = report.missing.iter().map(|gap| format!("{} ({})", gap.guard.words(), gap.why)).collect();
    (!open.is_empty()).then(|| format!("not shut: {}", open.join(", ")))
}

/// All of it.
pub fn words(report: &SandboxReport) -> String {
    let shut: Vec<&str> = report.enforced.iter().map(|guard| guard.words()).collect();
    let shut = (!shut.is_empty()).then(|| format!("shut: {}", shut.join(", ")));
    [Some(brief(report)), shut, gaps(report)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_configuration_and_no_sandbox_is_only_had_by_its_flag() {
        let local = |sandbox, network| RuntimeSpec::Local { sandbox, network };
        let none = SandboxArgs::default();
        assert_eq!(none.spec(None, None).unwrap(), RuntimeSpec::default());
        assert_eq!(none.spec(Some("bwrap"), Some(true)).unwrap(), local(Sandbox::Bubblewrap, true));
        let landlock = SandboxArgs { sandbox: Some(Kind::Landlock), ..none };
        assert_eq!(landlock.spec(Some("bwrap"), None).unwrap(), local(Sandbox::Landlock, false));
        let without = SandboxArgs { unsafe_local: true, ..none };
        assert_eq!(without.spec(Some("bwrap"), Some(false)).unwrap(), local(Sandbox::Unsafe, true));
        for wrong in ["unsafe", "none", "docker"] {
            let error = none.spec(Some(wrong), None).unwrap_err().to_string();
            assert!(error.contains("landlock or bwrap") && error.contains("--unsafe-local"), "{error}");
        }
    }
}
