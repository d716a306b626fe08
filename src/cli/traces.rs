//! Traces on standard error, without the values of secrets.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use crate::host::secrets::{Keyring, UserSecrets};
use crate::session::Masker;

/// Writes traces; each comes whole, since it is made before it is written.
#[derive(Debug, Default)]
pub struct Traces {
    secrets: UserSecrets,
    /// What was hidden last, and the keyring that it is from.
    hidden: Mutex<Option<(Arc<Keyring>, Arc<Masker>)>>,
}

impl Traces {
    fn masker(&self) -> Option<Arc<Masker>> {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        // A keyring that cannot be read is told by whoever needs it; what was hidden before still is.
        let Ok(keyring) = self.secrets.keyring() else {
            return hidden.as_ref().map(|(_, masker)| Arc::clone(masker));
        };
        if let Some((known, masker)) = hidden.as_ref()
            && Arc::ptr_eq(known, &keyring)
        {
            return Some(Arc::clone(masker));
        }
        let all = self.secrets.everything(&[]).ok()?;
        let masker = Arc::new(Masker::new(all.iter().map(|secret| (secret.name.as_str(), secret.value.as_str()))).ok()?);
        *hidden = Some((keyring, Arc::clone(&masker)));
        Some(masker)
    }
}

impl<'a> MakeWriter<'a> for Traces {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Traces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        match self.masker() {
            Some(masker) => io::stderr().write_all(masker.text(&text).as_bytes())?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
