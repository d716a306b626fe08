//! `rekindle verify --against`: the store against checkpoints that were kept outside of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::super::paint::Tone;
use super::super::text::{count, one_line};
use super::keys::Keys;
use crate::audit::VerifierKey;
use crate::audit::against::{Against, Finding, Place, check, origins};
use crate::session::audit::AUDIT_LOG;

/// What is checked against.
#[derive(Debug, Clone, clap::Args)]
pub struct AgainstArgs {
    /// Check the whole store against the checkpoints in this file, which was kept outside of it: whether anything was cut off, put
    /// back, removed or written anew since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "all"])]
    pub against: Option<PathBuf>,
    /// The key that signed them, or a bundle, as `rekindle audit key` printed it; by default the one that this user seals with, and of a
    /// bundle the one that it brings (repeatable)
    #[arg(long, value_name = "KEY")]
    pub key: Vec<VerifierKey>,
}

/// Checks the store.
///
/// # Errors
/// When the file or the store cannot be read, or no key is known.
pub async fn against(context: &mut Context, file: &Path, keys: Vec<VerifierKey>) -> Result<Exit, CliError> {
    let text = fs::read_to_string(file).map_err(|source| CliError::File { verb: "read", path: file.to_owned(), source })?;
    let keys = if keys.is_empty() { own(&origins(&text))? } else { keys };
    if keys.is_empty() {
        let file = file.display();
        return Err(CliError::Usage(format!("no key of the log in {file} is here; say which one signed it with --key")));
    }
    let store = context.open_off_the_record(Access::Read).await?;
    let against = check(store.as_ref(), &text, &keys).await?;
    if context.out.is_table() {
        print(context, &against, file)?;
    } else {
        context.out.json(&against)?;
    }
    Ok(if against.holds() { Exit::Done } else { Exit::Unverified })
}

/// The keys that this user seals these logs with.
fn own(origins: &BTreeSet<String>) -> Result<Vec<VerifierKey>, CliError> {
    let keys = Keys::usual()?;
    let mut own = Vec::new();
    for origin in origins {
        own.extend(keys.verifiers_of(origin)?);
    }
    Ok(own)
}

fn print(context: &mut Context, against: &Against, file: &Path) -> Result<(), CliError> {
    let paint = context.out.paint;
    for Finding { place, what } in &against.findings {
        let bad = paint.tone(Tone::Bad, "damaged");
        let what = one_line(what);
        match place {
            Place::Checkpoint { line } => context.out.line(format_args!("{bad}  {} line {line}: {what}", file.display()))?,
            Place::Event { session, seq } if session.is_audit_log() => {
                context.out.line(format_args!("{bad}  {AUDIT_LOG} event {seq}: {what}"))?;
            }
            Place::Event { session, seq } => context.out.line(format_args!("{bad}  {session} event {seq}: {what}"))?,
        }
    }
    for session in &against.purged {
        context.out.line(format_args!("{}  {session} was purged since", paint.tone(Tone::Warn, "purged ")))?;
    }
    if against.intact == 0 && !against.holds() {
        return Ok(());
    }
    let intact = count(against.intact, "session");
    let said = format!("{intact} as sealed, by {} of {}", count(against.checkpoints, "checkpoint"), against.origin);
    context.out.line(format_args!("{}  {said}", paint.tone(Tone::Good, "intact ")))?;
    Ok(())
}
