//! What the owner of a repository tells all agents: the microagents in a repository of the owner's own, as the peer has them.
//!
//! They are read from a clone beside the workspace's files, which goes again. Nothing in it is run, and no link that leads out of it is followed.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::clone::{CloneError, Staging, one_line, why, words};
use super::failed;
use super::wanted::Wanted;
use crate::engine::ports::{Document, Prepared, RuntimeError};
use crate::host::runtime::local::documents;
use crate::session::Report;

/// Where in that repository they are.
const MICROAGENTS: &str = "microagents";
/// The most that is read of them, in bytes.
const READ_MAX: u64 = 1024 * 1024;

/// Reads them within `within`. The clone is gone before anybody hears of it: nobody would come back for it later.
pub(super) async fn read(wanted: &Wanted, root: &Path, within: Duration) -> Result<Prepared, RuntimeError> {
    let staging = Staging::new(wanted, root).await;
    let read = tokio::time::timeout(within, read_through(wanted, root, &staging)).await;
    staging.remove().await;
    read.unwrap_or_else(|_| Err(failed(format!("{} was not read within {} s", wanted.address.url, within.as_secs_f64()))))
}

async fn read_through(wanted: &Wanted, root: &Path, staging: &Staging) -> Result<Prepared, RuntimeError> {
    let git = wanted.git();
    let mut arguments = words(&["clone", "--quiet", "--no-local", "--template=", "--no-recurse-submodules", "--depth=1"]);
    arguments.extend(words(&["--", &wanted.address.url]));
    arguments.push(staging.path.clone().into());
    let said = git.run(root, &arguments).await.map_err(|error| failed(CloneError::NoGit(error)))?;
    if !said.succeeded {
        return match why(wanted, &git, root, &said.errors).await {
            // Providers tell nobody what they may not see, so that the two look alike.
            error @ (CloneError::NotFound { .. } | CloneError::Refused { .. }) => Ok(Prepared::Skipped(error.to_string())),
            error => Err(failed(error)),
        };
    }
    let commit = one_line(&git, &staging.path, &["rev-parse", "--quiet", "--verify", "HEAD"]).await.map_err(failed)?;
    let place = staging.path.clone();
    let read = move || documents(&place, &[MICROAGENTS.to_owned()], READ_MAX);
    let documents: Vec<Document> = tokio::task::spawn_blocking(read).await.map_err(failed)?;
    let documents: Vec<Document> = documents.into_iter().filter(|document| document.path.ends_with(".md")).collect();
    Ok(Prepared::Done(Report(json!({ "repository": wanted.address.url, "commit": commit, "documents": documents }))))
}
