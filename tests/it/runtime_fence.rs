//! One owner of a session per machine: a later owner ends what the one before has started, and the one before is refused.

use rekindle::engine::ports::{Provision, Runtimes};
use rekindle::host::runtime::local::LocalRuntimes;
use rekindle::session::{Action, Digest, Epoch};

use crate::cli_support::wait_until;
use crate::runtime_support::{PATIENT, isolations, options, request, run};

fn asked(epoch: u64, like: &Provision) -> Provision {
    Provision { epoch: Epoch(epoch), name: format!("{}-{epoch}", like.session), ..like.clone() }
}

#[tokio::test]
async fn a_later_owner_ends_what_the_one_before_has_started() {
    for isolation in isolations() {
        let directory = tempfile::tempdir().unwrap();
        let first = request("fence", directory.path().join("ws"));
        // Two engines on one machine, as far as runtimes can tell.
        let (old, new) = (LocalRuntimes::new(options(isolation)), LocalRuntimes::new(options(isolation)));
        let before = old.provision(asked(1, &first)).await.unwrap().runtime;
        let beat = Action::Run(run("(while sleep 0.02; do echo . >> beats; done) & echo begun"));
        before.execute(&beat, PATIENT).await.unwrap();
        let beats = directory.path().join("ws/beats");
        let count = || std::fs::read_to_string(&beats).unwrap_or_default().len();
        wait_until("it beats", || count() > 2);
        let after = new.provision(asked(2, &first)).await.unwrap().runtime;
        let ended = count();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(count(), ended, "{isolation:?}: it beats on");
        assert!(before.execute(&Action::Run(run("echo late >> beats")), PATIENT).await.is_err());
        assert!(old.provision(asked(1, &first)).await.is_err());
        assert_eq!(count(), ended);
        after.execute(&Action::Run(run("true")), PATIENT).await.unwrap();
        after.release().await.unwrap();
        // The same id in another store is another session.
        let other = Provision { birth: Digest([7; 32]), ..asked(1, &first) };
        old.provision(other).await.unwrap().runtime.release().await.unwrap();
    }
}
