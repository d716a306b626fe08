//! A checkout that is there already: of an earlier try, of another session, or the user's own. What is in it may be anybody's, so
//! git looks at it only where the session's commands run.

use std::path::Path;

use crate::engine::ports::{Runtime, RuntimeError};

use super::address::without_credentials;
use super::report::Checkout;
use super::shell::beside;
use super::wanted::{Branch, Wanted};

const LOOK: &str = include_str!("attach.sh");
const SWITCH: &str = include_str!("switch.sh");
/// How the script says that there is no checkout.
const NONE: i64 = 10;

/// Attaches to what is in the repository's place, if it is one of the same origin.
pub(super) async fn attach(runtime: &dyn Runtime, wanted: &Wanted, root: &Path) -> Result<Checkout, RuntimeError> {
    let directory = wanted.directory();
    let shown = root.join(&wanted.name);
    let taken = |what: String| {
        RuntimeError::Failed(format!(
            "{} is there and is left as it is: {what}; move it away, or work elsewhere with --workspace DIR",
            shown.display()
        ))
    };
    if !std::fs::symlink_metadata(&shown).is_ok_and(|found| found.is_dir()) {
        return Err(taken("it is no directory".to_owned()));
    }
    let looked = beside(runtime, &directory, LOOK, &[]).await?;
    if looked.code == NONE {
        return Err(taken(format!("it is no checkout of {} ({})", wanted.address.url, looked.output.trim())));
    }
    let output = looked.ok_or_said("the checkout that is there cannot be read")?;
    // What ends in empty lines was trimmed.
    let mut lines = output.lines().chain(std::iter::repeat("")).map(str::trim);
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let (origin, branch, commit) = (line(), line(), line());
    // Somebody may want to work in the very repository that is named.
    let is_itself = wanted.address.is_at(&shown.display().to_string());
    if !is_itself && !wanted.address.is_at(&origin) {
        let origin = if origin.is_empty() { "nowhere".to_owned() } else { without_credentials(&origin) };
        return Err(taken(format!("it comes from {origin} and not from {}", wanted.address.url)));
    }
    let mut from = None;
    if branch != wanted.branch.name() {
        let kind = match &wanted.branch {
            Branch::Named(_) => "named",
            Branch::Fresh(_) => "fresh",
        };
        let switched = beside(runtime, &directory, SWITCH, &[wanted.branch.name(), kind]).await?;
        switched.ok_or_said(&format!(
            "the checkout in {} cannot go to the branch `{}`",
            shown.display(),
            wanted.branch.name()
        ))?;
        from = Some(branch).filter(|branch| kind == "fresh" && !branch.is_empty());
    }
    let commit = Some(commit).filter(|commit| !commit.is_empty());
    Ok(Checkout {
        directory,
        origin: wanted.address.url.clone(),
        branch: Some(wanted.branch.name().to_owned()),
        commit,
        from,
        was_there: true,
        warnings: Vec::new(),
    })
}
