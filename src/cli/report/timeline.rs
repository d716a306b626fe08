//! The timeline: every event on a line, with an anchor that is its number.

use std::collections::HashMap;
use std::io::Write;

use maud::{Markup, html};

use super::facts::Facts;
use crate::cli::describe::describe;
use crate::cli::exit::CliError;
use crate::cli::page::Page;
use crate::cli::rows::Rows;
use crate::session::{Body, Kind, Recorded, Seq, Timestamp};
use crate::store::{Row, SharedStore};

/// How many events are shown from each end of a session that has more than twice as many.
const SHOWN: u64 = 4000;

/// The events that have a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    last: Seq,
}

impl Shown {
    pub(super) const fn upto(last: Seq) -> Self {
        Self { last }
    }

    pub(super) const fn has(self, seq: Seq) -> bool {
        seq.0 >= 1 && seq.0 <= self.last.0 && (seq.0 <= SHOWN || seq.0 > self.last.0.saturating_sub(SHOWN))
    }

    /// The first and the last event that have none.
    pub(super) const fn left_out(self) -> Option<(Seq, Seq)> {
        if self.last.0 <= 2 * SHOWN { None } else { Some((Seq(SHOWN + 1), Seq(self.last.0 - SHOWN))) }
    }
}

/// Writes the section.
///
/// # Errors
/// When the store cannot be read or the page not be written.
pub(super) async fn write<W: Write>(page: &mut Page<W>, store: &SharedStore, facts: &Facts) -> Result<(), CliError> {
    page.open("<section aria-labelledby=\"timeline\">\n")?;
    page.push(&html! {
        h2 #timeline { "Timeline" }
        (facts.kinds.choice())
    })?;
    page.open("<table id=\"events\">\n")?;
    page.push(&html! {
        caption { "Every event, in order; times are in UTC. ← names the event that one answers." }
        thead {
            tr {
                th.num scope="col" { "Event" } th scope="col" { "Time" } th scope="col" { "Kind" }
                th scope="col" { "Who" } th scope="col" { "What" }
            }
        }
    })?;
    page.open("<tbody>\n")?;
    let shown = Shown::upto(facts.last);
    let mut lines = Lines { facts, shown, classes: HashMap::new(), before: None };
    match shown.left_out() {
        None => lines.write(page, store, Seq(1), facts.last).await?,
        Some((first, last)) => {
            lines.write(page, store, Seq(1), Seq(SHOWN)).await?;
            let command = facts.command("show --events", format_args!(":{first}..{last}"));
            page.push(&html! {
                tr.cut {
                    td colspan="5" {
                        (last.0 - first.0 + 1) " events, " (first) " to " (last) ", are left out here: the page would be too long. "
                        code { (command) } " shows them."
                    }
                }
            })?;
            lines.before = None;
            lines.write(page, store, last.next(), facts.last).await?;
        }
    }
    page.open("</tbody></table></section>\n")?;
    Ok(())
}

struct Lines<'a> {
    facts: &'a Facts,
    shown: Shown,
    classes: HashMap<Kind, String>,
    /// When the event before was made.
    before: Option<Timestamp>,
}

impl Lines<'_> {
    async fn write<W: Write>(&mut self, page: &mut Page<W>, store: &SharedStore, first: Seq, last: Seq) -> Result<(), CliError> {
        let mut rows = Rows::new(store, self.facts.row.id, first, last);
        while let Some(place) = rows.next().await? {
            let line = match place {
                Row::Event { event, .. } => self.line(&event),
                Row::Damaged { seq, what } => html! {
                    tr.damaged.bad #(seq) { th.num scope="row" { (seq) } td {} td { "damaged" } td {} td { (what) } }
                },
            };
            page.push(&line)?;
        }
        Ok(())
    }

    fn line(&mut self, event: &Recorded) -> Markup {
        let kinds = &self.facts.kinds;
        let class = self.classes.entry(event.kind.clone()).or_insert_with(|| kinds.class(&event.kind)).clone();
        let day = |at: Timestamp| at.to_utc().map(|moment| moment.date_naive());
        let another_day = self.before.is_none_or(|before| day(before) != day(event.at));
        self.before = Some(event.at);
        let format = if another_day { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
        let time = event.at.to_utc().map_or_else(|| event.at.to_string(), |moment| moment.format(format).to_string());
        html! {
            tr.(class) #(event.seq) {
                th.num scope="row" { (event.seq) }
                td { time datetime=(event.at) { (time) } }
                td { code { (event.kind) } }
                td { (event.source) }
                td {
                    @if let Some(cause) = event.cause {
                        @if self.shown.has(cause) { a href={ "#" (cause) } { "←" (cause) } } @else { "←" (cause) }
                        " "
                    }
                    @if event.body == Body::Redacted { em { "taken out on request" } } @else { (describe(event)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_long_session_are_shown() {
        let short = Shown::upto(Seq(2 * SHOWN));
        assert!((1..=2 * SHOWN).all(|seq| short.has(Seq(seq))) && short.left_out().is_none());
        let long = Shown::upto(Seq(100_000));
        let (first, last) = long.left_out().unwrap();
        assert_eq!((first.0 - 1, 100_000 - last.0), (SHOWN, SHOWN));
        assert!(!long.has(first) && !long.has(last) && long.has(Seq(SHOWN)) && long.has(last.next()) && !long.has(Seq(100_001)));
    }
}
