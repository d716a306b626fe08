//! What lists show of a session: folded with the state and written in the transaction of every append.

use crate::session::state::Usage;
use crate::session::{Phase, Session, SessionSpec};
use crate::store::Directory;

/// The directory columns of a session in this state.
pub fn directory(session: &Session) -> Directory {
    let (shared, used) = session.fork.as_ref().map(|fork| (fork.counts, fork.usage)).unwrap_or_default();
    Directory {
        phase: shown(session).to_owned(),
        due: session.wants_worker(),
        origin: if session.fork.is_some() { FORK } else { session.spec.as_ref().map_or("", origin) }.to_owned(),
        title: session.title.clone(),
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

/// The row of a fork that nobody has gone on with: it counts what it did itself, so that nothing is counted twice.
pub fn of_fork(title: Option<String>) -> Directory {
    Directory { phase: Phase::Forked {}.as_str().to_owned(), origin: FORK.to_owned(), title, ..Directory::default() }
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
