//! `rekindle diff`: what two sessions did differently, or what changed in a session between two of its events.

mod sessions;
mod states;

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, Place};
use super::complete::sessions;
use super::exit::{CliError, Exit};

/// Compare two sessions by what their agents did, or two states
///
/// Two sessions are aligned by their calls of tools: what they have in common is folded, the first divergence comes first, then the
/// rest and what each came to. Words and thoughts are not compared, nor what always differs between two runs: times, temporary
/// paths, process ids. With S@N both sides are states, and what changed is shown part by part; as JSON it is a JSON Patch (RFC 6902).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The first session; S@N for its state after event N
    #[arg(value_name = "A[@N]", add = ArgValueCompleter::new(sessions))]
    left: Address,
    /// The second one; the present state of the first when that is a state
    #[arg(value_name = "B[@M]", add = ArgValueCompleter::new(sessions))]
    right: Option<Address>,
    /// Compare what was said and thought, too
    #[arg(short, long)]
    messages: bool,
    /// Exit with 6 when the sessions part, or the states differ
    #[arg(long)]
    fail_on_divergence: bool,
}

const EXAMPLES: &str = "Examples:
  rekindle diff @-2 @last        what the last two sessions did differently
  rekindle diff @last@5 @last@9  what events 6 to 9 changed
  rekindle diff @last@-3         what the last three events changed";

/// Compares.
///
/// # Errors
/// When there is no such session or event, or the log does not prove a state.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let is_state = |address: &Address| matches!(address.place, Place::At(_) | Place::Before(_));
    let diverged = match args.right {
        Some(right) if !is_state(&args.left) && !is_state(&right) => {
            sessions::run(context, args.left.whole()?, right.whole()?, args.messages).await?
        }
        None if !is_state(&args.left) => {
            let what =
                format!("a session is compared with another one, or with itself at another event: {}@N", args.left.session);
            return Err(CliError::Usage(what));
        }
        right => {
            let right = right.unwrap_or_else(|| Address { session: args.left.session.clone(), place: Place::Whole });
            states::run(context, &args.left, &right).await?
        }
    };
    Ok(if diverged && args.fail_on_divergence { Exit::Diverged } else { Exit::Done })
}
