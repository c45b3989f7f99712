//! The certificate of the server. Its files may be replaced while the server runs.
//!
//! This module must not know what is sent over a connection.

use std::io;
use std::path::PathBuf;

use tokio::net::TcpStream;

use crate::digest::digest;
use crate::net::tls::{TlsFileError, TlsIdentity, TlsServer, TlsServerStream, read_roots};

/// The files for TLS with clients, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate, followed by those between it and its CA.
    pub cert: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
    /// The certificates of CAs. Each client must have a certificate of one of them. `None`: no
    /// client needs one.
    pub client_ca: Option<PathBuf>,
}

/// TLS with a certificate as its files were when they were read.
#[derive(Clone, Debug)]
pub struct ServerTls {
    files: CertificateFiles,
    /// Of what was in the files.
    digest: u64,
    server: TlsServer,
}

impl CertificateFiles {
    fn read_digest(&self) -> io::Result<u64> {
        let mut contents = Vec::new();
        for path in [&self.cert, &self.key].into_iter().chain(&self.client_ca) {
            contents.extend(std::fs::read(path)?);
        }
        Ok(digest(contents))
    }

    fn read_server(&self) -> Result<TlsServer, TlsFileError> {
        let client_roots = match &self.client_ca {
            Some(path) => {
                let (roots, _) = read_roots(path)
                    .map_err(|problem| TlsFileError::of_file("tls_client_ca", path, problem))?;
                Some(roots)
            }
            None => None,
        };

        TlsIdentity::read(&self.cert, &self.key)
            .and_then(|identity| TlsServer::new(identity, client_roots))
            .map_err(|error| {
                let cert = ("tls_cert", &*self.cert);
                TlsFileError::of_identity(cert, ("tls_key", &*self.key), error)
            })
    }
}

impl ServerTls {
    /// Reads the files. This may block.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub fn read(files: CertificateFiles) -> Result<Self, TlsFileError> {
        // First: what is written meanwhile is found the next time. A file that cannot be read is
        // an error of the next line.
        let digest = files.read_digest().unwrap_or_default();
        let server = files.read_server()?;
        Ok(Self { files, digest, server })
    }

    /// Reads the files again. `None`: they have not changed. This may block.
    pub(super) fn read_again(&self) -> Option<Result<Self, TlsFileError>> {
        let has_changed = self.files.read_digest().ok() != Some(self.digest);
        has_changed.then(|| Self::read(self.files.clone()))
    }

    /// Whether both are read from the same files.
    pub(super) fn has_same_files(&self, other: &Self) -> bool {
        self.files == other.files
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsServerStream<TcpStream>> {
        self.server.accept(stream).await
    }
}
