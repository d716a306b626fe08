//! `rekindle man`: the manual, as pages for `man`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use super::exit::{CliError, Exit};
use super::{Cli, Context, SECTIONS};

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
    let page = page()?;
    let Some(dir) = args.dir else {
        context.out.raw(&page)?;
        return Ok(Exit::Done);
    };
    let mut command = Cli::command();
    command.build();
    let failed = |verb| {
        let path = dir.clone();
        move |source| CliError::File { verb, path, source }
    };
    fs::create_dir_all(&dir).map_err(failed("make"))?;
    clap_mangen::generate_to(command, &dir).map_err(failed("write"))?;
    fs::write(dir.join("rekindle.1"), page).map_err(failed("write"))?;
    context.note(format_args!("wrote {}", dir.display()));
    Ok(Exit::Done)
}

/// The page of the program itself. The generator would fill what comes after the options like prose; these are tables.
fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command().after_long_help(None);
    command.build();
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    for (title, text) in SECTIONS {
        let text = text.replace('\\', "\\e").replace('-', "\\-");
        writeln!(page, ".SH {}\n.nf\n{text}\n.fi", title.to_uppercase())?;
    }
    Ok(page)
}
