//! `rekindle bisect`: the first event after which something holds.

use clap_complete::ArgValueCompleter;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use super::address::{Address, Place};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::expression::Expression;
use super::show::recorded_line;
use super::text::{count, one_line, shorten};
use super::view::Cited;
use crate::engine::travel::{BisectError, bisect};
use crate::projection::part::{Change, changes};
use crate::session::{Seq, SessionId};

/// How much of a value is shown, in columns.
const SHOWN_MAX: usize = 60;

/// Find the first event after which something holds of a session's state
///
/// EXPR is asked of states as `rekindle state S@N -o json` shows them under "state", in the language of jq:
///
///   .agent == "error"         .usage.cost_micro_usd > 2000000
///   .counts.errors >= 3       .open | length > 0
///
/// It holds when its first answer is neither false nor null. As with git bisect it must not hold at the start and hold at the
/// end, and the way between is halved, so that few states are looked at; when it comes and goes on the way, one of the events at
/// which it comes is found.
///
/// Ends with 3 when it holds at the start already or does not hold at the end: then there is no such event.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N to look no further than event N
    #[arg(value_name = "S[@N]", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// What is bad
    #[arg(long, value_name = "EXPR")]
    bad: String,
    /// An event after which it does not hold; before the first event by default
    #[arg(long, value_name = "N", default_value_t = 0)]
    good: u64,
    /// An event after which it holds; the last one by default
    #[arg(long, value_name = "M")]
    bad_at: Option<u64>,
}

/// The shape of `bisect -o json`.
#[derive(Serialize)]
struct BisectView<'a> {
    session: SessionId,
    expression: &'a str,
    good: Seq,
    bad: Seq,
    folds: u32,
    event: Cited<'a>,
    changes: &'a [Change],
}

/// Finds an event.
///
/// # Errors
/// When there is none, or no such session; when the question cannot be read or asked; when the log does not prove its states.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let expression = Expression::parse(&args.bad)
        .map_err(|why| CliError::Usage(format!("{:?} is no question about a state: {}", args.bad, one_line(&why))))?;
    let (store, row) = context.states(&args.address.session).await?;
    let bad = match (args.address.place, args.bad_at) {
        (Place::Whole, Some(bad)) => super::address::within(&row, Seq(bad))?,
        (_, Some(_)) => return Err(CliError::Usage("S@N says already where to end; leave out --bad-at, or @N".to_owned())),
        (_, None) => args.address.at(&row)?,
    };
    let good = Seq(args.good);
    let found = match bisect(store.as_ref(), row.id, good, Some(bad), |state| expression.holds(state)).await {
        Ok(found) => found,
        Err(error) => return Err(none(&args.bad, row.id, error)),
    };
    let changes = changes(&found.before, &found.after);
    if !context.out.is_table() {
        context.out.json(&BisectView {
            session: row.id,
            expression: &args.bad,
            good,
            bad,
            folds: found.folds,
            event: Cited::of(&found.event),
            changes: &changes,
        })?;
        return Ok(Exit::Done);
    }
    let paint = context.out.paint;
    context.out.line(recorded_line(paint, &found.event))?;
    for change in &changes {
        let (old, new) = (shown(change.old.as_ref()), shown(change.new.as_ref()));
        context.out.line(format_args!("        {}  {old} → {new}", paint.dim(one_line(&change.path))))?;
    }
    let between = count(bad.0.saturating_sub(good.0), "event");
    context.note(format_args!(
        "it holds first after event {}; {} of {between} looked at",
        found.event.seq,
        count(found.folds.into(), "state")
    ));
    Ok(Exit::Done)
}

/// A value on one line; what is not there is a dash.
pub fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| shorten(&one_line(&value.to_string()), SHOWN_MAX).into_owned())
}

fn none(expression: &str, session: SessionId, error: BisectError) -> CliError {
    match error {
        BisectError::HoldsAlready(Seq::ZERO) => CliError::NotFound(format!(
            "{expression:?} holds of session {session} before its first event, so no event is the first; begin behind one after \
             which it does not hold with --good N"
        )),
        BisectError::HoldsAlready(good) => CliError::NotFound(format!(
            "{expression:?} holds of session {session} after event {good} already; say an earlier --good"
        )),
        BisectError::NeverHolds(bad) => CliError::NotFound(format!(
            "{expression:?} does not hold of session {session} after event {bad}; say an event after which it does with --bad-at M"
        )),
        BisectError::Untold { seq, what } => CliError::Failed(format!(
            "{expression:?} cannot be asked of the state after event {seq}: {}; a part that may be missing is asked with ?, as in .x.y?",
            one_line(&what)
        )),
        BisectError::Bounds { good, bad, .. } => CliError::Usage(format!("--good {good} must come before --bad-at {bad}")),
        BisectError::Engine(error) => error.into(),
    }
}
