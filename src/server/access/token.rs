//! The secret that each request must carry, and the file that holds it.
//!
//! This module must not know where a request carries the secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;

use crate::secret_file::{SecretFile, UnreadableSecret};

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
        match SecretFile::read("token", credentials, file) {
            Ok(Some(secret)) => match secret.visible_line() {
                Some(line) => Ok(Some(Self::new(line))),
                None => Err(TokenError::Unusable(secret.path)),
            },
            Ok(None) => Ok(None),
            Err(UnreadableSecret { path, source }) => Err(TokenError::Unreadable { path, source }),
        }
    }

    pub(super) fn new(secret: &[u8]) -> Self {
        Self(secret.into())
    }

    /// The header `Authorization` for a server that requires this token.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let value = [b"Bearer ", &*self.0].concat();
        let mut value = HeaderValue::from_bytes(&value).expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// Whether `given` is the token. The time that this takes reveals only whether both have the
    /// same length.
    pub(super) fn equals(&self, given: &str) -> bool {
        self.0.ct_eq(given.as_bytes()).into()
    }
}
