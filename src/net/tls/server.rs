//! TLS with clients. It does not know what they send.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::pem::{IdentityError, TlsIdentity};

/// An encrypted connection to a client.
///
/// What is encrypted has to be kept until the client reads it. So nothing more is encrypted before
/// all of it has been written.
#[derive(Debug)]
pub(crate) struct TlsServerStream<S>(tokio_rustls::server::TlsStream<S>);

/// The only protocol, by its ALPN name (RFC 7301, section 6). A client that speaks only others is
/// refused.
const HTTP_1_1: &[u8] = b"http/1.1";

/// How many bytes are encrypted at a time. So many wait for a client that does not read.
const MAX_WAITING: usize = 8 << 10;

/// Accepts TLS connections. Clones share their configuration.
#[derive(Clone)]
pub(crate) struct TlsServer(Arc<ServerConfig>);

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer(…)")
    }
}

impl TlsServer {
    /// A server with this certificate. If there are `client_roots`, of which there must be at least
    /// one, each client must have a certificate of one of them.
    pub(crate) fn new(
        identity: TlsIdentity,
        client_roots: Option<RootCertStore>,
    ) -> Result<Self, IdentityError> {
        let TlsIdentity { chain, key } = identity;
        let first = chain[0].clone();

        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for these versions");
        let builder = match client_roots {
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .expect("there are roots, and no revocation lists"),
            ),
            None => builder.with_no_client_auth(),
        };

        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| IdentityError::new(&first, &error))?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Performs the handshake with a client. It has no time limit.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsServerStream<S>> {
        TlsAcceptor::from(self.0.clone())
            .accept_with(stream, |connection| connection.set_buffer_limit(Some(MAX_WAITING)))
            .await
            .map(TlsServerStream)
    }
}

impl<S> TlsServerStream<S> {
    /// What the encrypted bytes are sent over.
    pub(crate) fn transport(&self) -> &S {
        self.0.get_ref().0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsServerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsServerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.0).poll_flush(context))?;
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.0).poll_flush(context))?;
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::net::tls::{TlsClient, TrustedRoots};

    /// Both ends for `localhost`.
    fn ends() -> (TlsServer, TlsClient) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("a certificate");

        let mut certificates = RootCertStore::empty();
        certificates.add(authority.der().clone()).expect("a certificate");
        let identity = TlsIdentity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        };
        (
            TlsServer::new(identity, None).ok().expect("they fit"),
            TlsClient::new(TrustedRoots { certificates, origin: String::new() }),
        )
    }

    #[tokio::test]
    async fn no_more_is_encrypted_for_a_client_that_does_not_read() {
        let (server, client) = ends();
        let (near, far) = duplex(1024);
        let (stream, reader) = tokio::join!(server.accept(near), client.connect("localhost", far));
        let mut stream = stream.expect("a handshake");
        let mut reader = reader.expect("a handshake");

        let bytes = vec![7; 1 << 20];
        let mut taken = 0;
        while let Some(written) = stream.write(&bytes).now_or_never() {
            taken += written.expect("an open stream");
        }
        assert_eq!(taken, MAX_WAITING);

        // As soon as it reads, the rest comes.
        let rest = async {
            stream.write_all(&bytes[taken..]).await.expect("an open stream");
            stream.shutdown().await.expect("an open stream");
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(rest, reader.read_to_end(&mut received));
        read.expect("an end with an alert");
        assert!(received == bytes, "{} bytes", received.len());
    }
}
