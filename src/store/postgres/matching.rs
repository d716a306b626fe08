//! Texts and searches in the language of PostgreSQL's text search. Every word comes in quotes, and holds nothing that could end them.

use super::super::{Term, Terms};
use crate::session::searchable::Label;

/// Words with their places; the database puts those of the same word together.
pub(super) fn indexed(words: &str) -> String {
    let mut indexed = String::with_capacity(words.len() * 2);
    for (place, word) in words.split(' ').filter(|word| !word.is_empty()).enumerate() {
        indexed.push_str(&format!("'{word}':{} ", place + 1));
    }
    indexed
}

pub(super) fn matching(terms: &Terms) -> String {
    let group = |terms: &[Term]| format!("({})", terms.iter().map(term).collect::<Vec<_>>().join(" | "));
    let mut parts: Vec<String> = terms.all.iter().map(|terms| group(terms)).collect();
    if parts.is_empty() {
        parts.push(format!("'{}'", Label::Any.of("")));
    }
    parts.extend(terms.none.iter().map(|none| format!("!{}", group(std::slice::from_ref(none)))));
    parts.join(" & ")
}

fn term(term: &Term) -> String {
    match term {
        Term::Words { words, prefix } => {
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            format!("({}{})", words.join(" <-> "), if *prefix { ":*" } else { "" })
        }
        Term::Label { label, prefix } => format!("'{label}'{}", if *prefix { ":*" } else { "" }),
    }
}
