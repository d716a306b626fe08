//! What lists show of a session: folded with the state and written in the transaction of every append.

use crate::session::state::Usage;
use crate::session::{Forked, Origin, Phase, Session, SessionSpec, title_of};
use crate::store::Directory;

/// The directory columns of a session in this state.
pub fn directory(session: &Session) -> Directory {
    let (shared, used) = session.fork.as_ref().map(|fork| (fork.counts, fork.usage)).unwrap_or_default();
    Directory {
        phase: shown(session).to_owned(),
        due: session.wants_worker(),
        origin: if session.fork.is_some() { FORK } else { session.spec.as_ref().map_or("", origin) }.to_owned(),
        title: session.title.clone().or_else(|| said_next(session.fork.as_ref()?.message.as_deref(), session.spec.as_ref())),
        actions: session.counts.actions.saturating_sub(shared.actions),
        messages: session.counts.messages.saturating_sub(shared.messages),
        errors: session.counts.errors.saturating_sub(shared.errors),
        tokens: tokens(&session.usage).saturating_sub(tokens(&used)),
        cost_micro_usd: session.usage.cost_micro_usd.map(|cost| cost.saturating_sub(used.cost_micro_usd.unwrap_or(0))),
    }
}

const fn tokens(usage: &Usage) -> u64 {
    usage.prompt_tokens.saturating_add(usage.completion_tokens)
}

/// The row of a fork that nobody has gone on with: it counts what it did itself, so that nothing is counted twice. `shared` is the title
/// that what it shares gives it; without one it is named after what will be said in it first.
pub fn of_fork(shared: Option<String>, forked: &Forked, spec: Option<&SessionSpec>) -> Directory {
    let title = shared.or_else(|| said_next(forked.message.as_deref(), spec));
    Directory { phase: Phase::Forked {}.as_str().to_owned(), origin: FORK.to_owned(), title, ..Directory::default() }
}

/// What a fork in which the user has not said anything yet is named after: the message that it was given, else the one that its parent
/// was created with.
fn said_next(message: Option<&str>, spec: Option<&SessionSpec>) -> Option<String> {
    let at_first = || match &spec?.origin {
        Origin::Fresh { message, .. } => message.as_deref(),
        _ => None,
    };
    title_of(message.or_else(at_first)?)
}

/// How a fork began, in one word.
const FORK: &str = "fork";

/// Where it comes from, in one word.
const fn origin(spec: &SessionSpec) -> &'static str {
    if spec.parent.is_some() { "delegate" } else { spec.origin.as_str() }
}

/// One word: the phase, or what the agent does once the session is ready.
pub fn shown(session: &Session) -> &'static str {
    match session.phase {
        Phase::Ready => session.agent.as_str(),
        ref phase => phase.as_str(),
    }
}
