//! `rekindle blame`: which event last set a part of the state, or wrote a line of a file.

use clap_complete::ArgValueCompleter;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use super::address::{Address, find};
use super::bisect::shown;
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::output::JsonList;
use super::paint::Tone;
use super::rows::Rows;
use super::show::recorded_line;
use super::text::{count, one_line, visible};
use super::view::Cited;
use crate::engine::travel::{blame, state_at};
use crate::projection::file_blame::{By, FileLines, Files, Line, NoFile};
use crate::projection::part::StatePath;
use crate::projection::{Projection, moment};
use crate::session::{Kind, Seq, Session, SessionId, Source, Timestamp};
use crate::store::{Row, SessionRow, SharedStore};

/// How many names are offered when one is not known.
const NAMED_MAX: usize = 12;

/// Show which event last set a part of the state, or wrote each line of a file
///
/// PATH is a part of what `rekindle state S -o json` shows under "state", as /usage/prompt_tokens or usage.prompt_tokens. FILE is
/// a file that the agent wrote, edited or read with its tools, by its path or the end of it; FILE:LINE is one line of it. What
/// commands did to a file is not in the log: lines that it cannot account for are marked as coming from outside, and commands
/// that ran since are named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for what it was after event N
    #[arg(value_name = "S[@N]", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// A part of the state, or a file, or a line of a file
    #[arg(value_name = "PATH|FILE[:LINE]")]
    path: String,
    /// Take it for a file, also where the state has a part of that name
    #[arg(short, long)]
    file: bool,
}

/// Blames an event.
///
/// # Errors
/// When there is no such session, part or file; when the log does not prove its states.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if !args.file {
        let (store, row) = context.states(&args.address.session).await?;
        let at = args.address.at(&row)?;
        let state = state_at(store.as_ref(), row.id, at).await?.session;
        let path = args.path.parse::<StatePath>();
        if let Ok(path) = &path
            && let Some(found) = blame(store.as_ref(), row.id, at, path).await?
        {
            return of_state(context, &row, path, found);
        }
        return of_file(context, &store, &row, at, &args.path, path.ok().as_ref().map(|path| (path, &state))).await;
    }
    let store = context.store().await?;
    let row = find(context, store.as_ref(), &args.address.session).await?;
    let at = args.address.at(&row)?;
    of_file(context, &store, &row, at, &args.path, None).await
}

/// The shape of `blame S PATH -o json`. What was not there before, or is not there any more, has no such field.
#[derive(Serialize)]
struct BlameView<'a> {
    session: SessionId,
    path: String,
    event: Cited<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'a Value>,
}

fn of_state(
    context: &mut Context,
    row: &SessionRow,
    path: &StatePath,
    found: crate::engine::travel::Blamed,
) -> Result<Exit, CliError> {
    let (old, new) = (found.old.as_ref(), found.new.as_ref());
    if !context.out.is_table() {
        context.out.json(&BlameView { session: row.id, path: path.to_string(), event: Cited::of(&found.event), old, new })?;
        return Ok(Exit::Done);
    }
    let paint = context.out.paint;
    context.out.line(recorded_line(paint, &found.event))?;
    context.out.line(format_args!("        {}  {} → {}", paint.dim(one_line(&path.to_string())), shown(old), shown(new)))?;
    Ok(Exit::Done)
}

/// One line of `blame S FILE -o ndjson`, and of the list of `-o json`.
#[derive(Serialize)]
struct LineView<'a> {
    file: &'a str,
    line: usize,
    text: Option<&'a str>,
    #[serde(flatten)]
    by: By,
    #[serde(flatten)]
    author: Option<AuthorView<'a>>,
}

#[derive(Serialize)]
struct AuthorView<'a> {
    kind: &'a Kind,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
    source: Source,
}

async fn of_file(
    context: &mut Context,
    store: &SharedStore,
    row: &SessionRow,
    at: Seq,
    asked: &str,
    part: Option<(&StatePath, &Session)>,
) -> Result<Exit, CliError> {
    let mut files = Files::default();
    let mut rows = Rows::new(store, row.id, Seq(1), at);
    while let Some(place) = rows.next().await? {
        match place {
            Row::Event { event, .. } => files.apply(&event),
            Row::Damaged { seq, what } => {
                context.note(format_args!("event {seq} is damaged and passed over: {}", one_line(&what)))
            }
        }
    }
    let (name, line) = match asked.rsplit_once(':').map(|(name, line)| (name, line.parse::<usize>())) {
        Some((name, Ok(line))) if files.find(asked).is_err() => (name, Some(line)),
        _ => (asked, None),
    };
    let (path, file) = files.find(name).map_err(|why| unknown(row, name, why, part))?;
    let lines: Vec<(usize, &Line)> = match line {
        None => file.lines().iter().enumerate().collect(),
        Some(line) => {
            let index = line.checked_sub(1);
            let found = index.and_then(|index| file.lines().get(index).map(|line| (index, line)));
            let beyond = || CliError::NotFound(no_line(path, file, line));
            vec![found.ok_or_else(beyond)?]
        }
    };
    if context.out.is_table() {
        print(context, &files, &lines)?;
    } else {
        let mut list = JsonList::begin(&mut context.out)?;
        for (index, line) in lines {
            let author = match line.by {
                By::Event { seq } => files.author(seq),
                By::Before | By::Outside { .. } => None,
            };
            let author = author.map(|author| AuthorView { kind: &author.kind, at: author.at, source: author.source });
            let view = LineView { file: path, line: index + 1, text: line.text.as_deref(), by: line.by, author };
            list.push(&mut context.out, &view)?;
        }
        list.end(&mut context.out)?;
    }
    what_is_not_known(context, &files, path, file);
    Ok(Exit::Done)
}

fn print(context: &mut Context, files: &Files, lines: &[(usize, &Line)]) -> Result<(), CliError> {
    let paint = context.out.paint;
    for (index, line) in lines {
        let (seq, who, tone) = match line.by {
            By::Event { seq } => {
                let author = files.author(seq);
                let who = author.map_or_else(String::new, |author| format!("{} {}", author.at, author.source));
                (seq.to_string(), who, Tone::Plain)
            }
            By::Before => ("-".to_owned(), "before the log saw it".to_owned(), Tone::Dim),
            By::Outside { seen } => ("?".to_owned(), format!("outside, seen at event {seen}"), Tone::Warn),
        };
        let text = match &line.text {
            Some(text) => paint.tone(Tone::Plain, visible(text).into_owned()),
            None => paint.dim("…".to_owned()),
        };
        let said = format!("{seq:>6}  {} {:>5}  {text}", paint.tone(tone, format!("{who:<40}")), index + 1);
        context.out.line(said.trim_end())?;
    }
    Ok(())
}

/// Says what the log does not know of a file.
fn what_is_not_known(context: &Context, files: &Files, path: &str, file: &FileLines) {
    if !file.is_whole() {
        context.note("the log does not hold all of this file; there may be more lines, and lines marked … are not known");
    }
    let since = file.last_known().unwrap_or_default();
    let (mut ran, mut naming) = (0, Vec::new());
    for (seq, names_it) in files.commands_since(since, path) {
        ran += 1;
        naming.extend(names_it.then(|| seq.to_string()));
    }
    if ran > 0 {
        let naming = match naming.as_slice() {
            [] => "none names it".to_owned(),
            some => format!("it is named at event {}", some.join(", ")),
        };
        context.note(format_args!("{} ran after event {since} and may have changed it; {naming}", count(ran, "command")));
    }
}

fn no_line(path: &str, file: &FileLines, line: usize) -> String {
    let known = file.lines().len();
    if file.is_whole() {
        format!("{path} has {}, so there is no line {line}", count(known as u64, "line"))
    } else {
        format!("the log knows {} of {path}, and nothing of line {line}", count(known as u64, "line"))
    }
}

/// That nothing has this name, and what has one like it.
fn unknown(row: &SessionRow, name: &str, why: NoFile, part: Option<(&StatePath, &Session)>) -> CliError {
    match why {
        NoFile::Several(files) => {
            CliError::Usage(format!("{name:?} is the end of several files; say more of it:{}", listed(&files)))
        }
        NoFile::Unknown(files) => {
            let mut said = match part {
                Some(_) => format!("session {} has no such part of its state, and its agent touched no file {name:?}", row.id),
                None => format!("the agent of session {} touched no file {name:?} with its tools", row.id),
            };
            let meant: Vec<String> =
                part.map(|(path, state)| path.meant(state)).unwrap_or_default().iter().map(ToString::to_string).collect();
            if !meant.is_empty() {
                said.push_str(&format!("; did you mean {}?", meant.join(" or ")));
            } else if !files.is_empty() {
                said.push_str(&format!("; it touched{}", listed(&files)));
            }
            CliError::NotFound(said)
        }
    }
}

fn listed(files: &[String]) -> String {
    let shown: String = files.iter().take(NAMED_MAX).map(|file| format!("\n  {}", one_line(file))).collect();
    let more = files.len().saturating_sub(NAMED_MAX);
    if more > 0 { format!("{shown}\n  … and {more} more") } else { shown }
}
