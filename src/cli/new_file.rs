//! A file that appears whole or not at all: readers of it never see half of one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::exit::CliError;

/// A file that is being written beside the place where it will be; it is gone again unless it is [kept](NewFile::keep).
pub struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl NewFile {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// [`CliError::File`] when none can be made there.
    pub fn create(path: &Path) -> Result<Self, CliError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&partial).map_err(|source| CliError::File { verb: "write", path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), partial, writer: Some(BufWriter::with_capacity(64 * 1024, file)) })
    }

    /// Puts it in its place, once it is on the disk.
    ///
    /// # Errors
    /// [`CliError::File`] when it cannot be written.
    pub fn keep(mut self) -> Result<(), CliError> {
        let kept = self.writer.take().map_or(Ok(()), |writer| {
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&self.partial, &self.path)
        });
        if kept.is_err() {
            let _ = fs::remove_file(&self.partial);
        }
        kept.map_err(|source| CliError::File { verb: "write", path: self.path.clone(), source })
    }

    /// Says of an error of a write where it was.
    pub fn failed(&self, source: io::Error) -> CliError {
        CliError::File { verb: "write", path: self.path.clone(), source }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().map_or(Ok(bytes.len()), |writer| writer.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}
