//! Verifies the certificate of a server, and explains why it is refused. rustls's own verifier
//! decides; this module only replaces its errors by ones that say what to do.
//!
//! It knows neither the server nor the options with its address and its CA: whoever has such
//! options explains the refusals that concern them in its own words.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use webpki::EndEntityCert;

use super::der;

/// No RSA key with fewer bits is accepted.
pub(crate) const MIN_RSA_BITS: usize = 2048;

/// Broken signature algorithms, by the contents of their object identifier (RFC 3279, section
/// 2.2; RFC 5758).
const BROKEN_SIGNATURES: [(&[u8], &str); 4] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
];

/// What is wrong with a certificate of version 1 of X.509, which has no extensions.
const VERSION_1: &str =
    "is of version 1 of X.509, which has no extensions: issue it again as version 3";

/// Why the certificate of a server is refused. In the variants, "it" is that certificate; in the
/// messages, "it" is the server. rustls passes a refusal on as the inner error of
/// [`CertificateError::Other`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// It names no host, or names one only as its common name.
    #[error(
        "its certificate has no subject alternative name, and a common name alone does not count: \
         issue it again with subjectAltName = {0}"
    )]
    NoAlternativeName(String),
    /// It is for other hosts than the one that the connection is to.
    #[error(
        "its certificate is for {names}, not for {host}: issue it again with subjectAltName = \
         {wanted}, or name it by one of these"
    )]
    OtherHost {
        /// The hosts that it is for, separated by commas.
        names: String,
        /// The host that the connection is to.
        host: String,
        /// The missing subject alternative name, such as `DNS:core-01`.
        wanted: String,
    },
    /// It was issued by a CA that is not trusted. Holds where the trusted ones are from.
    #[error(
        "its certificate is of no CA in {0}: add the certificate of its CA there \
         ('update-ca-certificates'), or name a file with it in $SSL_CERT_FILE"
    )]
    UnknownIssuer(String),
    /// A trusted CA has the issuer's name, but another key. Holds where the trusted ones are from.
    #[error(
        "its certificate is not signed by the CA of that name in {0}: does that CA have a new key? \
         Add its present certificate there ('update-ca-certificates')"
    )]
    OtherIssuerKey(String),
    /// The RSA key of the CA is too short.
    #[error(
        "the CA of its certificate, in {authority}, has an RSA key of {bits} bits, which is not \
         safe: make a CA with {MIN_RSA_BITS} or more, and let it issue the certificate again"
    )]
    WeakIssuerKey {
        /// Where the CA's certificate is from.
        authority: String,
        /// The size of its key.
        bits: usize,
    },
    /// The server's own RSA key is too short. Holds its size in bits.
    #[error(
        "its own key is RSA of {0} bits, which is not safe: make one of {MIN_RSA_BITS} or more, \
         and a certificate for it"
    )]
    WeakKey(usize),
    /// It, or an intermediate certificate, is signed with a hash that is broken.
    #[error(
        "its certificate, or one between that and its CA, is signed with {0}, which can be forged: \
         issue it again, signed with SHA-256"
    )]
    BrokenSignature(&'static str),
    /// It, or an intermediate certificate, is signed by an algorithm that rustls does not have.
    #[error(
        "its certificate, or one between that and its CA, is signed in a way that is not \
         supported: issue it again, signed by RSA or ECDSA (P-256, P-384) with SHA-256"
    )]
    UnsupportedSignature,
    /// Its signature is wrong, and it cannot be read any further.
    #[error("the signature of its certificate is wrong")]
    WrongSignature,
    /// It has expired. Holds how long ago.
    #[error(
        "its certificate, or that of its CA, expired {0} ago (by this host's clock: \
         'timedatectl'): issue it again"
    )]
    Expired(String),
    /// It is not valid yet. Holds how long until it is.
    #[error(
        "its certificate, or that of its CA, becomes valid in {0} (by this host's clock: \
         'timedatectl'): is the clock right?"
    )]
    NotYetValid(String),
    /// Its extended key usage does not have `serverAuth`.
    #[error(
        "its certificate is not for servers: issue it again with extendedKeyUsage = serverAuth"
    )]
    NotForServers,
    /// It is the certificate of a CA.
    #[error(
        "its certificate is that of a CA (basicConstraints = CA:TRUE), which must not be a \
         server's own: let that CA issue one for the server, with CA:FALSE"
    )]
    IsAuthority,
    /// The certificate of its issuer is not that of a CA.
    #[error(
        "its certificate is of an authority that is no CA (basicConstraints = CA:TRUE is missing): \
         issue that authority's certificate again"
    )]
    IssuerIsNoAuthority,
    /// It is of version 1 of X.509.
    #[error("its certificate {VERSION_1}")]
    Version1,
    /// It is refused for another reason, in the words of rustls or webpki.
    #[error("its certificate is refused: {0}")]
    Other(String),
}

impl CertificateRefusal {
    /// The refusal inside an error of [`Verifier`].
    pub(super) fn from_error(error: &CertificateError) -> Self {
        inner_error(error)
            .cloned()
            .unwrap_or_else(|| Self::Other(error.to_string()))
    }

    /// The certificate is not for the host that `name` names.
    fn of_name(presented: &[String], name: &ServerName<'_>) -> Self {
        let host = name.to_str().into_owned();
        let kind = match name {
            ServerName::IpAddress(_) => "IP",
            _ => "DNS",
        };
        let wanted = format!("{kind}:{host}");

        if presented.is_empty() {
            return Self::NoAlternativeName(wanted);
        }
        let names: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
        Self::OtherHost { names: names.join(", "), host, wanted }
    }

    fn of_signature_algorithm(algorithm: &[u8]) -> Self {
        BROKEN_SIGNATURES
            .iter()
            .find(|(id, _)| der::contains(algorithm, id))
            .map_or(Self::UnsupportedSignature, |(_, hash)| Self::BrokenSignature(hash))
    }

    /// The refusal behind an error for which rustls has no variant of its own.
    fn of_other(error: &CertificateError) -> Self {
        match inner_error(error) {
            Some(webpki::Error::CaUsedAsEndEntity) => Self::IsAuthority,
            Some(webpki::Error::EndEntityUsedAsCa) => Self::IssuerIsNoAuthority,
            Some(webpki::Error::UnsupportedCertVersion) => Self::Version1,
            Some(error) => Self::Other(error.to_string()),
            None => Self::Other(error.to_string()),
        }
    }

    fn into_error(self) -> rustls::Error {
        CertificateError::Other(OtherError(Arc::new(self))).into()
    }
}

/// rustls's own verifier, with errors that say what to do. It accepts exactly the certificates that
/// rustls's verifier accepts.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    /// Where the CA certificates are from, for people.
    authority: String,
}

impl Verifier {
    /// `roots` must not be empty; `authority` says where they are from.
    pub(super) fn new(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
        authority: String,
    ) -> Self {
        let roots = Arc::new(roots);
        let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider)
            .build()
            .expect("there are roots, and no revocation lists");
        Self { inner, roots, authority }
    }

    /// Explains why rustls refused a certificate.
    fn explain(
        &self,
        error: &CertificateError,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> CertificateRefusal {
        use CertificateError as Error;

        match error {
            Error::NotValidForNameContext { presented, .. } => {
                CertificateRefusal::of_name(presented, name)
            }
            Error::UnknownIssuer => CertificateRefusal::UnknownIssuer(self.authority.clone()),
            Error::BadSignature => self.explain_bad_signature(certificate),
            Error::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id,
                ..
            } => CertificateRefusal::of_signature_algorithm(signature_algorithm_id),
            Error::ExpiredContext { time, not_after } => {
                let seconds = time.as_secs().saturating_sub(not_after.as_secs());
                CertificateRefusal::Expired(time_span(seconds))
            }
            Error::NotValidYetContext { time, not_before } => {
                let seconds = not_before.as_secs().saturating_sub(time.as_secs());
                CertificateRefusal::NotYetValid(time_span(seconds))
            }
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => {
                CertificateRefusal::NotForServers
            }
            error => CertificateRefusal::of_other(error),
        }
    }

    /// Explains a wrong signature: it was made with a key that is too short to be accepted, or with
    /// another key than that of the CA.
    fn explain_bad_signature(&self, certificate: &CertificateDer<'_>) -> CertificateRefusal {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else {
            return CertificateRefusal::WrongSignature;
        };

        let issuers = self
            .roots
            .roots
            .iter()
            .filter(|root| *root.subject == *parsed.issuer());
        let shortest_key = issuers
            .filter_map(|root| der::rsa_bits(&root.subject_public_key_info))
            .min();

        let authority = self.authority.clone();
        match shortest_key {
            Some(bits) if bits < MIN_RSA_BITS => {
                CertificateRefusal::WeakIssuerKey { authority, bits }
            }
            _ => CertificateRefusal::OtherIssuerKey(authority),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );

        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(error) => {
                self.explain(&error, end_entity, server_name).into_error()
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.inner.verify_tls12_signature(message, cert, dss);
        verified.map_err(|error| explain_handshake_signature(cert, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.inner.verify_tls13_signature(message, cert, dss);
        verified.map_err(|error| explain_handshake_signature(cert, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Explains why a signature that the server made with its own key was refused.
fn explain_handshake_signature(
    certificate: &CertificateDer<'_>,
    error: rustls::Error,
) -> rustls::Error {
    match der::rsa_bits_of_certificate(certificate) {
        Some(bits) if bits < MIN_RSA_BITS => CertificateRefusal::WeakKey(bits).into_error(),
        _ => error,
    }
}

/// What is wrong with a certificate in a file that cannot be parsed, as the end of a sentence.
pub(super) fn parse_problem(error: &rustls::Error) -> String {
    let inner = match error {
        rustls::Error::InvalidCertificate(error) => inner_error(error),
        _ => None,
    };
    match (inner, error) {
        (Some(webpki::Error::UnsupportedCertVersion), _) => VERSION_1.to_owned(),
        (Some(inner), _) => format!("cannot be read ({inner})"),
        (None, rustls::Error::InvalidCertificate(error)) => format!("cannot be read ({error})"),
        (None, error) => format!("cannot be read ({error})"),
    }
}

/// The inner error of [`CertificateError::Other`], if it is of this type.
fn inner_error<E: std::error::Error + 'static>(error: &CertificateError) -> Option<&E> {
    match error {
        CertificateError::Other(OtherError(inner)) => inner.downcast_ref(),
        _ => None,
    }
}

/// The name in `DnsName("core-01")` or `IpAddress(10.0.0.1)`.
fn plain_name(name: &str) -> &str {
    name.split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(name)
        .trim_matches('"')
}

/// A time span in seconds, minutes, hours or days.
fn time_span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
