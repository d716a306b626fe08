//! Cost and tokens: over time, and call by call.

use maud::{Markup, html};

use super::facts::Facts;
use super::plots::{Plot, Series};
use crate::cli::describe::dollars;
use crate::cli::text::{count, duration};
use crate::projection::spending::Spent;

/// The most bars of a plot: more could not be told apart.
const BARS_MAX: usize = 160;
/// The most lines of the table of calls.
const LINES_MAX: usize = 500;

pub(super) fn section(facts: &Facts) -> Markup {
    let spending = &facts.spending;
    html! {
        section aria-labelledby="spending" {
            h2 #spending { "Cost and tokens" }
            @if spending.spent.is_empty() {
                p.dim { "No model said what it used." }
            } @else {
                div.plots {
                    @for plot in plots(facts) { (plot) }
                }
                (table(&spending.spent))
            }
        }
    }
}

fn plots(facts: &Facts) -> Vec<Markup> {
    let spent = &facts.spending.spent;
    let span = facts.to.since(facts.from);
    let x = |one: &Spent| {
        let part = one.at.since(facts.from).as_secs_f64() / span.as_secs_f64();
        if part.is_finite() { part } else { 1.0 }
    };
    let sums = |value: fn(&Spent) -> u64| {
        let mut sum = 0_u64;
        let mut points = Vec::with_capacity(spent.len());
        for one in spent {
            sum = sum.saturating_add(value(one));
            points.push((x(one), real(sum)));
        }
        points
    };
    let read = |one: &Spent| one.prompt_tokens;
    let written = |one: &Spent| one.completion_tokens;
    let cost = |one: &Spent| one.cost_micro_usd.unwrap_or(0);
    let total = |value: fn(&Spent) -> u64| spent.iter().map(value).fold(0, u64::saturating_add);
    let (tokens_read, tokens_written, cost_total) = (total(read), total(written), total(cost));
    let calls = count(facts.spending.calls(), "call");
    let took = duration(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    let bars = bars(spent);
    let of_bars = |value: fn(&Spent) -> u64| bars.iter().map(|one| (0.0, real(value(one)))).collect::<Vec<_>>();
    let last = bars.last().map_or_else(String::new, |one| format!("event {}", one.seq));
    let first = bars.first().map_or_else(String::new, |one| format!("event {}", one.seq));
    let each = if bars.iter().any(|one| one.calls > 1) { "neighbouring calls together" } else { "each call" };
    let tokens = [Series { name: "read", points: sums(read) }, Series { name: "written", points: sums(written) }];
    let tokens_by_call = [Series { name: "read", points: of_bars(read) }, Series { name: "written", points: of_bars(written) }];
    let mut plots = Vec::new();
    if spent.iter().any(|one| one.cost_micro_usd.is_some()) {
        let money = [Series { name: "cost", points: sums(cost) }];
        let money_by_call = [Series { name: "cost", points: of_bars(cost) }];
        let sum = dollars(cost_total);
        plots.push(
            Plot {
                id: "cost-sum",
                title: "Cost so far",
                said: format!("The sum of {calls} rises to {sum} $ within {took}."),
                series: &money,
                from: "0".to_owned(),
                to: took.clone(),
                written: in_dollars,
            }
            .lines(),
        );
        plots.push(
            Plot {
                id: "cost-call",
                title: "Cost of each call",
                said: format!("{calls}, {each}; the dearest cost {} $.", dollars(bars.iter().map(cost).max().unwrap_or(0))),
                series: &money_by_call,
                from: first.clone(),
                to: last.clone(),
                written: in_dollars,
            }
            .bars(),
        );
    }
    plots.push(
        Plot {
            id: "tokens-sum",
            title: "Tokens so far",
            said: format!("In {calls} within {took} the sums rise to {tokens_read} tokens read and {tokens_written} written."),
            series: &tokens,
            from: "0".to_owned(),
            to: took,
            written: in_thousands,
        }
        .lines(),
    );
    let most = bars.iter().map(|one| one.prompt_tokens.saturating_add(one.completion_tokens)).max().unwrap_or(0);
    plots.push(
        Plot {
            id: "tokens-call",
            title: "Tokens of each call",
            said: format!("{calls}, {each}; the largest took {most} tokens."),
            series: &tokens_by_call,
            from: first,
            to: last,
            written: in_thousands,
        }
        .bars(),
    );
    plots
}

/// No more than there is room for: neighbours are added up.
fn bars(spent: &[Spent]) -> Vec<Spent> {
    let together = spent.len().div_ceil(BARS_MAX).max(1);
    spent.chunks(together).filter_map(|some| some.iter().copied().reduce(|sum, next| sum.with(&next))).collect()
}

fn table(spent: &[Spent]) -> Markup {
    let shown = spent.iter().take(LINES_MAX);
    html! {
        details {
            summary { "The figures as a table" }
            table {
                caption {
                    "What each call of a model used"
                    @if spent.iter().any(|one| one.calls > 1) { "; neighbouring calls are added up" }
                    @if spent.len() > LINES_MAX { "; the first " (LINES_MAX) " of " (spent.len()) " lines" }
                }
                thead {
                    tr {
                        th scope="col" { "Event" } th scope="col" { "Time" } th.num scope="col" { "Calls" }
                        th.num scope="col" { "Read" } th.num scope="col" { "Written" } th.num scope="col" { "Cost" }
                        th.num scope="col" { "Took" }
                    }
                }
                tbody {
                    @for one in shown {
                        tr {
                            th scope="row" { a href={ "#" (one.seq) } { (one.seq) } }
                            td { (one.at) }
                            td.num { (one.calls) }
                            td.num { (one.prompt_tokens) }
                            td.num { (one.completion_tokens) }
                            td.num { @if let Some(cost) = one.cost_micro_usd { (dollars(cost)) " $" } @else { "–" } }
                            td.num { @if one.latency_us > 0 { (duration(one.latency_us)) } @else { "–" } }
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a plot shows three digits")]
const fn real(value: u64) -> f64 {
    value as f64
}

fn in_dollars(micro: f64) -> String {
    format!("{:.4} $", micro / 1e6)
}

fn in_thousands(tokens: f64) -> String {
    match tokens {
        tokens if tokens >= 1e6 => format!("{:.1} M", tokens / 1e6),
        tokens if tokens >= 1e3 => format!("{:.1} k", tokens / 1e3),
        tokens => format!("{tokens:.0}"),
    }
}
