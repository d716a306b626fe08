//! A session that was handed a part of another one's task: where it belongs, and what it is told.

use serde::{Deserialize, Serialize};

use super::{AgentSpec, Limits, Origin, RuntimeSpec, SessionSpec, Tool};
use crate::session::id::{Seq, SessionId};
use crate::session::json::Object;

/// The session that handed this one a part of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Which.
    pub session: SessionId,
    /// The action by which it did.
    pub action: Seq,
    /// How many sessions lie above: 1 for the delegate of a session that is nobody's delegate.
    pub level: u32,
}

impl Parent {
    /// How many levels of delegates there are at most.
    pub const LEVEL_MAX: u32 = 4;
}

impl SessionSpec {
    /// How many sessions lie above.
    pub fn level(&self) -> u32 {
        self.parent.map_or(0, |parent| parent.level)
    }

    /// Whether the workspace was prepared by another session, so that this one need not do it again. Where each session has a machine
    /// of its own, what a setup script leaves outside the workspace is not there yet.
    pub(in crate::session) const fn finds_all_prepared(&self) -> bool {
        self.parent.is_some() && matches!(self.runtime, RuntimeSpec::Local { .. })
    }

    /// What a delegate of this session is told. It works in the same place, with the same secrets and servers, and under the same
    /// judges; `name` is the agent's in the registry, `called` the name by which it was asked for.
    pub fn for_delegate(&self, parent: Parent, name: &str, called: &str, inputs: &Object, limits: Limits) -> Option<Self> {
        let asker = self.agent.as_ref()?;
        let mut config = asker.delegates.get(called).unwrap_or(&asker.config).clone();
        if parent.level >= Parent::LEVEL_MAX {
            config.tools.retain(|tool| *tool != Tool::Delegate);
        }
        let agent = AgentSpec { name: name.to_owned(), config, delegates: asker.delegates.clone() };
        Some(Self {
            origin: Origin::fresh(Some(task(inputs)?)),
            title: None,
            agent: Some(agent),
            limits,
            repository: None,
            parent: Some(parent),
            // It works in its parent's workspace, and the parent keeps that.
            snapshots: None,
            ..self.clone()
        })
    }
}

/// The first message of a delegate, as V0 puts it; what it is given beside the task comes after. `None` when it is given nothing.
pub fn task(inputs: &Object) -> Option<String> {
    let text = |key: &str, value: &crate::session::json::Json| {
        let value = value.as_text().unwrap_or_else(|| value.get().to_owned());
        if key == "task" { format!("TASK: {value}") } else { format!("{key}: {value}") }
    };
    let (task, others): (Vec<_>, Vec<_>) = inputs.iter().partition(|(key, _)| *key == "task");
    let lines: Vec<String> = task.into_iter().chain(others).map(|(key, value)| text(key, value)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_reads_as_v0_puts_it_and_nothing_is_no_task() {
        let inputs: Object = serde_json::from_str(r#"{"where":"src","task":"count the files","most":3}"#).unwrap();
        assert_eq!(task(&inputs).unwrap(), "TASK: count the files\nwhere: src\nmost: 3");
        assert_eq!(task(&Object::default()), None);
    }
}
