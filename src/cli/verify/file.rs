//! `rekindle verify FILE`: a bundle, for which no store is opened.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::Serialize;

use super::{Found, print_found};
use crate::audit::bundle::{self, Counts, Header, Signed, VerifiedBundle};
use crate::audit::{AuditError, VerifierKey};
use crate::cli::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::text::one_line;
use crate::session::{Seq, SessionName};

/// What was found of a bundle.
#[derive(Debug, Serialize)]
struct FoundInFile {
    file: String,
    #[serde(flatten)]
    found: Found,
    name: Option<SessionName>,
    /// How many events the session had when the bundle was made.
    of: Seq,
    by: String,
    at: String,
    signed: Signed,
    counts: Counts,
}

/// Judges a file.
///
/// # Errors
/// When it cannot be read, or is no bundle.
pub(super) fn verify(context: &mut Context, path: &Path, keys: Vec<VerifierKey>) -> Result<Exit, CliError> {
    let unreadable = |source| CliError::File { verb: "read", path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(64 * 1024, File::open(path).map_err(unreadable)?);
    let verified = bundle::verify(&mut file, keys).map_err(|error| match error {
        AuditError::Io(source) => unreadable(source),
        AuditError::NotABundle => CliError::Usage(format!(
            "{} is a file, but no bundle: its first line is no header of the format {}; a session of that name is meant by its id, or as {}@-0",
            path.display(),
            bundle::FORMAT,
            path.display()
        )),
        other => other.into(),
    })?;
    told(context, path.display().to_string(), verified)
}

/// Judges what comes on standard input.
///
/// # Errors
/// When it cannot be read, or is no bundle.
pub(super) fn verify_input(context: &mut Context, keys: Vec<VerifierKey>) -> Result<Exit, CliError> {
    let verified = bundle::verify(&mut io::stdin().lock(), keys)?;
    told(context, "-".to_owned(), verified)
}

fn told(context: &mut Context, file: String, verified: VerifiedBundle) -> Result<Exit, CliError> {
    let VerifiedBundle { header, verdicts, state, signed, counts } = verified;
    let found = Found::of(header.session, header.head, header.hash, verdicts, state);
    let exit = if found.ok { Exit::Done } else { Exit::Unverified };
    if context.out.is_table() {
        print_found(context, &found, None)?;
        if header.of > header.head {
            let part = format!("events 1 to {} of the {} that the session had", header.head, header.of);
            context.out.line(format_args!("         {} {part}", context.out.paint.dim("part")))?;
        }
        context.out.line(format_args!("         {} {}", context.out.paint.dim("signed"), one_line(&signed.to_string())))?;
    } else {
        let Header { name, of, by, at, .. } = header;
        context.out.json(&FoundInFile { file, found, name, of, by, at: at.to_string(), signed, counts })?;
    }
    Ok(exit)
}
