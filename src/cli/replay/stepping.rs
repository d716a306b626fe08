//! A replay that a person leads: it is held before actions, and goes on as they say. What they say of an action stands in the log only
//! where it was not run.

use std::io::{self, BufRead};

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::cli::describe;
use crate::cli::text::{one_line, shorten};
use crate::engine::ports::{Gate, Pass};
use crate::session::replay::{Line, Step};
use crate::session::{Action, Content, SessionId};

/// How much of an action is shown, in characters.
const SHOWN_MAX: usize = 200;
/// Why an action was not run that a person skipped.
const SKIPPED: &str = "skipped by a person";

/// Holds a replay before actions.
#[derive(Debug)]
pub(super) struct Stepping {
    /// The kinds of actions before which it is held.
    breaks: Vec<String>,
    talk: Mutex<Talk>,
    quit: Notify,
}

#[derive(Debug)]
struct Talk {
    /// Whether it is held before every action.
    step: bool,
    answers: mpsc::UnboundedReceiver<String>,
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Next,
    Continue,
    Skip,
    Quit,
}

impl Answer {
    fn read(line: &str) -> Option<Self> {
        match line.trim().to_lowercase().as_str() {
            "" | "n" | "next" => Some(Self::Next),
            "c" | "continue" => Some(Self::Continue),
            "s" | "skip" => Some(Self::Skip),
            "q" | "quit" => Some(Self::Quit),
            _ => None,
        }
    }
}

impl Stepping {
    /// Holds before every action where `step` says so, else before those of these kinds; answers are lines of standard input.
    pub(super) fn new(step: bool, breaks: Vec<String>) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        // A thread of its own, so that nobody waits for it at the end.
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { breaks, talk: Mutex::new(Talk { step, answers }), quit: Notify::new() }
    }

    /// Waits until the person wants no more.
    pub(super) async fn quit(&self) {
        self.quit.notified().await;
    }

    async fn answer(&self, talk: &mut Talk) -> Answer {
        loop {
            eprint!("next, continue, skip, quit? ");
            // Whoever says nothing any more wants no more.
            let Some(line) = talk.answers.recv().await else {
                eprintln!();
                return Answer::Quit;
            };
            match Answer::read(&line) {
                Some(answer) => return answer,
                None => eprintln!("{:?} is no answer", shorten(&one_line(&line), 40)),
            }
        }
    }
}

/// The action that a line performs; a message is said without asking.
fn action(line: &Line) -> Option<&Action> {
    match &line.step {
        Step::Perform { item, .. } => match &item.content {
            Content::Action(Action::Message(_)) | Content::Observation(_) => None,
            Content::Action(action) => Some(action),
        },
        Step::Unknown { .. } => None,
    }
}

#[async_trait]
impl Gate for Stepping {
    async fn pass(&self, _session: SessionId, line: &Line) -> Pass {
        let Some(action) = action(line) else { return Pass::Perform };
        let mut talk = self.talk.lock().await;
        if !talk.step && !self.breaks.iter().any(|kind| kind == action.tag()) {
            return Pass::Perform;
        }
        let shown = describe::action(action);
        eprintln!("entry {}  {}  {}", line.index, action.tag(), shorten(&one_line(&shown), SHOWN_MAX));
        match self.answer(&mut talk).await {
            Answer::Next => Pass::Perform,
            Answer::Continue => {
                talk.step = false;
                Pass::Perform
            }
            Answer::Skip => Pass::NotRun(SKIPPED.to_owned()),
            Answer::Quit => {
                self.quit.notify_one();
                std::future::pending().await
            }
        }
    }
}

/// The kind of action that a breakpoint names: `run` or `action.run`.
///
/// # Errors
/// When no action is called so.
pub(super) fn kind(text: &str) -> Result<String, String> {
    let tag = text.strip_prefix("action.").unwrap_or(text);
    if Action::RUNNABLE.contains(&tag) || ["think", "finish", "reject"].contains(&tag) {
        return Ok(tag.to_owned());
    }
    Err(format!("no action of a replay is called {text:?}; there are {}, think, finish, reject", Action::RUNNABLE.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_words_or_their_first_letters() {
        for (line, answer) in [
            ("", Some(Answer::Next)),
            ("N", Some(Answer::Next)),
            ("continue\r", Some(Answer::Continue)),
            (" s ", Some(Answer::Skip)),
            ("quit", Some(Answer::Quit)),
            ("what?", None),
        ] {
            assert_eq!(Answer::read(line), answer, "{line:?}");
        }
    }

    #[test]
    fn a_breakpoint_is_a_kind_of_action() {
        assert_eq!(kind("run").as_deref(), Ok("run"));
        assert_eq!(kind("action.edit").as_deref(), Ok("edit"));
        assert!(kind("teleport").unwrap_err().contains("run"));
    }
}
