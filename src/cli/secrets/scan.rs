//! `rekindle secrets scan`: values that stand in old logs, in whatever form.

use std::collections::BTreeSet;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::super::Context;
use super::super::address::{Address, find};
use super::super::complete::sessions;
use super::super::exit::{CliError, Exit};
use super::super::output::{Cell, Side, table};
use super::super::paint::Tone;
use super::super::text::count;
use crate::host::secrets::UserSecrets;
use crate::session::mask::{Found, Masker};
use crate::session::{Body, Digest, Event, Origin, REDUCER, Seq, SessionId, SessionSpec};
use crate::store::{PURGED, Pages, Read, Row, SessionFilter, SessionRow, Store, StoreError};

/// Find values of secrets in what was written before they were hidden
///
/// Every event, title, snapshot and long text of a session is looked through for every value that is known here, as it is and
/// escaped, quoted or encoded. Told is where, and of which secret, never the value. Ends with 5 when something is found.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; all of them by default
    #[arg(value_name = "S", add = ArgValueCompleter::new(sessions))]
    address: Option<Address>,
    /// A secret of the environment that is looked for too, beside the usual ones and those of the sessions
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
}

/// One value at one place.
#[derive(Debug, Serialize)]
struct Leak {
    session: SessionId,
    /// Unset when it stands beside the events.
    seq: Option<Seq>,
    /// What it stands in: the kind of the event, `title`, `snapshot`, `blob`.
    within: String,
    /// The keys on the way there.
    place: String,
    secret: String,
    form: &'static str,
    /// Whether the value is so short that it may stand there by chance.
    by_chance: bool,
}

/// Looks through sessions.
///
/// # Errors
/// When no value is known, there is no such session, or the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let rows = match &args.address {
        Some(address) => vec![find(context, store.as_ref(), address.whole()?).await?],
        None => store.sessions(SessionFilter::All, u32::MAX).await?,
    };
    let mut names: BTreeSet<String> = args.secret.iter().cloned().collect();
    for row in rows.iter().filter(|row| row.directory.phase != PURGED) {
        if let Some(spec) = spec(store.as_ref(), row.id).await? {
            names.extend(spec.secrets.into_iter().map(|secret| secret.name));
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    let known = UserSecrets::default().everything(&names)?;
    let masker = Masker::new(known.iter().map(|secret| (secret.name.as_str(), secret.value.as_str())));
    let masker = masker.map_err(|error| CliError::Failed(error.to_string()))?;
    if masker.is_empty() {
        let set = context.command("secrets set NAME");
        return Err(CliError::NotFound(format!(
            "no value is known here that could be looked for; keep one with `{set}`, or name a variable with --secret NAME"
        )));
    }
    let (mut leaks, mut skipped) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| row.directory.phase != PURGED) {
        context.progress(format_args!("looking through {} ({})", row.id, count(row.head.0, "event")));
        let mut scan = Scan { store: store.as_ref(), row, masker: &masker, leaks: &mut leaks, skipped: &mut skipped };
        scan.run().await?;
    }
    for what in &skipped {
        context.note(format_args!("not looked through: {what}"));
    }
    tell(context, &leaks)?;
    if context.out.is_table() {
        let sessions = leaks.iter().map(|leak| leak.session).collect::<BTreeSet<_>>().len();
        context.note(match leaks.is_empty() {
            true => format!("{} looked through, nothing found", count(rows.len() as u64, "session")),
            false => format!(
                "{} in {}: take these values out of use; what was written stays, until its session is purged",
                count(leaks.len() as u64, "place"),
                count(sessions as u64, "session")
            ),
        });
    }
    Ok(if leaks.is_empty() { Exit::Done } else { Exit::Unverified })
}

fn tell(context: &mut Context, leaks: &[Leak]) -> Result<(), CliError> {
    if !context.out.is_table() {
        return Ok(context.out.json_list(leaks)?);
    }
    if leaks.is_empty() {
        return Ok(());
    }
    let cells = |leak: &Leak| {
        let seq = leak.seq.map(|seq| format!(":{seq}")).unwrap_or_default();
        let form = if leak.by_chance { format!("{} (short, perhaps by chance)", leak.form) } else { leak.form.to_owned() };
        vec![
            Cell::new(format!("{}{seq}", leak.session)).tone(Tone::Strong),
            Cell::new(&leak.within),
            Cell::new(&leak.place),
            Cell::new(&leak.secret).tone(Tone::Bad),
            Cell::new(form),
        ]
    };
    let columns = [("WHERE", Side::Left), ("IN", Side::Left), ("AT", Side::Left), ("SECRET", Side::Left), ("FORM", Side::Left)];
    let rows: Vec<Vec<Cell>> = leaks.iter().map(cells).collect();
    Ok(table(&mut context.out, &columns, &rows)?)
}

/// What a session was told.
async fn spec(store: &dyn Store, id: SessionId) -> Result<Option<SessionSpec>, StoreError> {
    let first = Read::one(id, Seq(1));
    let page = store.read(first).await?;
    Ok(match page.rows.first() {
        Some(Row::Event { event, .. }) => match Event::read(event) {
            Event::Created(created) => Some(*created.spec),
            _ => None,
        },
        _ => None,
    })
}

/// One session that is looked through.
struct Scan<'a> {
    store: &'a dyn Store,
    row: &'a SessionRow,
    masker: &'a Masker,
    leaks: &'a mut Vec<Leak>,
    /// What could not be read.
    skipped: &'a mut Vec<String>,
}

impl Scan<'_> {
    async fn run(&mut self) -> Result<(), CliError> {
        let id = self.row.id;
        let mut blobs: Vec<(Seq, &'static str, Digest)> = Vec::new();
        let mut pages = Pages::new(self.store, Read::forward(id, Seq::ZERO));
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                match row {
                    Row::Event { event, .. } => {
                        if let Body::Json(body) = &event.body {
                            let found = self.masker.find_in_json(body);
                            self.note(Some(event.seq), event.kind.as_str(), found);
                        }
                        match Event::read(event) {
                            Event::Briefed(told) => {
                                blobs.extend([(event.seq, "prompt", told.prompt), (event.seq, "tools", told.tools)]);
                            }
                            Event::Created(created) => {
                                if let Origin::Replay { trajectory, .. } = created.spec.origin {
                                    blobs.push((event.seq, "recording", trajectory));
                                }
                            }
                            _ => {}
                        }
                    }
                    Row::Damaged { seq, what } => self.skipped.push(format!("{id}:{seq}, which is damaged: {what}")),
                }
            }
        }
        let mut seen = BTreeSet::new();
        for (seq, what, digest) in blobs {
            if !seen.insert(digest.to_string()) {
                continue;
            }
            match self.store.blob(id, digest).await? {
                Some(bytes) => self.in_text(Some(seq), "blob", what, &String::from_utf8_lossy(&bytes)),
                None => self.skipped.push(format!("the {what} of {id}:{seq}, which is not there")),
            }
        }
        let mut upto = self.row.head;
        while let Some(snapshot) = self.store.snapshot(id, REDUCER, upto).await? {
            self.in_text(None, "snapshot", "", &String::from_utf8_lossy(&snapshot.bytes));
            let Some(older) = snapshot.seq.0.checked_sub(1) else { break };
            upto = Seq(older);
        }
        self.in_text(None, "title", "", self.row.directory.title.as_deref().unwrap_or_default());
        Ok(())
    }

    fn in_text(&mut self, seq: Option<Seq>, within: &str, place: &str, text: &str) {
        let found = self.masker.find(text).into_iter().map(|found| (place.to_owned(), found)).collect();
        self.note(seq, within, found);
    }

    fn note(&mut self, seq: Option<Seq>, within: &str, found: Vec<(String, Found)>) {
        let session = self.row.id;
        self.leaks.extend(found.into_iter().map(|(place, Found { secret, form, by_chance })| {
            let (within, form) = (self.masker.text(within).into_owned(), form.as_str());
            Leak { session, seq, within, place, secret, form, by_chance }
        }));
    }
}
