//! The errors of TLS with etcd, in the words of etcd's options. It knows nothing of connections.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::net::tls::{CertificateRefusal, HandshakeError, MIN_RSA_BITS};

/// Why there is no TLS connection to a member of etcd. In the messages, "it" is that member.
#[derive(Debug)]
pub struct MemberTlsError {
    /// What happened.
    pub reason: HandshakeError,
    /// The file of `--etcd-cert`. `None` if no client certificate is configured.
    client_certificate: Option<PathBuf>,
}

impl MemberTlsError {
    pub(super) fn new(reason: HandshakeError, client_certificate: Option<PathBuf>) -> Self {
        Self { reason, client_certificate }
    }
}

impl Error for MemberTlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

impl fmt::Display for MemberTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLAIN: &str = "does etcd speak TLS at that port? If not, use http:// in --etcd";

        match (&self.reason, &self.client_certificate) {
            (HandshakeError::InvalidServerName(name), _) => write!(
                f,
                "{name} is no name that a certificate could be for: name etcd in --etcd by another"
            ),
            (HandshakeError::Certificate(refusal), _) => write_refusal(refusal, f),
            (HandshakeError::NotTls, _) => write!(f, "what it answers is not TLS: {PLAIN}"),
            (HandshakeError::Io(error), _) => write!(f, "{error}: {PLAIN}"),
            (HandshakeError::NoClientCertificate, _) => f.write_str(
                "it requires a client certificate: name one with --etcd-cert and --etcd-key",
            ),
            (HandshakeError::ClientCertificate(alert), Some(file)) => write!(
                f,
                "it does not accept the certificate in etcd_cert = {:?} ({alert:?}): that must be \
                 of a CA that etcd trusts (--trusted-ca-file), for clients (extendedKeyUsage \
                 clientAuth), and valid today",
                file.display()
            ),
            (HandshakeError::Closed(error), None) => write!(
                f,
                "it closed the connection after the handshake ({error}): does it require a client \
                 certificate (--etcd-cert, --etcd-key)?"
            ),
            (HandshakeError::Closed(error), Some(file)) => write!(
                f,
                "it closed the connection after the handshake ({error}): does it accept the \
                 certificate in etcd_cert = {:?}?",
                file.display()
            ),
            (reason, _) => write!(f, "{reason}"),
        }
    }
}

/// Why the certificate of a member is refused, in the words of the options of etcd.
fn write_refusal(refusal: &CertificateRefusal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match refusal {
        CertificateRefusal::OtherHost { names, host, wanted } => write!(
            f,
            "its certificate is for {names}, not for {host}: issue it again with subjectAltName = \
             {wanted}, or use one of its names in --etcd"
        ),
        CertificateRefusal::UnknownIssuer(origin) => write!(
            f,
            "its certificate is of no CA in {origin}: name the file with the certificate of etcd's \
             CA in --etcd-ca"
        ),
        CertificateRefusal::OtherIssuerKey(origin) => write!(
            f,
            "its certificate is not signed by the CA of that name in {origin}: does that CA have a \
             new key? Name the file with its present certificate in --etcd-ca"
        ),
        CertificateRefusal::WeakIssuerKey { authority, bits } => write!(
            f,
            "the CA of its certificate, in {authority}, has an RSA key of {bits} bits, which is \
             not safe: make a CA with {MIN_RSA_BITS} or more, and let it issue etcd's certificate \
             again"
        ),
        CertificateRefusal::IsAuthority => f.write_str(
            "its certificate is that of a CA (basicConstraints = CA:TRUE), which must not be a \
             server's own: let that CA issue one for etcd, with CA:FALSE",
        ),
        refusal => write!(f, "{refusal}"),
    }
}
