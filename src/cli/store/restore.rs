//! `rekindle store restore`: a backup back into a store that holds nothing.

use std::path::PathBuf;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::{Access, absolute};
use super::copy::copy;
use crate::session::{Digest, Seq, SessionId};
use crate::store::{OpenOptions, Read, Row, SessionFilter, Store, connect};

/// Bring a backup back into a store that is empty or not there yet
///
/// What was interrupted is finished by running it again: a store that holds nothing but what the backup holds is gone on with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that `store backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Restores a backup.
///
/// # Errors
/// When the store holds sessions of its own, or the file is no backup.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let file = absolute(&args.file)?;
    let reading = OpenOptions { create: false, read_only: true, ..OpenOptions::DEFAULT };
    let from = connect(&format!("sqlite://{}", file.display()), reading).await?;
    let to = context.open_off_the_record(Access::Create).await?;
    if let Some(own) = own(from.as_ref(), to.as_ref()).await? {
        let what = format!(
            "the store holds session {own}, which the backup does not have as it is; restore into an empty one, or use `store copy` to add to it"
        );
        return Err(CliError::Conflict(what));
    }
    let exit = copy(context, from.as_ref(), to.as_ref()).await;
    to.close().await;
    from.close().await;
    exit
}

/// The first session of the store that is not one of the backup, or has gone on since.
async fn own(from: &dyn Store, to: &dyn Store) -> Result<Option<SessionId>, CliError> {
    for row in to.sessions(SessionFilter::All, u32::MAX).await? {
        let there = from.session(row.id).await?;
        let is_part = match there {
            None => false,
            Some(there) if there.head == row.head => there.hash == row.hash,
            Some(there) if there.head < row.head => false,
            Some(_) => hash_at(from, row.id, row.head).await? == Some(row.hash),
        };
        if !is_part {
            return Ok(Some(row.id));
        }
    }
    Ok(None)
}

async fn hash_at(store: &dyn Store, session: SessionId, seq: Seq) -> Result<Option<Digest>, CliError> {
    let page = store.read(Read { upto: seq, ..Read::last(session, 1) }).await?;
    Ok(page.rows.first().and_then(|row| match row {
        Row::Event { event, hash, .. } if event.seq == seq => Some(*hash),
        Row::Event { .. } | Row::Damaged { .. } => None,
    }))
}
