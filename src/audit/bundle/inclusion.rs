//! The proof that a session is in the audit log of its store.

use super::record::{KeyRecord, ProofRecord};
use crate::audit::log::{Entry, Forward, row};
use crate::audit::merkle::{ProofBuilder, leaf_hash};
use crate::audit::{AuditError, Checkpoint, Note};
use crate::session::audit::{Head, Sealed};
use crate::session::{Digest, Seq};
use crate::store::Store;

/// Proves the newest sealed head that `is_wanted` by the newest checkpoint, and says whose signature that bears; `None` where none was
/// sealed.
///
/// # Errors
/// [`AuditError::Damaged`] when the audit log is not what was signed.
pub(super) async fn inclusion(
    store: &dyn Store,
    is_wanted: impl Fn(&Head) -> bool,
) -> Result<Option<(KeyRecord, ProofRecord)>, AuditError> {
    let Some(row) = row(store).await? else { return Ok(None) };
    let mut newest: Option<(Head, u64)> = None;
    let mut seal: Option<(Seq, Box<Sealed>)> = None;
    let mut index = 0;
    let mut log = Forward::new(store, row.head);
    while let Some(place) = log.next().await? {
        for head in heads(&place.entry) {
            if is_wanted(head) && newest.is_none_or(|(newest, _)| newest.seq <= head.seq) {
                newest = Some((*head, index));
            }
            index += 1;
        }
        if let Entry::Sealed(sealed) = place.entry {
            seal = Some((place.seq, sealed));
        }
    }
    let (Some((head, index)), Some((at, sealed))) = (newest, seal) else { return Ok(None) };
    let bad = |what: &str| AuditError::Damaged { seq: at, what: what.to_owned() };
    let Some(mut builder) = ProofBuilder::inclusion(index, sealed.size) else {
        return Err(bad("its last seal is of a smaller tree"));
    };
    let mut log = Forward::new(store, at);
    while let Some(place) = log.next().await? {
        heads(&place.entry).iter().for_each(|head| builder.push(leaf_hash(&head.bytes())));
    }
    let path: Vec<Digest> = builder.finish().ok_or_else(|| bad("its last seal is of a larger tree"))?;
    let key = sealed.key.parse().map_err(|_| bad("its last seal has no key"))?;
    let note: Note = sealed.checkpoint.parse().map_err(|_| bad("its last seal has no checkpoint"))?;
    let signed = Checkpoint::open(&note, &[key]).map_err(|_| bad("its last seal is not signed"))?;
    if !super::proofs::is_proven(&head, index, &signed, &path) {
        return Err(bad("its last seal is not what was signed"));
    }
    let Sealed { checkpoint, key, .. } = *sealed;
    Ok(Some((KeyRecord { vkey: key }, ProofRecord { seq: head.seq, index, path, checkpoint })))
}

fn heads(entry: &Entry) -> &[Head] {
    match entry {
        Entry::Heads(body) => &body.heads,
        Entry::Sealed(body) => &body.heads,
        Entry::Published(_) | Entry::Erasing(_) | Entry::Deed | Entry::Other => &[],
    }
}
