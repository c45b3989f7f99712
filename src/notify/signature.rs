//! The key that signs what the webhook gets, and the file that holds it. It does not know what is
//! signed, nor where the signature goes.

use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};

use ring::hmac;

use crate::secret_file::{SecretFile, UnreadableSecret};

/// The name of the credential with the secret, in systemd's `$CREDENTIALS_DIRECTORY`
/// (`systemd.exec(5)`).
const CREDENTIAL: &str = "webhook-secret";

/// A secret that the receiver knows as well. `Debug` does not show it.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

/// Why no secret can be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret from {}: {source}", .path.display())]
    Unreadable {
        /// The file in the credentials directory, or the one of `--webhook-secret-file`.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The content of the file is not a secret.
    #[error(
        "{} does not hold a secret: expected one line of visible ASCII characters",
        .0.display()
    )]
    Unusable(PathBuf),
}

impl WebhookSecret {
    /// Reads the secret from the file `webhook-secret` in `credentials`, systemd's
    /// `$CREDENTIALS_DIRECTORY`, or else from `file`. `None` if there is neither.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or does not hold a secret.
    pub fn read(
        file: Option<&Path>,
        credentials: Option<&Path>,
    ) -> Result<Option<Self>, SecretError> {
        match SecretFile::read(CREDENTIAL, credentials, file) {
            Ok(Some(secret)) => match secret.visible_line() {
                Some(line) => Ok(Some(Self::new(line))),
                None => Err(SecretError::Unusable(secret.path)),
            },
            Ok(None) => Ok(None),
            Err(UnreadableSecret { path, source }) => Err(SecretError::Unreadable { path, source }),
        }
    }

    fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The signature of a body: HMAC-SHA256 (RFC 2104), as hexadecimal digits.
    pub(super) fn sign(&self, body: &[u8]) -> String {
        let mut digits = String::new();
        for byte in hmac::sign(&self.0, body).as_ref() {
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_signature_is_that_of_the_rfc() {
        // RFC 4231, section 4.3.
        assert_eq!(
            WebhookSecret::new(b"Jefe").sign(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn the_secret_comes_from_the_credential_or_else_from_the_file() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let read = |credentials| WebhookSecret::read(Some(&file), credentials);
        let credentials = Some(directory.path());
        let expected = WebhookSecret::new(b"geheim").sign(b"body");

        assert!(WebhookSecret::read(None, credentials).unwrap().is_none());
        let missing = read(credentials).unwrap_err();
        assert!(
            matches!(&missing, SecretError::Unreadable { path, .. } if *path == file),
            "{missing}"
        );

        std::fs::write(&file, "geheim\r\n").unwrap();
        assert_eq!(read(credentials).unwrap().unwrap().sign(b"body"), expected);

        std::fs::write(directory.path().join("webhook-secret"), "another").unwrap();
        assert_ne!(read(credentials).unwrap().unwrap().sign(b"body"), expected);
        assert_eq!(read(None).unwrap().unwrap().sign(b"body"), expected);

        for text in ["", "\n", "one\ntwo\n", "two words"] {
            std::fs::write(&file, text).unwrap();
            let error = read(None).unwrap_err();
            assert!(matches!(error, SecretError::Unusable(_)), "{text:?}: {error}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let shown = format!("{:?}", WebhookSecret::new(b"geheim"));
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
