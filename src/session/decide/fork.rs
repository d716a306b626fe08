//! A fork begins: what stands first in its own log. It needs the event that it is cut at, and not the state there, so that it takes as
//! long for a log of ten events as for one of a million.

use std::sync::Arc;

use super::Decided;
use crate::session::action::Action;
use crate::session::envelope::{Recorded, Source};
use crate::session::event::{Entry, Event};
use crate::session::fork::Forked;
use crate::session::id::{Seq, SessionId};
use crate::session::item::{Content, Item};
use crate::session::mask::Masker;

/// How much of what the user said is repeated in a fork that answers it, in characters: memory is asked by it.
const ANSWERED_MAX: usize = 500;

/// Why nothing can stand for an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no outcome.
    #[error("event {0} is no outcome of an action, so no other one can stand for it; name the event that is")]
    NoOutcome(Seq),
    /// Nobody reads what is said.
    #[error("session {0} has no agent that would read a message, ask a model or keep a limit")]
    NoAgent(SessionId),
    /// Nobody runs what was imported.
    #[error(
        "session {0} was imported, so nobody goes on with it or with a fork of it; perform it again with `rekindle replay {0}`"
    )]
    Imported(SessionId),
    /// Nothing comes before it.
    #[error("nothing comes before event {0}, so nothing can be forked from there")]
    First(Seq),
}

/// What stands for the event at which a session is forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// Another outcome of the action that it answers.
    Result(String),
    /// Another message of the user; said after the event where that is none.
    Message(String),
}

/// Where a fork at `event` is cut: before it, where something else stands for it.
///
/// # Errors
/// [`Refused`] when nothing can stand for it.
pub fn cut(event: &Recorded, instead: Option<&Instead>) -> Result<(Seq, Option<Seq>), Refused> {
    let replaced = match instead {
        None => false,
        Some(Instead::Message(_)) => is_said_by_user(event),
        Some(Instead::Result(_)) if event.kind.family() == "observation" && event.cause.is_some() => true,
        Some(Instead::Result(_)) => return Err(Refused::NoOutcome(event.seq)),
    };
    match (replaced, event.seq) {
        (false, seq) => Ok((seq, None)),
        (true, seq) if seq <= Seq(1) => Err(Refused::First(seq)),
        (true, seq) => Ok((Seq(seq.0 - 1), Some(seq))),
    }
}

/// Whether the user says something in `event`.
pub fn is_said_by_user(event: &Recorded) -> bool {
    event.kind.as_str() == "action.message" && event.source == Source::User
}

/// Whether the user says something in `event`, or memory is asked because of that.
fn is_of_user(event: &Recorded) -> bool {
    matches!(event.kind.as_str(), "action.message" | "action.recall") && event.source == Source::User
}

/// The beginning of what the user says in `event`.
fn query(event: &Recorded) -> Option<String> {
    if !is_said_by_user(event) {
        return None;
    }
    match Entry::read(event)?.item.content {
        Content::Action(Action::Message(message)) => Some(message.content.chars().take(ANSWERED_MAX).collect()),
        _ => None,
    }
}

/// The first events of a fork: that it is one, and the outcome that was put in place of `event`.
///
/// # Errors
/// [`Refused`] when `event` cannot be read as an outcome.
pub fn begin(
    mut forked: Forked,
    event: &Recorded,
    instead: Option<Instead>,
    hide: Option<&Arc<Masker>>,
) -> Result<Vec<Decided>, Refused> {
    let mut result = None;
    match instead {
        None => {
            forked.answers = is_of_user(event);
            forked.query = query(event);
        }
        Some(Instead::Message(message)) => forked.message = Some(message),
        Some(Instead::Result(content)) => {
            let entry = Entry::read(event).ok_or(Refused::NoOutcome(event.seq))?;
            let Content::Observation(mut observation) = entry.item.content else {
                return Err(Refused::NoOutcome(event.seq));
            };
            observation.content = content;
            forked.result = true;
            let item = Item::from(Content::Observation(observation));
            result = Some(Event::Item(Box::new(Entry { item, recorded: entry.recorded })));
        }
    }
    let decided = |event: Event, source, cause| {
        let mut decided = Decided { body: event.body(), event, source, cause };
        if let Some(masker) = hide {
            decided.hide(masker);
        }
        decided
    };
    let mut events = vec![decided(Event::Forked(forked), Source::User, None)];
    events.extend(result.map(|result| decided(result, event.source, event.cause)));
    Ok(events)
}
