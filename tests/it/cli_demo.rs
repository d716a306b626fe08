//! The README's first command tells the whole story, and everything in it happens.

use crate::cli_support::Rig;

#[test]
fn the_demo_kills_restores_finishes_and_verifies() {
    let rig = Rig::new();
    let said = rig.run(&["demo", "--speed", "0"]);
    assert_eq!(said.code, 0, "{said:?}");
    for word in ["kill -9", "restored", "not run again", "intact", "finished", "Look further"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    let pasted = said.out.lines().find(|line| line.contains(" show @last --events --store ")).unwrap();
    let events = rig.paste(pasted);
    assert_eq!(events.code, 0, "{events:?}");
    assert!(events.out.contains("session.restored"), "{events:?}");
    assert!(!rig.store().exists(), "the user's own store is not touched");
}
