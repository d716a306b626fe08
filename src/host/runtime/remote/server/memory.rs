//! What was handed over in one session and what came of it, kept in a file, so that the end of this process forgets nothing.
//!
//! That something begins is on the disk before it does. Bounded: the oldest are forgotten, and known to be.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::private;
use crate::session::{Digest, Epoch, Seq};

/// How many are remembered at most.
const TASKS_MAX: usize = 128;
/// How much of what came of them is remembered at most, in bytes.
const ANSWERS_MAX: usize = 24 * 1024 * 1024;
/// How long the file becomes before it is written anew, in bytes.
const FILE_MAX: u64 = 2 * ANSWERS_MAX as u64;
/// What a task has come to that was begun and never ended.
const STARTED_ANEW: &str = r#"{"lost":"the runtime server ended while this ran"}"#;

/// What one session remembers.
pub(super) struct Memory {
    directory: PathBuf,
    file: File,
    length: u64,
    kept: Kept,
    tasks: VecDeque<Remembered>,
    /// Held as long as this is in use.
    _lock: File,
}

/// What holds for all tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// The last event of the session when this memory began: an action up to it can have been handed to whatever was there before.
    born: Seq,
    /// Mixed into the digests of what was handed over, which can hold secrets.
    salt: Uuid,
    /// The highest epoch seen.
    epoch: Epoch,
    /// The last action that was forgotten.
    forgotten: Seq,
}

/// A task as it is remembered.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    pub(super) id: String,
    seq: Option<Seq>,
    /// Of what was handed over.
    pub(super) digest: Digest,
    /// What came of it, as JSON; unset while it runs.
    pub(super) answer: Option<Arc<str>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Kept(Kept),
    Began { id: String, seq: Option<Seq>, digest: Digest },
    Ended { id: String, answer: String },
}

/// What is known of a task.
pub(super) enum Known {
    /// It was handed over.
    Here(Remembered),
    /// It never was.
    Never,
    /// It may have been; that is forgotten, or was another memory's.
    Forgotten,
}

impl Memory {
    /// The memory in `directory`, begun anew after the event `born` where there is none.
    ///
    /// # Errors
    /// When it cannot be read or written, or another process uses it.
    pub(super) fn open(directory: &Path, born: Seq) -> io::Result<Self> {
        private::make_directory(directory)?;
        let lock = locked(directory)?;
        let salt = Uuid::new_v4();
        let (kept, tasks) = match read(&directory.join(NAME))? {
            Some(read) => read,
            None => (Kept { born, salt, epoch: Epoch(0), forgotten: Seq::ZERO }, VecDeque::new()),
        };
        let file = options().open(directory.join(NAME))?;
        let mut memory = Self { directory: directory.to_owned(), file, length: 0, kept, tasks, _lock: lock };
        memory.rewrite()?;
        Ok(memory)
    }

    /// The memory in `directory`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or another process uses it.
    pub(super) fn find(directory: &Path) -> io::Result<Option<Self>> {
        let is_there = read(&directory.join(NAME))?.is_some();
        is_there.then(|| Self::open(directory, Seq(u64::MAX))).transpose()
    }

    /// The highest epoch seen.
    pub(super) const fn epoch(&self) -> Epoch {
        self.kept.epoch
    }

    /// Remembers a higher epoch.
    pub(super) fn raise(&mut self, epoch: Epoch) -> io::Result<()> {
        if epoch > self.kept.epoch {
            self.kept.epoch = epoch;
            self.write(&Line::Kept(self.kept.clone()), true)?;
        }
        Ok(())
    }

    /// The digest under which `task` is remembered.
    pub(super) fn digest(&self, task: &[u8]) -> Digest {
        Digest::of(&[self.kept.salt.as_bytes(), task].concat())
    }

    /// What is known of a task; `again` when it can have been handed over before.
    pub(super) fn recall(&self, id: &str, seq: Option<Seq>, again: bool) -> Known {
        if let Some(task) = self.tasks.iter().find(|task| task.id == id) {
            return Known::Here(task.clone());
        }
        match seq {
            Some(seq) if seq <= self.kept.forgotten || (again && seq <= self.kept.born) => Known::Forgotten,
            _ => Known::Never,
        }
    }

    /// Remembers that a task begins; on the disk when this returns.
    pub(super) fn began(&mut self, id: &str, seq: Option<Seq>, digest: Digest) -> io::Result<()> {
        self.write(&Line::Began { id: id.to_owned(), seq, digest }, true)?;
        self.tasks.push_back(Remembered { id: id.to_owned(), seq, digest, answer: None });
        self.forget();
        Ok(())
    }

    /// Remembers what came of a task. What cannot be written is remembered by this process alone.
    pub(super) fn ended(&mut self, id: &str, answer: String) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) {
            task.answer = Some(Arc::from(answer.as_str()));
        }
        let written = self.write(&Line::Ended { id: id.to_owned(), answer }, false);
        self.forget();
        let rewritten = if self.length > FILE_MAX { self.rewrite() } else { Ok(()) };
        if let Err(error) = written.and(rewritten) {
            tracing::warn!(%error, path = %self.directory.display(), "what came of a task is not kept on the disk");
        }
    }

    fn forget(&mut self) {
        let size = |tasks: &VecDeque<Remembered>| -> usize {
            tasks.iter().filter_map(|task| task.answer.as_ref()).map(|answer| answer.len()).sum()
        };
        while self.tasks.len() > 1 && (self.tasks.len() > TASKS_MAX || size(&self.tasks) > ANSWERS_MAX) {
            // One that runs is never forgotten.
            let Some(index) = self.tasks.iter().position(|task| task.answer.is_some()) else { return };
            if let Some(seq) = self.tasks.remove(index).and_then(|task| task.seq) {
                self.kept.forgotten = self.kept.forgotten.max(seq);
            }
        }
    }

    fn write(&mut self, line: &Line, now: bool) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.length += text.len() as u64;
        if now { self.file.sync_data() } else { Ok(()) }
    }

    /// Writes the file anew with what is still remembered.
    fn rewrite(&mut self) -> io::Result<()> {
        let (path, new) = (self.directory.join(NAME), self.directory.join("new"));
        let _ = fs::remove_file(&new);
        self.file = options().open(&new)?;
        self.length = 0;
        let mut lines = vec![Line::Kept(self.kept.clone())];
        for task in &self.tasks {
            lines.push(Line::Began { id: task.id.clone(), seq: task.seq, digest: task.digest });
            if let Some(answer) = &task.answer {
                lines.push(Line::Ended { id: task.id.clone(), answer: answer.to_string() });
            }
        }
        for line in lines {
            self.write(&line, false)?;
        }
        self.file.sync_all()?;
        fs::rename(new, path)?;
        File::open(&self.directory)?.sync_all()
    }
}

/// The file's name.
const NAME: &str = "tasks";

fn options() -> OpenOptions {
    let mut options = private::options();
    options.create(true).append(true);
    options
}

fn locked(directory: &Path) -> io::Result<File> {
    let lock = options().open(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let what = format!("another runtime server has the session open in {}", directory.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reads a file; `None` where there is none, or none that can be relied on. What had begun and not ended is lost.
fn read(path: &Path) -> io::Result<Option<(Kept, VecDeque<Remembered>)>> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.read_to_end(&mut text)?,
    };
    let mut kept = None;
    let mut tasks = VecDeque::new();
    // A line without its end was cut short by the end of the machine: what it says has not happened yet.
    let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    for line in text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Kept(line)) => kept = Some(line),
            Ok(Line::Began { id, seq, digest }) => tasks.push_back(Remembered { id, seq, digest, answer: None }),
            Ok(Line::Ended { id, answer }) => {
                if let Some(task) = tasks.iter_mut().find(|task| task.id == id) {
                    task.answer = Some(Arc::from(answer));
                }
            }
            Err(_) => return Ok(None),
        }
    }
    for task in &mut tasks {
        task.answer.get_or_insert_with(|| Arc::from(STARTED_ANEW));
    }
    Ok(kept.map(|kept| (kept, tasks)))
}

/// Removes the memories under `state` that nothing was added to for `age`, and that nobody uses.
pub(super) fn prune(state: &Path, age: std::time::Duration) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_old = |path: &Path| -> io::Result<bool> {
            Ok(fs::metadata(path.join(NAME))?.modified()?.elapsed().is_ok_and(|elapsed| elapsed > age))
        };
        if is_old(&path).unwrap_or(false)
            && let Ok(_lock) = locked(&path)
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(memory: &Memory, id: &str, seq: u64, again: bool) -> Option<String> {
        match memory.recall(id, Some(Seq(seq)), again) {
            Known::Here(task) => Some(task.answer.map_or_else(|| "runs".to_owned(), |answer| answer.to_string())),
            Known::Never => None,
            Known::Forgotten => Some("forgotten".to_owned()),
        }
    }

    fn began(memory: &mut Memory, seq: u64) {
        let digest = memory.digest(b"x");
        memory.began(&seq.to_string(), Some(Seq(seq)), digest).unwrap();
    }

    #[test]
    fn what_ended_is_remembered_and_what_had_not_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(directory.path(), Seq(1)).unwrap();
        began(&mut memory, 5);
        memory.ended("5", "\"done\"".to_owned());
        began(&mut memory, 9);
        memory.raise(Epoch(3)).unwrap();
        assert_eq!(answer(&memory, "9", 9, true).unwrap(), "runs");
        drop(memory);
        let memory = Memory::find(directory.path()).unwrap().unwrap();
        assert_eq!(memory.epoch(), Epoch(3));
        assert_eq!(answer(&memory, "5", 5, true).unwrap(), "\"done\"");
        assert!(answer(&memory, "9", 9, true).unwrap().contains("ended while this ran"));
        assert_eq!(answer(&memory, "12", 12, true), None);
    }

    #[test]
    fn a_line_that_was_cut_short_has_not_happened_and_a_damaged_one_makes_all_before_doubtful() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(directory.path(), Seq(1)).unwrap();
        began(&mut memory, 5);
        memory.ended("5", "1".to_owned());
        drop(memory);
        let path = directory.path().join(NAME);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"began\":{{\"id\":\"9\"")).unwrap();
        let memory = Memory::open(directory.path(), Seq(20)).unwrap();
        assert_eq!((answer(&memory, "5", 5, true).as_deref(), answer(&memory, "9", 9, true)), (Some("1"), None));
        drop(memory);
        fs::write(&path, format!("x{whole}")).unwrap();
        let memory = Memory::open(directory.path(), Seq(20)).unwrap();
        assert_eq!(answer(&memory, "5", 5, true).unwrap(), "forgotten");
        assert_eq!(answer(&memory, "5", 5, false), None);
        assert_eq!(answer(&memory, "21", 21, true), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_known_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(directory.path(), Seq(1)).unwrap();
        for seq in 2..(TASKS_MAX as u64 + 10) {
            began(&mut memory, seq);
            memory.ended(&seq.to_string(), "1".to_owned());
        }
        assert_eq!(answer(&memory, "2", 2, false).unwrap(), "forgotten");
        assert_eq!(answer(&memory, "100", 100, true).unwrap(), "1");
        assert_eq!(memory.tasks.len(), TASKS_MAX);
        drop(memory);
        let memory = Memory::find(directory.path()).unwrap().unwrap();
        assert_eq!(answer(&memory, "100", 100, true).unwrap(), "1");
    }

    #[test]
    fn two_servers_never_share_a_memory() {
        let directory = tempfile::tempdir().unwrap();
        let _memory = Memory::open(directory.path(), Seq(1)).unwrap();
        let second = Memory::open(directory.path(), Seq(1)).map(drop).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::ResourceBusy);
    }
}
