//! How people name sessions and places in them: `S`, `S@N`, `S@-N`, `S:N`, `S:N..M`.

use std::fmt;
use std::str::FromStr;

use super::Context;
use super::exit::CliError;
use crate::session::{Seq, SessionId, SessionName};
use crate::store::{SessionFilter, SessionRow, Store};

/// The grammar, for people.
pub const GRAMMAR: &str = "  S        a session: its id, the beginning of its id (4 digits or more), its name,
           @last (the one that changed last), @-2 (the one before that)
  S@N      its state after event N; S@-3 is three events before its last
  S:N      event N
  S:N..M   events N to M; either end may be left out";

/// The fewest digits that name a session.
const PREFIX_MIN: usize = 4;
/// How many candidates an ambiguous beginning names.
const CANDIDATES_MAX: u32 = 8;

/// A session and, maybe, a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The session.
    pub session: Named,
    /// The place.
    pub place: Place,
}

/// How a session is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The nth of those that changed last, from 1.
    Recent(u32),
    /// An id, the beginning of one, or a name.
    Text(String),
}

/// What of the session is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All of it.
    Whole,
    /// What it was after this event.
    At(Seq),
    /// What it was this many events ago.
    Before(u64),
    /// This event.
    Event(Seq),
    /// These events.
    Events(Seq, Option<Seq>),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A leading @ belongs to the session, a later one to the place.
        let place = text.char_indices().skip(1).find(|(_, c)| matches!(c, '@' | ':')).map_or(text.len(), |(at, _)| at);
        let (session, place) = text.split_at(place);
        Ok(Self { session: session.parse()?, place: parse_place(place)? })
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some("last") => Ok(Self::Recent(1)),
            Some(back) => match back.strip_prefix('-').and_then(|back| back.parse().ok()).filter(|back| *back >= 1) {
                Some(back) => Ok(Self::Recent(back)),
                None => Err(format!("{text:?} names no session; @last is the one that changed last, @-2 the one before")),
            },
            None if text.is_empty() => Err("a session is named by its id, its name, or @last".to_owned()),
            None => Ok(Self::Text(text.to_owned())),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recent(1) => f.write_str("@last"),
            Self::Recent(back) => write!(f, "@-{back}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = &self.session;
        match self.place {
            Place::Whole => write!(f, "{session}"),
            Place::At(seq) => write!(f, "{session}@{seq}"),
            Place::Before(back) => write!(f, "{session}@-{back}"),
            Place::Event(seq) => write!(f, "{session}:{seq}"),
            Place::Events(first, Some(last)) => write!(f, "{session}:{first}..{last}"),
            Place::Events(first, None) => write!(f, "{session}:{first}.."),
        }
    }
}

fn parse_place(text: &str) -> Result<Place, String> {
    let number = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is no event; events are numbered from 1")),
        Ok(seq) => Ok(Seq(seq)),
    };
    match text.split_at_checked(1) {
        None => Ok(Place::Whole),
        Some(("@", at)) => match at.strip_prefix('-') {
            Some(back) => back.parse().map(Place::Before).map_err(|_| format!("{at:?} is no number of events to go back")),
            None => number(at).map(Place::At),
        },
        Some((_, range)) => match range.split_once("..") {
            None => number(range).map(Place::Event),
            Some((first, last)) => {
                let first = if first.is_empty() { Seq(1) } else { number(first)? };
                let last = if last.is_empty() { None } else { Some(number(last)?) };
                match last {
                    Some(last) if last < first => Err(format!("{first}..{last} ends before it begins")),
                    last => Ok(Place::Events(first, last)),
                }
            }
        },
    }
}

impl Address {
    /// The session alone, for commands that take no place.
    ///
    /// # Errors
    /// [`CliError::Usage`] when a place was named.
    pub fn whole(&self) -> Result<&Named, CliError> {
        match self.place {
            Place::Whole => Ok(&self.session),
            Place::At(_) | Place::Before(_) => Err(CliError::Usage(format!(
                "this acts on the session as it is, not as it was; say {} alone, or look at {self} with a command that reads",
                self.session
            ))),
            Place::Event(_) | Place::Events(..) => {
                Err(CliError::Usage(format!("this takes a whole session; leave out what comes after {}", self.session)))
            }
        }
    }

    /// The event after which the session is meant: its last one for a whole session.
    ///
    /// # Errors
    /// [`CliError::PastTheEnd`], or [`CliError::Usage`] for single events.
    pub fn at(&self, row: &SessionRow) -> Result<Seq, CliError> {
        match self.place {
            Place::Whole => Ok(row.head),
            Place::At(seq) => within(row, seq),
            Place::Before(back) => match row.head.0.checked_sub(back) {
                Some(seq) if seq > 0 => Ok(Seq(seq)),
                _ => Err(CliError::NotFound(format!(
                    "session {} has {} events, so none is {back} before its last",
                    row.id, row.head
                ))),
            },
            Place::Event(seq) | Place::Events(seq, _) => {
                Err(CliError::Usage(format!("{}:{seq} is an event; the state after it is {}@{seq}", self.session, self.session)))
            }
        }
    }
}

/// `seq`, when the session has it.
///
/// # Errors
/// [`CliError::PastTheEnd`] naming the last event.
pub fn within(row: &SessionRow, seq: Seq) -> Result<Seq, CliError> {
    if seq <= row.head { Ok(seq) } else { Err(CliError::PastTheEnd { session: row.id, seq, head: row.head }) }
}

/// The session that is meant, and the event up to which; or all of them.
///
/// # Errors
/// As [`find`] and [`Address::at`].
pub async fn chosen(
    context: &Context,
    store: &dyn Store,
    address: Option<&Address>,
) -> Result<(Vec<SessionRow>, Option<Seq>), CliError> {
    let Some(address) = address else { return Ok((store.sessions(SessionFilter::All, u32::MAX).await?, None)) };
    let row = find(context, store, &address.session).await?;
    let upto = address.at(&row)?;
    Ok((vec![row], Some(upto)))
}

/// Finds the session that is meant.
///
/// # Errors
/// [`CliError::NotFound`] when there is none, [`CliError::Usage`] when there are several.
pub async fn find(context: &Context, store: &dyn Store, named: &Named) -> Result<SessionRow, CliError> {
    match named {
        Named::Recent(back) => {
            let mut rows = store.sessions(SessionFilter::All, back.saturating_add(1)).await?;
            rows.retain(|row| !row.id.is_audit_log());
            rows.truncate(usize::try_from(*back).unwrap_or(usize::MAX));
            let count = rows.len();
            let wanted = usize::try_from(*back).unwrap_or(usize::MAX).saturating_sub(1);
            rows.into_iter().nth(wanted).ok_or_else(|| match count {
                0 => CliError::NotFound(context.none_yet()),
                1 => CliError::NotFound(format!("there is no session {named}; there is only one, @last")),
                count => CliError::NotFound(format!("there is no session {named}; there are {count}, the oldest is @-{count}")),
            })
        }
        Named::Text(text) => find_text(context, store, text).await,
    }
}

async fn find_text(context: &Context, store: &dyn Store, text: &str) -> Result<SessionRow, CliError> {
    if let Ok(id) = text.parse::<SessionId>()
        && let Some(row) = store.session(id).await?
    {
        return Ok(row);
    }
    if let Ok(name) = text.parse::<SessionName>()
        && let Some(row) = store.session(SessionId::named(&name)).await?
    {
        return Ok(row);
    }
    let digits = text.chars().filter(|c| *c != '-').count();
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let unknown = || CliError::NotFound(format!("there is no session {text:?}; `{}` lists them", context.command("ls --all")));
    if !is_hex || digits > 32 {
        return Err(unknown());
    }
    if digits < PREFIX_MIN {
        let why = format!("there is no session named {text:?}, and the beginning of an id takes at least {PREFIX_MIN} digits");
        return Err(CliError::Usage(why));
    }
    let mut rows = store.sessions(SessionFilter::IdPrefix(text.to_owned()), CANDIDATES_MAX + 1).await?;
    match rows.len() {
        0 => Err(unknown()),
        1 => rows.pop().ok_or_else(unknown),
        count => {
            let shown = rows.iter().take(CANDIDATES_MAX as usize).map(|row| match (&row.name, &row.directory.title) {
                (Some(name), _) => format!("\n  {}  {name}", row.id),
                (None, Some(title)) => format!("\n  {}  {}", row.id, super::text::one_line(title)),
                (None, None) => format!("\n  {}", row.id),
            });
            let more = if count > CANDIDATES_MAX as usize { "\n  …" } else { "" };
            let shown: String = shown.collect();
            Err(CliError::Usage(format!("{text:?} is the beginning of several sessions; add digits:{shown}{more}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn the_grammar_is_what_it_says() {
        let text = |text: &str| Named::Text(text.to_owned());
        for (written, session, place) in [
            ("0192ae", text("0192ae"), Place::Whole),
            ("@last", Named::Recent(1), Place::Whole),
            ("@-2", Named::Recent(2), Place::Whole),
            ("@last@5", Named::Recent(1), Place::At(Seq(5))),
            ("@-2@-3", Named::Recent(2), Place::Before(3)),
            ("my-name.1@7", text("my-name.1"), Place::At(Seq(7))),
            ("@last:7", Named::Recent(1), Place::Event(Seq(7))),
            ("x:2..9", text("x"), Place::Events(Seq(2), Some(Seq(9)))),
            ("x:2..", text("x"), Place::Events(Seq(2), None)),
            ("x:..9", text("x"), Place::Events(Seq(1), Some(Seq(9)))),
        ] {
            assert_eq!(address(written), Address { session, place }, "{written}");
            assert_eq!(address(&address(written).to_string()), address(written), "{written}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for written in ["", "@", "@first", "@-0", "@-x", "x@", "x@0", "x@abc", "x:", "x:0", "x:9..2", "x:1..b", "x@1@2"] {
            assert!(written.parse::<Address>().is_err(), "{written}");
        }
    }
}
