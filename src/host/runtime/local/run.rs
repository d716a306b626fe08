//! `run` actions: what the peer's shell tool says and does, on a [`Shell`].

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::engine::ports::{RuntimeError, Timeout};
use crate::session::action::Run;
use crate::session::observation::{CommandMetadata, RunOutput};
use crate::session::{Extras, Observation};

use super::session::{Cancel, Session};
use super::shell::Record;

/// What the agent can do about a command that goes on.
const GOES_ON: &str = "You may wait longer to see additional output by sending empty command '', \
    send other commands to interact with the current process, \
    send keys to interrupt/kill the command, \
    or use the timeout parameter in execute_bash for future commands.";
/// Said when there was nobody left to type at.
const TOO_LATE: &str = "\n[Your input was not sent: the command had completed before.]";
/// Said before output of which a part was reported already.
const CONTINUED: &str = "[Below is the output of the previous command.]\n";
/// How long a program may take to end after it was interrupted.
const INTERRUPT_GRACE: Duration = Duration::from_millis(1500);
/// How long a script may take to end while its programs are killed one by one, before its shell is.
const KILL_GRACE: Duration = Duration::from_millis(1500);
/// How long typed text may wait for a program that does not read.
const TYPE_WAIT: Duration = Duration::from_secs(2);

/// A command that goes on after it was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy {
    /// Whether a part of its output was reported.
    reported: bool,
}

/// How waiting for a command came to an end.
enum End {
    Finished(Record),
    ShellEnded(i64),
    Quiet,
    TimedOut,
    Cancelled,
}

impl Session {
    /// Runs a command, or types at the one that runs.
    pub(super) fn run(&mut self, action: &Run, timeout: Timeout, cancel: &Cancel) -> Result<Observation, RuntimeError> {
        let command = action.command.trim();
        if command.contains('\0') {
            return Ok(Observation::error("The command holds a NUL character, which no shell can take.", ""));
        }
        if action.is_static {
            return self.run_static(command, action, timeout, cancel);
        }
        self.ensure_shell()?;
        self.shell()?.pump(Duration::ZERO).map_err(lost)?;
        let key = control_key(command);
        match self.busy {
            None if command.is_empty() => {
                return Ok(self.observe(action, "", "ERROR: No previous running command to retrieve logs from.".into()));
            }
            None if action.is_input || key.is_some() => {
                return Ok(self.observe(action, "", "ERROR: No previous running command to interact with.".into()));
            }
            None => self.send(command)?,
            Some(busy) => {
                // It may have ended while nobody was asking.
                if let Some(record) = self.shell()?.take_finished() {
                    if command.is_empty() || action.is_input {
                        let mut observation = self.completed(action, record, None)?;
                        if !command.is_empty() {
                            set(&mut observation, |metadata| metadata.suffix.push_str(TOO_LATE));
                        }
                        return Ok(observation);
                    }
                    self.busy = None;
                    self.remember(&record);
                    self.send(command)?;
                } else if self.shell()?.ended().is_some() {
                    // Falls through to the wait, which reports the end.
                } else if !command.is_empty() && !action.is_input {
                    return self.refused(action, command, busy);
                } else if !command.is_empty() {
                    self.type_at_program(command, key)?;
                }
            }
        }
        let mut end = self.wait(action.blocking, timeout, cancel)?;
        if matches!(end, End::ShellEnded(_)) && !self.shell()?.has_taken() {
            // The shell went before it took the command, which therefore has not run.
            self.ensure_shell()?;
            self.send(command)?;
            end = self.wait(action.blocking, timeout, cancel)?;
        }
        let key = key.filter(|_| action.is_input);
        match end {
            End::Finished(record) => self.completed(action, record, key),
            End::ShellEnded(code) => self.ended(action, code, ""),
            End::Quiet => self.went_quiet(action, timeout),
            End::TimedOut | End::Cancelled => self.interrupted(action, timeout),
        }
    }

    fn send(&mut self, command: &str) -> Result<(), RuntimeError> {
        let command = self.mapping.inward(command);
        self.shell()?.send(&command).map_err(lost)?;
        self.busy = None;
        Ok(())
    }

    fn type_at_program(&mut self, text: &str, key: Option<u8>) -> Result<(), RuntimeError> {
        let text = format!("{}\n", self.mapping.inward(text));
        let shell = self.shell()?;
        if let Some(key) = key {
            return shell.press(key).map_err(lost);
        }
        if !shell.type_all(text.as_bytes(), TYPE_WAIT).map_err(lost)? {
            shell.output.push(b"\n[The program does not read its input; a part of the text was not typed.]\n");
        }
        Ok(())
    }

    fn wait(&mut self, blocking: bool, timeout: Timeout, cancel: &Cancel) -> Result<End, RuntimeError> {
        let begun = Instant::now();
        let mut news = begun;
        let shell = self.shell()?;
        loop {
            if let Some(record) = shell.take_finished() {
                return Ok(End::Finished(record));
            }
            if let Some(code) = shell.ended() {
                return Ok(End::ShellEnded(code));
            }
            if cancel.is_set() {
                return Ok(End::Cancelled);
            }
            let (quiet, left) = (timeout.quiet.saturating_sub(news.elapsed()), timeout.hard.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                return Ok(End::TimedOut);
            }
            if !blocking && quiet.is_zero() {
                return Ok(End::Quiet);
            }
            let limit = if blocking { left } else { left.min(quiet) };
            // Before bash has taken the command, it is not the command that is quiet.
            if shell.pump(limit).map_err(lost)? || !shell.has_taken() {
                news = Instant::now();
            }
        }
    }

    /// Interrupts the program in the foreground, then kills it, then the shell, until the command has ended.
    fn stop_command(&mut self) -> Result<End, RuntimeError> {
        let shell = self.shell()?;
        let begun = Instant::now();
        let (mut interrupted, mut nudged, mut killed) = (false, false, None::<Instant>);
        let mut alone = None::<Instant>;
        loop {
            if let Some(record) = shell.take_finished() {
                return Ok(End::Finished(record));
            }
            if let Some(code) = shell.ended() {
                return Ok(End::ShellEnded(code));
            }
            let passed = begun.elapsed();
            alone = if shell.is_foreground() { alone.or_else(|| Some(Instant::now())) } else { None };
            if !interrupted {
                shell.signal(Signal::SIGINT);
                interrupted = true;
            } else if !nudged && alone.is_some_and(|since| since.elapsed() > INTERRUPT_GRACE / 2) {
                // A prompt that was itself interrupted left no record: an empty line makes a new one. A shell that has only just come
                // back from a program is about to tell how that ended, and would tell of this interrupt instead.
                nudged = true;
                shell.signal(Signal::SIGINT);
                let _ = shell.type_all(b"\n", Duration::ZERO);
            } else if passed > INTERRUPT_GRACE + KILL_GRACE {
                shell.kill();
            } else if passed > INTERRUPT_GRACE && killed.is_none_or(|last| last.elapsed() > Duration::from_millis(50)) {
                // The shell goes on to the script's next program, so this may take several; it is spared itself for a while, as it
                // comes to the foreground between two programs and when all is over.
                shell.kill_program();
                killed = Some(Instant::now());
            }
            shell.pump(Duration::from_millis(20)).map_err(lost)?;
        }
    }

    fn completed(&mut self, action: &Run, record: Record, key: Option<u8>) -> Result<Observation, RuntimeError> {
        let mut suffix = format!("\n[The command completed with exit code {}.]", record.exit_code);
        if let Some(key) = key {
            suffix = format!(
                "\n[The command completed with exit code {}. CTRL+{} was sent.]",
                record.exit_code,
                char::from(key | 0x40)
            );
        }
        self.busy = None;
        self.remember(&record);
        let mut observation = self.observe_output(action)?;
        set(&mut observation, |metadata| {
            metadata.exit_code = record.exit_code;
            metadata.suffix = suffix;
        });
        Ok(observation)
    }

    /// The shell is gone: `exit`, `exec`, `set -e`, or a signal. There is a new one afterwards.
    fn ended(&mut self, action: &Run, code: i64, also: &str) -> Result<Observation, RuntimeError> {
        self.busy = None;
        let mut observation = self.observe_output(action)?;
        self.restart_shell()?;
        let directory = self.directory();
        set(&mut observation, |metadata| {
            metadata.exit_code = code;
            metadata.working_dir = Some(directory.clone());
            metadata.suffix = format!(
                "{also}\n[The command completed with exit code {code}.]\n[The command ended the shell. It was restarted in \
                 {directory}; its environment variables, functions and aliases are gone.]"
            );
        });
        Ok(observation)
    }

    fn went_quiet(&mut self, action: &Run, timeout: Timeout) -> Result<Observation, RuntimeError> {
        let suffix = format!("\n[The command has no new output after {} seconds. {GOES_ON}]", seconds(timeout.quiet));
        self.goes_on(action, suffix)
    }

    fn refused(&mut self, action: &Run, command: &str, busy: Busy) -> Result<Observation, RuntimeError> {
        self.busy = Some(busy);
        let suffix = format!(
            "\n[Your command \"{command}\" is NOT executed. The previous command is still running - You CANNOT send new commands \
             until the previous command is completed. By setting `is_input` to `true`, you can interact with the current process: \
             You may wait longer to see additional output of the previous command by sending empty command '', send other commands \
             to interact with the current process, or send keys (\"C-c\", \"C-z\", \"C-d\") to interrupt/kill the previous command \
             before sending your new command.]"
        );
        self.goes_on(action, suffix)
    }

    fn goes_on(&mut self, action: &Run, suffix: String) -> Result<Observation, RuntimeError> {
        let reported = self.busy.is_some_and(|busy| busy.reported);
        let mut observation = self.observe_output(action)?;
        self.busy = Some(Busy { reported: reported || !observation.content.is_empty() });
        set(&mut observation, |metadata| {
            metadata.suffix = suffix;
            if reported {
                metadata.prefix = CONTINUED.into();
            }
        });
        Ok(observation)
    }

    /// The time is up: the command is ended, and the agent told so in the peer's words and how it ended in ours.
    fn interrupted(&mut self, action: &Run, timeout: Timeout) -> Result<Observation, RuntimeError> {
        let reported = self.busy.is_some_and(|busy| busy.reported);
        let said = format!("\n[The command timed out after {} seconds. {GOES_ON}]", seconds(timeout.hard));
        let code = match self.stop_command()? {
            End::ShellEnded(code) => {
                let mut observation = self.ended(action, code, &said)?;
                set(&mut observation, |metadata| metadata.exit_code = -1);
                return Ok(observation);
            }
            End::Finished(record) => {
                self.remember(&record);
                record.exit_code
            }
            End::Quiet | End::TimedOut | End::Cancelled => -1,
        };
        self.busy = None;
        let mut observation = self.observe_output(action)?;
        set(&mut observation, |metadata| {
            metadata.suffix = format!("{said}\n[The command was interrupted and ended with exit code {code}.]");
            if reported {
                metadata.prefix = CONTINUED.into();
            }
        });
        Ok(observation)
    }

    /// An observation with what was printed since the last one.
    fn observe_output(&mut self, action: &Run) -> Result<Observation, RuntimeError> {
        let text = self.shell()?.output.take();
        let text = self.mapping.outward(text);
        Ok(self.observe(action, action.command.trim(), text.trim_end().trim_start_matches('\n').to_owned()))
    }

    /// An observation of `command` with all that is known of where it ran.
    pub(super) fn observe(&self, action: &Run, command: &str, content: String) -> Observation {
        let metadata = CommandMetadata {
            username: self.place.user.clone(),
            hostname: self.place.host.clone(),
            working_dir: Some(self.directory()),
            py_interpreter_path: Some(self.python_on_path()),
            ..CommandMetadata::default()
        };
        Observation { content, extras: Extras::Run(RunOutput { command: command.into(), metadata, hidden: action.hidden }) }
    }
}

/// Changes the metadata of an observation of a command.
pub(super) fn set(observation: &mut Observation, change: impl FnOnce(&mut CommandMetadata)) {
    if let Extras::Run(output) = &mut observation.extras {
        change(&mut output.metadata);
    }
}

/// The byte that a key like `C-c` types.
fn control_key(command: &str) -> Option<u8> {
    match command.strip_prefix("C-")?.as_bytes() {
        [key @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'['..=b'_')] => Some(key & 0x1f),
        _ => None,
    }
}

/// A duration as the peer writes it: whole seconds without a fraction.
pub(super) fn seconds(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 { duration.as_secs().to_string() } else { duration.as_secs_f64().to_string() }
}

/// A failure of the session's own machinery, after which nobody knows what happened.
pub(super) fn lost(error: std::io::Error) -> RuntimeError {
    RuntimeError::Lost(error.to_string())
}
