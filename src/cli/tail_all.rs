//! `rekindle tail --all`: the events of all sessions, each with the place from which to go on behind it.

use std::collections::VecDeque;

use serde::Serialize;

use super::Context;
use super::exit::{CliError, Exit};
use super::output::JsonList;
use super::show::event_line;
use super::view::RowView;
use crate::engine::{Fed, FeedSubscription};
use crate::session::SessionId;
use crate::store::{FeedCursor, SharedStore};

/// How much of a session's id is shown: its milliseconds.
const ID_WIDTH: usize = 13;

/// Where to begin.
pub enum Begin {
    /// With this many events before the end.
    Last(u64),
    /// Behind this place.
    After(FeedCursor),
}

/// Where to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the end of what there is.
    Head,
    /// When a person says so.
    Never,
}

/// An event, and the place behind it.
#[derive(Serialize)]
struct FedView<'a> {
    #[serde(flatten)]
    row: RowView<'a>,
    cursor: &'a FeedCursor,
}

/// Shows the feed.
pub async fn run(context: &mut Context, begin: Begin, end: End) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let mut list = if end == End::Head && !context.out.is_table() { Some(JsonList::begin(&mut context.out)?) } else { None };
    let mut feed = match begin {
        Begin::After(cursor) => FeedSubscription::new(store, cursor),
        Begin::Last(lines) => last(context, &mut list, store, lines).await?,
    };
    while let Some(fed) = feed.next_recorded().await? {
        show(context, &mut list, &fed, feed.cursor())?;
    }
    if let Some(list) = list {
        list.end(&mut context.out)?;
    }
    let mut exit = Exit::Done;
    if end == End::Never {
        exit = tokio::select! {
            failed = follow(context, &mut feed) => failed?,
            () = super::host::interrupted() => Exit::Interrupted,
        };
    }
    context.out.flush()?;
    context
        .progress(format_args!("`{}` goes on from here", context.command(format_args!("tail --all --after {}", feed.cursor()))));
    Ok(exit)
}

/// Shows the last events that are there.
async fn last(
    context: &mut Context,
    list: &mut Option<JsonList>,
    store: SharedStore,
    lines: u64,
) -> Result<FeedSubscription, CliError> {
    let lines = lines.min(u64::from(u16::MAX));
    // As many of each shard; what is too many is let go on the way.
    let begin = store.feed_head().await?.back(lines);
    let mut feed = FeedSubscription::new(store, begin);
    let mut kept = VecDeque::new();
    while let Some(fed) = feed.next_recorded().await? {
        kept.push_back((fed, feed.cursor().clone()));
        if kept.len() as u64 > lines {
            kept.pop_front();
        }
    }
    for (fed, cursor) in kept {
        show(context, list, &fed, &cursor)?;
    }
    Ok(feed)
}

async fn follow(context: &mut Context, feed: &mut FeedSubscription) -> Result<Exit, CliError> {
    loop {
        // What is there comes in one go; then each event is shown as it comes.
        let fed = match feed.next_recorded().await? {
            Some(fed) => fed,
            None => {
                context.out.flush()?;
                feed.next().await?
            }
        };
        show(context, &mut None, &fed, feed.cursor())?;
    }
}

fn show(context: &mut Context, list: &mut Option<JsonList>, fed: &Fed, cursor: &FeedCursor) -> Result<(), CliError> {
    let fed = match fed {
        Fed::Event(fed) => fed,
        Fed::Damaged(damage) => {
            let session = damage.event.session.map_or_else(|| "a session".to_owned(), |session| format!("session {session}"));
            context.note(format_args!(
                "event {} of {session} is damaged and passed over: {}",
                damage.event.seq,
                super::text::one_line(&damage.event.what)
            ));
            return Ok(());
        }
    };
    let Some(session) = fed.event().map(|event| event.session) else { return Ok(()) };
    if context.out.is_table() {
        let paint = context.out.paint;
        context.out.line(format_args!("{}  {}", paint.dim(short(session)), event_line(paint, &fed.row)))?;
        return Ok(());
    }
    let view = FedView { row: RowView::of(session, &fed.row), cursor };
    match list {
        Some(list) => list.push(&mut context.out, &view)?,
        None => context.out.ndjson(&view)?,
    }
    Ok(())
}

fn short(session: SessionId) -> String {
    session.to_string().chars().take(ID_WIDTH).collect()
}
