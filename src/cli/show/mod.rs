//! `rekindle show`: a session as a conversation, as events, or as the steps of its life; or single events.

mod event;
mod steps;
mod transcript;

pub use event::{event_line, recorded_line};
pub use transcript::{print as print_transcript, verdict_tone};

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, Place, find, within};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::output::JsonList;
use super::rows::Rows;
use super::view::RowView;
use crate::session::Seq;
use crate::store::{SessionRow, SharedStore};

/// Show a session's conversation, or single events
///
/// S is the whole conversation, S@N the conversation up to event N, S:N one event, S:N..M several.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("as").multiple(false))]
pub struct Args {
    /// The session, or a place in it
    #[arg(value_name = "S[@N|:N|:N..M]", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Leave nothing out of long texts
    #[arg(short, long)]
    full: bool,
    /// Show one line per event
    #[arg(short, long, group = "as")]
    events: bool,
    /// Show each event as one line of JSON: its envelope, and its body as it is stored
    #[arg(short, long, group = "as")]
    raw: bool,
    /// Show the steps of its start, its replay and its close
    #[arg(short, long, group = "as")]
    steps: bool,
}

/// Shows a session or events of it.
///
/// # Errors
/// When there is no such session or event, or the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let row = find(context, store.as_ref(), &args.address.session).await?;
    let (first, last) = match args.address.place {
        Place::Whole | Place::At(_) | Place::Before(_) => (Seq(1), args.address.at(&row)?),
        Place::Event(seq) => (within(&row, seq)?, seq),
        Place::Events(first, last) => (within(&row, first)?, within(&row, last.unwrap_or(row.head))?),
    };
    let is_event = matches!(args.address.place, Place::Event(_));
    let is_range = matches!(args.address.place, Place::Events(..));
    if args.steps {
        steps::print(context, &store, &row, last).await?;
    } else if args.raw {
        raw(context, &store, &row, first, last).await?;
    } else if args.events || is_range || is_event {
        events(context, &store, &row, first, last, is_event || (is_range && args.full), args.full).await?;
    } else {
        transcript::print(context, &store, &row, last, args.full).await?;
    }
    Ok(Exit::Done)
}

async fn raw(context: &mut Context, store: &SharedStore, row: &SessionRow, first: Seq, last: Seq) -> Result<(), CliError> {
    let mut rows = Rows::new(store, row.id, first, last);
    while let Some(place) = rows.next().await? {
        context.out.ndjson(&RowView::of(row.id, &place))?;
    }
    Ok(())
}

async fn events(
    context: &mut Context,
    store: &SharedStore,
    row: &SessionRow,
    first: Seq,
    last: Seq,
    whole: bool,
    full: bool,
) -> Result<(), CliError> {
    let mut rows = Rows::new(store, row.id, first, last);
    if context.out.is_table() {
        while let Some(place) = rows.next().await? {
            if whole {
                event::print(context, row.id, &place, full)?;
            } else {
                context.out.line(event_line(context.out.paint, &place))?;
            }
        }
        return Ok(());
    }
    if whole && first == last {
        if let Some(place) = rows.next().await? {
            context.out.json(&RowView::of(row.id, &place))?;
        }
        return Ok(());
    }
    let mut list = JsonList::begin(&mut context.out)?;
    while let Some(place) = rows.next().await? {
        list.push(&mut context.out, &RowView::of(row.id, &place))?;
    }
    list.end(&mut context.out)?;
    Ok(())
}
