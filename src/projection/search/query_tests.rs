//! What is typed, and what it is read as.

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn read(text: &str) -> Query {
    parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    parse(text, NOW).map(|query| panic!("{text}: {query:?}")).unwrap_or_else(|error| error.to_string())
}

fn said(words: &[&str]) -> Term {
    Term::Words { words: words.iter().map(|word| (*word).to_owned()).collect(), prefix: false }
}

#[test]
fn words_phrases_beginnings_and_exclusions() {
    let query = read(r#"Redirect "no such file" src/foo_bar.rs conf* -retry -"give up""#);
    let beginning = Term::Words { words: vec!["conf".to_owned()], prefix: true };
    assert_eq!(
        query.terms.all,
        [
            vec![said(&["redirect"])],
            vec![said(&["no", "such", "file"])],
            vec![said(&["src", "foo", "bar", "rs"])],
            vec![beginning],
        ]
    );
    assert_eq!(query.terms.none, [said(&["retry"]), said(&["give", "up"])]);
    assert_eq!(read("a OR b OR c d").terms.all, [vec![said(&["a"]), said(&["b"]), said(&["c"])], vec![said(&["d"])]]);
}

#[test]
fn filters_become_labels_bounds_and_tests_of_the_session() {
    let query =
        read("kind:action tool:bash -kind:observation.run since:1d until:2027-01-15 state:Finished -cost:<0.5 model:claude");
    assert_eq!(query.terms.all, [vec![Term::label(Label::Family, "action")], vec![Term::label(Label::Tool, "bash")]]);
    assert_eq!(query.terms.none, [Term::label(Label::Kind, "observation.run")]);
    assert_eq!(query.since, Timestamp(NOW.0 - 86_400_000_000));
    assert_eq!(query.until, Timestamp(1_799_971_200_000_000));
    let tests: Vec<_> = query.sessions.iter().map(|test| (test.not, test.is.clone())).collect();
    assert_eq!(
        tests,
        [
            (false, SessionIs::State("finished".to_owned())),
            (true, SessionIs::Cheaper(500_000)),
            (false, SessionIs::Model("claude".to_owned())),
        ]
    );
    assert_eq!(read("kind:action.*").terms, read("kind:action").terms);
}

#[test]
fn what_looks_like_a_filter_and_is_none_is_words() {
    for (text, words) in [
        ("std::fs", &["std", "fs"][..]),
        ("https://a.b/c", &["https", "a", "b", "c"]),
        ("error:E0502", &["error", "e0502"]),
        ("\"kind:action\"", &["kind", "action"]),
        ("main.rs:12:5", &["main", "rs", "12", "5"]),
    ] {
        assert_eq!(read(text).terms.all, [vec![said(words)]], "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_what_can() {
    for (text, part) in [
        ("", "nothing to look for"),
        ("   ", "nothing to look for"),
        ("->", "no letter"),
        ("\"open", "not closed"),
        ("OR a", "between two words"),
        ("a OR", "between two words"),
        ("a OR -b", "before -"),
        ("kin:x", "did you mean kind:x"),
        ("tools:bash", "did you mean tool:bash"),
        ("source:robot", "user, agent or environment"),
        ("cost:1", "> or <"),
        ("cost:>x", "dollars"),
        ("since:yesterday", "7d"),
        ("since:99999999999999999d", "7d"),
        ("-since:7d", "turned around"),
        ("kind:", "action.run"),
        ("a OR state:x", "beside OR"),
        ("x*", "too many words"),
        ("word ".repeat(20_000).as_str(), "20000 words and filters are too many"),
        (format!("\"{}\"", "word ".repeat(20_000)).as_str(), "a phrase of 20000 words"),
        ("+".repeat(100_000).as_str(), "no letter"),
        (format!("since:{}", "9".repeat(100_000)).as_str(), "is no time"),
        (format!("cost:{}", "9".repeat(100_000)).as_str(), "> or <"),
        (format!("source:{}", "x".repeat(100_000)).as_str(), "user, agent or environment"),
    ] {
        let why = refused(text);
        assert!(why.contains(part), "{text:.100}: {why:.1000}");
        assert!(why.len() < 500, "{why:.1000}");
    }
}

#[test]
fn no_text_whatever_gets_anything_but_letters_and_digits_into_a_term() {
    for hostile in ["a\" OR \"b", "x' | 'y", "NEAR(a b)", "words:secret", "a\0b", "^a + b", "'; drop table event; --", "§k:x"] {
        let Ok(query) = parse(hostile, NOW) else { continue };
        for term in query.terms.all.iter().flatten().chain(&query.terms.none) {
            let Term::Words { words, .. } = term else { continue };
            assert!(words.iter().all(|word| word.chars().all(char::is_alphanumeric)), "{hostile}: {term:?}");
        }
    }
}
