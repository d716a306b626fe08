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
use crate::store::{Alike, Find, Place, Read, Row, SessionFilter, Store, StoreError, Term};

/// So few sessions are named in a search from the first: a name takes an index as long as some hits do.
const NAMED_AT_ONCE: usize = 32;
/// Up to so many are named once so many hits for each were looked at in vain, that is, where hits in them are rare;
const NAMED_MAX: usize = 300;
/// of more, each hit's session is looked up to the end.
const HITS_FOR_A_NAME: usize = 30;
/// Each further page of hits is this many times as long at most,
const PAGE_GROWS: u32 = 4;
/// and never longer than this,
const PAGE_MAX: u32 = 2000;
/// nor, where few are missing, shorter than this.
const PAGE_MIN: u32 = 32;

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
    let mut sessions = sessions(store, &query.sessions).await?;
    if sessions.only.as_ref().is_some_and(BTreeSet::is_empty) {
        return Ok(found);
    }
    terms.none.extend(sessions.none.iter().flatten().map(labelled));
    let mut place = behind.map(|cursor| cursor.0);
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut page = limit.saturating_add(1).min(PAGE_MAX);
    let mut looked_at = 0;
    loop {
        let is_named = |only: &mut BTreeSet<_>| match only.len() {
            few if few <= NAMED_AT_ONCE => true,
            some => some <= NAMED_MAX && looked_at >= some * HITS_FOR_A_NAME,
        };
        if let Some(only) = sessions.only.take_if(is_named) {
            terms.all.push(only.iter().map(labelled).collect());
        }
        let find = Find { terms: terms.clone(), since: query.since, until: query.until, behind: place, limit: page };
        let hits = store.find(find).await?;
        looked_at += hits.len();
        let last = hits.len() < usize::try_from(page).unwrap_or(usize::MAX);
        for hit in hits {
            if found.hits.len() == wanted {
                found.next = place.map(SearchCursor);
                return Ok(found);
            }
            place = Some(hit.place);
            if sessions.only.as_ref().is_none_or(|only| only.contains(&hit.session))
                && let Some(event) = event(store, hit.session, hit.seq).await?
                && let Some((text, cut)) = searchable::text(&event)
            {
                found.hits.push(FoundEvent { snippet: snippet(&text, &query.terms), event, cut });
            }
        }
        if last {
            return Ok(found);
        }
        page = page_for(wanted.saturating_sub(found.hits.len()), found.hits.len(), looked_at, page);
    }
}

/// How many hits to look at next for `wanted` more, where so many of those looked at passed: as many as that foretells, and a few more.
fn page_for(wanted: usize, passed: usize, looked_at: usize, last: u32) -> u32 {
    let foretold = wanted.saturating_add(1).saturating_mul(looked_at) / passed.max(1);
    let page = u32::try_from(foretold.saturating_add(foretold / 4)).unwrap_or(PAGE_MAX);
    page.min(last.saturating_mul(PAGE_GROWS)).clamp(PAGE_MIN, PAGE_MAX)
}

fn labelled(session: &SessionId) -> Term {
    Term::label(Label::Session, &session.to_string())
}

/// Reads an event; `None` when it cannot be read, or not any more.
async fn event(store: &dyn Store, session: SessionId, seq: Seq) -> Result<Option<Recorded>, StoreError> {
    let read = Read::one(session, seq);
    match store.read(read).await {
        Ok(page) => Ok(page.rows.into_iter().find_map(|row| match row {
            Row::Event { event, .. } if event.body != Body::Redacted => Some(event),
            Row::Event { .. } | Row::Damaged { .. } => None,
        })),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which sessions pass.
#[derive(Debug, Default)]
struct Passing {
    /// Only these; all when unset.
    only: Option<BTreeSet<SessionId>>,
    /// None of these, which are few.
    none: Option<BTreeSet<SessionId>>,
}

/// The sessions that pass all tests.
async fn sessions(store: &dyn Store, tests: &[SessionTest]) -> Result<Passing, StoreError> {
    let mut passing = Passing::default();
    if !tests.is_empty() {
        // No agent's, it passes no test of one, also none that is turned round.
        passing.none = Some(BTreeSet::from([SessionId::AUDIT_LOG]));
    }
    for SessionTest { is, not } in tests {
        let are: BTreeSet<SessionId> = alike(store, is).await?.into_iter().collect();
        match (not, &mut passing.only) {
            (true, _) => passing.none.get_or_insert_default().extend(are),
            (false, Some(only)) => only.retain(|id| are.contains(id)),
            (false, only) => *only = Some(are),
        }
    }
    // Too many to be named: then the others may be few enough.
    if passing.only.is_none() && passing.none.as_ref().is_some_and(|none| none.len() > NAMED_AT_ONCE) {
        passing.only = Some(store.sessions_alike(&Alike::Id(String::new())).await?.into_iter().collect());
    }
    if let Some(only) = &mut passing.only
        && let Some(none) = passing.none.take()
    {
        only.retain(|id| !none.contains(id));
    }
    Ok(passing)
}

/// The sessions that pass one test.
async fn alike(store: &dyn Store, is: &SessionIs) -> Result<Vec<SessionId>, StoreError> {
    let alike = match is {
        SessionIs::Named(name) if name == "@last" => {
            let recent = store.sessions(SessionFilter::All, 2).await?.into_iter().map(|row| row.id);
            return Ok(recent.filter(|id| !id.is_audit_log()).take(1).collect());
        }
        SessionIs::Named(name) => return named(store, name).await,
        SessionIs::Model(model) => Alike::Model(Label::Model.of(model)),
        SessionIs::State(state) => Alike::Phase(state.clone()),
        SessionIs::Dearer(micro) => Alike::Cost(micro.saturating_add(1)..=u64::MAX),
        // Nothing is cheaper than nothing.
        SessionIs::Cheaper(0) => return Ok(Vec::new()),
        SessionIs::Cheaper(micro) => Alike::Cost(0..=micro.saturating_sub(1)),
    };
    store.sessions_alike(&alike).await
}

/// The session of this name, and those whose id begins so.
async fn named(store: &dyn Store, name: &str) -> Result<Vec<SessionId>, StoreError> {
    let mut named: Vec<_> = name.parse::<SessionName>().ok().map(|name| SessionId::named(&name)).into_iter().collect();
    match store.sessions_alike(&Alike::Id(name.to_owned())).await {
        Ok(begin_so) => named.extend(begin_so.into_iter().filter(|id| id.to_string().starts_with(name))),
        // No id begins so, whoever is asked.
        Err(StoreError::Invalid(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(named)
}
