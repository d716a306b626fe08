//! Two sessions side by side: where they part, how each went on, and what each came to.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::address::{Named, find};
use crate::cli::exit::CliError;
use crate::cli::output::{Cell, Side, table};
use crate::cli::paint::Tone;
use crate::cli::rows::Rows;
use crate::cli::text::{count, duration, one_line, shorten};
use crate::engine::travel::state_at;
use crate::projection::Projection;
use crate::projection::compare::{Pair, align};
use crate::projection::directory::shown;
use crate::projection::steps::{Counted, Step, Steps};
use crate::projection::transcript::described;
use crate::session::replay::Difference;
use crate::session::{Seq, SessionId};
use crate::store::{Row, SharedStore};

/// How much of a call is shown, in characters.
const CALL_MAX: usize = 100;
/// How much of a difference is shown, in characters.
const DIFFERENCE_MAX: usize = 60;

/// One of the two.
struct Compared {
    steps: Steps,
    totals: Totals,
}

/// What a session came to. The shape of `left` and `right` of `diff A B -o json`.
#[derive(Serialize)]
struct Totals {
    session: SessionId,
    events: Seq,
    state: String,
    tool_calls: u64,
    model_calls: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost_micro_usd: Option<u64>,
    /// From its first event to its last, in microseconds.
    wall_us: u64,
    errors: u64,
    files_changed: Vec<String>,
}

/// The shape of `diff A B -o json`.
#[derive(Serialize)]
struct DiffView<'a> {
    left: &'a Totals,
    right: &'a Totals,
    common_prefix: u64,
    first_divergence: Option<PairView<'a>>,
    pairs: Vec<PairView<'a>>,
}

/// One line of the alignment.
#[derive(Serialize)]
struct PairView<'a> {
    #[serde(rename = "type")]
    is: &'static str,
    left: Option<CallView<'a>>,
    right: Option<CallView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<DifferenceView<'a>>>,
}

#[derive(Serialize)]
struct CallView<'a> {
    seq: Seq,
    tool: &'a str,
    what: String,
    outcome: Option<Seq>,
}

#[derive(Serialize)]
struct DifferenceView<'a> {
    field: &'a str,
    left: &'a str,
    right: &'a str,
}

/// Shows how they compare; answers whether they part.
pub(super) async fn run(context: &mut Context, left: &Named, right: &Named, messages: bool) -> Result<bool, CliError> {
    let store = context.store().await?;
    let counted = if messages { Counted::CallsAndWords } else { Counted::Calls };
    let left = compared(context, &store, left, counted).await?;
    let right = compared(context, &store, right, counted).await?;
    let pairs = align(left.steps.steps(), right.steps.steps());
    let common = pairs.iter().take_while(|pair| !pair.diverges()).count();
    let diverges = common < pairs.len();
    let side = Sides { left: &left, right: &right };
    if !context.out.is_table() {
        context.out.json(&DiffView {
            left: &left.totals,
            right: &right.totals,
            common_prefix: common as u64,
            first_divergence: pairs.get(common).map(|pair| side.view(pair)),
            pairs: pairs.iter().map(|pair| side.view(pair)).collect(),
        })?;
        return Ok(diverges);
    }
    side.print_prefix(context, common)?;
    if let Some(rest) = pairs.get(common..).filter(|rest| !rest.is_empty()) {
        side.print_rest(context, rest, common)?;
    } else {
        context.out.line("no divergence")?;
    }
    print_totals(context, &left.totals, &right.totals)?;
    Ok(diverges)
}

async fn compared(context: &Context, store: &SharedStore, named: &Named, counted: Counted) -> Result<Compared, CliError> {
    let row = find(context, store.as_ref(), named).await?;
    let mut steps = Steps::counting(counted);
    let (mut model_calls, mut damaged) = (0, 0);
    let mut rows = Rows::new(store, row.id, Seq(1), row.head);
    while let Some(row) = rows.next().await? {
        match row {
            Row::Event { event, .. } => {
                model_calls += u64::from(event.kind.as_str() == "model.responded");
                steps.apply(&event);
            }
            Row::Damaged { .. } => damaged += 1,
        }
    }
    if damaged > 0 {
        let places = count(damaged, "place");
        context.note(format_args!("{places} of {} cannot be read and are passed over; `rekindle verify` names them", row.id));
    }
    // What cannot be proven can still be compared by what it did.
    let state = state_at(store.as_ref(), row.id, row.head).await.map(|restored| restored.session);
    let usage = state.as_ref().map(|session| session.usage).unwrap_or_default();
    let totals = Totals {
        session: row.id,
        events: row.head,
        state: state.as_ref().map_or_else(|_| row.directory.phase.clone(), |session| shown(session).to_owned()),
        tool_calls: steps.steps().iter().filter(|step| !matches!(step.action.tag(), "message" | "think")).count() as u64,
        model_calls,
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cost_micro_usd: usage.cost_micro_usd,
        wall_us: u64::try_from(row.updated_at.since(row.created_at).as_micros()).unwrap_or(u64::MAX),
        errors: row.directory.errors,
        files_changed: steps.files().into_iter().map(str::to_owned).collect(),
    };
    Ok(Compared { steps, totals })
}

struct Sides<'a> {
    left: &'a Compared,
    right: &'a Compared,
}

impl<'a> Sides<'a> {
    fn left_step(&self, index: usize) -> Option<&'a Step> {
        self.left.steps.steps().get(index)
    }

    fn right_step(&self, index: usize) -> Option<&'a Step> {
        self.right.steps.steps().get(index)
    }

    fn view(&self, pair: &'a Pair) -> PairView<'a> {
        let call = |step: Option<&'a Step>| {
            step.map(|step| CallView {
                seq: step.seq,
                tool: step.action.tag(),
                what: described(&step.action),
                outcome: step.outcome.as_ref().map(|outcome| outcome.seq),
            })
        };
        let (is, left, right, differences) = match pair {
            Pair::Same { left, right } => ("same", self.left_step(*left), self.right_step(*right), None),
            Pair::OtherOutcome { left, right, differences } => {
                ("other_outcome", self.left_step(*left), self.right_step(*right), Some(differences))
            }
            Pair::Left(left) => ("left", self.left_step(*left), None, None),
            Pair::Right(right) => ("right", None, self.right_step(*right), None),
        };
        let differences = differences.map(|differences| differences.iter().map(difference).collect());
        PairView { is, left: call(left), right: call(right), differences }
    }

    fn print_prefix(&self, context: &mut Context, common: usize) -> Result<(), CliError> {
        let last = |step: Option<&Step>| step.map(|step| step.outcome.as_ref().map_or(step.seq, |outcome| outcome.seq));
        let Some(index) = common.checked_sub(1) else {
            context.out.line("common prefix     none")?;
            return Ok(());
        };
        if let (Some(left), Some(right)) = (last(self.left_step(index)), last(self.right_step(index))) {
            let calls = count(common as u64, "call");
            context.out.line(format_args!("common prefix     {calls}, to A:{left} and B:{right}"))?;
        }
        Ok(())
    }

    fn print_rest(&self, context: &mut Context, rest: &[Pair], common: usize) -> Result<(), CliError> {
        context.out.line(format_args!("first divergence  at call {}", common + 1))?;
        let mut same = 0;
        for pair in rest {
            if !pair.diverges() {
                same += 1;
                continue;
            }
            same_calls(context, &mut same)?;
            match pair {
                Pair::Same { .. } => {}
                Pair::OtherOutcome { left, right, differences } => {
                    if let (Some(left), Some(right)) = (self.left_step(*left), self.right_step(*right)) {
                        let (call, paint) = (line(left), context.out.paint);
                        let mark = paint.tone(Tone::Warn, "≠").to_string();
                        context.out.line(format_args!("{mark} A:{} B:{}  {call}", left.seq, right.seq))?;
                        for Difference { field, recorded, actual } in differences {
                            let (recorded, actual) = (brief(recorded), brief(actual));
                            context.out.line(format_args!("    {}: {recorded} → {actual}", one_line(field)))?;
                        }
                    }
                }
                Pair::Left(left) => {
                    if let Some(step) = self.left_step(*left) {
                        let mark = context.out.paint.tone(Tone::Bad, "-").to_string();
                        context.out.line(format_args!("{mark} A:{}  {}", step.seq, line(step)))?;
                    }
                }
                Pair::Right(right) => {
                    if let Some(step) = self.right_step(*right) {
                        let mark = context.out.paint.tone(Tone::Good, "+").to_string();
                        context.out.line(format_args!("{mark} B:{}  {}", step.seq, line(step)))?;
                    }
                }
            }
        }
        same_calls(context, &mut same)
    }
}

/// Tells of calls that both made, and forgets them.
fn same_calls(context: &mut Context, same: &mut u64) -> Result<(), CliError> {
    if *same > 0 {
        let said = format!("  … {} in common", count(*same, "call"));
        let said = context.out.paint.dim(said).to_string();
        context.out.line(said)?;
        *same = 0;
    }
    Ok(())
}

fn difference(difference: &Difference) -> DifferenceView<'_> {
    DifferenceView { field: &difference.field, left: &difference.recorded, right: &difference.actual }
}

fn line(step: &Step) -> String {
    let what = described(&step.action);
    format!("{}  {}", step.action.tag(), shorten(&one_line(&what), CALL_MAX)).trim_end().to_owned()
}

fn brief(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { "nothing".to_owned() } else { shorten(&one_line(text), DIFFERENCE_MAX).into_owned() }
}

fn print_totals(context: &mut Context, left: &Totals, right: &Totals) -> Result<(), CliError> {
    let cost = |totals: &Totals| match totals.cost_micro_usd {
        Some(micro) => format!("${:.4}", micro as f64 / 1e6),
        None => "unknown".to_owned(),
    };
    let rows: Vec<Vec<Cell>> = [
        ("session", left.session.to_string(), right.session.to_string()),
        ("state", left.state.clone(), right.state.clone()),
        ("events", left.events.to_string(), right.events.to_string()),
        ("tool calls", left.tool_calls.to_string(), right.tool_calls.to_string()),
        ("model calls", left.model_calls.to_string(), right.model_calls.to_string()),
        ("tokens read", left.prompt_tokens.to_string(), right.prompt_tokens.to_string()),
        ("tokens written", left.completion_tokens.to_string(), right.completion_tokens.to_string()),
        ("cost", cost(left), cost(right)),
        ("time", duration(left.wall_us), duration(right.wall_us)),
        ("errors", left.errors.to_string(), right.errors.to_string()),
        ("files changed", left.files_changed.len().to_string(), right.files_changed.len().to_string()),
    ]
    .into_iter()
    .map(|(what, left, right)| {
        let tone = if what != "session" && left != right { Tone::Plain } else { Tone::Dim };
        vec![Cell::new(what).tone(Tone::Dim), Cell::new(left).tone(tone), Cell::new(right).tone(tone)]
    })
    .collect();
    context.out.line("")?;
    Ok(table(&mut context.out, &[("", Side::Left), ("A", Side::Left), ("B", Side::Left)], &rows)?)
}
