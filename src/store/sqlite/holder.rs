//! Who holds the lock of a store's file all the while: a process that was stopped in the middle of a write keeps it until it wakes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The byte of the file in shared memory that whoever writes has locked.
const WRITE_LOCK: u64 = 120;

/// Who has the lock of the database at `path`, in words, and what to do about it. `None` when it is free by now, when this process
/// has it, or when it cannot be seen: processes of other users show their files to nobody.
pub(super) fn holder(path: &Path) -> Option<String> {
    let shared = shared_memory(path)?;
    let inode = fs::metadata(&shared).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|lock| writer(lock, inode)).filter(|pid| *pid != std::process::id())?;
    // Files of other disks can have the same number.
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let has_it = files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|file| file == shared));
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|_| has_it)?;
    let who = format!("process {pid} ({})", name.trim_end());
    Some(if is_stopped(pid) {
        format!(
            "{who} was stopped while it wrote; `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` ends it and harms nothing"
        )
    } else {
        format!("{who} writes to it")
    })
}

/// The file beside a database through which its processes see each other.
fn shared_memory(path: &Path) -> Option<PathBuf> {
    let mut name = path.canonicalize().ok()?.into_os_string();
    name.push("-shm");
    Some(name.into())
}

/// The process that has locked the file of that number for writing, if that is what this line of `/proc/locks` says:
/// `1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120`.
fn writer(lock: &str, inode: u64) -> Option<u32> {
    let mut words = lock.split_whitespace().skip(1).filter(|word| *word != "->");
    let ("POSIX", _, "WRITE") = (words.next()?, words.next()?, words.next()?) else { return None };
    let pid = words.next()?.parse().ok()?;
    let file = words.next()?.rsplit_once(':')?.1;
    let (first, last): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (file.parse() == Ok(inode) && (first..=last).contains(&WRITE_LOCK)).then_some(pid)
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with(['T', 't']))
}

#[cfg(test)]
mod tests {
    use super::writer;

    #[test]
    fn only_the_lock_of_a_writer_of_that_file_counts() {
        assert_eq!(writer("1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120", 5678), Some(1234));
        for other in [
            "1: POSIX  ADVISORY  READ  1234 fe:00:5678 120 120",
            "1: POSIX  ADVISORY  WRITE 1234 fe:00:5679 120 120",
            "1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 128 128",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:5678 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF",
            "nonsense",
        ] {
            assert_eq!(writer(other, 5678), None, "{other}");
        }
    }
}
