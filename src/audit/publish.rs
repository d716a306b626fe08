//! Publishing: what a sink does not hold yet goes there, one checkpoint after the other, and what it holds binds whoever signs.

use std::sync::Arc;

use super::log::{Entry, Forward, Tip, back};
use super::merkle::{CompactRange, leaf_hash};
use super::{AuditError, Checkpoint, Note, VerifierKey, log, scribe, text};
use crate::engine::ports::{HeldText, Sink, SinkError};
use crate::session::audit::Published;
use crate::session::{Event, NewEvent};
use crate::store::{Expected, Store};

/// What came of publishing to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds everything now; so many checkpoints were new to it.
    Published(u64),
    /// It could not be reached or written; the next seal tries again.
    Failed(String),
}

/// What a sink holds.
#[derive(Debug)]
pub(super) struct Held {
    sink: String,
    newest: Option<Checkpoint>,
}

/// Reads the newest checkpoint of each sink that can be read; one that cannot is told when it is published to.
pub(super) async fn look(sinks: &[Arc<dyn Sink>], trusted: &[VerifierKey]) -> Result<Vec<Held>, AuditError> {
    let mut all = Vec::with_capacity(sinks.len());
    for sink in sinks {
        if let Ok(HeldText::End(end)) = sink.held().await {
            all.push(Held { sink: sink.name().to_owned(), newest: newest(sink.name(), &end, trusted)? });
        }
    }
    Ok(all)
}

/// The newest checkpoint in what a sink holds.
fn newest(sink: &str, end: &str, trusted: &[VerifierKey]) -> Result<Option<Checkpoint>, AuditError> {
    let Some((_, note)) = text::notes(end).whole.pop() else { return Ok(None) };
    let inconsistent = |error: AuditError| AuditError::Inconsistent {
        sink: sink.to_owned(),
        what: format!("a note that is no checkpoint of this log ({error})"),
    };
    let note: Note = note.parse().map_err(inconsistent)?;
    Checkpoint::open(&note, trusted).map(Some).map_err(inconsistent)
}

/// Refuses to go on when a sink holds what is no earlier state of the audit log at `tip`.
pub(super) async fn check(store: &dyn Store, tip: &Tip, held: &[Held], origin: &str) -> Result<(), AuditError> {
    let mut earlier = Vec::new();
    for Held { sink, newest } in held {
        let Some(checkpoint) = newest else { continue };
        let inconsistent = |what: String| AuditError::Inconsistent { sink: sink.clone(), what };
        if checkpoint.origin != origin {
            return Err(inconsistent(format!("checkpoints of another log, {}", checkpoint.origin)));
        }
        let size = checkpoint.size;
        if size > tip.tree.size() {
            return Err(inconsistent(format!(
                "a checkpoint of {size} leaves, and the audit log of the store has {}",
                tip.tree.size()
            )));
        }
        if size == tip.tree.size() && checkpoint.root != tip.tree.root() {
            return Err(inconsistent(other_root(size)));
        }
        if size > 0 && size < tip.tree.size() {
            earlier.push((checkpoint, sink));
        }
    }
    if earlier.is_empty() {
        return Ok(());
    }
    earlier.sort_by_key(|(checkpoint, _)| checkpoint.size);
    let mut tree = CompactRange::new();
    let mut places = Forward::new(store, tip.head);
    while let Some(place) = places.next().await? {
        let heads = match place.entry {
            Entry::Heads(body) => body.heads,
            Entry::Sealed(body) => body.heads,
            Entry::Published(_) | Entry::Erasing(_) | Entry::Deed | Entry::Other => continue,
        };
        for head in heads {
            tree.push(leaf_hash(&head.bytes()));
            for (checkpoint, sink) in earlier.iter().filter(|(checkpoint, _)| checkpoint.size == tree.size()) {
                if checkpoint.root != tree.root() {
                    return Err(AuditError::Inconsistent { sink: (*sink).clone(), what: other_root(tree.size()) });
                }
            }
        }
    }
    Ok(())
}

fn other_root(size: u64) -> String {
    format!("a checkpoint of {size} leaves with another root than those leaves of the audit log have")
}

/// Publishes to each sink what it does not hold. `event` makes an event of what is written down of it.
pub(super) async fn publish(
    store: &dyn Store,
    sinks: &[Arc<dyn Sink>],
    trusted: &[VerifierKey],
    event: &(dyn Fn(Event) -> NewEvent + Sync),
) -> Result<Vec<(String, Outcome)>, AuditError> {
    let mut outcomes = Vec::with_capacity(sinks.len());
    for sink in sinks {
        let outcome = match to(store, sink.as_ref(), trusted, event).await? {
            Ok(count) => Outcome::Published(count),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        outcomes.push((sink.name().to_owned(), outcome));
    }
    Ok(outcomes)
}

async fn to(
    store: &dyn Store,
    sink: &dyn Sink,
    trusted: &[VerifierKey],
    event: &(dyn Fn(Event) -> NewEvent + Sync),
) -> Result<Result<u64, SinkError>, AuditError> {
    let end = match sink.held().await {
        Ok(HeldText::End(end)) => end,
        Ok(HeldText::Unknown) => return unseen(store, sink, event).await,
        Err(error) => return Ok(Err(error)),
    };
    let held = text::notes(&end);
    let size = newest(sink.name(), &end, trusted)?.map(|checkpoint| checkpoint.size);
    let missing: Vec<String> = sealed_beyond(store, size).await?.into_iter().map(|(_, checkpoint)| checkpoint).collect();
    let Some(more) = text::continuation(held.whole.is_empty(), held.rest, &missing) else {
        return Ok(Err(SinkError("it ends in something that is no checkpoint of this log; mend it, and seal again".to_owned())));
    };
    if more.is_empty() {
        return Ok(Ok(0));
    }
    Ok(sink.append(&more).await.map(|()| missing.len() as u64))
}

/// Publishes to a sink that does not show what it holds: what it has taken is written down in the audit log.
async fn unseen(
    store: &dyn Store,
    sink: &dyn Sink,
    event: &(dyn Fn(Event) -> NewEvent + Sync),
) -> Result<Result<u64, SinkError>, AuditError> {
    let (mut count, mut last, mut failed) = (0, None, None);
    for (size, checkpoint) in sealed_for(store, sink.name()).await? {
        if let Err(error) = sink.append(&checkpoint).await {
            failed = Some(error);
            break;
        }
        (count, last) = (count + 1, Some(size));
    }
    if let Some(size) = last {
        let published = event(Event::Published(Published { to: sink.name().to_owned(), size }));
        scribe::append(store, Expected::Any, vec![published]).await?;
    }
    Ok(failed.map_or(Ok(count), Err))
}

/// The sizes and checkpoints of the seals of more leaves than `size`, the first one first; of all when there is no size.
async fn sealed_beyond(store: &dyn Store, size: Option<u64>) -> Result<Vec<(u64, String)>, AuditError> {
    let Some(row) = log::row(store).await? else { return Ok(Vec::new()) };
    let mut beyond = Vec::new();
    let mut entries = back(store, row.head);
    while let Some(place) = entries.next().await? {
        match place.entry {
            Entry::Sealed(sealed) if size.is_none_or(|size| sealed.size > size) => beyond.push((sealed.size, sealed.checkpoint)),
            Entry::Sealed(_) => break,
            Entry::Heads(_) | Entry::Published(_) | Entry::Erasing(_) | Entry::Deed | Entry::Other => {}
        }
    }
    beyond.reverse();
    Ok(beyond)
}

/// The same of those that were to be published to `sink`, and that it has not taken as far as the log knows.
async fn sealed_for(store: &dyn Store, sink: &str) -> Result<Vec<(u64, String)>, AuditError> {
    let Some(row) = log::row(store).await? else { return Ok(Vec::new()) };
    let (mut wanted, mut taken) = (Vec::new(), None);
    let mut entries = back(store, row.head);
    while let Some(place) = entries.next().await? {
        match place.entry {
            Entry::Published(body) if body.to == sink => taken = taken.max(Some(body.size)),
            Entry::Sealed(sealed) if taken.is_some_and(|taken| sealed.size <= taken) => break,
            Entry::Sealed(sealed) if sealed.to.iter().any(|to| to == sink) => wanted.push((sealed.size, sealed.checkpoint)),
            Entry::Heads(_) | Entry::Sealed(_) | Entry::Published(_) | Entry::Erasing(_) | Entry::Deed | Entry::Other => {}
        }
    }
    wanted.reverse();
    Ok(wanted)
}
