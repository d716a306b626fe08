//! Finding and ending processes by the mark that they carry in their environment.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// How often in a row none must be found: what is between two programs can be missed once.
const EMPTY_SCANS: u32 = 3;
/// The flag of kernel threads among those of a process (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// How long a process may take to become another program.
const EXEC_WAIT: Duration = Duration::from_secs(1);

/// Ends every process that carries `mark` (`NAME=value`) in its environment, until none is left or `limit` has passed.
pub(super) fn all_marked(mark: &str, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    let mut empty = 0;
    loop {
        let found = marked(mark)?;
        if found.is_empty() {
            empty += 1;
            if empty == EMPTY_SCANS {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        empty = 0;
        for pid in &found {
            let _ = signal::kill(*pid, Signal::SIGKILL);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} processes cannot be ended", found.len())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether any process carries `mark`.
pub(super) fn any_marked(mark: &str) -> io::Result<bool> {
    marked(mark).map(|found| !found.is_empty())
}

/// The processes that carry `mark`; ended ones that nobody has waited for have no environment any more.
fn marked(mark: &str) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if carries(&entry.path(), mark) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// Whether the process at `proc` carries `mark`.
fn carries(proc: &Path, mark: &str) -> bool {
    let deadline = Instant::now() + EXEC_WAIT;
    loop {
        match fs::read(proc.join("environ")) {
            Ok(environment) if !environment.is_empty() => {
                return environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            }
            Ok(_) => {}
            // Between two programs a process has no memory to read from, as one that has ended.
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            // Others' processes cannot be read: they do not carry our mark.
            Err(_) => return false,
        }
        // A process that is about to become another program shows no environment until it has, and would be missed.
        if !may_have_environment(proc) || Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process that showed no environment may show one in a moment.
fn may_have_environment(proc: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(proc.join("stat")) else { return false };
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ended = matches!(fields.first(), Some(&("Z" | "X")));
    // Where the code lies is filled in last, behind where the environment begins and ends (equal until it has been copied).
    let begun = fields.get(23).is_some_and(|code| *code != "0");
    // The same for a program that was started without any environment.
    let none = begun && matches!(fields.get(47..49), Some([start, end]) if start == end);
    let flags: u64 = fields.get(6).and_then(|flags| flags.parse().ok()).unwrap_or(KERNEL_THREAD);
    !ended && !none && flags & KERNEL_THREAD == 0
}

/// The child of `parent`, where `parent` is a launcher with one child.
pub(super) fn only_child(parent: u32) -> Option<Pid> {
    let wanted = parent.to_string();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; behind it come the state and the parent.
        let (_, rest) = stat.rsplit_once(") ")?;
        (rest.split(' ').nth(1)? == wanted).then(|| Pid::from_raw(pid))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::host::runtime::local::launch;

    #[test]
    fn a_process_that_keeps_becoming_another_program_is_ended() {
        for _ in 0..20 {
            let mark = format!("REKINDLE_TEST={}", uuid::Uuid::new_v4());
            let mut restless = Command::new("bash")
                .args(["-c", "exec env \"$0\" -c \"$1\" \"$0\" \"$1\"", "bash", "exec env \"$0\" -c \"$1\" \"$0\" \"$1\""])
                .envs(mark.split_once('='))
                .spawn()
                .unwrap();
            all_marked(&mark, Duration::from_secs(10)).unwrap();
            let ended = launch::wait(&mut restless, Duration::from_secs(5)).unwrap();
            let _ = restless.kill();
            assert!(ended && marked(&mark).unwrap().is_empty());
        }
    }
}
