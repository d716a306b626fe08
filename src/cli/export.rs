//! `rekindle export`: a session as a recording that other systems read.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::paint::Tone;
use super::rows::Rows;
use super::text::one_line;
use crate::session::Seq;
use crate::store::{Row, SessionRow, SharedStore};
use crate::trajectory::Exporter;

/// Write a session as a recording that other systems read
///
/// An imported session is written byte for byte as it was recorded.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for what it was up to event N
    #[arg(value_name = "S[@N]", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// The format
    #[arg(long, value_enum, default_value = "openhands-v0", value_name = "FORMAT")]
    to: To,
    /// The file to write; standard output by default
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// The JSON list of events that OpenHands V0 saves and replays
    OpenhandsV0,
}

/// Writes a session.
///
/// # Errors
/// When there is no such session, or the file cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let To::OpenhandsV0 = args.to;
    let store = context.store().await?;
    let row = find(context, store.as_ref(), &args.address.session).await?;
    let last = args.address.at(&row)?;
    let Some(path) = args.output else {
        let out = &mut context.out;
        let left_out = write(&store, &row, last, |bytes| out.raw(bytes)).await?;
        told(context, &left_out);
        return Ok(Exit::Done);
    };
    // A file appears whole or not at all: readers of it never see half of one.
    let partial = partial(&path);
    let failed = |verb| {
        let path = path.clone();
        move |source| CliError::File { verb, path, source }
    };
    let mut file = io::BufWriter::new(fs::File::create(&partial).map_err(failed("write"))?);
    let written = write(&store, &row, last, |bytes| file.write_all(bytes)).await;
    let finished = written.and_then(|left_out| {
        let file = file.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        file.sync_all().map_err(failed("write"))?;
        fs::rename(&partial, &path).map_err(failed("write"))?;
        Ok(left_out)
    });
    if finished.is_err() {
        let _ = fs::remove_file(&partial);
    }
    told(context, &finished?);
    context.note(format_args!("wrote {}", path.display()));
    Ok(Exit::Done)
}

fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

/// Writes the list while it is read; returns what is not in it.
async fn write(
    store: &SharedStore,
    row: &SessionRow,
    last: Seq,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Vec<String>, CliError> {
    let mut exporter = Exporter::default();
    let mut left_out = Vec::new();
    let mut rows = Rows::new(store, row.id, Seq(1), last);
    let mut first = true;
    put(b"[")?;
    while let Some(place) = rows.next().await? {
        match &place {
            Row::Event { event, .. } => {
                left_out
                    .extend(Exporter::damaged_at_import(event).into_iter().map(|what| format!("when it was imported, {what}")));
                if let Some(entry) = exporter.entry(event) {
                    put(if first { b"\n" } else { b",\n" })?;
                    put(entry.as_bytes())?;
                    first = false;
                }
            }
            Row::Damaged { seq, what } => left_out.push(format!("event {seq} is damaged: {what}")),
        }
    }
    put(b"\n]\n")?;
    left_out.extend(exporter.missing().iter().map(|seq| format!("event {seq} was taken out or cannot be read")));
    Ok(left_out)
}

fn told(context: &Context, left_out: &[String]) {
    for what in left_out {
        context.note(context.paint.tone(Tone::Warn, format!("warning: not in the export: {}", one_line(what))));
    }
}
