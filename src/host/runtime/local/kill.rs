//! Finding and ending processes by the mark that they carry in their environment.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// How long a process may take to become another program.
const EXEC_WAIT: Duration = Duration::from_secs(1);

/// Ends every process that carries `mark` (`NAME=value`) in its environment, until none is left or `limit` has passed.
pub(super) fn all_marked(mark: &str, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let found = marked(mark)?;
        if found.is_empty() {
            return Ok(());
        }
        for pid in &found {
            let _ = signal::kill(*pid, Signal::SIGKILL);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} processes cannot be ended", found.len())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
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
        // Others' processes cannot be read, and any may end meanwhile: neither carries our mark.
        let Ok(environment) = fs::read(proc.join("environ")) else { return false };
        if !environment.is_empty() {
            return environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
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
    // The addresses where the environment begins and ends: the same for a program that was started without any.
    let none = matches!(fields.get(47..49), Some([start, end]) if start == end && *start != "0");
    // A kernel thread runs no file.
    !ended && !none && fs::read_link(proc.join("exe")).is_ok()
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
