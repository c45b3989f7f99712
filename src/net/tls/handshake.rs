//! The errors of TLS with a server, with messages that say what to do. It knows the errors of
//! rustls, and no sockets.
//!
//! Nor does it know the options with the address of the server and the files for TLS: whoever has
//! such options explains the errors that concern them in its own words.

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{self, AlertDescription, PeerIncompatible};

use super::certificate::CertificateRefusal;

/// Why there is no TLS connection to a server. In the variants and messages, "it" is the server.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It has this name, for which there can be no certificate.
    #[error("{0} is no name that a certificate could be for: name it by another")]
    InvalidServerName(String),
    /// Its certificate is refused.
    #[error(transparent)]
    Certificate(CertificateRefusal),
    /// It sends something that is not TLS.
    #[error(
        "what it answers is not TLS: does it speak TLS at that port? If not, use http:// instead"
    )]
    NotTls,
    /// The connection failed during the handshake.
    #[error("{0}: does it speak TLS at that port? If not, use http:// instead")]
    Io(#[source] io::Error),
    /// It has no TLS version or cipher that is safe.
    #[error("it speaks neither TLS 1.3 nor TLS 1.2 in a way that is safe: {0:?}")]
    Incompatible(PeerIncompatible),
    /// It has only TLS versions before 1.2.
    #[error("it speaks neither TLS 1.3 nor TLS 1.2, and older versions are not safe")]
    OldVersion,
    /// It requires a client certificate, and has got none.
    #[error("it requires a client certificate, and there is none for it")]
    NoClientCertificate,
    /// It refuses the client certificate, for this reason.
    #[error("it does not accept the client certificate ({0:?})")]
    ClientCertificate(AlertDescription),
    /// It ended the handshake for another reason.
    #[error("it ended the handshake ({0:?})")]
    Alert(AlertDescription),
    /// It closed the connection right after the handshake. Holds how the connection failed.
    #[error("it closed the connection after the handshake ({0})")]
    Closed(String),
    /// Anything else that rustls reports.
    #[error(transparent)]
    Other(rustls::Error),
}

impl HandshakeError {
    /// The error of rustls that caused an error on a connection, explained. `None` if it was caused
    /// by something else.
    pub(super) fn find(
        error: &(dyn Error + 'static),
        has_client_certificate: bool,
    ) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .map(|inner| inner as &(dyn Error + 'static));

            if let Some(error) = inner.unwrap_or(error).downcast_ref() {
                return Some(Self::new(error, has_client_certificate));
            }
            next = error.source();
        }
        None
    }

    fn new(error: &rustls::Error, has_client_certificate: bool) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::from_alert(*alert, has_client_certificate),
            rustls::Error::InvalidCertificate(error) => {
                Self::Certificate(CertificateRefusal::from_error(error))
            }
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(reason) => Self::Incompatible(reason.clone()),
            error => Self::Other(error.clone()),
        }
    }

    fn from_alert(alert: AlertDescription, has_client_certificate: bool) -> Self {
        use AlertDescription as Alert;

        match (alert, has_client_certificate) {
            (Alert::ProtocolVersion, _) => Self::OldVersion,
            (
                Alert::BadCertificate
                | Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::CertificateUnknown
                | Alert::AccessDenied,
                false,
            ) => Self::NoClientCertificate,
            (
                Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::DecryptError
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate
                | Alert::AccessDenied,
                true,
            ) => Self::ClientCertificate(alert),
            (alert, _) => Self::Alert(alert),
        }
    }
}
