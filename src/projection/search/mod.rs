//! Full-text search over all sessions: what was said, run, read, written and answered, each hit an event.
//!
//! Hits come newest first. What people look for happened lately; and the first page of it is found without looking at the rest,
//! where ranking by relevance would have to look at every event that has a common word.

mod indexer;
mod query;
mod snippet;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

pub use indexer::Indexer;
pub use query::{GRAMMAR, InvalidQuery, Query, SessionIs, SessionTest, parse};
pub use snippet::{Snippet, snippet};

use crate::session::searchable::{self, Label};
use crate::session::{Body, Recorded, Seq, SessionId, SessionName, Timestamp};
use crate::store::{Find, Place, Read, Row, SessionFilter, SessionRow, Store, StoreError, Term, Terms};

/// So many sessions are named in a search; of more, each hit's is looked up.
const NAMED_MAX: usize = 300;
/// How many hits are asked for at once where some may turn out to be none.
const PAGE: u32 = 500;
/// How many events that name a model are asked for at once.
const DRIVEN_PAGE: u32 = 10_000;

/// Some hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The hits, newest first.
    pub hits: Vec<FoundEvent>,
    /// Where to go on; `None` when there are no more.
    pub next: Option<SearchCursor>,
    /// How many places of the feed are not in the index yet.
    pub behind: u64,
}

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// The event.
    pub event: Recorded,
    /// Where in its text.
    pub snippet: Snippet,
    /// Whether something of the middle of its text cannot be found, since it is very long.
    pub cut: bool,
}

/// A place behind a hit, from which a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCursor(Place);

impl fmt::Display for SearchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { at, shard, pos } = self.0;
        write!(f, "s1-{:x}-{shard:x}-{pos:x}", at.0.cast_unsigned())
    }
}

/// A text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in a search; copy the whole cursor as it was given out")]
pub struct InvalidSearchCursor;

impl FromStr for SearchCursor {
    type Err = InvalidSearchCursor;

    fn from_str(text: &str) -> Result<Self, InvalidSearchCursor> {
        let mut parts = text.strip_prefix("s1-").ok_or(InvalidSearchCursor)?.splitn(3, '-');
        let mut part = || parts.next().ok_or(InvalidSearchCursor);
        let at = u64::from_str_radix(part()?, 16).map_err(|_| InvalidSearchCursor)?;
        let shard = i32::from_str_radix(part()?, 16).map_err(|_| InvalidSearchCursor)?;
        let pos = u64::from_str_radix(part()?, 16).map_err(|_| InvalidSearchCursor)?;
        Ok(Self(Place { at: Timestamp(at.cast_signed()), shard, pos }))
    }
}

/// Searches what is in the index, which an [`Indexer`] keeps up with the log.
///
/// # Errors
/// When the store fails.
pub async fn search(store: &dyn Store, query: &Query, limit: u32, behind: Option<SearchCursor>) -> Result<Found, StoreError> {
    let left = store.indexed().await?.behind(&store.feed_head().await?);
    let mut found = Found { hits: Vec::new(), next: None, behind: left };
    let mut terms = query.terms.clone();
    let sessions = sessions(store, &query.sessions).await?;
    if let Some(sessions) = sessions.as_ref().filter(|sessions| sessions.len() <= NAMED_MAX) {
        if sessions.is_empty() {
            return Ok(found);
        }
        terms.all.push(sessions.iter().map(|id| Term::label(Label::Session, &id.to_string())).collect());
    }
    let mut place = behind.map(|cursor| cursor.0);
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    // Most hits are hits; only where their sessions are looked up, many may be none.
    let page = if sessions.as_ref().is_some_and(|sessions| sessions.len() > NAMED_MAX) { PAGE } else { limit.saturating_add(1) };
    loop {
        let find = Find { terms: terms.clone(), since: query.since, until: query.until, behind: place, limit: page };
        let hits = store.find(find).await?;
        let last = hits.len() < usize::try_from(page).unwrap_or(usize::MAX);
        for hit in hits {
            if found.hits.len() == wanted {
                found.next = place.map(SearchCursor);
                return Ok(found);
            }
            place = Some(hit.place);
            if sessions.as_ref().is_none_or(|sessions| sessions.contains(&hit.session))
                && let Some(event) = event(store, hit.session, hit.seq).await?
                && let Some((text, cut)) = searchable::text(&event)
            {
                found.hits.push(FoundEvent { snippet: snippet(&text, &query.terms), event, cut });
            }
        }
        if last {
            return Ok(found);
        }
    }
}

/// Reads an event; `None` when it cannot be read, or not any more.
async fn event(store: &dyn Store, session: SessionId, seq: Seq) -> Result<Option<Recorded>, StoreError> {
    let read = Read { upto: seq, limit: 1, ..Read::forward(session, Seq(seq.0.saturating_sub(1))) };
    match store.read(read).await {
        Ok(page) => Ok(page.rows.into_iter().find_map(|row| match row {
            Row::Event { event, .. } if event.body != Body::Redacted => Some(event),
            Row::Event { .. } | Row::Damaged { .. } => None,
        })),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The sessions that pass all tests; `None` when there is none to pass.
async fn sessions(store: &dyn Store, tests: &[SessionTest]) -> Result<Option<BTreeSet<SessionId>>, StoreError> {
    if tests.is_empty() {
        return Ok(None);
    }
    let mut rows = store.sessions(SessionFilter::All, u32::MAX).await?;
    rows.retain(|row| !row.id.is_audit_log());
    let mut passing: BTreeSet<SessionId> = rows.iter().map(|row| row.id).collect();
    for SessionTest { is, not } in tests {
        let are: BTreeSet<SessionId> = match is {
            SessionIs::Named(name) => named(&rows, name),
            SessionIs::Model(model) => driven_by(store, model).await?,
            SessionIs::State(state) => of(&rows, |row| row.directory.phase == *state),
            SessionIs::Dearer(micro) => of(&rows, |row| row.directory.cost_micro_usd.is_some_and(|cost| cost > *micro)),
            SessionIs::Cheaper(micro) => of(&rows, |row| row.directory.cost_micro_usd.unwrap_or(0) < *micro),
        };
        passing.retain(|id| are.contains(id) != *not);
    }
    Ok(Some(passing))
}

fn of(rows: &[SessionRow], is: impl Fn(&SessionRow) -> bool) -> BTreeSet<SessionId> {
    rows.iter().filter(|row| is(row)).map(|row| row.id).collect()
}

fn named(rows: &[SessionRow], name: &str) -> BTreeSet<SessionId> {
    if name == "@last" {
        return rows.first().map(|row| row.id).into_iter().collect();
    }
    let by_name = name.parse::<SessionName>().ok().map(|name| SessionId::named(&name));
    of(rows, |row| Some(row.id) == by_name || row.id.to_string().starts_with(name))
}

/// The sessions that say that a model of this name decides in them.
async fn driven_by(store: &dyn Store, model: &str) -> Result<BTreeSet<SessionId>, StoreError> {
    let term = Term::Label { label: Label::Model.of(model), prefix: true };
    let mut find = Find::newest(Terms { all: vec![vec![term]], none: Vec::new() }, DRIVEN_PAGE);
    let mut sessions = BTreeSet::new();
    loop {
        let hits = store.find(find.clone()).await?;
        sessions.extend(hits.iter().map(|hit| hit.session));
        match hits.last() {
            Some(last) if hits.len() >= DRIVEN_PAGE as usize => find.behind = Some(last.place),
            _ => return Ok(sessions),
        }
    }
}
