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
