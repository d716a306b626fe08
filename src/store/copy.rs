//! From one store to another, of any kind: the same ids, order and hashes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::care::Adoption;
use super::{Base, FeedCursor, PURGED, Read, Row, SessionFilter, Store, StoreError, Verifier};
use crate::session::workspace::{Node, Tree, WorkspaceCaptured};
use crate::session::{Body, Digest, Seq, SessionId};

/// How many events are read at once.
const PAGE: u32 = 1024;
/// How often the same events are written again when another process was in the way.
const TRIES_MAX: u32 = 5;
/// How often a session that goes on meanwhile is caught up with.
const PASSES_MAX: u32 = 10;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Sessions whose events are all there.
    pub sessions: u64,
    /// Events that were read.
    pub events: u64,
    /// Contents that events refer to.
    pub blobs: u64,
    /// Sessions that could not be copied whole, and why not.
    pub broken: Vec<(SessionId, String)>,
    /// Sessions that went on while they were copied: copying again brings the rest.
    pub moving: Vec<SessionId>,
}

/// Copies all sessions of `from` into `to`. What is there already is passed over, so that copying again brings only what is new.
///
/// # Errors
/// When a store cannot be read or written; what is wrong with one session is in [`Copied::broken`].
pub async fn copy(from: &dyn Store, to: &dyn Store, mut told: impl FnMut(&Copied)) -> Result<Copied, StoreError> {
    let mut copied = Copied::default();
    let mut broken = HashMap::new();
    let mut seen = BTreeSet::new();
    let mut cursor = FeedCursor::default();
    for pass in 0..PASSES_MAX {
        let mut news = BTreeSet::new();
        drain(from, to, &mut cursor, &mut copied, &mut news, &mut broken, &mut told).await?;
        seen.extend(news);
        copied.moving.clear();
        for session in &seen {
            if !broken.contains_key(session) && !settled(from, to, *session, &mut broken).await? {
                copied.moving.push(*session);
            }
        }
        if copied.moving.is_empty() || pass + 1 == PASSES_MAX {
            break;
        }
    }
    // What was purged has no events any more; that it was is copied all the same, of a fork before what it reads.
    let mut purged = from.sessions(SessionFilter::All, u32::MAX).await?;
    purged.retain(|row| row.directory.phase == PURGED);
    purged.sort_by_key(|row| Reverse(row.base.map(|base| base.seq)));
    for row in purged {
        let here = from.keeping(row.id).await?.and_then(|keeping| keeping.purged_at).unwrap_or(row.updated_at);
        let there = to.keeping(row.id).await?;
        if there.is_some_and(|there| there.purged_at.is_none()) {
            to.purge(row.id, here).await?;
        }
        if !settled(from, to, row.id, &mut broken).await? {
            copied.moving.push(row.id);
        }
    }
    copied.sessions = (seen.len() - broken.len().min(seen.len())) as u64;
    copied.broken = broken.into_iter().collect();
    copied.broken.sort();
    Ok(copied)
}

async fn drain(
    from: &dyn Store,
    to: &dyn Store,
    cursor: &mut FeedCursor,
    copied: &mut Copied,
    seen: &mut BTreeSet<SessionId>,
    broken: &mut HashMap<SessionId, String>,
    told: &mut impl FnMut(&Copied),
) -> Result<(), StoreError> {
    let mut trees = HashSet::new();
    let mut bases = HashMap::new();
    loop {
        let page = from.feed(cursor.clone(), PAGE).await?;
        for damage in &page.damaged {
            if let Some(session) = damage.event.session {
                seen.insert(session);
                broken.insert(session, format!("event {}: {}", damage.event.seq, damage.event.what));
            }
        }
        if page.next == *cursor {
            return Ok(());
        }
        copied.events += page.rows.len() as u64;
        let mut adoptions: Vec<Adoption> = Vec::new();
        for row in page.rows.into_iter().map(|row| row.row) {
            let Row::Event { event, .. } = &row else { continue };
            let session = event.session;
            seen.insert(session);
            if broken.contains_key(&session) {
                continue;
            }
            copied.blobs += contents(from, to, session, &event.body).await?;
            if event.kind.as_str() == "workspace.captured" {
                copied.blobs += snapshot(from, to, session, &event.body, &mut trees).await?;
            }
            let base = match bases.get(&session) {
                Some(base) => *base,
                None => {
                    let base = from.session(session).await?.and_then(|row| row.base);
                    // What a fork reads may come later, from another shard.
                    if base.is_some() && !shared(from, to, session, broken).await? {
                        let what = "what it shares with another session could not be copied".to_owned();
                        broken.insert(session, what);
                        continue;
                    }
                    bases.insert(session, base);
                    base
                }
            };
            match adoptions.last_mut() {
                Some(last) if last.session == session => last.rows.push(row),
                _ => adoptions.push(Adoption { session, base, rows: vec![row] }),
            }
        }
        adopt(to, adoptions, broken).await?;
        *cursor = page.next;
        told(copied);
    }
}

/// Copies the events that a fork shares with others, of the oldest of those first; `false` when one of them cannot be copied. Their
/// contents come with the rest of those sessions.
async fn shared(
    from: &dyn Store,
    to: &dyn Store,
    fork: SessionId,
    broken: &mut HashMap<SessionId, String>,
) -> Result<bool, StoreError> {
    let verifier = Verifier::new(fork).across(from).await?;
    let mut base: Option<Base> = None;
    for (session, seq) in verifier.lineage().iter().copied().filter(|(session, _)| *session != fork) {
        let mut after = base.map_or(Seq::ZERO, |base| base.seq);
        while after < seq {
            let page = from.read(Read { upto: seq, ..Read::forward(fork, after) }).await?;
            let Some(last) = page.rows.last().map(Row::seq) else { return Ok(false) };
            adopt(to, vec![Adoption { session, base, rows: page.rows }], broken).await?;
            if broken.contains_key(&session) {
                return Ok(false);
            }
            after = last;
        }
        base = Some(Base { session, seq });
    }
    Ok(true)
}

/// Writes what can be written; a session that cannot is named and left out, the others are written.
async fn adopt(to: &dyn Store, adoptions: Vec<Adoption>, broken: &mut HashMap<SessionId, String>) -> Result<(), StoreError> {
    let mut left = adoptions;
    let mut tries = 0;
    while !left.is_empty() {
        match to.adopt(left.clone()).await {
            Ok(()) => return Ok(()),
            // What another process did in the same moment is seen the next time; what is there by now is passed over.
            Err(StoreError::Busy(_)) if tries < TRIES_MAX => tries += 1,
            Err(error @ (StoreError::Damaged { session, .. } | StoreError::Conflict { session, .. })) => {
                let what = match &error {
                    StoreError::Damaged { .. } => error.to_string(),
                    _ => format!("session {session} has gone on differently in the target"),
                };
                broken.insert(session, what);
                left.retain(|adoption| adoption.session != session);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Copies the contents that a body refers to: in JSON a reference is the digest in hexadecimal, and content is found by nothing else.
async fn contents(from: &dyn Store, to: &dyn Store, session: SessionId, body: &Body) -> Result<u64, StoreError> {
    let Body::Json(body) = body else { return Ok(0) };
    let mut count = 0;
    for digest in digests(body) {
        // Also what is there already, from another session: each that refers to it must be known to.
        if let Some(bytes) = from.blob(session, digest).await? {
            to.put_blob(session, bytes).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// Copies what a snapshot refers to: the trees of its directories, and the contents of its files. What was copied with another
/// snapshot of the same session is passed over.
async fn snapshot(
    from: &dyn Store,
    to: &dyn Store,
    session: SessionId,
    body: &Body,
    copied: &mut HashSet<(SessionId, Digest)>,
) -> Result<u64, StoreError> {
    let Body::Json(body) = body else { return Ok(0) };
    let Ok(WorkspaceCaptured { manifest, .. }) = serde_json::from_str(body) else { return Ok(0) };
    let (mut ahead, mut count) = (vec![(manifest, true)], 0);
    while let Some((digest, is_tree)) = ahead.pop() {
        if !copied.insert((session, digest)) {
            continue;
        }
        let Some(bytes) = from.blob(session, digest).await? else { continue };
        if is_tree {
            let entries = Tree::decode(&bytes).map(|tree| tree.entries).unwrap_or_default();
            ahead.extend(entries.into_iter().filter_map(|entry| match entry.node {
                Node::File { content, .. } => Some((content, false)),
                Node::Directory { tree } => Some((tree, true)),
                Node::Link { .. } => None,
            }));
        }
        to.put_blob(session, bytes).await?;
        count += 1;
    }
    Ok(count)
}

/// Every run of exactly 64 hexadecimal digits.
fn digests(text: &str) -> BTreeSet<Digest> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.split(|c| !is_digit(c)).filter(|word| word.len() == 64).filter_map(|word| word.parse().ok()).collect()
}

/// Whether a session is whole in the target, where its row then says what it says in the source.
async fn settled(
    from: &dyn Store,
    to: &dyn Store,
    session: SessionId,
    broken: &mut HashMap<SessionId, String>,
) -> Result<bool, StoreError> {
    let (Some(row), Some(keeping)) = (from.session(session).await?, from.keeping(session).await?) else {
        return Ok(false);
    };
    match to.settle(&row, &keeping).await {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict { head, .. }) if head < row.head => Ok(false),
        Err(StoreError::Conflict { head, .. }) => {
            broken.insert(session, format!("session {session} stands at event {head} in the target, at {} here", row.head));
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
