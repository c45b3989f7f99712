//! TLS: to a server, whose certificate it verifies, and with clients. It explains why there is no
//! connection to a server. It knows neither HTTP, nor the other side, nor the options that concern
//! TLS.

mod certificate;
mod der;
mod file_error;
mod handshake;
mod pem;
mod server;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, crypto};

pub use certificate::CertificateRefusal;
pub(crate) use certificate::MIN_RSA_BITS;
use certificate::Verifier;
pub use file_error::TlsFileError;
pub use handshake::HandshakeError;
pub(crate) use pem::{IdentityError, TlsIdentity, read_roots};
pub(crate) use server::{TlsServer, TlsServerStream};

/// Opens TLS connections. Clones share their configuration.
#[derive(Clone)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    has_client_certificate: bool,
}

/// The CA certificates to verify servers with.
pub(crate) struct TrustedRoots {
    pub(crate) certificates: RootCertStore,
    /// Where they are from, as the end of "no CA in …".
    pub(crate) origin: String,
}

/// This host has no CA certificates.
#[derive(Debug, thiserror::Error)]
#[error(
    "this host has no CA certificates to verify a server with: install them (ca-certificates), or \
     name a file with them in $SSL_CERT_FILE"
)]
pub struct NoHostRoots;

impl TrustedRoots {
    /// The CA certificates of this host.
    pub(crate) fn of_host(origin: &str) -> Result<Self, NoHostRoots> {
        let mut certificates = RootCertStore::empty();
        certificates.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);

        if certificates.is_empty() {
            return Err(NoHostRoots);
        }
        Ok(Self { certificates, origin: origin.to_owned() })
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("has_client_certificate", &self.has_client_certificate)
            .finish_non_exhaustive()
    }
}

impl TlsClient {
    /// A client for servers with a certificate of one of these roots, of which there must be at
    /// least one.
    pub(crate) fn new(roots: TrustedRoots) -> Self {
        let config = config_builder(roots).with_no_client_auth();
        Self { config: Arc::new(config), has_client_certificate: false }
    }

    /// A client for servers with a certificate of a CA of this host.
    pub(crate) fn of_host() -> Result<Self, NoHostRoots> {
        Ok(Self::new(TrustedRoots::of_host("the store of this host")?))
    }

    /// A client that also shows its own certificate to a server that requires one.
    pub(crate) fn with_identity(
        roots: TrustedRoots,
        identity: TlsIdentity,
    ) -> Result<Self, IdentityError> {
        let TlsIdentity { chain, key } = identity;
        let first = chain[0].clone();

        let config = config_builder(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| IdentityError::new(&first, &error))?;
        Ok(Self { config: Arc::new(config), has_client_certificate: true })
    }

    /// Performs the handshake with the host of that name.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
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
    pub(crate) fn explain(&self, error: &(dyn Error + 'static)) -> Option<HandshakeError> {
        HandshakeError::find(error, self.has_client_certificate)
    }

    /// Why a new connection was closed before any response. A client certificate is verified after
    /// the handshake (TLS 1.3, RFC 8446, section 4.4.2.4), and the alert about it may be lost.
    pub(crate) fn explain_close(&self, error: &(dyn Error + 'static)) -> HandshakeError {
        self.explain(error)
            .unwrap_or_else(|| HandshakeError::Closed(super::causes(error)))
    }
}

/// The configuration but for a client certificate.
fn config_builder(roots: TrustedRoots) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Verifier::new(roots.certificates, provider.clone(), roots.origin);

    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for these versions")
        .dangerous()
        // This is not dangerous: the verifier leaves the decision to rustls's own verifier, and
        // only explains its refusals.
        .with_custom_certificate_verifier(Arc::new(verifier))
}
