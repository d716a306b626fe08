//! Texts as words: the one way in which texts are cut for search, whatever database keeps the words.
//!
//! Letters and digits of any script make words, in lower case; all else parts them. So `foo_bar`, `src/main.rs` and `E0502` are found
//! by each of their parts, and by the whole, which is a phrase. Scripts without blanks between words are cut into their characters,
//! and a word of several is a phrase too. An index of all three-letter parts would find the middle of words as well, but takes three
//! to four times the room, finds nothing of one or two letters, and reads longest where words are most common.

use std::ops::Range;

/// The longest word, in bytes: what is longer is cut, here and where it is looked for. Digests in hexadecimal fit.
const WORD_BYTES_MAX: usize = 72;

/// The words of a text and where each stands in it, in bytes.
pub fn words(text: &str) -> Words<'_> {
    Words { text, from: 0 }
}

/// An iterator over words.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    text: &'a str,
    from: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (Range<usize>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.from..)?;
        let begin = self.from + rest.find(char::is_alphanumeric)?;
        let rest = self.text.get(begin..)?;
        let first = rest.chars().next()?;
        let length = match stands_alone(first) {
            true => first.len_utf8(),
            false => rest.find(|c: char| !c.is_alphanumeric() || stands_alone(c)).unwrap_or(rest.len()),
        };
        let place = begin..begin + length;
        self.from = place.end;
        self.text.get(place.clone()).map(|word| (place, word))
    }
}

/// Whether a character is a word by itself: it belongs to a script that puts no blanks between words.
const fn stands_alone(c: char) -> bool {
    // Thai to Myanmar, Khmer, kana, ideographs with their extensions, syllables of Hangul, which are glued to endings.
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Writes a word as it is kept, behind what is there.
pub fn push_folded(word: &str, to: &mut String) {
    let cut = word.len().min(WORD_BYTES_MAX);
    let cut = (0..=cut).rev().find(|end| word.is_char_boundary(*end)).unwrap_or_default();
    let word = word.get(..cut).unwrap_or_default();
    if word.is_ascii() {
        to.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    } else {
        // Some capitals become a letter and a mark, which is none.
        to.extend(word.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()));
    }
}

/// A word as it is kept.
pub fn folded(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    push_folded(word, &mut folded);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        words(text).map(|(_, word)| folded(word)).collect()
    }

    #[test]
    fn identifiers_paths_and_errors_are_cut_where_people_see_parts() {
        assert_eq!(cut("src/foo_bar.rs:12"), ["src", "foo", "bar", "rs", "12"]);
        assert_eq!(cut("error[E0502]: cannot"), ["error", "e0502", "cannot"]);
        assert_eq!(cut("HTTP/1.1 «Größe» ÉTÉ"), ["http", "1", "1", "größe", "été"]);
        assert_eq!(cut("  \u{1b}[31m\0--"), ["31m"]);
        assert_eq!(cut(""), Vec::<String>::new());
    }

    #[test]
    fn scripts_without_blanks_are_cut_into_characters() {
        assert_eq!(cut("rust東京タワー"), ["rust", "東", "京", "タ", "ワ", "ー"]);
        assert_eq!(cut("오류 code"), ["오", "류", "code"]);
    }

    #[test]
    fn words_stand_where_they_are_said_to_stand() {
        let text = "ein Größenwahn, 東x";
        for (place, word) in words(text) {
            assert_eq!(&text[place], word);
        }
    }

    #[test]
    fn a_long_word_is_cut_between_characters() {
        assert_eq!(folded(&"ä".repeat(100)).len(), WORD_BYTES_MAX);
        assert_eq!(folded(&"Z".repeat(100)), "z".repeat(WORD_BYTES_MAX));
    }

    #[test]
    fn every_word_is_found_by_itself_however_it_is_written() {
        for c in ('\0'..=char::MAX).filter(|c| c.is_alphanumeric()) {
            let kept = folded(&c.to_string());
            assert!(!kept.is_empty() && kept.chars().all(char::is_alphanumeric), "{c:?} becomes {kept:?}");
            assert_eq!(cut(&kept).concat(), kept, "{c:?}");
        }
    }

    #[test]
    fn what_is_kept_of_a_word_is_letters_and_digits() {
        // U+0130 becomes an i and a combining dot.
        assert_eq!(folded("\u{130}I"), "ii");
    }
}
