//! The pseudo-terminal that a shell has as its controlling terminal: for typing, and for signals from the keyboard.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{self, Signal};
use nix::sys::termios::{self, FlushArg, LocalFlags, OutputFlags, SetArg, Termios};
use nix::unistd::{self, Pid};

/// Both ends of a pseudo-terminal.
pub(super) struct Terminal {
    master: PtyMaster,
    /// Kept open so that reading the other end does not fail between two programs.
    slave: File,
    settings: Termios,
}

impl Terminal {
    /// Opens one that neither echoes nor rewrites what is printed.
    pub(super) fn open() -> io::Result<Self> {
        // openpty would leave both ends open in every program that another thread starts meanwhile.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits())
            .open(ptsname_r(&master)?)?;
        let mut settings = termios::tcgetattr(&slave)?;
        settings
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHOE | LocalFlags::ECHOK | LocalFlags::ECHONL | LocalFlags::ECHOCTL);
        settings.output_flags.remove(OutputFlags::OPOST);
        let terminal = Self { master, slave, settings };
        terminal.reset()?;
        Ok(terminal)
    }

    /// Undoes what a program has done to the terminal, and forgets what was typed and not read.
    pub(super) fn reset(&self) -> io::Result<()> {
        termios::tcsetattr(&self.slave, SetArg::TCSANOW, &self.settings)?;
        Ok(termios::tcflush(&self.slave, FlushArg::TCIFLUSH)?)
    }

    /// What a program is given as its standard input.
    pub(super) fn input(&self) -> io::Result<OwnedFd> {
        self.slave.as_fd().try_clone_to_owned()
    }

    /// The process group in the foreground.
    pub(super) fn foreground(&self) -> Option<Pid> {
        unistd::tcgetpgrp(&self.master).ok().filter(|group| group.as_raw() > 1)
    }

    /// Presses a key: those that send a signal do so even when a program has left no room for typing.
    pub(super) fn press(&self, key: u8) -> io::Result<()> {
        let signal = match key {
            0x03 => Some(Signal::SIGINT),
            0x1a => Some(Signal::SIGTSTP),
            0x1c => Some(Signal::SIGQUIT),
            _ => None,
        };
        let sends = termios::tcgetattr(&self.slave)?.local_flags.contains(LocalFlags::ISIG);
        match (signal, self.foreground()) {
            (Some(signal), Some(group)) if sends => {
                termios::tcflush(&self.slave, FlushArg::TCIFLUSH)?;
                // The program may have ended meanwhile.
                let _ = signal::killpg(group, signal);
                Ok(())
            }
            _ => self.type_in(&[key]).map(drop),
        }
    }

    /// Types as much of `bytes` as there is room for; says how much.
    pub(super) fn type_in(&self, bytes: &[u8]) -> io::Result<usize> {
        match unistd::write(&self.master, bytes) {
            Ok(written) => Ok(written),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}
