//! `rekindle secrets rm`: forget a secret.

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use crate::host::secrets::{Keyring, KeyringError, UserSecrets};

/// Forget secrets, and the values that they had before
///
/// What was in the log before as <secret_hidden> stays so. Their values are hidden no longer in what is written from now on, so
/// take them out of use first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Removed {
    removed: Vec<String>,
}

/// Forgets secrets: all of them, or none when one is not there.
///
/// # Errors
/// [`CliError::NotFound`] naming those that are not there.
pub fn run(context: &mut Context, args: &Args) -> Result<Exit, CliError> {
    let secrets = UserSecrets::default();
    let path = secrets.path().ok_or(KeyringError::NoPlace)?;
    let absent = |keyring: &Keyring| {
        let absent = args.names.iter().filter(|name| !keyring.secrets.contains_key(*name));
        absent.cloned().collect::<Vec<_>>()
    };
    let mut missing = absent(secrets.keyring()?.as_ref());
    if missing.is_empty() {
        missing = Keyring::change(path, |keyring| {
            let missing = absent(keyring);
            if missing.is_empty() {
                args.names.iter().for_each(|name| drop(keyring.secrets.remove(name)));
            }
            missing
        })?;
    }
    if !missing.is_empty() {
        let (names, list) = (missing.join(", "), context.command("secrets ls"));
        return Err(CliError::NotFound(format!("{} has no secret {names}; `{list}` lists those that there are", path.display())));
    }
    if context.out.is_table() {
        context.out.line(format_args!("forgotten: {}", args.names.join(", ")))?;
    } else {
        context.out.json(&Removed { removed: args.names.clone() })?;
    }
    Ok(Exit::Done)
}
