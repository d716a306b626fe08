//! `rekindle search`: full text over all sessions, each hit an event that can be shown.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Context;
use super::exit::{CliError, Exit};
use super::location::Access;
use super::paint::Tone;
use super::text::{count, one_line};
use crate::engine::clock::{Clock, SystemClock};
use crate::projection::search::{self, Found, FoundEvent, Indexer, SearchCursor, search};
use crate::session::{Seq, SessionId};
use crate::store::{SharedStore, StoreError};

/// How often it is told how much there is still to index.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// How much of a session's id is shown: enough to be told from others.
const ID_WIDTH: usize = 13;

/// Search what was said, run, read, written and answered, in all sessions, newest first
///
/// Each hit has the address of its event, for `rekindle show`. That nothing is found is an answer too: exit code 0.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("What can be looked for:\n{}", search::GRAMMAR))]
pub struct Args {
    /// Words, "phrases", begin*, -not, OR, and filters such as tool:bash since:7d; best in quotes, as one
    #[arg(required = true, value_name = "QUERY")]
    query: Vec<String>,
    /// The most hits
    #[arg(short = 'n', long, value_name = "HITS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on behind the last hit of an earlier search
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<SearchCursor>,
    /// Search what is indexed already, and do not index first what is new
    #[arg(long)]
    now: bool,
}

/// One hit.
#[derive(Serialize)]
struct HitView<'a> {
    /// For `show`.
    address: String,
    session: SessionId,
    seq: Seq,
    kind: &'a str,
    source: &'a str,
    at: String,
    /// With « and » around what was looked for.
    snippet: String,
    /// Whether the middle of its text is too long to be looked through.
    cut: bool,
}

impl<'a> HitView<'a> {
    fn of(hit: &'a FoundEvent) -> Self {
        let event = &hit.event;
        Self {
            address: format!("{}:{}", event.session, event.seq),
            session: event.session,
            seq: event.seq,
            kind: event.kind.as_str(),
            source: event.source.as_str(),
            at: event.at.to_string(),
            snippet: hit.snippet.marked("«", "»"),
            cut: hit.cut,
        }
    }
}

/// Indexes what is new, and searches.
///
/// # Errors
/// When the query cannot be read, or the store.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    // One argument is a query as it stands; of several, one with blanks was in quotes.
    let text = match args.query.as_slice() {
        [query] => query.clone(),
        words => words
            .iter()
            .map(
                |word| {
                    if word.contains(char::is_whitespace) && !word.contains('"') { format!("\"{word}\"") } else { word.clone() }
                },
            )
            .collect::<Vec<_>>()
            .join(" "),
    };
    let query = search::parse(&text, SystemClock.now()).map_err(|error| CliError::Usage(error.to_string()))?;
    let Some(store) = context.location.open(Access::Write).await? else {
        context.note(context.none_yet());
        if !context.out.is_table() {
            context.out.json_list::<HitView<'_>>([])?;
        }
        return Ok(Exit::Done);
    };
    if !args.now {
        // Words are kept of what this reads, and nothing is shown.
        index(context, &store).await?;
    }
    let store = context.on_the_record(store).await?;
    let begin = Instant::now();
    let found = search(store.as_ref(), &query, args.limit, args.cursor).await?;
    let took = begin.elapsed();
    if context.out.is_table() {
        print(context, &found)?;
    } else {
        context.out.json_list(found.hits.iter().map(HitView::of))?;
    }
    context.out.flush()?;
    let sessions: std::collections::BTreeSet<_> = found.hits.iter().map(|hit| hit.event.session).collect();
    let (hits, sessions) = (count(found.hits.len() as u64, "hit"), count(sessions.len() as u64, "session"));
    context.note(format_args!("{hits} in {sessions}, {:.1} ms", took.as_secs_f64() * 1e3));
    if found.behind > 0 {
        context.note(format_args!("{} are not indexed yet and were not searched", count(found.behind, "newer event")));
    }
    if let Some(next) = found.next {
        context.note(format_args!("there is more: --cursor {next}"));
    }
    store.close().await;
    Ok(Exit::Done)
}

/// Indexes what is new, which takes a while where nobody has searched before.
async fn index(context: &Context, store: &SharedStore) -> Result<(), CliError> {
    let mut indexer = Indexer::new(SharedStore::clone(store));
    let head = store.feed_head().await?;
    loop {
        match indexer.catch_up_to(&head, TOLD_EVERY).await {
            Ok(0) => return Ok(()),
            Ok(left) => context.note(format_args!("indexing, {} left; --now searches what is indexed", count(left, "event"))),
            // What is indexed is worth searching.
            Err(error @ (StoreError::ReadOnly(_) | StoreError::Busy(_) | StoreError::Full(_) | StoreError::Invalid(_))) => {
                context.note(format_args!("not indexed any further: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn print(context: &mut Context, found: &Found) -> Result<(), CliError> {
    let paint = context.out.paint;
    // As long as it takes to tell the sessions shown from each other.
    let ids: std::collections::BTreeSet<String> = found.hits.iter().map(|hit| hit.event.session.to_string()).collect();
    let distinct =
        |width: usize| ids.iter().map(|id| id.get(..width)).collect::<std::collections::BTreeSet<_>>().len() == ids.len();
    let width = (ID_WIDTH..36).find(|width| distinct(*width)).unwrap_or(36);
    for hit in &found.hits {
        let event = &hit.event;
        let id: String = event.session.to_string().chars().take(width).collect();
        let text = hit.snippet.marked("«", "»").split_whitespace().collect::<Vec<_>>().join(" ");
        let address = format!("{id}:{}", event.seq);
        context.out.line(format_args!(
            "{}  {}  {}",
            paint.tone(Tone::Strong, address),
            paint.dim(one_line(event.kind.as_str())),
            one_line(&text)
        ))?;
    }
    Ok(())
}
