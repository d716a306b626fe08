//! One bash that lives as long as its session: commands go in whole, and how each ended comes back beside its output.
//!
//! Its standard input is a terminal, its output one pipe. A command's text travels over a pipe of its own, so nothing needs
//! quoting, and the record of how it ended over another, so nothing needs to be looked for in the output.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::launch::{self, Ground};
use super::output::Output;

/// What bash reads before anything else.
const RC: &str = include_str!("shell.rc");
/// Makes bash take the next command. Descriptors of the engine's are closed for the command itself.
const TRIGGER: &[u8] =
    b"{ __rekindle_read; } 2>/dev/null; eval \"$__rekindle_command\" 198<&- 199>&-; { __rekindle_done; } 2>/dev/null\n";
/// Goes before all that bash says to the engine; no directory is called so.
const MARK: &[u8] = b"\x01rekindle\x01";
/// Room in the output pipe, so that a program seldom waits for its reader.
const PIPE_BYTES: i32 = 1 << 20;
/// Most that is read after a command has ended: what it wrote is in the pipe by then, the rest is from others.
const DRAIN_MAX: usize = 2 * PIPE_BYTES as usize;
/// How long bash may take to begin.
const START_WAIT: Duration = Duration::from_secs(20);
/// How often an ending that makes no noise is looked for.
const POLL_TICK: Duration = Duration::from_millis(100);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its exit code.
    pub(super) exit_code: i64,
    /// The directory after it.
    pub(super) directory: String,
    /// Where programs are looked for.
    pub(super) path: String,
}

/// A running bash.
pub(super) struct Shell {
    child: Child,
    ended: Option<ExitStatus>,
    terminal: super::terminal::Terminal,
    commands: PipeWriter,
    records: Option<PipeReader>,
    /// What came over the pipe of records and is not a whole record yet.
    partial: Vec<u8>,
    output_reader: PipeReader,
    /// Kept, so that what a shell has left running can go on printing when the next shell is there.
    output_writer: PipeWriter,
    /// What was printed and not yet reported.
    pub(super) output: Output,
    serial: u64,
    taken: bool,
    finished: Option<Record>,
    group: Option<Pid>,
}

impl Shell {
    /// Starts a bash in `directory`, or in the one above it that is still there.
    pub(super) fn start(ground: &Ground, directory: &str) -> io::Result<(Self, Record)> {
        let (output_reader, output_writer) = io::pipe()?;
        nonblocking(&output_reader)?;
        // More room is a help, not a need: it may be refused.
        let _ = nix::fcntl::fcntl(&output_writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Self::start_on(ground, directory, output_reader, output_writer)
    }

    /// Starts a new bash where this one has ended; what runs on keeps its output.
    pub(super) fn restart(&mut self, ground: &Ground, directory: &str) -> io::Result<Record> {
        let reader = self.output_reader.try_clone()?;
        let writer = self.output_writer.try_clone()?;
        let (fresh, record) = Self::start_on(ground, directory, reader, writer)?;
        let old = std::mem::replace(self, fresh);
        drop(old);
        Ok(record)
    }

    fn start_on(
        ground: &Ground,
        directory: &str,
        output_reader: PipeReader,
        output_writer: PipeWriter,
    ) -> io::Result<(Self, Record)> {
        let terminal = super::terminal::Terminal::open()?;
        let (rc_reader, mut rc_writer) = io::pipe()?;
        let (command_reader, commands) = io::pipe()?;
        let (records, record_writer) = io::pipe()?;
        nonblocking(&commands)?;
        nonblocking(&records)?;
        let mut launch = ground.command(true)?;
        launch
            .args(["bash", "--noprofile", "--noediting", "--rcfile", "/proc/self/fd/197", "-i"])
            .env("REKINDLE_DIRECTORY", directory)
            .streams(
                Stdio::from(terminal.input()?),
                Stdio::from(OwnedFd::from(output_writer.try_clone()?)),
                Stdio::from(OwnedFd::from(output_writer.try_clone()?)),
            )
            .pass(rc_reader, 197)
            .pass(command_reader, 198)
            .pass(record_writer, 199);
        let child = ground.spawn(launch)?;
        // It fits into the pipe; a shell that does not start is found out below, and waited for.
        let _ = rc_writer.write_all(RC.as_bytes());
        drop(rc_writer);
        let mut shell = Self {
            child,
            ended: None,
            terminal,
            commands,
            records: Some(records),
            partial: Vec::new(),
            output_reader,
            output_writer,
            output: Output::default(),
            serial: 0,
            taken: false,
            finished: None,
            group: None,
        };
        let deadline = Instant::now() + START_WAIT;
        loop {
            if let Some(record) = shell.finished.take() {
                shell.group = shell.terminal.foreground();
                return Ok((shell, record));
            }
            if shell.ended.is_some() || Instant::now() >= deadline {
                return Err(io::Error::other(format!("bash did not start: {}", shell.output.take().trim())));
            }
            shell.pump(POLL_TICK)?;
        }
    }

    /// Has bash take `command`; it runs from then on.
    pub(super) fn send(&mut self, command: &str) -> io::Result<()> {
        self.serial += 1;
        self.taken = false;
        self.finished = None;
        self.terminal.reset()?;
        self.type_all(TRIGGER, START_WAIT)?;
        let text = format!("{}\0{command}\0", self.serial);
        let mut rest = text.as_bytes();
        while !rest.is_empty() && self.ended.is_none() {
            match self.commands.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut room = [PollFd::new(self.commands.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut room, PollTimeout::try_from(POLL_TICK).unwrap_or(PollTimeout::ZERO));
                    self.pump(Duration::ZERO)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The shell is going; the caller sees that it has ended.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Types `bytes` at the terminal, waiting at most `limit` for room; says whether all of it found room.
    pub(super) fn type_all(&mut self, bytes: &[u8], limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        let mut rest = bytes;
        loop {
            rest = rest.get(self.terminal.type_in(rest)?..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(true);
            }
            if self.ended.is_some() || self.finished.is_some() || Instant::now() >= deadline {
                return Ok(false);
            }
            self.pump(Duration::from_millis(5))?;
        }
    }

    /// Presses a key at the terminal.
    pub(super) fn press(&self, key: u8) -> io::Result<()> {
        self.terminal.press(key)
    }

    /// How the command that was sent ended, once.
    pub(super) fn take_finished(&mut self) -> Option<Record> {
        self.finished.take()
    }

    /// Whether bash has taken the command that was sent, so that it may have run.
    pub(super) const fn has_taken(&self) -> bool {
        self.taken
    }

    /// How the shell itself ended, if it has.
    pub(super) fn ended(&self) -> Option<i64> {
        use std::os::unix::process::ExitStatusExt;
        self.ended.map(|status| status.code().map_or_else(|| 128 + i64::from(status.signal().unwrap_or(0)), i64::from))
    }

    /// Whether it can take a command, or will when the one that runs has ended.
    pub(super) const fn is_usable(&self) -> bool {
        self.records.is_some() && self.ended.is_none()
    }

    /// Sends `signal` to the program in the foreground.
    pub(super) fn signal(&self, signal: Signal) {
        if let (Some(group), None) = (self.terminal.foreground(), self.ended) {
            let _ = signal::killpg(group, signal);
            // What is stopped cannot act on it; a launcher stops together with the shell that it has started.
            let _ = signal::killpg(group, Signal::SIGCONT);
            if let Ok(launcher) = i32::try_from(self.child.id()) {
                let _ = signal::kill(Pid::from_raw(launcher), Signal::SIGCONT);
            }
        }
    }

    /// Kills the program in the foreground, unless that is the shell itself.
    pub(super) fn kill_program(&self) {
        if let (Some(group), None) = (self.terminal.foreground().filter(|group| Some(*group) != self.group), self.ended) {
            let _ = signal::killpg(group, Signal::SIGKILL);
        }
    }

    /// Whether the shell itself is in the foreground, rather than a program that it runs.
    pub(super) fn is_foreground(&self) -> bool {
        self.group.is_some() && self.terminal.foreground() == self.group
    }

    /// Ends the shell.
    pub(super) fn kill(&mut self) {
        if self.ended.is_none() {
            if let Some(group) = self.group {
                let _ = signal::killpg(group, Signal::SIGKILL);
            }
            let _ = self.child.kill();
        }
    }

    /// Waits at most `limit` for news and takes in what there is; says whether anything was printed.
    pub(super) fn pump(&mut self, limit: Duration) -> io::Result<bool> {
        // Without its pipe of records the shell is on its way out, which only waiting shows.
        let limit = if self.records.is_some() { limit.min(POLL_TICK) } else { limit.min(Duration::from_millis(10)) };
        {
            let mut sources = vec![
                PollFd::new(self.output_reader.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN),
            ];
            sources.extend(self.records.as_ref().map(|records| PollFd::new(records.as_fd(), PollFlags::POLLIN)));
            match poll(&mut sources, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut printed = self.read_output(PIPE_BYTES as usize)?;
        printed |= self.read_records()?;
        Ok(printed)
    }

    /// What can be waited for, so that a session without work can sleep.
    pub(super) fn sources(&self) -> [Option<std::os::fd::BorrowedFd<'_>>; 3] {
        [Some(self.output_reader.as_fd()), Some(self.terminal.as_fd()), self.records.as_ref().map(AsFd::as_fd)]
    }

    fn read_records(&mut self) -> io::Result<bool> {
        let mut printed = false;
        let mut chunk = [0; 4096];
        while let Some(records) = &mut self.records {
            match records.read(&mut chunk) {
                Ok(0) => self.records = None,
                Ok(read) => self.partial.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(record) = self.parse_record() {
            // All that the command wrote was in the pipe before the record was.
            printed |= self.read_output(DRAIN_MAX)?;
            self.finished = Some(record);
        }
        if self.records.is_none() && self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                printed |= self.read_output(DRAIN_MAX)?;
            }
        }
        Ok(printed)
    }

    /// Takes in what bash has said: that it has taken a command, and how that one ended.
    fn parse_record(&mut self) -> Option<Record> {
        let serial = self.serial.to_string();
        let mut found = None;
        while let Some(start) = find(&self.partial, MARK) {
            let body = self.partial.get(start + MARK.len()..)?;
            // An interrupted prompt leaves half a record, so each begins with a mark.
            let next = find(body, MARK);
            let one = body.get(..next.unwrap_or(body.len()))?;
            let fields: Vec<String> =
                one.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            match fields.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["taken", of, _] => self.taken |= *of == serial,
                ["ended", of, code, directory, path, _] if *of == serial => {
                    let directory = directory.strip_suffix('\n').unwrap_or(directory).to_owned();
                    found = Some(Record { exit_code: code.parse().unwrap_or(-1), directory, path: (*path).to_owned() });
                }
                ["ended", _, _, _, _, _] => {}
                _ if next.is_none() => break,
                _ => {}
            }
            let used = start + MARK.len() + one.len();
            self.partial.drain(..used);
        }
        found
    }

    fn read_output(&mut self, most: usize) -> io::Result<bool> {
        let mut chunk = vec![0; 65_536];
        let mut total = 0;
        while total < most {
            match self.output_reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    self.output.push(chunk.get(..read).unwrap_or_default());
                    total += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        // Programs that ask for a password write to the terminal itself; an error means that nobody has it open.
        while let Ok(read @ 1..) = nix::unistd::read(&self.terminal, &mut chunk) {
            self.output.push(chunk.get(..read).unwrap_or_default());
            total += read;
            if total >= most {
                break;
            }
        }
        Ok(total > 0)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.kill();
        // What cannot be ended now is ended with its ground.
        let _ = launch::wait(&mut self.child, Duration::from_secs(1));
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Makes reading or writing return at once.
pub(super) fn nonblocking(end: impl AsFd) -> io::Result<()> {
    nix::fcntl::fcntl(end, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok(())
}
