//! `rekindle tail`: the last events of a session, or of all, one a line, and those that follow.

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, Place, within};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::output::{Format, JsonList};
use super::rows::Rows;
use super::show::event_line;
use super::tail_all::{self, Begin, End};
use super::view::RowView;
use crate::engine::Subscription;
use crate::session::{Seq, SessionId};
use crate::store::{FeedCursor, Row, SharedStore};

/// Show a session's last events, and follow those that come
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for the events after N
    #[arg(value_name = "S[@N]", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Go on with the events that come, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last N events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, conflicts_with = "from")]
    lines: u64,
    /// Begin with event SEQ
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Show the events of all sessions, in the order in which they were committed
    #[arg(long, conflicts_with_all = ["address", "from"])]
    all: bool,
    /// With --all, go on behind the event that was given out with CURSOR
    #[arg(long, value_name = "CURSOR", requires = "all", conflicts_with = "lines")]
    after: Option<FeedCursor>,
}

/// Shows the end of a session's log.
///
/// # Errors
/// When there is no such session or event, or the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if args.follow && context.out.format == Format::Json {
        return Err(CliError::Usage("what goes on has no end to be one document; use -o ndjson with -f".to_owned()));
    }
    if args.all {
        let begin = args.after.map_or(Begin::Last(args.lines), Begin::After);
        return tail_all::run(context, begin, if args.follow { End::Never } else { End::Head }).await;
    }
    let (store, row) = context.session(&args.address.session).await?;
    let from = match (args.address.place, args.from) {
        (Place::Whole, from) => from,
        (Place::At(_) | Place::Before(_), None) => Some(args.address.at(&row)?.next().0),
        (Place::At(_) | Place::Before(_), Some(_)) => {
            return Err(CliError::Usage("S@N says already where to begin; leave out --from, or @N".to_owned()));
        }
        (Place::Event(seq) | Place::Events(seq, _), _) => {
            let (show, tail) = (context.command(format_args!("show {}", args.address)), seq.0.saturating_sub(1));
            let tail = context.command(format_args!("tail {} --from {}", args.address.session, tail + 1));
            return Err(CliError::Usage(format!("single events are shown by `{show}`; `{tail}` begins with one and goes on")));
        }
    };
    let is_behind = matches!(args.address.place, Place::At(_) | Place::Before(_));
    let first = match from {
        Some(0) => return Err(CliError::Usage("events are numbered from 1".to_owned())),
        // The next one may be waited for.
        Some(from) if args.follow && Seq(from) == row.head.next() && row.directory.phase != "closed" => Seq(from),
        // What comes after the last event is nothing yet.
        Some(from) if is_behind => Seq(from),
        Some(from) => within(&row, Seq(from))?,
        None => Seq(row.head.0.saturating_sub(args.lines).saturating_add(1)),
    };
    if args.follow {
        let mut events = Subscription::new(SharedStore::clone(&store), row.id, Seq(first.0.saturating_sub(1)));
        return tokio::select! {
            failed = follow(context, row.id, &mut events) => failed,
            () = super::host::interrupted() => Ok(Exit::Interrupted),
        };
    }
    let mut rows = Rows::new(&store, row.id, first, row.head);
    let mut list = if context.out.is_table() { None } else { Some(JsonList::begin(&mut context.out)?) };
    while let Some(place) = rows.next().await? {
        match &mut list {
            Some(list) => list.push(&mut context.out, &RowView::of(row.id, &place))?,
            None => print(context, row.id, &place)?,
        }
    }
    if let Some(list) = list {
        list.end(&mut context.out)?;
    }
    Ok(Exit::Done)
}

async fn follow(context: &mut Context, session: SessionId, events: &mut Subscription) -> Result<Exit, CliError> {
    loop {
        // What is there comes in one go; then each event is shown as it comes.
        let row = match events.next_recorded().await? {
            Some(row) => row,
            None => {
                context.out.flush()?;
                events.next().await?
            }
        };
        print(context, session, &row)?;
        if is_last(&row) {
            context.out.flush()?;
            return Ok(Exit::Done);
        }
    }
}

/// Whether nothing can come behind it: a closed session stays closed.
fn is_last(row: &Row) -> bool {
    matches!(row, Row::Event { event, .. } if event.kind.as_str() == "session.closed")
}

fn print(context: &mut Context, session: SessionId, row: &Row) -> Result<(), CliError> {
    if context.out.is_table() {
        context.out.line(event_line(context.out.paint, row))?;
    } else {
        context.out.ndjson(&RowView::of(session, row))?;
    }
    Ok(())
}
