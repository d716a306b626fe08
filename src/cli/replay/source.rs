//! What is performed again: a recording in a file, or a session of the store as a recording; all of it or its beginning.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::cli::Context;
use crate::cli::address::{Address, Place, find as find_session, within};
use crate::cli::exit::{CliError, Exit};
use crate::cli::rows::Rows;
use crate::session::action::Confirmation;
use crate::session::event::Created;
use crate::session::{Action, Body, Content, Event, Item, McpServer, Recorded, SecretRef, Seq};
use crate::store::Row;
use crate::trajectory::{Exporter, Trajectory, parse, read_file};

/// A recording, and what it is called for people.
pub(super) struct Source {
    pub(super) trajectory: Trajectory,
    pub(super) name: String,
    /// The servers that brought tools to the session, and the secrets that they were given.
    pub(super) servers: Option<(Vec<McpServer>, Vec<SecretRef>)>,
}

/// Reads the file or the session that `what` names, up to the entry of a file or the event of a session that `upto` is.
///
/// # Errors
/// When there is neither, or it cannot be read.
pub(super) async fn find(context: &Context, what: &str, upto: Option<u64>) -> Result<Source, CliError> {
    let file = PathBuf::from(what);
    if file.exists() {
        return of_file(file, upto).await;
    }
    let session = match what.parse::<Address>() {
        Ok(address) => of_session(context, &address, upto).await,
        Err(_) => Err(CliError::NotFound(String::new())),
    };
    match session {
        // What looks like a file was meant as one.
        Err(error) if error.exit() == Exit::NotFound && (what.contains(['/', '.']) || !is_store(context).await) => {
            of_file(file, upto).await
        }
        Err(CliError::NotFound(why)) => {
            let no_file = format!("there is no file {what:?}");
            Err(CliError::NotFound(if why.is_empty() { no_file } else { format!("{no_file}, and {why}") }))
        }
        found => found,
    }
}

async fn is_store(context: &Context) -> bool {
    context.store().await.is_ok()
}

async fn of_file(file: PathBuf, upto: Option<u64>) -> Result<Source, CliError> {
    let name = file.display().to_string();
    let read = tokio::task::spawn_blocking(move || read_file(&file).map_err(|error| super::unreadable(file, error)));
    let mut trajectory = read.await.map_err(|error| CliError::Failed(format!("the recording could not be read: {error}")))??;
    if let Some(upto) = upto {
        let last = trajectory.entries.len().saturating_sub(1);
        let upto = usize::try_from(upto).unwrap_or(usize::MAX);
        if upto > last {
            return Err(CliError::NotFound(format!("{name} has no entry {upto}; its last one is {last}")));
        }
        trajectory.entries.truncate(upto + 1);
    }
    Ok(Source { trajectory, name, servers: None })
}

async fn of_session(context: &Context, address: &Address, upto: Option<u64>) -> Result<Source, CliError> {
    let store = context.store().await?;
    let row = find_session(context, store.as_ref(), &address.session).await?;
    let last = match (upto, address.place) {
        (Some(upto), Place::Whole) => within(&row, Seq(upto))?,
        (Some(_), _) => {
            return Err(CliError::Usage(format!("--upto says it already: leave out what comes after {}", address.session)));
        }
        (None, _) => address.at(&row)?,
    };
    let mut rows = Rows::new(&store, row.id, Seq(1), last);
    let mut events = Vec::new();
    while let Some(place) = rows.next().await? {
        match place {
            Row::Event { event, .. } => events.push(event),
            Row::Damaged { seq, what } => {
                let way_out = context.command(format_args!("verify {}", row.id));
                return Err(CliError::Failed(format!(
                    "event {seq} is damaged, so that it cannot be performed again: {what}; see `{way_out}`"
                )));
            }
        }
    }
    let answers = answers(&events);
    let mut exporter = Exporter::default();
    let entries: Vec<String> = events.iter().filter_map(|event| exporter.entry(&answered(event, &answers))).collect();
    let mut trajectory = parse(&crate::trajectory::write(entries.iter().map(String::as_str)))
        .map_err(|error| CliError::Failed(format!("session {} is no recording: {error}", row.id)))?;
    trajectory.title.clone_from(&row.directory.title);
    let servers = events.first().and_then(|event| match Event::read(event) {
        Event::Created(Created { spec }) if !spec.mcp.is_empty() => Some((spec.mcp, spec.secrets)),
        _ => None,
    });
    Ok(Source { trajectory, name: format!("session {}", row.id), servers })
}

/// What a person said of each action that waited for them.
fn answers(events: &[Recorded]) -> HashMap<Seq, Confirmation> {
    let answer = |event: &Recorded| {
        let said = match Event::read(event) {
            Event::Confirmed(_) => Confirmation::Confirmed,
            Event::Refused(_) => Confirmation::Rejected,
            _ => return None,
        };
        Some((event.cause?, said))
    };
    events.iter().filter_map(answer).collect()
}

/// An action with the answer that it waited for, as V0 records it once more then.
fn answered(event: &Recorded, answers: &HashMap<Seq, Confirmation>) -> Recorded {
    let mut event = event.clone();
    let Some(answer) = answers.get(&event.seq) else { return event };
    if let Ok(mut item) = Item::decode(event.body.as_json()) {
        match &mut item.content {
            Content::Action(Action::Run(run)) => run.confirmation_state = *answer,
            Content::Action(Action::RunIpython(cell)) => cell.confirmation_state = *answer,
            _ => return event,
        }
        event.body = Body::Json(item.encode_body());
    }
    event
}
