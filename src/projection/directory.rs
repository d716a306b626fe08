//! What lists show of a session: folded with the state and written in the transaction of every append.

use crate::session::{Session, SessionSpec};
use crate::store::Directory;

/// The directory columns of a session in this state.
pub fn directory(session: &Session) -> Directory {
    Directory {
        phase: shown(session).to_owned(),
        due: session.wants_worker(),
        origin: session.spec.as_ref().map_or("", origin).to_owned(),
        title: session.title.clone(),
        actions: session.counts.actions,
        messages: session.counts.messages,
        errors: session.counts.errors,
        tokens: session.usage.prompt_tokens + session.usage.completion_tokens,
        cost_micro_usd: session.usage.cost_micro_usd,
    }
}

/// Where it comes from, in one word.
const fn origin(spec: &SessionSpec) -> &'static str {
    if spec.parent.is_some() { "delegate" } else { spec.origin.as_str() }
}

/// One word: the phase, or what the agent does once the session is ready.
pub fn shown(session: &Session) -> &'static str {
    match session.phase {
        crate::session::Phase::Ready => session.agent.as_str(),
        ref phase => phase.as_str(),
    }
}
