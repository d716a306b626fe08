//! `rekindle secrets set`: a value comes from standard input, never from the command line, where others could read it.

use std::io::{self, IsTerminal, Read};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::host::interrupted;
use crate::engine::ports::{SecretValue, Secrets};
use crate::host::secrets::{Keyring, KeyringError, UserSecrets, VALUE_BYTES_MAX, is_name};
use crate::session::mask::Caveat;

/// Keep the value of a secret: typed unseen, or from standard input
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Its name, which is also the environment variable that commands find it in
    #[arg(value_name = "NAME")]
    name: String,
    /// For the agent: what it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// Some that work as they stand.
const EXAMPLES: &str = "Examples:
  rekindle secrets set OPENAI_API_KEY
  gh auth token | rekindle secrets set GITHUB_TOKEN";

#[derive(Debug, Serialize)]
struct Set {
    name: String,
    path: String,
    fingerprint: Option<String>,
    caveat: Option<String>,
}

/// Keeps a value.
///
/// # Errors
/// When it cannot be hidden, or the keyring cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let Args { name, description } = args;
    if !is_name(&name) {
        let told =
            if name.contains('=') { "only the name stands there, the value is asked for" } else { "as a variable is called" };
        return Err(CliError::Usage(format!("a secret's name has letters, digits and `_`, and begins with no digit: {told}")));
    }
    let secrets = UserSecrets::default();
    let path = secrets.path().ok_or(KeyringError::NoPlace)?.to_owned();
    // What is wrong with the keyring is said before a value is asked for.
    secrets.keyring()?;
    let Some(value) = read(&name).await? else { return Ok(Exit::Interrupted) };
    let refused = |why: &str| Err(CliError::Usage(format!("the value of {name} was not kept: {why}")));
    if value.contains('\0') {
        return refused("no variable of an environment can hold a zero byte");
    }
    if value.len() > VALUE_BYTES_MAX {
        return refused(&format!("it is longer than {} KiB", VALUE_BYTES_MAX >> 10));
    }
    let caveat = Caveat::of(&value);
    if let Some(caveat) = caveat.filter(|caveat| !caveat.is_hidden()) {
        return refused(&caveat.to_string());
    }
    Keyring::change(&path, |keyring| keyring.set(&name, value.clone(), description))?;
    if let Some(caveat) = caveat {
        context.note(format_args!("note: {name}: {caveat}"));
    }
    if value.trim() != value {
        context.note(format_args!("note: {name}: it begins or ends with white space, which belongs to it"));
    }
    let length = value.chars().count();
    let fingerprint = secrets.fingerprint(&SecretValue { name: name.clone(), value });
    if context.out.is_table() {
        context.out.line(format_args!("{name} is kept in {} ({length} characters)", path.display()))?;
    } else {
        let caveat = caveat.map(|caveat| caveat.to_string());
        context.out.json(&Set { name, path: path.display().to_string(), fingerprint, caveat })?;
    }
    Ok(Exit::Done)
}

/// The value; `None` when a person thought better of it.
async fn read(name: &str) -> Result<Option<String>, CliError> {
    let text = if io::stdin().is_terminal() {
        let unseen = Unseen::begin()?;
        eprint!("Value of {name}: ");
        let typed = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        let typed = tokio::select! {
            typed = typed => Some(typed.map_err(io::Error::other)??),
            () = interrupted() => None,
        };
        drop(unseen);
        eprintln!();
        match typed {
            Some(line) => line,
            None => return Ok(None),
        }
    } else {
        let mut bytes = Vec::new();
        io::stdin().take(VALUE_BYTES_MAX as u64 + 3).read_to_end(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| CliError::Usage(format!("the value of {name} was not kept: it is no UTF-8 text")))?
    };
    // The one line break that `echo` and a keyboard add.
    let value = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    Ok(Some(value.to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_flags.remove(LocalFlags::ECHO);
        unseen.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
