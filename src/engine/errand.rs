//! What may be asked of a session from another process, in the form in which it travels.

use serde::{Deserialize, Serialize};

use super::error::EngineError;
use crate::session::{Command, Item, Limits, Recovery, Rejection, Seq};

/// A command that people and programs give; the others are the worker's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Errand {
    Say {
        content: String,
    },
    Show {
        content: String,
        images: Vec<String>,
    },
    Confirm {
        action: Option<Seq>,
        by: String,
    },
    Refuse {
        action: Option<Seq>,
        by: String,
        reason: Option<String>,
    },
    Pause,
    Stop {
        reason: String,
    },
    Continue {
        limits: Option<Limits>,
    },
    Recover {
        how: Recovery,
        forget: Vec<Seq>,
        from: Seq,
    },
    Act {
        /// Each as a text of its own, so that it arrives as it was.
        actions: Vec<String>,
    },
    Close {
        reason: String,
    },
}

impl Errand {
    /// The command as an errand; `None` when only the owner itself can give it.
    pub(super) fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Say { content } => Some(Self::Say { content: content.clone() }),
            Command::Show { content, images } => Some(Self::Show { content: content.clone(), images: images.clone() }),
            Command::Confirm { action, by } => Some(Self::Confirm { action: *action, by: by.clone() }),
            Command::Refuse { action, by, reason } => {
                Some(Self::Refuse { action: *action, by: by.clone(), reason: reason.clone() })
            }
            Command::Pause => Some(Self::Pause),
            Command::Stop { reason } => Some(Self::Stop { reason: reason.clone() }),
            Command::Continue { limits } => Some(Self::Continue { limits: *limits }),
            Command::Recover { how, forget, from } => Some(Self::Recover { how: *how, forget: forget.clone(), from: *from }),
            Command::Act { actions } => Some(Self::Act { actions: actions.iter().map(Item::encode).collect() }),
            Command::Close { reason } => Some(Self::Close { reason: reason.clone() }),
            Command::Create { .. }
            | Command::Acquire { .. }
            | Command::Wake { .. }
            | Command::StartDelegate { .. }
            | Command::DelegateWaits { .. }
            | Command::DelegateGoesOn { .. }
            | Command::EndDelegate { .. }
            | Command::Brief(_)
            | Command::Decide { .. }
            | Command::FailModel { .. }
            | Command::Forget { .. }
            | Command::Summarise { .. }
            | Command::StepDone { .. }
            | Command::StepFailed { .. }
            | Command::Observe { .. }
            | Command::TakeRecorded { .. }
            | Command::LoseRuntime { .. }
            | Command::Perform { .. }
            | Command::EndRecording
            | Command::StopReplay { .. }
            | Command::KeepSnapshot(_)
            | Command::MissSnapshot(_)
            | Command::CompareWorkspace { .. }
            | Command::Released { .. }
            | Command::ReleaseFailed { .. } => None,
        }
    }

    /// The command again, or why it cannot be read.
    pub(super) fn command(self) -> Result<Command, String> {
        Ok(match self {
            Self::Say { content } => Command::Say { content },
            Self::Show { content, images } => Command::Show { content, images },
            Self::Confirm { action, by } => Command::Confirm { action, by },
            Self::Refuse { action, by, reason } => Command::Refuse { action, by, reason },
            Self::Pause => Command::Pause,
            Self::Stop { reason } => Command::Stop { reason },
            Self::Continue { limits } => Command::Continue { limits },
            Self::Recover { how, forget, from } => Command::Recover { how, forget, from },
            Self::Act { actions } => {
                let items = actions.iter().map(|action| Item::decode(action).map_err(|error| error.to_string()));
                Command::Act { actions: items.collect::<Result<_, _>>()? }
            }
            Self::Close { reason } => Command::Close { reason },
        })
    }
}

/// What came of an errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It is in the log; the version before.
    Done(Seq),
    /// The session's state does not allow it.
    Rejected(Rejection),
    /// Somebody else runs the session by now. Nothing was done.
    Moved,
    /// It could not be done.
    Failed(String),
}

impl From<Result<Seq, EngineError>> for Answer {
    fn from(result: Result<Seq, EngineError>) -> Self {
        match result {
            Ok(before) => Self::Done(before),
            Err(EngineError::Rejected(rejection)) => Self::Rejected(rejection),
            Err(EngineError::OwnedElsewhere { .. } | EngineError::ShutDown) => Self::Moved,
            Err(other) => Self::Failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_arrives_as_it_was_sent() {
        let item = Item::decode(r#"{"action":"run","args":{"command":"echo 1"}}"#).unwrap();
        for command in [
            Command::Say { content: "hi".to_owned() },
            Command::Act { actions: vec![item] },
            Command::Show { content: "look".to_owned(), images: vec!["data:image/png;base64,AA==".to_owned()] },
            Command::Confirm { action: Some(Seq(7)), by: "me".to_owned() },
            Command::Refuse { action: None, by: "me".to_owned(), reason: Some("no".to_owned()) },
            Command::Pause,
            Command::Stop { reason: "enough".to_owned() },
            Command::Continue { limits: Some(Limits { iterations: 3, budget_micro_usd: Some(4) }) },
            Command::Close { reason: "done".to_owned() },
            Command::Recover { how: Recovery::BeforeLoop, forget: vec![Seq(3), Seq(5)], from: Seq(9) },
        ] {
            let errand = Errand::of(&command).unwrap();
            let text = serde_json::to_string(&errand).unwrap();
            let arrived: Errand = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{:?}", arrived.command().unwrap()), format!("{command:?}"));
        }
        let refused = Answer::Rejected(Rejection::OutOfPhase { asked: "act".into(), phase: "closed".into() });
        assert_eq!(serde_json::from_str::<Answer>(&serde_json::to_string(&refused).unwrap()).unwrap(), refused);
    }
}
