//! Which microagents a text asks for: by whole words, in any case.

use aho_corasick::{AhoCorasick, MatchKind};

use super::microagent::Microagent;

/// Triggers are looked for in the beginning of a text up to this, in bytes.
const TEXT_MAX: usize = 1024 * 1024;

/// All triggers of a library at once.
#[derive(Debug)]
pub(super) struct Triggers {
    automaton: Option<AhoCorasick>,
    /// Of each pattern: the microagent, and the trigger's place in its list.
    owners: Vec<(usize, usize)>,
}

impl Triggers {
    /// Of these, in their order.
    pub fn of(microagents: &[Microagent]) -> Self {
        let mut owners = Vec::new();
        let mut patterns = Vec::new();
        for (at, microagent) in microagents.iter().enumerate() {
            for (place, trigger) in microagent.triggers().iter().enumerate() {
                owners.push((at, place));
                patterns.push(trigger.to_lowercase());
            }
        }
        // The number and the length of triggers are bounded, so this cannot grow too large.
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns).ok();
        Self { automaton, owners }
    }

    /// The microagents that `text` asks for, each with the first of its triggers that is met.
    pub fn met(&self, text: &str) -> Vec<(usize, usize)> {
        let mut met: Vec<(usize, usize)> = Vec::new();
        let Some(automaton) = &self.automaton else { return met };
        let text = text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or(text).to_lowercase();
        let mut found = vec![false; self.owners.len()];
        for hit in automaton.find_overlapping_iter(&text) {
            let pattern = hit.pattern().as_usize();
            if let Some(found) = found.get_mut(pattern)
                && !*found
            {
                *found = stands_alone(&text, hit.start(), hit.end());
            }
        }
        for ((microagent, place), found) in self.owners.iter().zip(found) {
            if found && met.last().is_none_or(|(last, _)| last != microagent) {
                met.push((*microagent, *place));
            }
        }
        met
    }
}

/// Whether what lies between is no part of a longer word or, for a `/name`, of a path.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let (Some(before), Some(found), Some(after)) = (text.get(..start), text.get(start..end), text.get(end..)) else {
        return false;
    };
    let (last, next) = (before.chars().next_back(), after.chars().next());
    if found.starts_with('/') {
        let begins = last.is_none_or(|last| last.is_whitespace() || matches!(last, '`' | '"' | '\'' | '('));
        let goes_on = |next: char| is_word(next) || matches!(next, '/' | '-');
        let is_file = next == Some('.') && after.chars().nth(1).is_some_and(is_word);
        return begins && !next.is_some_and(goes_on) && !is_file;
    }
    let joined = |a: Option<char>, b: Option<char>| match (a, b) {
        (Some(a), Some(b)) => is_word(a) && is_word(b) && !is_unspaced(a) && !is_unspaced(b),
        _ => false,
    };
    !joined(last, found.chars().next()) && !joined(found.chars().next_back(), next)
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Whether it is of a script that puts no spaces between words: Thai to Khmer, kana, Chinese characters.
const fn is_unspaced(char: char) -> bool {
    matches!(
        char,
        '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use super::super::microagent::When;
    use super::*;

    fn met(triggers: &[&str], text: &str) -> Option<String> {
        let triggers: Vec<String> = triggers.iter().map(|&trigger| trigger.to_owned()).collect();
        let microagent = Microagent { name: "m".into(), when: When::Triggered(triggers.clone()), content: "c".into() };
        Triggers::of(&[microagent]).met(text).first().and_then(|&(_, place)| triggers.get(place).cloned())
    }

    #[test]
    fn a_trigger_is_met_by_whole_words_in_any_case() {
        for (trigger, text, is_met) in [
            ("git", "Use Git, please", true),
            ("git", "a digit", false),
            ("git", "github", false),
            ("git", "git-flow", true),
            ("git", "(git)", true),
            ("pull request", "open a PULL REQUEST.", true),
            ("c++", "in C++ or c", true),
            ("c", "in C++ or c", true),
            (".net", "use .NET now", true),
            ("straße", "die STRASSE, die Straße", true),
            ("数据库", "连接数据库吗", true),
            ("test", "a test_case", false),
            ("/fix", "/fix it", true),
            ("/fix", "please /FIX.", true),
            ("/fix", "see src/fix", false),
            ("/fix", "see /fix/it", false),
            ("/fix", "see /fix.md", false),
            ("git", "", false),
        ] {
            assert_eq!(met(&[trigger], text).is_some(), is_met, "{trigger:?} in {text:?}");
        }
    }

    #[test]
    fn the_first_trigger_of_the_file_counts_not_the_first_of_the_text() {
        assert_eq!(met(&["branch", "git"], "git has a branch").as_deref(), Some("branch"));
        assert_eq!(met(&["gi", "git"], "git").as_deref(), Some("git"), "a shorter one inside it does not hide it");
    }

    #[test]
    fn long_texts_and_long_lists_are_no_danger() {
        let triggers: Vec<String> = (1..=256).map(|n| "a".repeat(n)).collect();
        let microagent = Microagent { name: "m".into(), when: When::Triggered(triggers), content: "c".into() };
        assert!(Triggers::of(&[microagent]).met(&"a".repeat(20_000)).is_empty());
        assert_eq!(met(&["é"], &format!("{}é", "x".repeat(TEXT_MAX - 1))), None, "a cut inside of a character is none");
    }
}
