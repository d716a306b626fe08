//! A session as a recording of a terminal, in version 2 of asciinema's format: a header, and `[seconds, code, data]` on a line each,
//! where `o` is output and `m` a marker that players stop at and list as chapters.
//!
//! Specification: <https://docs.asciinema.org/manual/asciicast/v2/>.

use std::time::Duration;

use serde_json::{Value, json};

use super::terminal::{output, words};
use crate::projection::visible::one_line;
use crate::session::event::{Created, StateChanged};
use crate::session::{Action, AgentState, Body, Content, Event, Extras, Observation, Origin, Recorded, Seq, Source, Timestamp};

/// The size of the terminal.
const COLUMNS: u16 = 100;
const ROWS: u16 = 30;
/// Where commands run before one says where it ended.
const DIRECTORY: &str = "/workspace";
/// How many lines are shown of what comes of anything but a command.
const LINES_MAX: usize = 12;

/// Writes a session as what a terminal would have shown of it, event by event.
///
/// Time passes as it did between the events, but never longer than the limit at a time, and never backwards.
#[derive(Debug)]
pub struct Asciicast {
    /// What markers call the session.
    label: String,
    title: Option<String>,
    idle_limit: Duration,
    began: bool,
    /// When the last event was made.
    at: Option<Timestamp>,
    /// How long the recording is so far.
    elapsed: Duration,
    directory: String,
    /// Markers that stand before anything that says when it all was.
    early: Vec<String>,
    lines: String,
}

impl Asciicast {
    /// A recording of a session that its markers call `label`, in which nothing happens for `idle_limit` at most.
    pub fn new(label: String, title: Option<String>, idle_limit: Duration) -> Self {
        Self {
            label,
            title,
            idle_limit,
            began: false,
            at: None,
            elapsed: Duration::ZERO,
            directory: DIRECTORY.to_owned(),
            early: Vec::new(),
            lines: String::new(),
        }
    }

    /// Adds an event: a marker, and what the terminal shows of it.
    pub fn event(&mut self, event: &Recorded) {
        let marker = format!("{}:{} {}", self.label, event.seq, one_line(event.kind.as_str()));
        let read = Event::read(event);
        if let (false, Event::Created(Created { spec })) = (self.began, &read)
            && matches!(spec.origin, Origin::Import { .. })
        {
            // An import is made long after what it tells, which is when the recording begins.
            self.early.push(marker);
            return;
        }
        self.begin(event.at);
        let gap = self.at.map_or(Duration::ZERO, |before| event.at.since(before));
        self.elapsed = self.elapsed.saturating_add(gap.min(self.idle_limit));
        self.at = Some(event.at);
        self.line("m", &marker);
        let shown = match read {
            Event::Item(entry) => match &entry.item.content {
                Content::Action(action) => self.action(event.source, action),
                Content::Observation(observation) => self.observation(observation),
            },
            Event::StateChanged(StateChanged { state, reason, .. }) => stated(state, &reason),
            Event::Unknown(_) if event.body == Body::Redacted => dim(&format!("[event {} was taken out]", event.seq)),
            _ => String::new(),
        };
        if !shown.is_empty() {
            self.line("o", &shown);
        }
    }

    /// Adds a place where an event should be and none can be read.
    pub fn damaged(&mut self, seq: Seq) {
        let marker = format!("{}:{seq} damaged", self.label);
        if !self.began {
            self.early.push(marker);
            return;
        }
        self.line("m", &marker);
        self.line("o", &dim(&format!("[event {seq} is damaged]")));
    }

    /// Takes the lines that were made so far.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.lines)
    }

    /// The lines that are left.
    pub fn end(mut self) -> String {
        self.begin(Timestamp(0));
        self.lines
    }

    fn begin(&mut self, at: Timestamp) {
        if self.began {
            return;
        }
        self.began = true;
        let env = json!({ "TERM": "xterm-256color", "SHELL": "/bin/bash" });
        let size = [("version", json!(2)), ("width", json!(COLUMNS)), ("height", json!(ROWS)), ("env", env)];
        let timestamp = Some(at.0.div_euclid(1_000_000)).filter(|seconds| *seconds > 0).map(|seconds| json!(seconds));
        let title = self.title.as_deref().map(|title| json!(one_line(title)));
        let known = [("timestamp", timestamp), ("title", title)].into_iter().filter_map(|(name, value)| Some((name, value?)));
        let header: Value = size.into_iter().chain(known).map(|(name, value)| (name.to_owned(), value)).collect();
        self.lines.push_str(&header.to_string());
        self.lines.push('\n');
        for marker in std::mem::take(&mut self.early) {
            self.line("m", &marker);
        }
    }

    fn line(&mut self, code: &str, data: &str) {
        let (seconds, micros) = (self.elapsed.as_secs(), self.elapsed.subsec_micros());
        self.lines.push_str(&format!("[{seconds}.{micros:06}, \"{code}\", {}]\n", json!(data)));
    }

    fn action(&self, source: Source, action: &Action) -> String {
        let thought =
            |thought: &str| if thought.trim().is_empty() { String::new() } else { dim(&format!("# {}", thought.trim())) };
        let typed = |prompt: &str, text: &str| {
            let text = words(text.trim_end()).replace('\n', "\n> ");
            format!("\u{1b}[1;32m{}\u{1b}[0m {text}\r\n", words(prompt))
        };
        match action {
            Action::Message(message) => said(source, &message.content),
            Action::Run(run) if run.is_input => format!("{}\r\n", words(&run.command)),
            Action::Run(run) => thought(&run.thought) + &typed(&format!("{} $", self.directory), &run.command),
            Action::RunIpython(cell) => thought(&cell.thought) + &typed(">>>", &cell.code),
            Action::Think(think) => thought(&think.thought),
            Action::Finish(finish) if !finish.final_thought.is_empty() => said(source, &finish.final_thought),
            Action::Read(read) => thought(&read.thought) + &doing("read", &read.path),
            Action::Write(write) => thought(&write.thought) + &doing("write", &write.path),
            Action::Edit(edit) => thought(&edit.thought) + &doing(&format!("edit {}", edit.command), &edit.path),
            Action::Browse(browse) => thought(&browse.thought) + &doing("browse", &browse.url),
            Action::BrowseInteractive(browse) => thought(&browse.thought) + &doing("browse", &browse.browser_actions),
            Action::CallToolMcp(call) => thought(&call.thought) + &doing("call", &call.name),
            Action::Delegate(delegate) => thought(&delegate.thought) + &doing("delegate to", &delegate.agent),
            Action::TaskTracking(tasks) => thought(&tasks.thought) + &doing("tasks", &tasks.command),
            Action::Reject(reject) => thought(&reject.thought) + &doing("reject", ""),
            Action::Finish(_)
            | Action::Null
            | Action::Recall(_)
            | Action::ChangeAgentState(_)
            | Action::System(_)
            | Action::Condensation(_)
            | Action::CondensationRequest
            | Action::LoopRecovery(_) => String::new(),
        }
    }

    fn observation(&mut self, observation: &Observation) -> String {
        let content = observation.content.as_str();
        match &observation.extras {
            Extras::Run(run) => {
                if let Some(directory) = run.metadata.working_dir.as_ref().filter(|directory| !directory.is_empty()) {
                    self.directory.clone_from(directory);
                }
                let exit = match run.metadata.exit_code {
                    0 => String::new(),
                    -1 => dim("[still running, or its end is unknown]"),
                    code => format!("\u{1b}[31m[exit {code}]\u{1b}[0m\r\n"),
                };
                ended(output(content)) + &exit
            }
            Extras::RunIpython(_) => ended(output(content)),
            Extras::Error(_) | Extras::UserRejected => format!("\u{1b}[31m{}\u{1b}[0m\r\n", words(content.trim_end())),
            Extras::Null | Extras::AgentStateChanged(_) | Extras::Recall(_) | Extras::Think | Extras::Condense => String::new(),
            Extras::Browse(_)
            | Extras::Read(_)
            | Extras::Write(_)
            | Extras::Edit(_)
            | Extras::Delegate(_)
            | Extras::Success
            | Extras::Mcp(_)
            | Extras::Download(_)
            | Extras::TaskTracking(_)
            | Extras::LoopDetection => beginning(content),
        }
    }
}

/// Output, so that what follows stands on a line of its own.
fn ended(mut shown: String) -> String {
    if !shown.is_empty() && !shown.trim_end_matches("\u{1b}[0m").ends_with('\n') {
        shown.push_str("\r\n");
    }
    shown
}

fn beginning(content: &str) -> String {
    let content = content.trim_end();
    if content.is_empty() {
        return String::new();
    }
    let lines = content.lines().count();
    let shown: Vec<&str> = content.lines().take(LINES_MAX).collect();
    let more = if lines > shown.len() { dim(&format!("… {} more lines", lines - shown.len())) } else { String::new() };
    format!("{}\r\n{more}", words(&shown.join("\n")))
}

fn said(source: Source, text: &str) -> String {
    format!("\r\n\u{1b}[1;36m{source}\u{1b}[0m\r\n{}\r\n\r\n", words(text.trim_end()))
}

fn doing(what: &str, with: &str) -> String {
    dim(format!("· {what} {with}").trim_end())
}

fn dim(text: &str) -> String {
    format!("\u{1b}[2m{}\u{1b}[0m\r\n", words(text))
}

fn stated(state: AgentState, reason: &str) -> String {
    match (state, reason) {
        (AgentState::Loading | AgentState::Running, _) => String::new(),
        (state, "") => dim(&format!("[{state}]")),
        (state, reason) => dim(&format!("[{state}: {reason}]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{EventId, Kind, SessionId};

    fn event(seq: u64, at_ms: i64, kind: &'static str, body: &str) -> Recorded {
        Recorded {
            session: SessionId::from_uuid(uuid::Uuid::nil()),
            seq: Seq(seq),
            id: EventId::from_uuid(uuid::Uuid::nil()),
            kind: Kind::known(kind),
            v: 1,
            at: Timestamp(1_700_000_000_000_000 + at_ms * 1000),
            source: Source::Agent,
            cause: None,
            must_understand: false,
            body: Body::Json(body.to_owned()),
        }
    }

    #[test]
    fn a_session_is_what_its_terminal_showed_with_a_marker_an_event() {
        let mut cast = Asciicast::new("s".to_owned(), Some("a\ttitle".to_owned()), Duration::from_secs(2));
        cast.event(&event(1, 0, "action.run", r#"{"action":"run","args":{"command":"echo a\necho b","thought":"why"}}"#));
        let output =
            r#"{"observation":"run","content":"a\nb","extras":{"command":"x","metadata":{"exit_code":3,"working_dir":"/tmp"}}}"#;
        cast.event(&event(2, 250, "observation.run", output));
        cast.event(&event(3, 60_000, "action.run", r#"{"action":"run","args":{"command":"ls"}}"#));
        cast.event(&event(4, 59_000, "turn.ended", "{}"));
        let lines: Vec<Value> = cast.end().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["version"], &lines[0]["title"], &lines[0]["timestamp"]),
            (&2.into(), &"a\\ttitle".into(), &1_700_000_000.into())
        );
        let expected = json!([
            [0.0, "m", "s:1 action.run"],
            [0.0, "o", "\u{1b}[2m# why\u{1b}[0m\r\n\u{1b}[1;32m/workspace $\u{1b}[0m echo a\r\n> echo b\r\n"],
            [0.25, "m", "s:2 observation.run"],
            [0.25, "o", "a\r\nb\r\n\u{1b}[31m[exit 3]\u{1b}[0m\r\n"],
            [2.25, "m", "s:3 action.run"],
            [2.25, "o", "\u{1b}[1;32m/tmp $\u{1b}[0m ls\r\n"],
            [2.25, "m", "s:4 turn.ended"],
        ]);
        assert_eq!(Value::from(lines[1..].to_vec()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_marked_and_an_empty_recording_is_one() {
        let mut cast = Asciicast::new("s".to_owned(), None, Duration::ZERO);
        cast.damaged(Seq(1));
        cast.event(&Recorded { body: Body::Redacted, ..event(2, 0, "action.run", "") });
        let text = cast.end();
        assert!(text.contains("s:1 damaged") && text.contains("[event 2 was taken out]"), "{text}");
        let none = Asciicast::new("s".to_owned(), None, Duration::ZERO).end();
        assert_eq!(none.lines().count(), 1);
    }
}
