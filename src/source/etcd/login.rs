//! The etcd user to authenticate as: its name, its password, and the header with both. It knows
//! nothing of connections.
//!
//! The password leaves this module only in that header, which is marked as sensitive: no `Debug`
//! shows it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use hyper::header::HeaderValue;

use crate::net::http::basic_authorization;
use crate::secret_file::{SecretFile, UnreadableSecret};

/// The name of the credential with the password, in systemd's `$CREDENTIALS_DIRECTORY`
/// (`systemd.exec(5)`).
const CREDENTIAL: &str = "etcd-password";

/// Where the user of etcd and its password are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user's name, without a colon.
    pub user: String,
    /// The file of `--etcd-password-file`.
    pub password_file: Option<PathBuf>,
    /// systemd's `$CREDENTIALS_DIRECTORY`. A password there takes precedence over the file.
    pub credentials: Option<PathBuf>,
}

/// Why there is no usable password for the user of etcd.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// This user has neither a password file nor a credential.
    #[error(
        "etcd_user = {0:?} needs its password: --etcd-password-file FILE, or the credential \
         etcd-password (LoadCredential=etcd-password:FILE)"
    )]
    NoPassword(String),
    /// The file or the credential cannot be read.
    #[error(
        "cannot read the password of etcd_user = {user:?} from {}: {source}",
        .path.display()
    )]
    Unreadable {
        /// The value of `--etcd-user`.
        user: String,
        /// The path of the file or the credential.
        path: PathBuf,
        /// The error of the read.
        source: io::Error,
    },
    /// This file or credential does not contain exactly one password.
    #[error(
        "{} does not contain the password of an etcd user: expected one line of text",
        .0.display()
    )]
    Unusable(PathBuf),
}

/// A user and the header with its password: HTTP Basic (RFC 7617).
#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) user: String,
    pub(super) header: HeaderValue,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Reads the password from the credential, or else from the file.
    pub(super) fn authorization(&self) -> Result<Authorization, LoginError> {
        let read = SecretFile::read(
            CREDENTIAL,
            self.credentials.as_deref(),
            self.password_file.as_deref(),
        );
        let secret = match read {
            Ok(Some(secret)) => secret,
            Ok(None) => return Err(LoginError::NoPassword(self.user.clone())),
            Err(UnreadableSecret { path, source }) => {
                return Err(LoginError::Unreadable { user: self.user.clone(), path, source });
            }
        };

        match str::from_utf8(secret.line()) {
            Ok(password) if !password.is_empty() && !password.contains(char::is_control) => {
                Ok(Authorization {
                    user: self.user.clone(),
                    header: basic_authorization(self.user.as_bytes(), password.as_bytes()),
                })
            }
            _ => Err(LoginError::Unusable(secret.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_password_comes_from_the_credential_or_else_from_the_file() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let mut login = Login {
            user: "Aladdin".into(),
            password_file: Some(file.clone()),
            credentials: Some(directory.path().to_owned()),
        };
        let unreadable = login.authorization().unwrap_err();
        assert!(
            matches!(&unreadable, LoginError::Unreadable { path, .. } if *path == file),
            "{unreadable}"
        );

        // The example of RFC 7617, section 2.
        std::fs::write(&file, "open sesame\r\n").unwrap();
        assert_eq!(login.authorization().unwrap().header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");

        std::fs::write(directory.path().join("etcd-password"), "of systemd").unwrap();
        assert_eq!(login.authorization().unwrap().header, "Basic QWxhZGRpbjpvZiBzeXN0ZW1k");

        login.password_file = None;
        login.credentials = None;
        let missing = login.authorization().unwrap_err();
        assert!(
            matches!(&missing, LoginError::NoPassword(user) if user == "Aladdin"),
            "{missing}"
        );
    }

    #[test]
    fn a_file_without_exactly_one_line_of_text_is_refused() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let login = Login {
            user: "root".into(),
            password_file: Some(file.clone()),
            credentials: None,
        };

        for text in ["", "\n", "one\ntwo\n", "tab\tbed"] {
            std::fs::write(&file, text).unwrap();
            let error = login.authorization().unwrap_err();
            assert!(
                matches!(&error, LoginError::Unusable(path) if *path == file),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn debug_output_does_not_show_the_password() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "geheim").unwrap();
        let login = Login {
            user: "root".into(),
            password_file: Some(file),
            credentials: None,
        };
        let authorization = login.authorization().unwrap();

        let shown = format!("{authorization:?} {:?}", authorization.header);
        assert!(
            !shown.contains("geheim") && !shown.contains(authorization.header.to_str().unwrap()),
            "{shown}"
        );
    }
}
