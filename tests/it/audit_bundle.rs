//! A bundle is judged the same by the program and by a checker that knows nothing of it, and what was done to one is found.

use std::collections::BTreeMap;

use rekindle::audit::bundle::{Ancestor, Record, Signed};
use rekindle::audit::{SignerKey, Verdict};
use rekindle::session::{Seq, SessionId};

use crate::bundle_damage::{DOINGS, Good, damaged};
use crate::bundle_support::{
    Chance, Files, checker, event_at, events, exported, judged, random_session, records, said, sealed_records, signed,
};

/// How many sessions are exported; each is damaged in every way that there is.
const SESSIONS: u64 = 150;

#[tokio::test]
async fn the_program_and_the_checker_agree_on_thousands_of_bundles_good_and_damaged() {
    let mut files = Files::new();
    let mut expected = Vec::new();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut other = None;
    for seed in 0..SESSIONS {
        let chance = &mut Chance::new(seed);
        let filled = random_session(chance).await;
        let upto = if chance.one_in(4) { Seq(1 + chance.next() % filled.head.0) } else { filled.head };
        let mut bytes = exported(&filled, upto).await;
        let key = chance.one_in(3).then(|| SignerKey::from_seed("log.example/one", chance.bytes()).unwrap());
        if let Some(key) = &key {
            bytes = sealed_records(&signed(chance, &records(&bytes), key));
        }
        let pinned = key.as_ref().map(SignerKey::verifier).filter(|_| chance.one_in(2));
        let found = judged(&bytes, pinned).unwrap();
        assert_eq!(found.verdicts.integrity, Verdict::Holds, "seed {seed}");
        // A state that is not the recorded one is found by whoever can fold, and nothing else is taken for one.
        let is_lie = found.verdicts.determinism.failure().is_some();
        assert!(!is_lie || filled.lies, "seed {seed}: {}", found.verdicts.determinism);
        *seen.entry(found.verdicts.determinism.as_str()).or_default() += 1;
        let good = Good {
            bytes: &bytes,
            records: records(&bytes),
            other: other.replace(records(&bytes)).unwrap_or_else(|| records(&bytes)),
            key: key.as_ref(),
            pinned: pinned.is_some(),
        };
        files.add(&bytes, pinned);
        expected.push((format!("seed {seed}: as it was written"), said(&Ok(found)), None));
        for doing in 0..DOINGS.len() {
            let Some(damage) = damaged(&good, doing, chance) else { continue };
            *seen.entry(damage.how).or_default() += 1;
            files.add(&damage.bytes, pinned);
            expected.push((format!("seed {seed}: {}", damage.how), said(&judged(&damage.bytes, pinned)), Some(damage.shows)));
        }
    }
    let checked = files.checked();
    assert_eq!(checked.len(), expected.len());
    assert!(checked.len() > 2000, "only {} bundles", checked.len());
    for ((what, said, shows), checked) in expected.iter().zip(&checked) {
        assert_eq!(said, checked, "{what}");
        assert!(!(*shows == Some(true) && said.starts_with('0')), "{what} is not found: {said}");
    }
    // Everything was done, and done often.
    for (how, _) in DOINGS {
        assert!(seen.get(how).is_some_and(|count| *count >= 10), "{how}: {seen:?}");
    }
    for word in ["holds", "fails", "unjudged"] {
        assert!(seen.contains_key(word), "no determinism {word}: {seen:?}");
    }
    for part in ["0 holds - holds -", "0 holds - open", "5 holds - fails", "5 fails", "2"] {
        assert!(checked.iter().any(|said| said.starts_with(part)), "none is {part:?}");
    }
}

#[tokio::test]
async fn who_signed_a_bundle_is_told_apart_from_who_brings_it() {
    let chance = &mut Chance::new(7);
    let filled = random_session(chance).await;
    let bytes = exported(&filled, filled.head).await;
    assert_eq!(judged(&bytes, None).unwrap().signed, Signed::Nobody);
    let key = SignerKey::from_seed("log.example/one", [7; 32]).unwrap();
    let verifier = key.verifier();
    let proven = sealed_records(&signed(chance, &records(&bytes), &key));
    let own = judged(&proven, None).unwrap();
    assert_eq!(own.signed, Signed::OwnKey { key: verifier.clone(), upto: filled.head });
    assert!(own.signed.to_string().contains("a key that this file itself brings"), "{}", own.signed);
    assert_eq!(judged(&proven, Some(verifier)).unwrap().signed, Signed::PinnedKey { key: verifier.clone(), upto: filled.head });
    // One that bears no signature of the key that was asked for does not pass for one that does.
    let other = SignerKey::from_seed("log.example/one", [8; 32]).unwrap();
    for bytes in [&bytes, &proven] {
        let found = judged(bytes, Some(other.verifier())).unwrap();
        let (_, what) = found.verdicts.integrity.failure().unwrap();
        assert!(what.contains(&other.verifier().to_string()), "{what}");
    }
}

#[tokio::test]
async fn a_log_cannot_be_passed_off_as_that_of_a_fork_with_no_event_in_it() {
    let filled = random_session(&mut Chance::new(1)).await;
    let mut records = records(&exported(&filled, filled.head).await);
    let Record::Header(header) = &mut records[0] else { panic!("{records:?}") };
    let ancestor = Ancestor { session: header.session, upto: header.head, hash: header.hash };
    header.session = SessionId::from_uuid(Chance::new(2).uuid());
    let at = records.iter().position(|record| matches!(record, Record::Event(_))).unwrap();
    records.insert(at, Record::Ancestor(ancestor));
    let bytes = sealed_records(&records);
    let mut files = Files::new();
    files.add(&bytes, None);
    let said = said(&judged(&bytes, None));
    assert!(said.starts_with("5 fails 1"), "{said}");
    assert_eq!(files.checked(), [said]);
}

#[tokio::test]
async fn the_checker_says_of_one_file_what_holds_and_ends_with_the_code_for_it() {
    let filled = random_session(&mut Chance::new(1)).await;
    let bytes = exported(&filled, filled.head).await;
    let directory = tempfile::tempdir().unwrap();
    let mut records = records(&bytes);
    let at = records.iter().position(|record| matches!(record, Record::Event(_))).unwrap();
    records.remove(at);
    for (bytes, code) in [(bytes, 0), (sealed_records(&records), 5), (b"{}\n".to_vec(), 2)] {
        let path = directory.path().join("bundle");
        std::fs::write(&path, &bytes).unwrap();
        let output = checker(&[path.to_str().unwrap()]).output().unwrap();
        let expected = format!("{}\n", said(&judged(&bytes, None)));
        assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(code), expected));
    }
    assert_eq!(checker::<&str>(&[]).status().unwrap().code(), Some(2), "no file is not one that holds");
}

#[tokio::test]
async fn the_checker_judges_long_texts_of_which_every_character_is_escaped() {
    let filled = random_session(&mut Chance::new(1)).await;
    let mut records = records(&exported(&filled, filled.head).await);
    let body = format!("\"{}\"", "\\n".repeat(5_000_000));
    let last = *events(&records).last().unwrap();
    let event = event_at(&mut records, last);
    event.body = Some(body);
    event.salt = Some([7; 16]);
    event.digest = None;
    let mut files = Files::new();
    files.add(&sealed_records(&records), None);
    assert_eq!(files.checked(), [said(&judged(&sealed_records(&records), None))]);
}

#[test]
fn no_bytes_make_a_panic_or_a_bundle() {
    for seed in 0..2000 {
        let chance = &mut Chance::new(seed);
        let header = br#"{"header":{"format":"rekindle-bundle/1","session":"#;
        let bytes = if chance.one_in(2) { [header, &chance.bytes::<64>()[..]].concat() } else { chance.bytes::<200>().to_vec() };
        assert_eq!(said(&judged(&bytes, None)), "2");
    }
}
