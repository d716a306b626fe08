//! The kinds of a session's events, and the choice among them: radio buttons and styles, so that a page needs no script.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maud::{Markup, html};

use crate::session::Kind;

/// The most kinds that can be chosen one by one; there are not as many, but for foreign logs.
const KINDS_MAX: usize = 96;
/// What the others are called together.
const OTHERS: &str = "others";

/// How often each kind of event is there.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    counts: BTreeMap<Kind, u64>,
    others: u64,
    damaged: u64,
}

impl Kinds {
    pub(super) fn count(&mut self, kind: &Kind) {
        let room = self.counts.len() < KINDS_MAX;
        match self.counts.get_mut(kind) {
            Some(count) => *count += 1,
            None if room => {
                self.counts.insert(kind.clone(), 1);
            }
            None => self.others += 1,
        }
    }

    pub(super) const fn damaged(&mut self) {
        self.damaged += 1;
    }

    /// The class of an event's row.
    pub(super) fn class(&self, kind: &Kind) -> String {
        let of_kind = self.counts.keys().position(|known| known == kind);
        let of_family = self.families().keys().position(|family| *family == kind.family());
        let name =
            |prefix: char, index: Option<usize>| index.map_or_else(|| OTHERS.to_owned(), |index| format!("{prefix}{index}"));
        format!("{} {}", name('k', of_kind), name('f', of_family))
    }

    fn families(&self) -> BTreeMap<&str, u64> {
        let mut families = BTreeMap::new();
        for (kind, count) in &self.counts {
            *families.entry(kind.family()).or_default() += count;
        }
        families
    }

    /// What can be chosen: the class, what it is called, and how many there are.
    fn choices(&self) -> Vec<(String, String, u64)> {
        let mut choices = Vec::new();
        for (index, (family, count)) in self.families().into_iter().enumerate() {
            choices.push((format!("f{index}"), format!("{family}.*"), count));
            for (at, (kind, count)) in self.counts.iter().enumerate() {
                if kind.family() == family {
                    choices.push((format!("k{at}"), kind.as_str().to_owned(), *count));
                }
            }
        }
        if self.others > 0 {
            choices.push((OTHERS.to_owned(), "others".to_owned(), self.others));
        }
        if self.damaged > 0 {
            choices.push(("damaged".to_owned(), "damaged".to_owned(), self.damaged));
        }
        choices
    }

    /// The styles that hide what is not chosen. Classes are numbers: no text of the log is in them.
    pub(super) fn rules(&self) -> String {
        let mut rules = String::new();
        for (class, ..) in self.choices() {
            let _ = write!(rules, "body:has(#only-{class}:checked) #events tbody tr:not(.{class}){{display:none}}");
        }
        rules
    }

    /// The choice.
    pub(super) fn choice(&self) -> Markup {
        let all = self.counts.values().sum::<u64>() + self.others + self.damaged;
        html! {
            fieldset {
                legend { "Show events of kind" }
                label { input type="radio" name="kind" id="only-all" checked; " all (" (all) ")" }
                @for (class, name, count) in self.choices() {
                    label { input type="radio" name="kind" id={ "only-" (class) }; " " (name) " (" (count) ")" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_each_family_can_be_chosen_and_names_stay_text() {
        let mut kinds = Kinds::default();
        for kind in ["action.run", "action.run", "action.x</style><script>", "turn.ended"] {
            kinds.count(&Kind::new(kind));
        }
        let (rules, choice) = (kinds.rules(), kinds.choice().into_string());
        assert_eq!(kinds.class(&Kind::new("action.run")), "k0 f0");
        assert_eq!(kinds.class(&Kind::new("turn.ended")), "k2 f1");
        assert!(rules.contains("#only-k2:checked") && !rules.contains("script"), "{rules}");
        assert!(choice.contains("all (4)") && choice.contains("action.* (3)") && choice.contains("&lt;script&gt;"), "{choice}");
    }

    #[test]
    fn a_log_of_endless_kinds_takes_bounded_room() {
        let mut kinds = Kinds::default();
        (0..10_000).for_each(|index| kinds.count(&Kind::new(format!("k{index}.x"))));
        assert!(kinds.choices().len() <= 2 * KINDS_MAX + 1);
        assert_eq!(kinds.class(&Kind::new("k9999.x")), "others others");
        assert!(kinds.choice().into_string().contains("all (10000)"));
    }
}
