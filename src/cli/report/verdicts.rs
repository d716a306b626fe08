//! What holds of the log: its chain, the states that it records, and what today's code makes of it.

use maud::{Markup, html};

use super::facts::{Damage, Facts};
use super::timeline::Shown;
use crate::cli::text::{beginning, count};
use crate::engine::travel::Refolded;
use crate::session::Seq;
use crate::session::replay::verify::{Divergence, Redecided};
use crate::session::replay::{ReplayOutcome, ReplayProgress};

/// The most divergences that are told one by one.
const DIVERGENCES_MAX: usize = 50;
/// The most places that could not be checked that are told.
const UNCHECKED_MAX: usize = 50;
/// How much of each side of a difference is shown.
const DIFFERENCE_MAX: (usize, usize) = (12, 1200);

/// Whether the log is what was written.
pub(super) fn verification(facts: &Facts) -> Markup {
    let found = &facts.verified;
    html! {
        section aria-labelledby="verification" {
            h2 #verification { "Verification" }
            @if let (Some(bad), what) = (found.bad, found.what.as_deref().unwrap_or_default()) {
                p { strong.bad { "Damaged" } ": event " (bad) ": " (what) "." }
                @if bad > Seq(1) {
                    p {
                        "Events 1 to " (bad.0 - 1) " hold. Look at them with "
                        code { (facts.command("show", format_args!("@{}", bad.0 - 1))) } "."
                    }
                }
            } @else {
                p { strong.good { "Intact" } ": the log is what was written." }
                dl {
                    dt { "Density" }
                    dd { "events 1 to " (found.events) ", none missing" }
                    dt { "Chain" }
                    dd { "each hash follows from the event and the hash before; the last one is " code { (found.hash) } }
                    dt { "Head" }
                    dd {
                        @if facts.last < facts.row.head { "not looked at: this is what the session was after event " (facts.last) }
                        @else { "event " (facts.row.head) " is the one that the session's directory row names" }
                    }
                    @if let Some(digest) = found.digest {
                        dt { "State" }
                        dd { "the events fold to every state that is recorded on the way, and in the end to " code { (digest) } }
                    }
                }
                p.dim { "Check it again with " code { (facts.command("verify", place(facts))) } "." }
            }
        }
    }
}

/// What today's code makes of the log.
pub(super) fn replays(facts: &Facts) -> Markup {
    let replay = facts.state.as_ref().and_then(|state| state.replay.as_ref());
    let shown = Shown::upto(facts.last);
    html! {
        section aria-labelledby="replays" {
            h2 #replays { "Replay verdicts" }
            h3 { "Folded again" }
            @match &facts.folded {
                Ok(folded) => (self::folded(folded)),
                Err(damage) => (damaged(damage)),
            }
            h3 { "Decided again" }
            @match &facts.redecided {
                Ok(redecided) => (self::redecided(redecided, shown)),
                Err(damage) => (damaged(damage)),
            }
            @if let Some(replay) = replay {
                h3 { "Performed again" }
                (performed(replay))
            }
            p.dim {
                "Folded with " code { (facts.command("replay --mode fold", place(facts))) }
                ", decided with " code { (facts.command("replay --mode verify", place(facts))) } "."
            }
        }
    }
}

/// `@N` where a part of the session is told of.
fn place(facts: &Facts) -> String {
    if facts.last < facts.row.head { format!("@{}", facts.last) } else { String::new() }
}

fn damaged(damage: &Damage) -> Markup {
    html! { p { strong.bad { "Damaged" } ": event " (damage.seq) ": " (damage.what) "." } }
}

fn folded(folded: &Refolded) -> Markup {
    html! {
        @match &folded.first {
            None if folded.compared == 0 => {
                p { "Nothing to compare: no state that reducer " code { (folded.reducer) } " makes is recorded in this log." }
            }
            None => {
                p {
                    strong.good { "Same" } ": " (count(folded.compared, "recorded state")) " compared, each is the one folded by reducer "
                    code { (folded.reducer) } "."
                }
            }
            Some(first) => {
                p {
                    strong.bad { "Differs" } ": " (folded.mismatches) " of " (count(folded.compared, "recorded state"))
                    " are others than those folded by reducer " code { (folded.reducer) } ", the first at event " (first.seq)
                    ", which records the state after event " (first.after) "."
                }
                dl { dt { "Recorded" } dd { code { (first.recorded) } } dt { "Folded" } dd { code { (first.folded) } } }
            }
        }
        @if folded.passed_over > 0 {
            p.dim {
                (count(folded.passed_over, "recorded state"))
                " could not be compared: another reducer made them, or something before them was taken out."
            }
        }
        @if let Some(seq) = folded.not_understood {
            p.warn { "Event " (seq) " must be understood and is not: a newer version wrote it." }
        }
        dl { dt { "Digest" } dd { code { (folded.digest) } } }
    }
}

fn redecided(found: &Redecided, shown: Shown) -> Markup {
    let Redecided { events, commands, decided, given, divergences, unchecked } = found;
    html! {
        p {
            @if found.agrees() { strong.good { "Same" } } @else { strong.bad { "Diverged" } }
            ": of " (count(*events, "event")) ", " (decided) " are decided as they stand there for " (count(*commands, "command"))
            @if *given > 0 { "; " (given) " stand as they were imported" }
            @if !divergences.is_empty() { "; " (count(divergences.len() as u64, "divergence")) }
            "."
        }
        @for divergence in divergences.iter().take(DIVERGENCES_MAX) { (diverged(divergence, shown)) }
        @if divergences.len() > DIVERGENCES_MAX {
            p.cut { (divergences.len() - DIVERGENCES_MAX) " more divergences are left out." }
        }
        @if !unchecked.is_empty() {
            table {
                caption { "What could not be decided again" }
                thead {
                    tr {
                        th scope="col" { "From event" } th.num scope="col" { "Events" }
                        th scope="col" { "Kind" } th scope="col" { "Why" }
                    }
                }
                tbody {
                    @for one in unchecked.iter().take(UNCHECKED_MAX) {
                        tr {
                            th scope="row" { (link(one.seq, shown)) } td.num { (one.events) }
                            td { code { (one.kind) } } td { (one.why) }
                        }
                    }
                }
            }
            @if unchecked.len() > UNCHECKED_MAX { p.cut { (unchecked.len() - UNCHECKED_MAX) " more are left out." } }
        }
    }
}

fn diverged(divergence: &Divergence, shown: Shown) -> Markup {
    let Divergence { seq, command, rule, expected, actual, differences, explanation } = divergence;
    let kind = |side: &Option<crate::session::replay::verify::Shown>| {
        side.as_ref().map_or_else(|| "nothing".to_owned(), |shown| shown.kind.to_string())
    };
    let cut = |text: &str| beginning(text, DIFFERENCE_MAX.0, DIFFERENCE_MAX.1).0.into_owned();
    html! {
        details.entry.bad open {
            summary { "Event " (link(*seq, shown)) ", " (rule) ", after " (command) ": " (explanation) }
            table {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Recorded" } th scope="col" { "Today" } } }
                tbody {
                    @if differences.is_empty() {
                        tr { th scope="row" { "event" } td { (kind(expected)) } td { (kind(actual)) } }
                    }
                    @for difference in differences {
                        tr {
                            th scope="row" { (difference.field) }
                            td { pre { "\n" (cut(&difference.recorded)) } }
                            td { pre { "\n" (cut(&difference.actual)) } }
                        }
                    }
                }
            }
        }
    }
}

fn performed(replay: &ReplayProgress) -> Markup {
    let counts = replay.verdicts;
    html! {
        p {
            @match &replay.outcome {
                None => { strong.warn { "Under way" } }
                Some(ReplayOutcome::Completed) if counts.diverged == 0 => { strong.good { "Completed" } }
                Some(ReplayOutcome::Completed) => { strong.bad { "Completed, diverged" } }
                Some(ReplayOutcome::Stopped { index, reason }) => {
                    strong.bad { "Stopped" } " at entry " (index) " of the recording: " (reason)
                }
            }
            ": " (replay.performed) " of " (replay.lines) " messages and actions performed."
        }
        dl {
            @for (name, number) in counts.named() {
                @if number > 0 { dt { (capitalised(name)) } dd { (number) } }
            }
        }
    }
}

/// As a heading begins.
fn capitalised(name: &str) -> String {
    let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
    first.to_ascii_uppercase() + rest
}

/// The number of an event, which leads to its line where it has one.
pub(super) fn link(seq: Seq, shown: Shown) -> Markup {
    html! { @if shown.has(seq) { a href={ "#" (seq) } { (seq) } } @else { (seq) } }
}
