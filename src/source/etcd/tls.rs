//! TLS to etcd, with the files that its options name. It does not know HTTP.

use std::error::Error;

use tokio::io::{AsyncRead, AsyncWrite};

use super::TlsFiles;
use super::error::{FileError, TlsFileError};
use super::tls_error::MemberTlsError;
use crate::net::tls::{self, HandshakeError, TlsClient, TlsIdentity, TrustedRoots};

/// Opens TLS connections to members of etcd.
#[derive(Clone, Debug)]
pub(super) struct MemberTls {
    client: TlsClient,
    files: TlsFiles,
    /// One sentence for each part of a file that cannot be used.
    warnings: Vec<String>,
}

impl MemberTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub(super) fn new(files: &TlsFiles) -> Result<Self, FileError> {
        let (roots, warnings) = match &files.ca {
            Some(path) => {
                let file = format!("etcd_ca = {:?}", path.display());
                let (certificates, problems) = tls::read_roots(path)
                    .map_err(|problem| TlsFileError::of_file("etcd_ca", path, problem))?;
                let warnings = problems
                    .iter()
                    .map(|problem| format!("{file}: {problem}; it is left out"))
                    .collect();
                (TrustedRoots { certificates, origin: file }, warnings)
            }
            None => {
                let roots = TrustedRoots::of_host("this host's own")
                    .map_err(|_| FileError::NoCaCertificates)?;
                (roots, Vec::new())
            }
        };

        let client = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => TlsIdentity::read(cert, key)
                .and_then(|identity| TlsClient::with_identity(roots, identity))
                .map_err(|error| {
                    TlsFileError::of_identity(("etcd_cert", cert), ("etcd_key", key), error)
                })?,
            _ => TlsClient::new(roots),
        };
        Ok(Self { client, files: files.clone(), warnings })
    }

    /// One sentence for each part of a file that cannot be used.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Performs the handshake with the host of that name.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static>(
        &self,
        host: &str,
        stream: S,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Sync + Unpin + use<S>, MemberTlsError> {
        self.client
            .connect(host, stream)
            .await
            .map_err(|reason| self.error(reason))
    }

    /// The TLS error that caused an error on a connection. `None` if something else caused it.
    pub(super) fn explain(&self, error: &(dyn Error + 'static)) -> Option<MemberTlsError> {
        self.client.explain(error).map(|reason| self.error(reason))
    }

    /// Why a new connection was closed before any response.
    pub(super) fn explain_close(&self, error: &(dyn Error + 'static)) -> MemberTlsError {
        self.error(self.client.explain_close(error))
    }

    fn error(&self, reason: HandshakeError) -> MemberTlsError {
        MemberTlsError::new(reason, self.files.cert.clone())
    }
}
