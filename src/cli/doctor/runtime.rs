//! What a session gets on this machine, found out by making one.

use std::time::Duration;

use super::{Finding, State};
use crate::cli::sandbox;
use crate::engine::ports::{Mount, Provision, RuntimeError, Runtimes};
use crate::host::runtime::local::{LocalOptions, LocalRuntimes, leftovers};
use crate::session::{Digest, Epoch, SessionId};

/// How long the trial of the runtime may take.
const TRIAL_WAIT: Duration = Duration::from_secs(20);

/// Makes a runtime and lets it go.
pub(super) async fn of_runtime() -> Finding {
    let dir = std::env::temp_dir().join(format!("rekindle-doctor-{}", std::process::id()));
    // One of its own: two doctors at once must not take the trial for one another's.
    let session = SessionId::from_uuid(uuid::Uuid::new_v4());
    let request = Provision::new(session, Digest::ZERO, format!("doctor-{}", std::process::id()), Epoch(1), &dir);
    let runtimes = LocalRuntimes::new(LocalOptions::default());
    let trial = async {
        let provisioned = runtimes.provision(request).await?;
        provisioned.runtime.release().await?;
        Ok::<_, RuntimeError>(provisioned.report)
    };
    let unusable = |what: String| {
        Finding::new("runtime", State::Warn, what).advice("nothing can be replayed on this machine until that is mended")
    };
    let finding = match tokio::time::timeout(TRIAL_WAIT, trial).await {
        Ok(Ok(report)) => {
            let sandbox = report.sandbox.as_ref().map(|sandbox| format!("; {}", sandbox::words(sandbox))).unwrap_or_default();
            match report.mount {
                Mount::Namespace => Finding::new(
                    "runtime",
                    State::Well,
                    format!(
                        "sessions get namespaces of their own: /workspace is mounted, and no process outlives its session{sandbox}"
                    ),
                ),
                Mount::PathMapping => {
                    Finding::new("runtime", State::Warn, format!("no namespaces here: {}{sandbox}", report.warnings.join("; ")))
                        .advice("paths are mapped and a watchdog ends processes; permit user namespaces for real mounts")
                }
            }
        }
        Ok(Err(error)) => unusable(error.to_string()),
        Err(_) => unusable(format!("not there within {} s", TRIAL_WAIT.as_secs())),
    };
    let _ = std::fs::remove_dir_all(&dir);
    for left in leftovers().unwrap_or_default().iter().filter(|left| left.session == session) {
        let _ = std::fs::remove_file(&left.fence);
    }
    finding
}
