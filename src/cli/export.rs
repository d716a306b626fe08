//! `rekindle export`: a session as a recording that other systems read.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::new_file::NewFile;
use super::paint::Tone;
use super::rows::Rows;
use super::text::one_line;
use crate::audit::AuditError;
use crate::audit::bundle::{self, Damage, Made};
use crate::engine::clock::{Clock as _, SystemClock};
use crate::session::{Seq, SessionId};
use crate::store::{Row, SessionRow, SharedStore};
use crate::trajectory::{Asciicast, Exporter};

/// Write a session as a recording that other systems read, or as a bundle that anybody can verify
///
/// An imported session is written byte for byte as it was recorded. A bundle is one file with everything that `rekindle verify FILE`
/// needs to judge the session without a store: events, their hashes, and what they refer to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for what it was up to event N
    #[arg(value_name = "S[@N]", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// The format
    #[arg(long, value_enum, default_value = "openhands-v0", value_name = "FORMAT")]
    to: To,
    /// With --to asciicast: seconds for which nothing happens at most; 2 by default
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    idle_limit: Option<Duration>,
    /// With --to bundle: write it also where the log is damaged; whoever verifies the bundle finds the same damage
    #[arg(long)]
    keep_damaged: bool,
    /// The file to write; standard output by default
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// The JSON list of events that OpenHands V0 saves and replays
    OpenhandsV0,
    /// What a terminal would have shown, with a marker for each event, for asciinema and its players (version 2)
    Asciicast,
    /// Events, hashes and contents in one file of lines of JSON, which is verified without the store
    Bundle,
}

/// Writes a session.
///
/// # Errors
/// When there is no such session, or the file cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let row = find(context, store.as_ref(), &args.address.session).await?;
    let form = args.form(&row)?;
    let last = args.address.at(&row)?;
    let Some(path) = args.output else {
        let out = &mut context.out;
        let written = write(&store, &row, last, form, |bytes| out.raw(bytes)).await;
        let exported = written.inspect_err(|error| tell_way_out(context, error))?;
        told(context, &row, &exported);
        return Ok(Exit::Done);
    };
    let mut file = NewFile::create(&path)?;
    let written = write(&store, &row, last, form, |bytes| file.write_all(bytes)).await;
    let written = written.inspect_err(|error| tell_way_out(context, error));
    let exported = written.map_err(|error| match error {
        CliError::Output(source) => file.failed(source),
        other => other,
    })?;
    file.keep()?;
    told(context, &row, &exported);
    context.note(format_args!("wrote {}", path.display()));
    Ok(Exit::Done)
}

/// How a session is written.
enum Form {
    OpenhandsV0(Exporter),
    Asciicast(Asciicast),
    Bundle(Damage),
}

impl Args {
    fn form(&self, row: &SessionRow) -> Result<Form, CliError> {
        if self.keep_damaged && self.to != To::Bundle {
            return Err(CliError::Usage("--keep-damaged is for --to bundle; other formats leave out what is damaged".to_owned()));
        }
        match (self.to, self.idle_limit) {
            (To::OpenhandsV0, None) => Ok(Form::OpenhandsV0(Exporter::default())),
            (To::Bundle, None) => Ok(Form::Bundle(if self.keep_damaged { Damage::Keep } else { Damage::Refuse })),
            (To::OpenhandsV0 | To::Bundle, Some(_)) => {
                Err(CliError::Usage("--idle-limit is for --to asciicast; other formats keep the times as they are".to_owned()))
            }
            (To::Asciicast, limit) => {
                let limit = limit.unwrap_or(IDLE_LIMIT);
                let label = row.name.as_ref().map_or_else(|| row.id.to_string(), ToString::to_string);
                Ok(Form::Asciicast(Asciicast::new(label, row.directory.title.clone(), limit)))
            }
        }
    }
}

/// How long nothing happens at most, where nobody says.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// Seconds, at least none and at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("{text:?} is no number of seconds between 0 and 86400"))
}

/// What was written.
struct Exported {
    /// The session that it is of.
    session: SessionId,
    /// What is not in it.
    left_out: Vec<String>,
}

/// Writes it while it is read.
async fn write(
    store: &SharedStore,
    row: &SessionRow,
    last: Seq,
    form: Form,
    put: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Exported, CliError> {
    let rows = Rows::new(store, row.id, Seq(1), last);
    let left_out = match form {
        Form::Bundle(damage) => {
            let made = Made { by: concat!("rekindle ", env!("CARGO_PKG_VERSION")).to_owned(), at: SystemClock.now() };
            let written = bundle::write(store.as_ref(), row, last, made, damage, put).await?;
            return Ok(Exported { session: written.session, left_out: written.damage });
        }
        Form::OpenhandsV0(exporter) => list(rows, exporter, put).await?,
        Form::Asciicast(cast) => recording(rows, cast, put).await?,
    };
    Ok(Exported { session: row.id, left_out })
}

/// The list of events.
async fn list(
    mut rows: Rows,
    mut exporter: Exporter,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Vec<String>, CliError> {
    let mut left_out = Vec::new();
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

/// The terminal.
async fn recording(
    mut rows: Rows,
    mut cast: Asciicast,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Vec<String>, CliError> {
    let mut left_out = Vec::new();
    while let Some(place) = rows.next().await? {
        match place {
            Row::Event { event, .. } => cast.event(&event),
            Row::Damaged { seq, what } => {
                cast.damaged(seq);
                left_out.push(format!("event {seq} is damaged: {what}"));
            }
        }
        put(cast.take().as_bytes())?;
    }
    put(cast.end().as_bytes())?;
    Ok(left_out)
}

fn tell_way_out(context: &Context, error: &CliError) {
    if let CliError::Audit(AuditError::BadSession { .. }) = error {
        context.note("no bundle was made; --keep-damaged makes one all the same, in which whoever verifies it finds this");
    }
}

fn told(context: &Context, asked: &SessionRow, exported: &Exported) {
    if exported.session != asked.id {
        let (fork, session) = (asked.id, exported.session);
        context.note(format_args!(
            "{fork} has no event of its own there: the bundle is of session {session}, whose events they are"
        ));
    }
    for what in &exported.left_out {
        context.note(context.paint.tone(Tone::Warn, format!("warning: not in the export as it was written: {}", one_line(what))));
    }
}
