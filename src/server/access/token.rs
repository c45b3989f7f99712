//! The secret that each request must carry, and the file that holds it.
//!
//! This module must not know where a request carries the secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;

/// The secret. `Debug` does not print it.
#[derive(Clone)]
pub struct Token(Box<[u8]>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why no token can be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token from {}: {source}", .path.display())]
    Unreadable {
        /// The file in the credentials directory, or the one of `--token-file`.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The content of the file is not a token.
    #[error(
        "{} does not hold a token: expected one line of visible ASCII characters",
        .0.display()
    )]
    Unusable(PathBuf),
}

impl Token {
    /// Reads the token from the file `token` in `credentials`, systemd's `$CREDENTIALS_DIRECTORY`
    /// (`systemd.exec(5)`), or else from `file`. `None` if there is neither.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or does not hold a token.
    pub fn read(
        file: Option<&Path>,
        credentials: Option<&Path>,
    ) -> Result<Option<Self>, TokenError> {
        let unreadable =
            |path: &Path, source| TokenError::Unreadable { path: path.to_owned(), source };

        if let Some(path) = credentials.map(|directory| directory.join("token")) {
            match std::fs::read(&path) {
                Ok(text) => return Self::parse(&text, &path).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, error)),
            }
        }

        let Some(path) = file else {
            return Ok(None);
        };
        let text = std::fs::read(path).map_err(|error| unreadable(path, error))?;
        Self::parse(&text, path).map(Some)
    }

    /// The header `Authorization` for a server that requires this token.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let value = [b"Bearer ", &*self.0].concat();
        let mut value = HeaderValue::from_bytes(&value).expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }

    pub(super) fn parse(text: &[u8], path: &Path) -> Result<Self, TokenError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);

        if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Unusable(path.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// Whether `given` is the token. The time that this takes reveals only whether both have the
    /// same length.
    pub(super) fn equals(&self, given: &str) -> bool {
        self.0.ct_eq(given.as_bytes()).into()
    }
}
