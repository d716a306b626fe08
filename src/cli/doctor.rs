//! stub
use super::{Context, exit::{CliError, Exit}};
/// x
#[derive(Debug, clap::Args)]
pub struct Args {}
/// x
pub async fn run(_: &mut Context, _: Args) -> Result<Exit, CliError> { Ok(Exit::Done) }
