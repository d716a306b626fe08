//! The keys of an encrypted store: which sessions have none any more.

use super::text::count;
use super::{Finding, State};
use crate::cli::Context;
use crate::cli::location::usual_options;
use crate::session::SessionId;

/// How many sessions are named; the others are counted.
const NAMED_MAX: usize = 10;

/// The sessions, of so many, that are without their keys.
pub(super) fn of_keys(context: &Context, keyless: &[SessionId], sessions: usize) -> Finding {
    if keyless.is_empty() {
        return Finding::new("keys", State::Well, format!("the keys of {} are there", count(sessions as u64, "session")));
    }
    let place = usual_options().keys.unwrap_or_default();
    let mut named: Vec<String> = keyless.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let others = keyless.len() - named.len();
    if others > 0 {
        named.push(format!("and {}", count(others as u64, "other")));
    }
    let (without, named) = (count(keyless.len() as u64, "session"), named.join(", "));
    let found = format!("of {without} there is no key in {} that can be used: {named}", place.display());
    let purge = context.command("purge SESSION --reason TEXT");
    let advice = format!("bring the keys back there from where they are kept; what is lost for good can go with `{purge}`");
    Finding::new("keys", State::Bad, found).advice(advice)
}
