//! The errors of TLS with etcd, with messages that say what to do. It knows the errors of rustls,
//! and no sockets.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::{self, AlertDescription, PeerIncompatible};

use super::certificate::CertificateRefusal;

/// Why there is no TLS connection to a member of etcd. In the variants and messages, "it" is that
/// member.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// `--etcd` names this host, for which there can be no certificate.
    #[error("{0} is no name that a certificate could be for: name etcd in --etcd by another")]
    InvalidServerName(String),
    /// Its certificate is refused.
    #[error(transparent)]
    Certificate(CertificateRefusal),
    /// It sends something that is not TLS.
    #[error(
        "what it answers is not TLS: does etcd speak TLS at that port? If not, use http:// in \
         --etcd"
    )]
    NotTls,
    /// The connection failed during the handshake.
    #[error("{0}: does etcd speak TLS at that port? If not, use http:// in --etcd")]
    Io(#[source] io::Error),
    /// It has no TLS version or cipher that is safe.
    #[error("it speaks neither TLS 1.3 nor TLS 1.2 in a way that is safe: {0:?}")]
    Incompatible(PeerIncompatible),
    /// It has only TLS versions before 1.2.
    #[error("it speaks neither TLS 1.3 nor TLS 1.2, and older versions are not safe")]
    OldVersion,
    /// It requires a client certificate, and none is configured.
    #[error("it requires a client certificate: name one with --etcd-cert and --etcd-key")]
    NoClientCertificate,
    /// It refuses the client certificate that is configured.
    #[error(
        "it does not accept the certificate in etcd_cert = {:?} ({alert:?}): that must be of a CA \
         that etcd trusts (--trusted-ca-file), for clients (extendedKeyUsage clientAuth), and \
         valid today",
        .file.display()
    )]
    ClientCertificate {
        /// The file of `--etcd-cert`.
        file: PathBuf,
        /// The reason that etcd sends.
        alert: AlertDescription,
    },
    /// It ended the handshake for another reason.
    #[error("it ended the handshake ({0:?})")]
    Alert(AlertDescription),
    /// It closed the connection right after the handshake, and no client certificate is
    /// configured.
    #[error(
        "it closed the connection after the handshake ({0}): does it require a client certificate \
         (--etcd-cert, --etcd-key)?"
    )]
    ClosedWithoutCertificate(String),
    /// It closed the connection right after the handshake, in which it got a client certificate.
    #[error(
        "it closed the connection after the handshake ({error}): does it accept the certificate in \
         etcd_cert = {:?}?",
        .file.display()
    )]
    ClosedWithCertificate {
        /// How the connection failed.
        error: String,
        /// The file of `--etcd-cert`.
        file: PathBuf,
    },
    /// Anything else that rustls reports.
    #[error(transparent)]
    Other(rustls::Error),
}

impl HandshakeError {
    /// The error of rustls that caused an error on a connection, explained. `None` if it was caused
    /// by something else. `client_certificate` is the file of `--etcd-cert`.
    pub(super) fn find(
        error: &(dyn Error + 'static),
        client_certificate: Option<&Path>,
    ) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .map(|inner| inner as &(dyn Error + 'static));

            if let Some(error) = inner.unwrap_or(error).downcast_ref() {
                return Some(Self::new(error, client_certificate));
            }
            next = error.source();
        }
        None
    }

    fn new(error: &rustls::Error, client_certificate: Option<&Path>) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::from_alert(*alert, client_certificate),
            rustls::Error::InvalidCertificate(error) => {
                Self::Certificate(CertificateRefusal::from_error(error))
            }
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(reason) => Self::Incompatible(reason.clone()),
            error => Self::Other(error.clone()),
        }
    }

    fn from_alert(alert: AlertDescription, client_certificate: Option<&Path>) -> Self {
        use AlertDescription as Alert;

        match (alert, client_certificate) {
            (Alert::ProtocolVersion, _) => Self::OldVersion,
            (
                Alert::BadCertificate
                | Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::CertificateUnknown
                | Alert::AccessDenied,
                None,
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
                Some(file),
            ) => Self::ClientCertificate { file: file.to_owned(), alert },
            (alert, _) => Self::Alert(alert),
        }
    }
}
