//! TLS to etcd: its configuration from the files of the options, and the handshake. It does not
//! know HTTP.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto};

use super::TlsFiles;
use super::certificate::Verifier;
use super::error::{TlsFileError, causes};
use super::handshake::HandshakeError;
use super::pem;

/// Opens TLS connections to members of etcd.
#[derive(Clone)]
pub(super) struct TlsClient {
    config: Arc<ClientConfig>,
    files: TlsFiles,
    /// One sentence for each part of a file that cannot be used.
    warnings: Vec<String>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub(super) fn new(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let (roots, warnings) = match &files.ca {
            Some(path) => pem::read_roots(path)?,
            None => (pem::host_roots()?, Vec::new()),
        };
        let authority = match &files.ca {
            Some(path) => format!("etcd_ca = {:?}", path.display()),
            None => "this host's own".to_owned(),
        };

        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = Verifier::new(roots, provider.clone(), authority);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for these versions")
            .dangerous()
            // This is not dangerous: the verifier leaves the decision to rustls's own verifier, and
            // only explains its refusals.
            .with_custom_certificate_verifier(Arc::new(verifier));

        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let chain = pem::read_client_chain(cert)?;
                let private_key = pem::read_private_key(key)?;
                let first = chain[0].clone();
                builder
                    .with_client_auth_cert(chain, private_key)
                    .map_err(|error| pem::pair_error(cert, key, &first, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), files: files.clone(), warnings })
    }

    /// One sentence for each part of a file that cannot be used.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Performs the handshake with the host of that name.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> Result<TlsStream<S>, HandshakeError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| HandshakeError::InvalidServerName(host.to_owned()))?;

        TlsConnector::from(self.config.clone())
            .connect(name, stream)
            .await
            .map_err(|error| self.explain(&error).unwrap_or_else(|| HandshakeError::Io(error)))
    }

    /// The TLS error that caused an error on a connection. `None` if something else caused it.
    pub(super) fn explain(&self, error: &(dyn Error + 'static)) -> Option<HandshakeError> {
        HandshakeError::find(error, self.client_certificate())
    }

    /// Why a new connection was closed before any response. A client certificate is verified after
    /// the handshake (TLS 1.3, RFC 8446, section 4.4.2.4), and the alert about it may be lost.
    pub(super) fn explain_close(&self, error: &(dyn Error + 'static)) -> HandshakeError {
        if let Some(explained) = self.explain(error) {
            return explained;
        }

        let error = causes(error);
        match self.client_certificate() {
            Some(file) => HandshakeError::ClosedWithCertificate { error, file: file.to_owned() },
            None => HandshakeError::ClosedWithoutCertificate(error),
        }
    }

    fn client_certificate(&self) -> Option<&Path> {
        self.files.cert.as_deref()
    }
}
