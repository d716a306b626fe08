//! Many signed checkpoints in one text, as files hold them: one behind the other, an empty line between.

/// What stands between two notes.
pub const BETWEEN: &str = "\n";

/// A text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes<'a> {
    /// The whole notes, each with the line that it begins in, from 1.
    pub whole: Vec<(usize, &'a str)>,
    /// What stands between them and is none.
    pub other: Vec<(usize, &'a str)>,
    /// What comes behind the last whole one: the beginning of another that was cut off, or nothing.
    pub rest: &'a str,
}

/// Takes a text apart. A note's text has no empty line here, as is so of checkpoints.
pub fn notes(text: &str) -> Notes<'_> {
    let mut notes = Notes::default();
    let (mut begin, mut begin_line, mut end) = (0, 1, 0);
    let (mut part, mut at) = (Part::Between, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let is_whole = line.ends_with('\n');
        let is_signature = line.starts_with("— ");
        let next = match part {
            Part::Between if line == "\n" => Part::Between,
            Part::Between => {
                (begin, begin_line) = (at, index + 1);
                Part::Text
            }
            Part::Text if line == "\n" => Part::Blank,
            Part::Text => Part::Text,
            Part::Blank | Part::Signatures if is_signature && is_whole => Part::Signatures,
            // What was cut off in its last line is not whole.
            Part::Blank | Part::Signatures if is_signature => break,
            Part::Signatures if line == "\n" => Part::Between,
            Part::Blank | Part::Signatures => {
                if part == Part::Blank {
                    notes.other.extend(text.get(begin..at).map(|other| (begin_line, other)));
                }
                (begin, begin_line) = (at, index + 1);
                if line == "\n" { Part::Between } else { Part::Text }
            }
        };
        at += line.len();
        if next == Part::Signatures {
            if part == Part::Signatures {
                // One more signature under the same note.
                notes.whole.pop();
            }
            notes.whole.extend(text.get(begin..at).map(|note| (begin_line, note)));
            end = at;
        }
        part = next;
    }
    notes.rest = text.get(end..).unwrap_or_default();
    // What was told to be none and lies behind the last whole one is part of the rest.
    let whole_upto = text.get(..end).map_or(0, |before| before.matches('\n').count());
    notes.other.retain(|(line, _)| *line <= whole_upto);
    notes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Between,
    Text,
    Blank,
    Signatures,
}

/// What to add to a text that ends in `rest` behind its last whole note, so that `wanted` notes stand there; `None` when it ends in
/// something that none of them begins with.
pub fn continuation(is_first: bool, rest: &str, wanted: &[String]) -> Option<String> {
    let mut text = String::new();
    for note in wanted {
        if !(is_first && text.is_empty()) {
            text.push_str(BETWEEN);
        }
        text.push_str(note);
    }
    text.strip_prefix(rest).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "o\n1\nAAAA\n\n— o aaaa\n";
    const B: &str = "o\n2\nBBBB\n\n— o bbbb\n— w cccc\n";

    #[test]
    fn notes_are_found_one_behind_the_other() {
        let text = format!("{A}\n{B}\n{A}");
        let found = notes(&text);
        assert_eq!(found.whole, [(1, A), (7, B), (14, A)]);
        assert_eq!((found.other, found.rest), (vec![], ""));
        assert_eq!(notes(&format!("{A}{B}")).whole.len(), 2, "also without an empty line between");
        assert_eq!(notes(&format!("\n\n{A}\n\n\n")).whole, [(3, A)]);
        assert_eq!(notes(""), Notes::default());
    }

    #[test]
    fn what_is_no_note_is_told_with_its_line() {
        let text = format!("{A}\nsomething\nelse\n\n{B}");
        let found = notes(&text);
        assert_eq!(found.whole, [(1, A), (10, B)]);
        assert_eq!(found.other, [(7, "something\nelse\n\n")]);
    }

    #[test]
    fn a_note_that_was_cut_off_anywhere_is_made_whole() {
        // Each with one signature: one with more is whole without the last of them, too.
        const NEXT: &str = "o\n2\nBBBB\n\n— o bbbb\n";
        let whole = format!("{A}\n{NEXT}");
        for cut in 0..whole.len() {
            let Some(begun) = whole.get(..cut) else { continue };
            let found = notes(begun);
            let wanted = [A, NEXT].into_iter().skip(found.whole.len()).map(str::to_owned).collect::<Vec<_>>();
            let more = continuation(found.whole.is_empty(), found.rest, &wanted).unwrap();
            assert_eq!(format!("{begun}{more}"), whole, "cut at {cut}");
        }
        assert_eq!(continuation(true, "x", &[A.to_owned()]), None);
        assert_eq!(continuation(false, "", &[]), Some(String::new()));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_panic(text in "([a\n— ]{0,6}\n?){0,12}") {
            let found = notes(&text);
            prop_assert!(found.whole.iter().all(|(_, note)| note.contains("\n\n— ")));
        }
    }
}
