//! What a shell offers for a session: ids and names out of the store.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::CompletionCandidate;

use super::location::{Access, Location};
use super::text::{one_line, shorten};
use crate::audit::is_access_recorded;
use crate::store::{SessionFilter, SessionRow};

/// How many sessions are offered.
const OFFERED_MAX: u32 = 200;
/// How long a person waits for an offer.
const WAIT: Duration = Duration::from_secs(2);

/// The sessions whose id or name begins with `current`; none when the store cannot be read.
pub fn sessions(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let mut offers = Vec::new();
    for recent in ["@last", "@-2"] {
        if recent.starts_with(current.as_ref()) {
            offers.push(CompletionCandidate::new(recent));
        }
    }
    for row in rows().unwrap_or_default() {
        let help = one_line(&shorten(row.directory.title.as_deref().unwrap_or_default(), 60)).into_owned();
        let help = format!("{} {help}", row.directory.phase);
        let words = [row.name.as_ref().map(ToString::to_string), Some(row.id.to_string())];
        for word in words.into_iter().flatten().filter(|word| word.starts_with(current.as_ref())) {
            offers.push(CompletionCandidate::new(word).help(Some(help.clone().into())));
        }
    }
    offers
}

fn rows() -> Option<Vec<SessionRow>> {
    let words: Vec<String> = std::env::args().collect();
    let named = words.iter().zip(words.iter().skip(1)).find_map(|(flag, url)| (flag == "--store").then(|| url.clone()));
    let named = named.or_else(|| std::env::var("REKINDLE_STORE").ok());
    let location = Location::find(named.as_deref()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let rows = runtime.block_on(async {
        let read = async {
            let store = location.open(Access::Read).await.ok()??;
            // What a shell asks for with every key is not worth a record, and what is not recorded is not shown.
            if is_access_recorded(store.as_ref()).await.ok()? {
                return None;
            }
            store.sessions(SessionFilter::All, OFFERED_MAX).await.ok()
        };
        tokio::time::timeout(WAIT, read).await.ok().flatten()
    });
    runtime.shutdown_background();
    rows
}
