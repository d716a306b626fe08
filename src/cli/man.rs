//! `rekindle man`: the manual, as pages for `man`.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use super::exit::{CliError, Exit};
use super::{Cli, Context};

/// Print the manual page, or write one for every command
///
/// For example: rekindle man | man -l -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the manual.
///
/// # Errors
/// When the pages cannot be written.
pub fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let mut command = Cli::command();
    command.build();
    let Some(dir) = args.dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        context.out.raw(&page)?;
        return Ok(Exit::Done);
    };
    let failed = |verb| {
        let path = dir.clone();
        move |source| CliError::File { verb, path, source }
    };
    fs::create_dir_all(&dir).map_err(failed("make"))?;
    clap_mangen::generate_to(command, &dir).map_err(failed("write"))?;
    context.note(format_args!("wrote {}", dir.display()));
    Ok(Exit::Done)
}
