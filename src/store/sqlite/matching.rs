//! A search in the language of FTS5. Every word comes in quotes, and holds nothing that could end them.

use super::super::{Term, Terms};
use crate::session::searchable::Label;

pub(super) fn matching(terms: &Terms) -> String {
    let group = |terms: &[Term]| format!("({})", terms.iter().map(term).collect::<Vec<_>>().join(" OR "));
    let mut matching = match terms.all.is_empty() {
        true => format!("\"{}\"", Label::Any.of("")),
        false => terms.all.iter().map(|terms| group(terms)).collect::<Vec<_>>().join(" AND "),
    };
    if !terms.none.is_empty() {
        matching = format!("({matching}) NOT {}", group(&terms.none));
    }
    matching
}

fn term(term: &Term) -> String {
    match term {
        Term::Words { words, prefix } => format!("\"{}\"{}", words.join(" "), if *prefix { " *" } else { "" }),
        Term::Label { label, prefix } => format!("\"{label}\"{}", if *prefix { " *" } else { "" }),
    }
}
