//! One entry of the transcript as markup.

use maud::{Markup, html};

use super::conversation::{Done, Outcome, Told, What};
use super::facts::Facts;
use super::overview::class;
use super::timeline::Shown;
use super::verdicts::link;
use crate::cli::describe;
use crate::cli::page::Clipped;
use crate::cli::show::verdict_tone;
use crate::cli::text::bytes;
use crate::session::Seq;
use crate::session::replay::Verdict;

pub(super) fn entry(facts: &Facts, told: &Told, shown: Shown) -> Markup {
    let (seq, source) = (told.seq, told.source.as_str());
    let time = told.at.to_utc().map_or_else(|| told.at.to_string(), |moment| moment.format("%H:%M:%S").to_string());
    let heading = |kind: &str, beside: &Markup| {
        html! {
            h3 {
                (link(seq, shown)) " " (source) " "
                @if !kind.is_empty() { code { (kind) } " " }
                time.dim datetime=(told.at) { (time) } (beside)
            }
        }
    };
    match &told.what {
        What::Message(text) => html! {
            article.entry.(source) #{ "t" (seq) } {
                (heading("", &html! {}))
                (clipped(facts, seq, text, |part| html! { div.told { (part) } }))
            }
        },
        What::Action(done) => {
            let verdict = done.verdict.as_ref().map(|verdict| {
                html! { " " span class=(class(verdict_tone(verdict))) { (describe::verdict(verdict)) } }
            });
            html! {
                article.entry.(source) #{ "t" (seq) } {
                    (heading(&done.tag, &verdict.unwrap_or_default()))
                    (action(facts, seq, done, shown))
                }
            }
        }
        What::Outcome(of, found) => html! {
            article.entry #{ "t" (seq) } {
                (heading(&found.tag, &html! { @if let Some(of) = of { " answers " (link(*of, shown)) } }))
                (outcome(facts, found, false))
            }
        },
        What::State(state, reason) => html! {
            p.dim #{ "t" (seq) } {
                (link(seq, shown)) " " (state.as_str().replace('_', " "))
                @if !reason.is_empty() { ": " (reason) }
            }
        },
        What::Hidden(why) => html! {
            p.warn #{ "t" (seq) } { "Event " (link(seq, shown)) " is " (why) "." }
        },
    }
}

fn action(facts: &Facts, seq: Seq, done: &Done, shown: Shown) -> Markup {
    let Done { thought, asked, change, outcome: found, verdict, .. } = done;
    let told = found.as_ref().and_then(|found| found.change.as_ref().map(|change| (found.seq, change)));
    html! {
        @if !thought.is_empty() { (clipped(facts, seq, thought, |part| html! { div.told.thought { (part) } })) }
        @if !asked.is_empty() { (pre(facts, seq, asked)) }
        @match (told, change) {
            (Some((seq, change)), _) => (self::change(facts, seq, change)),
            (None, Some(change)) => (self::change(facts, seq, change)),
            (None, None) => {}
        }
        @match found {
            Some(found) => {
                p.dim { "→ " (link(found.seq, shown)) " " (found.tag) }
                (outcome(facts, found, told.is_some()))
            }
            None => {}
        }
        @if let Some(Verdict::Diverged { differences }) = verdict {
            table {
                caption { "Where this is not the recorded outcome" }
                thead { tr { th scope="col" { "Field" } th scope="col" { "Recorded" } th scope="col" { "Now" } } }
                tbody {
                    @for difference in differences {
                        tr {
                            th scope="row" { (difference.field) }
                            td { pre { "\n" (difference.recorded) } }
                            td { pre { "\n" (difference.actual) } }
                        }
                    }
                }
            }
        }
    }
}

/// What came of an action. Where its change is shown already, the words for the agent are put aside.
fn outcome(facts: &Facts, found: &Outcome, changed: bool) -> Markup {
    let failed = found.tag == "error" || found.text.head.starts_with("ERROR");
    html! {
        @if changed && !failed {
            @if !found.text.is_empty() {
                details { summary.dim { "What the agent was told" } (pre(facts, found.seq, &found.text)) }
            }
        } @else {
            @if let (false, Some(change)) = (changed, &found.change) { (self::change(facts, found.seq, change)) }
            @if found.text.is_empty() { @if found.exit_code.is_none() { p.dim { "nothing" } } }
            @else if failed { div.bad { (pre(facts, found.seq, &found.text)) } }
            @else { (pre(facts, found.seq, &found.text)) }
        }
        @match found.exit_code {
            None | Some(0) => {}
            Some(-1) => { p.warn { "still running, or its end is unknown" } }
            Some(code) => { p.bad { "exit " (code) } }
        }
    }
}

fn pre(facts: &Facts, seq: Seq, text: &Clipped) -> Markup {
    // A parser drops the first line break of a `pre`, which is this one and never one of the text.
    clipped(facts, seq, text, |part| html! { pre { "\n" (part) } })
}

/// A unified difference; lines that are taken away and added are marked as that, not by colour alone.
fn change(facts: &Facts, seq: Seq, text: &Clipped) -> Markup {
    clipped(facts, seq, text, |part| {
        html! {
            pre {
                @for line in part.lines() {
                    @if line.starts_with('+') { ins { (line) } }
                    @else if line.starts_with('-') { del { (line) } }
                    @else { (line) "\n" }
                }
            }
        }
    })
}

/// A text, and where it is cut: how much is missing, and which event has all of it.
pub(super) fn clipped(facts: &Facts, seq: Seq, text: &Clipped, part: impl Fn(&str) -> Markup) -> Markup {
    html! {
        (part(&text.head))
        @if text.left_out > 0 {
            p.cut {
                "… " (bytes(text.left_out as u64)) " are left out; event " (seq) " has all of it: "
                code { (facts.command("show --full", format_args!(":{seq}"))) }
            }
            (part(&text.tail))
        }
    }
}
