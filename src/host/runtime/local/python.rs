//! Python cells: one interpreter that lives as long as its session, spoken to over pipes of its own.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;

use crate::engine::ports::{RuntimeError, Timeout};
use crate::session::action::RunIpython;
use crate::session::observation::IpythonOutput;
use crate::session::{Extras, Observation};

use super::launch::{self, Ground};
use super::output::Output;
use super::run::{lost, seconds};
use super::session::{Cancel, Session};
use super::{kill, shell};

/// The program that runs the cells.
const WORKER: &str = include_str!("python_worker.py");
/// Has the worker's own frames carry a name by which tracebacks leave them out. The text comes over a pipe, as an argument would
/// show up in every list of processes.
const LOADER: &str = "import os, resource; os.closerange(190, 197); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); exec(compile(open(197, encoding='utf-8').read(), '<rekindle>', 'exec'), {'__name__': '__rekindle__', '__builtins__': __builtins__})";
/// How long the interpreter may take to begin.
const START_WAIT: Duration = Duration::from_secs(20);
/// How long a cell may take to end after it was interrupted.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);
/// How often an ending that makes no noise is looked for.
const TICK: Duration = Duration::from_millis(50);

/// A running interpreter.
pub(super) struct Python {
    child: Child,
    direct: bool,
    requests: PipeWriter,
    answers: PipeReader,
    partial: Vec<u8>,
    output_reader: PipeReader,
    output: Output,
    interpreter: String,
    /// Where the shell was when the last cell ran.
    directory: Option<String>,
    initialised: bool,
}

/// How a cell came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Died,
    OutOfTime,
}

/// What the worker says: first which interpreter it is, then that a cell has run.
#[derive(Deserialize)]
struct Answer {
    interpreter: Option<String>,
}

impl Session {
    /// Runs a cell.
    pub(super) fn run_cell(
        &mut self,
        cell: &RunIpython,
        timeout: Timeout,
        cancel: &Cancel<'_>,
    ) -> Result<Observation, RuntimeError> {
        self.ensure_ground()?;
        let mut python = match self.python.take() {
            Some(python) => python,
            None => match Python::start(&self.ground) {
                Ok(python) => python,
                Err(error) => return Ok(Observation::error(format!("Python cells cannot be run: {error}"), "")),
            },
        };
        let mut text = String::new();
        let mut end = End::Answered;
        if !python.initialised && !cell.kernel_init_code.trim().is_empty() {
            // What it prints is nobody's answer, unless it goes wrong.
            end = python.run(&self.mapping.inward(&cell.kernel_init_code), None, timeout, cancel).map_err(lost)?;
            python.output.take();
        }
        python.initialised = true;
        if end == End::Answered {
            let directory = self.directory();
            let moved = python.directory.as_ref() != Some(&directory);
            let inward = self.mapping.inward(&directory);
            python.directory = Some(directory);
            end =
                python.run(&self.mapping.inward(&cell.code), moved.then_some(inward.as_str()), timeout, cancel).map_err(lost)?;
            text = self.mapping.outward(python.output.take()).trim_end().to_owned();
        }
        let interpreter = self.mapping.outward(python.interpreter.clone());
        match end {
            End::Answered => {
                if text.is_empty() {
                    text = "[Code executed successfully with no output]".into();
                }
                self.python = Some(python);
            }
            End::OutOfTime => {
                append(&mut text, &format!("[Execution timed out ({} seconds).]", seconds(timeout.hard)));
                if python.interrupt().map_err(lost)? {
                    let after = self.mapping.outward(python.output.take());
                    append(&mut text, after.trim_end());
                    self.python = Some(python);
                } else {
                    append(
                        &mut text,
                        "[The interpreter did not stop when it was interrupted. It was ended and will be restarted; its variables are gone.]",
                    );
                    drop(python);
                }
            }
            End::Died => {
                append(
                    &mut text,
                    &format!("[The interpreter ended{}. It will be restarted; its variables are gone.]", python.how_it_ended()),
                );
            }
        }
        if cell.include_extra {
            text.push_str(&format!(
                "\n[Jupyter current working directory: {}]\n[Jupyter Python interpreter: {interpreter}]",
                self.directory()
            ));
        }
        Ok(Observation { content: text, extras: Extras::RunIpython(IpythonOutput { code: cell.code.clone(), image_urls: None }) })
    }
}

impl Python {
    fn start(ground: &Ground) -> io::Result<Self> {
        let (output_reader, output_writer) = io::pipe()?;
        let (request_reader, requests) = io::pipe()?;
        let (answers, answer_writer) = io::pipe()?;
        let (program, mut program_writer) = io::pipe()?;
        shell::nonblocking(&output_reader)?;
        shell::nonblocking(&requests)?;
        shell::nonblocking(&answers)?;
        let mut launch = ground.command(false)?;
        launch
            .args(["python3", "-u", "-c", LOADER])
            .streams(
                Stdio::null(),
                Stdio::from(OwnedFd::from(output_writer.try_clone()?)),
                Stdio::from(OwnedFd::from(output_writer)),
            )
            .pass(program, 197)
            .pass(request_reader, 198)
            .pass(answer_writer, 199);
        let child = ground.spawn(launch)?;
        // It fits into the pipe; a program that does not start is found out below.
        let _ = program_writer.write_all(WORKER.as_bytes());
        drop(program_writer);
        let mut python = Self {
            child,
            direct: ground.starts_directly(),
            requests,
            answers,
            partial: Vec::new(),
            output_reader,
            output: Output::default(),
            interpreter: String::new(),
            directory: None,
            initialised: false,
        };
        let deadline = Instant::now() + START_WAIT;
        loop {
            if let Some(interpreter) = python.pump(TICK)?.and_then(|answer| answer.interpreter) {
                python.interpreter = interpreter;
                return Ok(python);
            }
            if python.child.try_wait()?.is_some() || Instant::now() >= deadline {
                let why = python.output.take();
                let why = why.trim();
                return Err(io::Error::other(if why.is_empty() { "python3 does not start".into() } else { why.to_owned() }));
            }
        }
    }

    fn run(&mut self, code: &str, directory: Option<&str>, timeout: Timeout, cancel: &Cancel<'_>) -> io::Result<End> {
        let mut request = json!({ "code": code, "directory": directory }).to_string().into_bytes();
        request.push(0);
        let mut rest = request.as_slice();
        let begun = Instant::now();
        loop {
            if !rest.is_empty() {
                match self.requests.write(rest) {
                    Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return self.died(),
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                    Err(error) => return Err(error),
                }
            }
            let left = timeout.hard.saturating_sub(begun.elapsed());
            let limit = if rest.is_empty() { left.min(TICK) } else { Duration::from_millis(1) };
            if self.pump(limit)?.is_some() {
                return Ok(End::Answered);
            }
            if self.child.try_wait()?.is_some() {
                return self.died();
            }
            if left.is_zero() || cancel.is_set() {
                return Ok(End::OutOfTime);
            }
        }
    }

    fn died(&mut self) -> io::Result<End> {
        launch::wait(&mut self.child, Duration::from_secs(1))?;
        self.read_output()?;
        Ok(End::Died)
    }

    /// Interrupts the cell; says whether it ended.
    fn interrupt(&mut self) -> io::Result<bool> {
        if let Some(group) = self.group() {
            let _ = signal::killpg(group, Signal::SIGINT);
        }
        let deadline = Instant::now() + INTERRUPT_GRACE;
        while Instant::now() < deadline {
            if self.pump(TICK)?.is_some() {
                return Ok(true);
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
        }
        Ok(false)
    }

    /// The process group of the interpreter, which leads it.
    fn group(&mut self) -> Option<Pid> {
        match self.child.try_wait() {
            Ok(None) if self.direct => i32::try_from(self.child.id()).ok().map(Pid::from_raw),
            Ok(None) => kill::only_child(self.child.id()),
            Ok(Some(_)) | Err(_) => None,
        }
    }

    fn how_it_ended(&mut self) -> String {
        use std::os::unix::process::ExitStatusExt;
        match self.child.try_wait() {
            Ok(Some(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => format!(" with exit code {code}"),
                (None, Some(signal)) => format!(" by signal {signal}"),
                (None, None) => String::new(),
            },
            Ok(None) | Err(_) => String::new(),
        }
    }

    /// Waits at most `limit` for news; gives an answer if one came.
    fn pump(&mut self, limit: Duration) -> io::Result<Option<Answer>> {
        {
            let mut sources = [
                PollFd::new(self.answers.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.output_reader.as_fd(), PollFlags::POLLIN),
            ];
            let _ = poll(&mut sources, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO));
        }
        let mut ended = !self.read_output()?;
        let mut chunk = [0; 4096];
        match self.answers.read(&mut chunk) {
            Ok(0) => ended = true,
            Ok(read) => self.partial.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if let Some(end) = self.partial.iter().position(|byte| *byte == 0) {
            let frame: Vec<u8> = self.partial.drain(..=end).collect();
            // What the cell printed was in the pipe before its answer was.
            self.read_output()?;
            return Ok(serde_json::from_slice(frame.get(..end).unwrap_or_default()).ok());
        }
        if ended {
            // A closed pipe is always ready.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }

    /// Takes in what there is; says whether more can come.
    fn read_output(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; 65_536];
        for _ in 0..64 {
            match self.output_reader.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(read) => self.output.push(chunk.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        if let Some(group) = self.group() {
            let _ = signal::killpg(group, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = launch::wait(&mut self.child, Duration::from_secs(1));
    }
}

fn append(text: &mut String, line: &str) {
    if !text.is_empty() && !line.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}
