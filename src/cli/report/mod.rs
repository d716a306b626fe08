//! `rekindle report`: a session as one page that needs nothing else, to be read offline, printed, or sent to somebody.

mod conversation;
mod diff;
mod entry;
mod facts;
mod kinds;
mod overview;
mod plots;
mod spent;
mod timeline;
mod verdicts;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap_complete::ArgValueCompleter;
use maud::html;

use super::Context;
use super::address::Address;
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::new_file::NewFile;
use super::output::Out;
use super::page::Page;
use super::text::{count, one_line};
use crate::engine::EngineError;
use crate::store::{PURGED, SharedStore};
use facts::Facts;

/// Write a session as one HTML page: what happened, what it cost, and whether its log holds
///
/// The page opens offline and loads, runs and sends nothing. Of very long sessions it shows the beginning and the end, and says
/// which events are left out and how to see them. Ends with 5 when the log is damaged, which the page says, too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for what it was up to event N
    #[arg(value_name = "S[@N]", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// The file to write; standard output by default
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes a page.
///
/// # Errors
/// When there is no such session or its events were purged, the store cannot be read, or the page cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if !context.out.is_table() {
        let [show, usage] = ["show S --raw", "usage S -o json"].map(|rest| context.command(rest));
        return Err(CliError::Usage(format!("a report is a page for people; for programs there are `{show}` and `{usage}`")));
    }
    if args.output.is_none() && io::stdout().is_terminal() {
        let way_out = context.command(format_args!("report {} --output report.html", args.address));
        return Err(CliError::Usage(format!("a page is nothing for a terminal; write it to a file with `{way_out}`")));
    }
    let (store, row) = context.states(&args.address.session).await?;
    let last = args.address.at(&row)?;
    if row.directory.phase == PURGED {
        return Err(EngineError::Purged(row.id).into());
    }
    let facts = Facts::gather(&store, row, last).await?;
    match &args.output {
        None => write(&store, &facts, Raw(&mut context.out)).await.map(|_| ())?,
        Some(path) => {
            let file = NewFile::create(path)?;
            let file = write(&store, &facts, file).await.map_err(|error| match error {
                CliError::Output(source) => CliError::File { verb: "write", path: path.clone(), source },
                other => other,
            })?;
            file.keep()?;
            context.note(format_args!("wrote {}", path.display()));
        }
    }
    if let Some((seq, what)) = facts.damage() {
        context.note(format_args!("the log is damaged at event {seq}, as the page says: {}", one_line(what)));
        return Ok(Exit::Unverified);
    }
    Ok(Exit::Done)
}

/// Writes the page piece by piece, so that what is held of a session does not grow with it.
async fn write<W: Write>(store: &SharedStore, facts: &Facts, out: W) -> Result<W, CliError> {
    let title = facts.title();
    let mut page = Page::begin(out, &format!("{title} · session {}", facts.row.id), &facts.kinds.rules())?;
    page.push(&html! {
        header {
            h1 { (title) }
            p.dim {
                "Session " code { (facts.row.id) }
                @if let Some(name) = &facts.row.name { " (" (name) ")" }
                ", " (facts.extent())
            }
            nav aria-label="Sections" {
                @for (id, name) in SECTIONS { a href={ "#" (id) } { (name) } }
            }
        }
    })?;
    page.open("<main>\n")?;
    page.push(&overview::section(facts))?;
    page.push(&verdicts::verification(facts))?;
    page.push(&verdicts::replays(facts))?;
    page.push(&spent::section(facts))?;
    timeline::write(&mut page, store, facts).await?;
    conversation::write(&mut page, store, facts).await?;
    page.open("</main>\n")?;
    page.push(&html! {
        footer.dim {
            p {
                "Made by rekindle " (env!("CARGO_PKG_VERSION")) " of " (count(facts.last.0, "event")) ". What was recorded is shown as "
                "text: control characters and characters that turn the reading order stand as \\e, \\x07, \\u{202e} and the like."
            }
        }
    })?;
    Ok(page.end()?)
}

/// The sections, by their anchors. Events have anchors of their own: their numbers.
const SECTIONS: [(&str, &str); 6] = [
    ("summary", "Summary"),
    ("verification", "Verification"),
    ("replays", "Replay verdicts"),
    ("spending", "Cost and tokens"),
    ("timeline", "Timeline"),
    ("transcript", "Transcript"),
];

/// Standard output as bytes.
struct Raw<'a>(&'a mut Out);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
