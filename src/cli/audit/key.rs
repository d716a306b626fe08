//! `rekindle audit key`: the public half of the key that signs the audit log.

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::keys::Keys;
use crate::audit::origin;

/// Print the key that checks the checkpoints of this store's audit log
///
/// It is public: give it to whoever shall check them. It is written as c2sp.org/signed-note has it. The other half lies in
/// ~/.config/rekindle/audit-keys, or in the file that REKINDLE_AUDIT_KEYS names, and is shown nowhere.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the key.
///
/// # Errors
/// When nothing was sealed yet, or the key is not here.
pub async fn run(context: &mut Context, _args: &Args) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Read).await?;
    let Some(origin) = origin(store.as_ref()).await? else {
        let seal = context.command("audit seal");
        return Err(CliError::NotFound(format!("nothing of this store was sealed yet; `{seal}` does it and makes a key")));
    };
    let keys = Keys::usual()?;
    let Some(key) = keys.of(&origin)?.pop() else { return Err(keys.missing(&origin)) };
    let key = key.verifier();
    if context.out.is_table() {
        context.out.line(key)?;
    } else {
        context.out.json(&serde_json::json!({ "origin": origin, "key": key.to_string() }))?;
    }
    Ok(Exit::Done)
}
