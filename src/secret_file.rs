//! A secret in a file: in a credential of systemd, or else in the file that an option names. It
//! does not know what the secret is for.

use std::io;
use std::path::{Path, PathBuf};

/// The content of a file with a secret. It has no `Debug`.
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
    text: Vec<u8>,
}

/// A file with a secret cannot be read.
pub(crate) struct UnreadableSecret {
    pub(crate) path: PathBuf,
    /// The error of the operating system.
    pub(crate) source: io::Error,
}

impl SecretFile {
    /// Reads the file `credential` in `credentials`, systemd's `$CREDENTIALS_DIRECTORY`
    /// (`systemd.exec(5)`), or else `file`. `None` if there is neither.
    pub(crate) fn read(
        credential: &str,
        credentials: Option<&Path>,
        file: Option<&Path>,
    ) -> Result<Option<Self>, UnreadableSecret> {
        let credential = credentials.map(|directory| directory.join(credential));
        if let Some(path) = credential {
            match std::fs::read(&path) {
                Ok(text) => return Ok(Some(Self { path, text })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(UnreadableSecret { path, source }),
            }
        }

        let Some(path) = file.map(Path::to_owned) else {
            return Ok(None);
        };
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(source) => Err(UnreadableSecret { path, source }),
        }
    }

    /// The text without the end of its line.
    pub(crate) fn line(&self) -> &[u8] {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    /// The line, if it is one line of visible ASCII characters.
    pub(crate) fn visible_line(&self) -> Option<&[u8]> {
        let line = self.line();
        (!line.is_empty() && line.iter().all(u8::is_ascii_graphic)).then_some(line)
    }
}
