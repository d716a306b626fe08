//! `rekindle store restore`: a backup back into a store that holds nothing.

use std::path::{Path, PathBuf};

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::{Access, absolute, bodies_of_copy, usual_options};
use super::copy::copy;
use crate::session::{Digest, Seq, SessionId};
use crate::store::{FORMAT, OpenError, OpenOptions, Read, Row, SessionFilter, SharedStore, Store, StoreError, connect};

/// Bring a backup back into a store that is empty or not there yet
///
/// What was interrupted is finished by running it again: a store that holds nothing but what the backup holds is gone on with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that `store backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Let whoever can read the store read what sessions say, though it is encrypted in the backup
    #[arg(long)]
    decrypt: bool,
}

/// Restores a backup.
///
/// # Errors
/// When the store holds sessions of its own, or the file is no backup.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let file = absolute(&args.file)?;
    let backup = Backup::open(context, file).await?;
    let from = &backup.store;
    let bodies = bodies_of_copy(from.info().await?.encrypted, args.decrypt);
    let to = context.open_off_the_record_with(Access::Create, OpenOptions { bodies, ..usual_options() }).await?;
    if let Some(own) = own(from.as_ref(), to.as_ref()).await? {
        let what = format!(
            "the store holds session {own}, which the backup does not have as it is; restore into an empty one, or use `store copy` to add to it"
        );
        return Err(CliError::Conflict(what));
    }
    let exit = copy(context, from.as_ref(), to.as_ref()).await;
    to.close().await;
    backup.close().await;
    exit
}

/// A backup that is open.
struct Backup {
    store: SharedStore,
    /// A copy of it with the tables of this version, which goes when it is closed.
    copy: Option<PathBuf>,
}

impl Backup {
    /// Opens a backup, which stays as it is. Of one that an older version has made, a copy is brought to the present format.
    async fn open(context: &Context, file: PathBuf) -> Result<Self, CliError> {
        let reading = OpenOptions { create: false, read_only: true, ..usual_options() };
        let found = match connect(&format!("sqlite://{}", file.display()), reading).await {
            Ok(store) => return Ok(Self { store, copy: None }),
            Err(StoreError::Open(OpenError::Older { found, .. })) => found,
            Err(error) => return Err(error.into()),
        };
        context.note(format_args!("the backup has format {found}; a copy of it is brought to format {FORMAT} first"));
        let copy = std::env::temp_dir().join(format!("rekindle-restore-{}.db", uuid::Uuid::now_v7()));
        let copied = tokio::fs::copy(&file, &copy).await;
        copied.map_err(|source| CliError::File { verb: "copy", path: file, source })?;
        let options = OpenOptions { create: false, ..usual_options() };
        match connect(&format!("sqlite://{}", copy.display()), options).await {
            Ok(store) => Ok(Self { store, copy: Some(copy) }),
            Err(error) => {
                remove(&copy).await;
                Err(error.into())
            }
        }
    }

    async fn close(self) {
        self.store.close().await;
        if let Some(copy) = self.copy {
            remove(&copy).await;
        }
    }
}

/// Removes a copy and what SQLite has left beside it.
async fn remove(copy: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // What is not there need not be removed.
        let _ = tokio::fs::remove_file(format!("{}{suffix}", copy.display())).await;
    }
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
