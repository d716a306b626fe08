//! Two states side by side: which parts differ, and how.

use json_patch::PatchOperation;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::address::Address;
use crate::cli::exit::CliError;
use crate::cli::paint::Tone;
use crate::cli::text::{count, one_line, shorten};
use crate::engine::travel::state_at;
use crate::session::{Seq, SessionId};

/// How much of a value is shown, in characters.
const VALUE_MAX: usize = 120;

/// Shows what differs; answers whether anything does.
pub(super) async fn run(context: &mut Context, left: &Address, right: &Address) -> Result<bool, CliError> {
    let (before_of, before) = state(context, left).await?;
    let (after_of, after) = state(context, right).await?;
    let patch = json_patch::diff(&before, &after);
    let differs = !patch.0.is_empty();
    if !context.out.is_table() {
        context.out.json(&patch)?;
        return Ok(differs);
    }
    let paint = context.out.paint;
    let said = |value: Option<&Value>| shorten(&one_line(&value.map_or_else(String::new, said)), VALUE_MAX).into_owned();
    for operation in &patch.0 {
        let path = operation.path();
        let old = before.pointer(path.as_str());
        let path = one_line(path.as_str()).into_owned();
        match operation {
            PatchOperation::Add(add) => {
                context.out.line(format_args!("{} {path}: {}", paint.tone(Tone::Good, "+"), said(Some(&add.value))))?;
            }
            PatchOperation::Remove(_) => {
                context.out.line(format_args!("{} {path}: {}", paint.tone(Tone::Bad, "-"), said(old)))?;
            }
            PatchOperation::Replace(replace) => {
                context.out.line(format_args!("  {path}: {} → {}", said(old), said(Some(&replace.value))))?;
            }
            other => context.out.line(format_args!("  {other}"))?,
        }
    }
    let (from, to) = (named(before_of), named(after_of));
    match patch.0.len() as u64 {
        0 => context.note(format_args!("{from} and {to} are the same state")),
        parts => context.note(format_args!("{} from {from} to {to}", count(parts, "difference"))),
    }
    Ok(differs)
}

fn named((session, seq): (SessionId, Seq)) -> String {
    format!("{session}@{seq}")
}

async fn state(context: &Context, address: &Address) -> Result<((SessionId, Seq), Value), CliError> {
    let (store, row) = context.states(&address.session).await?;
    let at = address.at(&row)?;
    let session = state_at(store.as_ref(), row.id, at).await?.session;
    let value = serde_json::to_value(&session).map_err(std::io::Error::from)?;
    Ok(((row.id, at), value))
}

/// A value as people read it: texts without their quotes.
fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
