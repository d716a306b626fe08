//! One event: on one line, or all of it.

use std::borrow::Cow;

use crate::cli::Context;
use crate::cli::describe::describe;
use crate::cli::exit::CliError;
use crate::cli::paint::{Paint, Tone};
use crate::cli::text::{beginning, one_line, pretty_json, visible};
use crate::session::{Body, Recorded, SessionId, Timestamp};
use crate::store::Row;

/// How much of a body is shown: lines, and characters.
const SHOWN_MAX: (usize, usize) = (200, 20_000);

/// One place of a log on one line.
pub fn event_line(paint: Paint, row: &Row) -> String {
    match row {
        Row::Event { event, .. } => recorded_line(paint, event),
        Row::Damaged { seq, what } => {
            format!("{seq:>6}  {}", paint.tone(Tone::Bad, format!("damaged: {}", one_line(what))))
        }
    }
}

/// One event on one line.
pub fn recorded_line(paint: Paint, event: &Recorded) -> String {
    let kind = format!("{:<24}", one_line(event.kind.as_str()));
    let cause = event.cause.map(|cause| format!("←{cause} ")).unwrap_or_default();
    let redacted = if event.body == Body::Redacted { "redacted" } else { "" };
    format!(
        "{:>6}  {}  {:<11}  {}  {}{}{redacted}",
        event.seq,
        paint.dim(time(event.at)),
        event.source,
        paint.tone(kind_tone(event), kind),
        paint.dim(cause),
        describe(event)
    )
    .trim_end()
    .to_owned()
}

fn kind_tone(event: &Recorded) -> Tone {
    match event.kind.as_str() {
        "observation.error" | "start.step_failed" | "close.step_failed" => Tone::Bad,
        kind if kind.starts_with("action.") && kind != "action.dispatched" => Tone::Voice,
        kind if kind.starts_with("session.") => Tone::Strong,
        _ => Tone::Plain,
    }
}

/// The time of day, to the millisecond.
pub fn time(at: Timestamp) -> String {
    at.to_utc().map_or_else(|| at.to_string(), |moment| moment.format("%H:%M:%S%.3f").to_string())
}

/// All of one place of a log: the envelope line by line, then the body.
pub fn print(context: &mut Context, session: SessionId, row: &Row, full: bool) -> Result<(), CliError> {
    let paint = context.out.paint;
    let Row::Event { event, hash, .. } = row else {
        return Ok(context.out.line(event_line(paint, row))?);
    };
    let cause = event.cause.map_or_else(|| "-".to_owned(), |cause| cause.to_string());
    let lines: [(&str, Cow<'_, str>); 8] = [
        ("event", format!("{} of session {session}", event.seq).into()),
        ("kind", format!("{} (version {})", one_line(event.kind.as_str()), event.v).into()),
        ("at", event.at.to_string().into()),
        ("source", event.source.as_str().into()),
        ("cause", cause.into()),
        ("id", event.id.to_string().into()),
        ("hash", hash.to_string().into()),
        ("must understand", if event.must_understand { "yes" } else { "no" }.into()),
    ];
    for (name, value) in lines {
        context.out.line(format_args!("{}  {value}", paint.dim(format!("{name:<15}"))))?;
    }
    match &event.body {
        Body::Redacted => context.out.line("\nthe body was taken out; its digest still stands in the chain")?,
        Body::Json(body) => {
            let pretty = pretty_json(body);
            let (shown, left_out) =
                if full { (Cow::Borrowed(pretty.as_str()), 0) } else { beginning(&pretty, SHOWN_MAX.0, SHOWN_MAX.1) };
            let cut = shown.len() < pretty.trim_end_matches('\n').len();
            context.out.line(format_args!("\n{}", visible(&shown)))?;
            if cut {
                let more = format!(
                    "… {left_out} more lines; `{}` shows all",
                    context.command(format_args!("show {session}:{} --full", event.seq))
                );
                context.out.line(paint.dim(more))?;
            }
        }
    }
    context.out.line("")?;
    Ok(())
}
