//! `rekindle send`: say something to a session's agent, and let it go on.

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::engine;
use super::run::talk::{self, Talk};
use super::span::LeaseArgs;
use crate::session::Command;

/// Say something to a session, and let its agent go on
///
/// When another node runs the session, it is told there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    #[arg(value_name = "S", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// What to say; `-` reads it from standard input
    #[arg(value_name = "TEXT")]
    text: String,
    /// A picture that goes with it
    #[arg(long, value_name = "FILE|URL")]
    image: Vec<String>,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// Says it.
///
/// # Errors
/// When there is no such session, or it does not take messages.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let text = match args.text.as_str() {
        "-" => std::io::read_to_string(std::io::stdin())?.trim_end().to_owned(),
        text => text.to_owned(),
    };
    if text.trim().is_empty() {
        return Err(CliError::Usage("there is nothing to say: the text is empty".to_owned()));
    }
    let images = args.image.iter().map(|image| talk::image(image)).collect::<Result<Vec<_>, _>>()?;
    let command = if images.is_empty() { Command::Say { content: text } } else { Command::Show { content: text, images } };
    let store = context.store_for_writing().await?;
    let row = find(context, store.as_ref(), args.address.whole()?).await?;
    let engine = engine(store, args.lease);
    talk::tell(context, &engine, row.id, command, Talk::of_terminal()).await
}
