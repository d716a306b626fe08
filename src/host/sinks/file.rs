//! A file that only grows: on another machine's disk, or on one that cannot be written twice.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{blocking, failed};
use crate::engine::ports::{HeldText, Sink, SinkError};

/// How much of its end is read, in bytes: a checkpoint takes a few hundred.
const END_BYTES: u64 = 64 * 1024;

/// A file that checkpoints are added to.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    path: PathBuf,
}

impl FileSink {
    /// The file at this absolute path; made when it is missing.
    pub fn new(path: PathBuf) -> Self {
        Self { name: format!("file:{}", path.display()), path }
    }
}

#[async_trait]
impl Sink for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn held(&self) -> Result<HeldText, SinkError> {
        blocking(&self.path, |path| read_end(&path)).await.map(HeldText::End)
    }

    async fn append(&self, text: &str) -> Result<(), SinkError> {
        let text = text.to_owned();
        blocking(&self.path, move |path| add(&path, &text)).await
    }
}

pub(super) fn read_end(path: &Path) -> Result<String, SinkError> {
    // A pipe in its place must not be waited for.
    let opened = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed("read", path, &error)),
    };
    let metadata = file.metadata().map_err(|error| failed("read", path, &error))?;
    if !metadata.is_file() {
        return Err(SinkError(format!("{} is no file", path.display())));
    }
    let begin = metadata.len().saturating_sub(END_BYTES);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(begin)).and_then(|_| file.read_to_end(&mut bytes)).map_err(|error| failed("read", path, &error))?;
    if begin > 0 {
        // Not from the middle of a line, nor of a character.
        let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..line);
    }
    String::from_utf8(bytes).map_err(|error| failed("read", path, &error))
}

pub(super) fn add(path: &Path, text: &str) -> Result<(), SinkError> {
    let is_new = !path.exists();
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
        file.lock()?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match path.parent().filter(|_| is_new) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error| failed("write", path, &error))
}
