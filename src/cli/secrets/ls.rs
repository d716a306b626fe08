//! `rekindle secrets ls`: which secrets there are, never their values.

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::output::{Cell, Side, table};
use super::super::paint::Tone;
use super::super::text::count;
use crate::engine::ports::Secrets;
use crate::host::secrets::UserSecrets;
use crate::session::mask::Caveat;

/// List the secrets whose values are known here, never the values
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct View {
    name: String,
    from: &'static str,
    description: String,
    fingerprint: Option<String>,
    /// Whether the environment has another value, which is not used.
    shadows_environment: bool,
    former_values: usize,
    caveat: Option<String>,
}

impl View {
    /// What a person should know beside the name.
    fn notes(&self) -> String {
        let former =
            (self.former_values > 0).then(|| format!("{} hidden still", count(self.former_values as u64, "former value")));
        let shadows = self.shadows_environment.then(|| "goes before another one in the environment".to_owned());
        let description = Some(self.description.clone()).filter(|text| !text.is_empty());
        [description, shadows, former, self.caveat.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Lists secrets.
///
/// # Errors
/// When the keyring cannot be read.
pub fn run(context: &mut Context, _args: &Args) -> Result<Exit, CliError> {
    let secrets = UserSecrets::default();
    let keyring = secrets.keyring()?;
    let views: Vec<View> = secrets
        .list(&[])?
        .into_iter()
        .map(|listed| View {
            from: listed.kept.as_str(),
            description: keyring.secrets.get(&listed.secret.name).map(|entry| entry.description.clone()).unwrap_or_default(),
            fingerprint: secrets.fingerprint(&listed.secret),
            shadows_environment: listed.shadows,
            former_values: listed.former,
            caveat: Caveat::of(&listed.secret.value).map(|caveat| caveat.to_string()),
            name: listed.secret.name,
        })
        .collect();
    if !context.out.is_table() {
        context.out.json_list(views)?;
        return Ok(Exit::Done);
    }
    if views.is_empty() {
        context.note(format_args!("there are no secrets yet; keep one with `{}`", context.command("secrets set NAME")));
        return Ok(Exit::Done);
    }
    let cells = |view: &View| {
        let fingerprint = view.fingerprint.as_deref().unwrap_or("-");
        vec![Cell::new(&view.name).tone(Tone::Strong), Cell::new(view.from), Cell::new(fingerprint), Cell::new(view.notes())]
    };
    let columns = [("NAME", Side::Left), ("FROM", Side::Left), ("FINGERPRINT", Side::Left), ("NOTES", Side::Left)];
    let rows: Vec<Vec<Cell>> = views.iter().map(cells).collect();
    table(&mut context.out, &columns, &rows)?;
    Ok(Exit::Done)
}
