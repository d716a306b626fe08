//! Judges a session of a store.

use super::judge::{Judge, Judged};
use super::verdict::Verdicts;
use crate::session::Seq;
use crate::store::{PURGED, Pages, Read, SessionRow, Store, StoreError, Verifier};

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
    let mut pages = Pages::new(store, Read { upto: head, ..Read::forward(row.id, Seq::ZERO) });
    loop {
        match pages.next().await {
            Ok(Some(rows)) => rows.iter().for_each(|row| judge.row(row)),
            Ok(None) => break,
            Err(StoreError::Damaged { seq, what, .. }) => {
                judge.fault(Some(seq), what);
                break;
            }
            Err(other) => return Err(other),
        }
    }
    if upto.is_none() {
        judge.end(row.hash);
    }
    Ok(judge.finish())
}
