//! `rekindle completions`: the script that makes a shell complete commands, options and sessions.

use clap::CommandFactory;
use clap_complete::env::Shells;

use super::exit::{CliError, Exit};
use super::program::elsewhere;
use super::{Cli, Context};

/// Print the script that makes a shell complete commands, options and sessions
///
/// For example in ~/.bashrc: source <(rekindle completions bash)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

/// Prints the script.
///
/// # Errors
/// When nobody reads any more.
pub fn run(context: &mut Context, args: &Args) -> Result<Exit, CliError> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&args.shell) else {
        return Err(CliError::Usage(format!("{} is no shell that this knows", args.shell)));
    };
    let command = Cli::command();
    let name = command.get_name();
    let mut script = Vec::new();
    // The program answers the shell itself, so that sessions of the store are offered too.
    let called = elsewhere().map_or_else(|| name.to_owned(), |path| path.display().to_string());
    shell.write_registration("COMPLETE", name, name, &called, &mut script)?;
    context.out.raw(&script)?;
    Ok(Exit::Done)
}
