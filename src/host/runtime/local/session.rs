//! The thread that a session's actions run on, one after the other, and everything it owns.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use crate::engine::ports::{RuntimeError, Timeout, WORKSPACE};
use crate::session::{Action, Observation};

use super::files::Files;
use super::launch::Ground;
use super::mapping::Mapping;
use super::python::Python;
use super::run::{Busy, lost};
use super::shell::{Record, Shell};

/// What the thread is asked.
pub(super) struct Request {
    pub(super) action: Action,
    pub(super) timeout: Timeout,
    pub(super) reply: oneshot::Sender<Result<Observation, RuntimeError>>,
}

/// Tells when nobody waits for the answer any more, or the session is being released.
pub(super) struct Cancel<'a> {
    reply: &'a oneshot::Sender<Result<Observation, RuntimeError>>,
    released: &'a AtomicBool,
}

impl Cancel<'_> {
    pub(super) fn is_set(&self) -> bool {
        self.reply.is_closed() || self.released.load(Ordering::Acquire)
    }
}

/// Who runs the commands, and where.
pub(super) struct Place {
    pub(super) user: Option<String>,
    pub(super) host: Option<String>,
}

/// What a session has running.
pub(super) struct Session {
    pub(super) ground: Arc<Ground>,
    pub(super) mapping: Mapping,
    pub(super) place: Place,
    pub(super) python: Option<Python>,
    pub(super) files: Files,
    pub(super) busy: Option<Busy>,
    shell: Option<Shell>,
    directory: String,
    path: String,
}

impl Session {
    /// Starts the session's shell in `directory`, as commands name it.
    pub(super) fn start(ground: Arc<Ground>, mapping: Mapping, directory: &str) -> io::Result<Self> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
        let (shell, record) = Shell::start(&ground, &mapping.inward(directory))?;
        let files = Files::new(mapping.root().to_path_buf());
        let mut session = Self {
            ground,
            mapping,
            place: Place { user, host },
            python: None,
            files,
            busy: None,
            shell: Some(shell),
            directory: String::new(),
            path: String::new(),
        };
        session.remember(&record);
        Ok(session)
    }

    /// Serves requests until the runtime is dropped or released.
    pub(super) fn serve(mut self, requests: &Receiver<Request>, mut bell: PipeReader, released: &AtomicBool) {
        loop {
            match requests.try_recv() {
                Ok(request) => {
                    let cancel = Cancel { reply: &request.reply, released };
                    if !cancel.is_set() {
                        let answer = self.perform(&request.action, request.timeout, &cancel);
                        let answer = if released.load(Ordering::Acquire) { Err(gone()) } else { answer };
                        // Nobody may be waiting any more.
                        let _ = request.reply.send(answer);
                    }
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            if released.load(Ordering::Acquire) {
                return;
            }
            self.idle(&mut bell);
        }
    }

    /// Sleeps until the bell rings, and meanwhile takes in what background programs print, so that they never have to wait.
    fn idle(&mut self, bell: &mut PipeReader) {
        let mut rung = false;
        {
            let mut sources = vec![PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
            if let Some(shell) = &self.shell {
                sources.extend(shell.sources().into_iter().flatten().map(|source| PollFd::new(source, PollFlags::POLLIN)));
            }
            if poll(&mut sources, PollTimeout::NONE).is_ok() {
                rung = sources.first().and_then(PollFd::any).unwrap_or(true);
            }
        }
        if rung {
            let _ = bell.read(&mut [0; 64]);
        }
        if let Some(shell) = &mut self.shell
            && shell.pump(Duration::ZERO).is_err()
        {
            self.shell = None;
        }
    }

    fn perform(&mut self, action: &Action, timeout: Timeout, cancel: &Cancel<'_>) -> Result<Observation, RuntimeError> {
        match action {
            Action::Run(run) => self.run(run, timeout, cancel),
            Action::RunIpython(cell) => self.run_cell(cell, timeout, cancel),
            Action::Read(read) => Ok(self.files.read(read, &self.directory)),
            Action::Write(write) => Ok(self.files.write(write, &self.directory)),
            Action::Edit(edit) => Ok(self.files.edit(edit, &self.directory)),
            Action::Null
            | Action::Browse(_)
            | Action::BrowseInteractive(_)
            | Action::Think(_)
            | Action::Finish(_)
            | Action::Reject(_)
            | Action::Delegate(_)
            | Action::Recall(_)
            | Action::ChangeAgentState(_)
            | Action::Message(_)
            | Action::System(_)
            | Action::Condensation(_)
            | Action::CondensationRequest
            | Action::CallToolMcp(_)
            | Action::TaskTracking(_)
            | Action::LoopRecovery(_) => {
                Ok(Observation::error(format!("Action {} is not supported in the current runtime.", action.tag()), ""))
            }
        }
    }

    /// Sees to it that there is a shell, and has the agent told when it is another one.
    pub(super) fn ensure_shell(&mut self) -> Result<(), RuntimeError> {
        // A busy one may be on its way out, which is for its command's observation to tell.
        if self.shell.as_ref().is_some_and(|shell| shell.is_usable() || self.busy.is_some()) {
            return Ok(());
        }
        self.busy = None;
        self.restart_shell()?;
        self.shell()?
            .output
            .push(b"[The shell had ended and was restarted; its environment variables, functions and aliases are gone.]\n");
        Ok(())
    }

    /// Starts a shell where the last one has ended.
    pub(super) fn restart_shell(&mut self) -> Result<(), RuntimeError> {
        self.ensure_ground()?;
        let directory = self.mapping.inward(&self.directory);
        let record = if let Some(shell) = &mut self.shell {
            shell.restart(&self.ground, &directory).map_err(lost)?
        } else {
            let (shell, record) = Shell::start(&self.ground, &directory).map_err(lost)?;
            self.shell = Some(shell);
            record
        };
        self.remember(&record);
        Ok(())
    }

    /// Whether processes can still be started; what cannot be started would otherwise look like a command that failed.
    pub(super) fn ensure_ground(&self) -> Result<(), RuntimeError> {
        if self.ground.is_alive() { Ok(()) } else { Err(gone()) }
    }

    /// The shell, which [`Session::ensure_shell`] has seen to.
    pub(super) fn shell(&mut self) -> Result<&mut Shell, RuntimeError> {
        self.shell.as_mut().ok_or_else(gone)
    }

    /// Notes where a command has left the shell.
    pub(super) fn remember(&mut self, record: &Record) {
        self.directory = self.mapping.outward(record.directory.clone());
        self.path.clone_from(&record.path);
    }

    /// The shell's directory, as commands name it.
    pub(super) fn directory(&self) -> String {
        if self.directory.is_empty() { WORKSPACE.into() } else { self.directory.clone() }
    }

    /// The `python` that a command would find; empty when there is none.
    pub(super) fn python_on_path(&self) -> String {
        self.path
            .split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|directory| format!("{}/python", directory.trim_end_matches('/')))
            .find(|program| self.mapping.host(program).is_file())
            .map_or_else(String::new, |program| self.mapping.outward(program))
    }
}

fn gone() -> RuntimeError {
    RuntimeError::Lost("the session's processes have been ended".into())
}
