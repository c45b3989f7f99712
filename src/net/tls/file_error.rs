//! Why files that options name cannot be used for TLS. It knows the options only by name.

use std::path::{Path, PathBuf};

use super::pem::IdentityError;

/// Why files cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A file cannot be read, or does not contain what its option is for.
    #[error("{option} = {:?}: {problem}", .path.display())]
    File {
        /// The option that names the file, such as `etcd_ca`.
        option: &'static str,
        /// The value of the option.
        path: PathBuf,
        /// What is wrong with the file, and what to do.
        problem: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "{key_option} = {:?} does not belong to {cert_option} = {:?}: the first certificate there \
         must be of that key",
        .key.display(), .cert.display()
    )]
    Pair {
        /// The option that names the certificate.
        cert_option: &'static str,
        /// Its value.
        cert: PathBuf,
        /// The option that names the key.
        key_option: &'static str,
        /// Its value.
        key: PathBuf,
    },
}

impl TlsFileError {
    /// What is wrong with the file of an option.
    pub(crate) fn of_file(option: &'static str, path: &Path, problem: String) -> Self {
        Self::File { option, path: path.to_owned(), problem }
    }

    /// What is wrong with a certificate or its key, each with the option that names it.
    pub(crate) fn of_identity(
        (cert_option, cert): (&'static str, &Path),
        (key_option, key): (&'static str, &Path),
        error: IdentityError,
    ) -> Self {
        match error {
            IdentityError::Certificate(problem) => Self::of_file(cert_option, cert, problem),
            IdentityError::Key(problem) => Self::of_file(key_option, key, problem),
            IdentityError::Pair => Self::Pair {
                cert_option,
                cert: cert.to_owned(),
                key_option,
                key: key.to_owned(),
            },
        }
    }
}
