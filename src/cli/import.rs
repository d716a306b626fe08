//! `rekindle import`: keep a recording as a session, without performing anything.

use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use super::exit::{CliError, Exit};
use super::location::Access;
use super::paint::Tone;
use super::replay::unreadable;
use super::summary::field;
use super::text::{count, one_line};
use crate::engine::clock::{Clock, SystemClock};
use crate::session::{SessionId, SessionName};
use crate::trajectory::{Import, ImportError, import, read_file};

/// How many entries that are not understood are named.
const NAMED_MAX: usize = 5;

/// Keep a recording as a session, without performing anything
///
/// Everything is kept byte for byte, also what this version does not know; `rekindle export` gives it back. Importing the
/// same recording again changes nothing, and goes on where an import was cut off.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A V0 trajectory, or the directory of a stored V0 session
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// A name for the session; that of the directory by default
    #[arg(long, value_name = "NAME")]
    name: Option<SessionName>,
}

#[derive(Debug, Serialize)]
struct Imported {
    session: SessionId,
    name: Option<SessionName>,
    entries: u64,
    already: u64,
    damaged: Vec<String>,
    unknown: Vec<String>,
}

/// Imports a recording.
///
/// # Errors
/// When there is none, or the store cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let path = args.path.clone();
    let read = tokio::task::spawn_blocking(move || read_file(&path).map_err(|error| unreadable(path, error))).await;
    let trajectory = read.map_err(|error| CliError::Failed(format!("the recording could not be read: {error}")))??;
    for file in &trajectory.damaged {
        let line = format!("warning: {} is damaged and left out: {}", one_line(&file.file), one_line(&file.why));
        context.note(context.paint.tone(Tone::Warn, line));
    }
    let store = context.open_off_the_record(Access::Create).await?;
    let imported = import(store.as_ref(), SystemClock.now(), &trajectory, args.name.as_ref()).await;
    store.close().await;
    let Import { session, entries, already, unknown } = imported.map_err(|error| match error {
        ImportError::Store(error) => CliError::Store(error),
        ImportError::Taken { .. } => CliError::Conflict(error.to_string()),
        ImportError::Damaged { .. } => CliError::Failed(error.to_string()),
    })?;
    for what in unknown.iter().take(NAMED_MAX) {
        context.note(context.paint.tone(Tone::Warn, format!("warning: kept as it is, not understood: {}", one_line(what))));
    }
    if unknown.len() > NAMED_MAX {
        context.note(
            context
                .paint
                .tone(Tone::Warn, format!("warning: {} more are kept without being understood", unknown.len() - NAMED_MAX)),
        );
    }
    let name = args.name.or(trajectory.name);
    if !context.out.is_table() {
        let damaged = trajectory.damaged.iter().map(|file| format!("{}: {}", file.file, file.why)).collect();
        context.out.json(&Imported { session, name, entries, already, damaged, unknown })?;
        return Ok(Exit::Done);
    }
    let named = name.map(|name| format!(" ({name})")).unwrap_or_default();
    let what = match already {
        0 => entries_word(entries),
        already if already == entries => format!("{} before; nothing changed", entries_word(entries)),
        already => format!("{}, {already} of them before", entries_word(entries)),
    };
    field(&mut context.out, "session", &format!("{session}{named}"))?;
    field(&mut context.out, "imported", &what)?;
    let show = context.command(format_args!("show {session}"));
    field(&mut context.out, "next", &show)?;
    Ok(Exit::Done)
}

fn entries_word(number: u64) -> String {
    if number == 1 { count(1, "entry") } else { format!("{number} entries") }
}
