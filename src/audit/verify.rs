//! Judges a session of a store.

use super::judge::{Judge, Judged};
use super::verdict::Verdicts;
use crate::session::Seq;
use crate::store::{Order, PURGED, Read, SessionRow, Store, StoreError, Verifier};

/// How many events are looked at between two waits.
const PAGE: u32 = 1024;

/// Reads a whole session, or its events up to `upto`, and judges it. Of a fork, all that it shares is judged, too. Events appended
/// meanwhile are not looked at.
///
/// # Errors
/// When the store cannot be read at all; damage is in the verdicts.
pub async fn verify_session(store: &dyn Store, row: &SessionRow, upto: Option<Seq>) -> Result<Judged, StoreError> {
    if row.directory.phase == PURGED {
        let verdicts = Verdicts::unjudged("its events were purged; only its head is left");
        return Ok(Judged { verdicts, hash: row.hash, state: None });
    }
    let mut verifier = Verifier::new(row.id);
    if row.base.is_some() {
        verifier = verifier.across(store).await?;
    }
    let head = upto.unwrap_or(row.head);
    let mut judge = Judge::new(verifier, head);
    let mut after = Seq::ZERO;
    loop {
        let read = Read { session: row.id, after, upto: head, order: Order::OldestFirst, limit: PAGE };
        let page = match store.read(read).await {
            Ok(page) => page,
            Err(StoreError::Damaged { seq, what, .. }) => {
                judge.fault(Some(seq), what);
                break;
            }
            Err(other) => return Err(other),
        };
        page.rows.iter().for_each(|row| judge.row(row));
        match page.rows.last() {
            Some(last) if page.more && last.seq() > after => after = last.seq(),
            _ => break,
        }
    }
    if upto.is_none() {
        judge.end(row.hash);
    }
    Ok(judge.finish())
}
