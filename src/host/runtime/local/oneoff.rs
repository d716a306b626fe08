//! Static commands: each in a bash of its own, beside the session's shell.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::engine::ports::{RuntimeError, Timeout};
use crate::session::Observation;
use crate::session::action::Run;

use super::output::Output;
use super::run::{lost, seconds, set};
use super::session::{Cancel, Session};
use super::{kill, launch, shell};

/// How long the command may take to end after it was interrupted.
const INTERRUPT_GRACE: Duration = Duration::from_secs(1);
/// How often the end of the command is looked for.
const TICK: Duration = Duration::from_millis(10);

impl Session {
    /// Runs `command` in a bash of its own.
    pub(super) fn run_static(
        &mut self,
        command: &str,
        action: &Run,
        timeout: Timeout,
        cancel: &Cancel,
    ) -> Result<Observation, RuntimeError> {
        self.ensure_ground()?;
        let here = self.directory();
        let directory =
            action.cwd.as_ref().map_or_else(|| here.clone(), |cwd| Path::new(&here).join(cwd).to_string_lossy().into_owned());
        let (output, code) = self.static_output(command, &directory, timeout, cancel).map_err(lost)?;
        let content = self.mapping.outward(output).trim_end().to_owned();
        let mut observation = self.observe(action, command, content);
        set(&mut observation, |metadata| {
            metadata.exit_code = code.unwrap_or(-1);
            metadata.working_dir = Some(directory);
            metadata.suffix = code.map_or_else(
                || format!("\n[The command timed out after {} seconds and was killed.]", seconds(timeout.hard)),
                |code| format!("\n[The command completed with exit code {code}.]"),
            );
        });
        Ok(observation)
    }

    fn static_output(
        &self,
        command: &str,
        directory: &str,
        timeout: Timeout,
        cancel: &Cancel,
    ) -> io::Result<(String, Option<i64>)> {
        let (mut reader, writer) = io::pipe()?;
        shell::nonblocking(&reader)?;
        let mut launcher = self.ground.command(false)?;
        // The text is an argument of the program that reads it, where 128 KiB are the limit: so it comes as the standard input.
        let (text, mut text_writer) = io::pipe()?;
        launcher
            .args(["bash", "--noprofile", "--norc", "-c"])
            .args(["exec 190<&- 191<&- 192<&- 193<&- 194<&-; ulimit -c 0; cd -- \"$1\" || exit; IFS= read -r -d '' command; exec </dev/null; eval \"$command\""])
            .args(["bash", &self.mapping.inward(directory)])
            .streams(
                Stdio::from(text),
                Stdio::from(OwnedFd::from(writer.try_clone()?)),
                Stdio::from(OwnedFd::from(writer)),
            );
        let mut child = self.ground.spawn(launcher)?;
        let text = self.mapping.inward(command);
        // A long text does not fit into the pipe, and the command's reader may be slow.
        std::thread::Builder::new().name("rekindle-static".into()).spawn(move || {
            let _ = io::Write::write_all(&mut text_writer, text.as_bytes());
        })?;
        let mut output = Output::default();
        let deadline = Instant::now() + timeout.hard;
        let mut interrupted = None::<Instant>;
        let status = loop {
            {
                let mut source = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut source, PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO));
            }
            let open = drain(&mut reader, &mut output)?;
            if let Some(status) = child.try_wait()? {
                drain(&mut reader, &mut output)?;
                break status;
            }
            if !open {
                // Its output is closed, so polling returns at once.
                std::thread::sleep(TICK);
            }
            let group = || {
                if self.ground.starts_directly() {
                    i32::try_from(child.id()).ok().map(Pid::from_raw)
                } else {
                    kill::only_child(child.id())
                }
            };
            match interrupted {
                None if Instant::now() >= deadline || cancel.is_set() => {
                    interrupted = Some(Instant::now());
                    if let Some(group) = group() {
                        let _ = signal::killpg(group, Signal::SIGINT);
                    }
                }
                Some(since) if since.elapsed() > INTERRUPT_GRACE => {
                    if let Some(group) = group() {
                        let _ = signal::killpg(group, Signal::SIGKILL);
                    }
                    let _ = child.kill();
                    let _ = launch::wait(&mut child, INTERRUPT_GRACE)?;
                }
                _ => {}
            }
        };
        let code = status.code().map_or_else(|| 128 + i64::from(status.signal().unwrap_or(0)), i64::from);
        Ok((output.take(), interrupted.is_none().then_some(code)))
    }
}

/// Takes in what there is; says whether more can come.
fn drain(reader: &mut io::PipeReader, output: &mut Output) -> io::Result<bool> {
    let mut chunk = vec![0; 65_536];
    for _ in 0..64 {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(read) => output.push(chunk.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
