//! Whether etcd's certificate is to be believed, as rustls judges it, and what is wrong with it in
//! words for people.

use std::error::Error;
use std::fmt;
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

/// No RSA key with fewer bits is accepted.
pub(super) const LEAST_BITS: usize = 2048;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Signature algorithms that are broken, by the contents of their identifier (RFC 3279, section
/// 2.2; RFC 5758).
const BROKEN: [(&[u8], &str); 4] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
];

/// Asks rustls's own verifier, and puts its refusals into words. It accepts what that accepts, and
/// nothing else.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    /// Where the certificates of CAs are from, for people.
    authority: String,
}

impl Verifier {
    /// `roots` are not empty; `authority` says where they are from.
    pub(super) fn new(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
        authority: String,
    ) -> Self {
        let roots = Arc::new(roots);
        let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build();
        Self {
            inner: inner.expect("there are roots, and no revocation lists"),
            roots,
            authority,
        }
    }

    /// What is wrong with a certificate that was refused for that.
    fn words(
        &self,
        error: &CertificateError,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> String {
        let ours = "(by this host's clock: 'timedatectl')";
        match error {
            CertificateError::NotValidForNameContext { presented, .. } => {
                let host = name.to_str();
                let kind = if matches!(name, ServerName::IpAddress(_)) { "IP" } else { "DNS" };
                let again = format!("issue it again with subjectAltName = {kind}:{host}");
                if presented.is_empty() {
                    return format!(
                        "its certificate has no subject alternative name, and a common name alone does not count: {again}"
                    );
                }
                let names: Vec<String> = presented.iter().map(|name| plain(name)).collect();
                let names = names.join(", ");
                format!("its certificate is for {names}, not for {host}: {again}, or call it so in --etcd")
            }
            CertificateError::UnknownIssuer => format!(
                "its certificate is of no CA in {}: name the file with the certificate of etcd's CA in --etcd-ca",
                self.authority,
            ),
            CertificateError::BadSignature => self.bad_signature(certificate),
            CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id, .. } => {
                let subject = "its certificate, or one between that and its CA,";
                let broken = BROKEN.iter().find(|(id, _)| contains(signature_algorithm_id, id));
                match broken {
                    Some((_, hash)) => format!(
                        "{subject} is signed with {hash}, which can be forged: issue it again, signed with SHA-256"
                    ),
                    None => format!(
                        "{subject} is signed in a way that is not supported: issue it again, signed by RSA or ECDSA \
                         (P-256, P-384) with SHA-256"
                    ),
                }
            }
            CertificateError::ExpiredContext { time, not_after } => {
                let ago = span(time.as_secs().saturating_sub(not_after.as_secs()));
                format!("its certificate, or that of its CA, expired {ago} ago {ours}: issue it again")
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let to_come = span(not_before.as_secs().saturating_sub(time.as_secs()));
                format!("its certificate, or that of its CA, is valid only in {to_come} {ours}: is the clock right?")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "its certificate is not for servers: issue it again with extendedKeyUsage = serverAuth".to_owned()
            }
            error => match webpki_error(error) {
                Some(webpki::Error::CaUsedAsEndEntity) => {
                    "its certificate is that of a CA (basicConstraints = CA:TRUE), \
                     which must not be a server's own: let that CA issue one for etcd, with CA:FALSE"
                        .to_owned()
                }
                Some(webpki::Error::EndEntityUsedAsCa) => "its certificate is of an authority that is no CA \
                     (basicConstraints = CA:TRUE is missing): issue that authority's certificate again"
                    .to_owned(),
                Some(webpki::Error::UnsupportedCertVersion) => format!("its certificate {VERSION_1}"),
                Some(error) => format!("its certificate is refused: {error}"),
                None => format!("its certificate is refused: {error}"),
            },
        }
    }

    /// A signature that does not fit is one by a key that is too short to be checked, or by another
    /// key.
    fn bad_signature(&self, certificate: &CertificateDer<'_>) -> String {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else {
            return "the signature of its certificate is wrong".to_owned();
        };
        let issuers = self
            .roots
            .roots
            .iter()
            .filter(|root| *root.subject == *parsed.issuer());
        let bits = issuers
            .filter_map(|root| rsa_bits(&root.subject_public_key_info))
            .min();
        match bits {
            Some(bits) if bits < LEAST_BITS => format!(
                "the CA of its certificate, in {}, has an RSA key of {bits} bits, which is not safe: make a CA with \
                 {LEAST_BITS} or more, and let it issue etcd's certificate again",
                self.authority,
            ),
            _ => format!(
                "its certificate is not signed by the CA of that name in {}: has that CA been made anew? Name its \
                 present certificate in --etcd-ca",
                self.authority,
            ),
        }
    }

    /// The refusal of a signature that etcd made with its own key.
    fn refuse_signature(certificate: &CertificateDer<'_>, error: rustls::Error) -> rustls::Error {
        match rsa_bits_of(certificate) {
            Some(bits) if bits < LEAST_BITS => refusal(format!(
                "its own key is RSA of {bits} bits, which is not safe: make one of {LEAST_BITS} or more, and a \
                 certificate for it"
            )),
            _ => error,
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
                refusal(self.words(&error, end_entity, server_name))
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
        verified.map_err(|error| Self::refuse_signature(cert, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.inner.verify_tls13_signature(message, cert, dss);
        verified.map_err(|error| Self::refuse_signature(cert, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Why etcd's certificate was refused, in words for people: it travels inside rustls's error.
#[derive(Debug)]
pub(super) struct Refused(String);

impl Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Refused {
    /// The words that were put into this error, if it is one of [`Verifier`].
    pub(super) fn words(error: &CertificateError) -> Option<String> {
        let CertificateError::Other(OtherError(inner)) = error else {
            return None;
        };
        inner.downcast_ref().map(|Self(words)| words.clone())
    }
}

fn refusal(words: String) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(Refused(words)))).into()
}

fn webpki_error(error: &CertificateError) -> Option<&webpki::Error> {
    let CertificateError::Other(OtherError(inner)) = error else {
        return None;
    };
    inner.downcast_ref()
}

const VERSION_1: &str =
    "is of version 1 of X.509, which knows no extensions: issue it again as version 3";

/// What is wrong with a certificate in a file that cannot even be taken apart.
pub(super) fn unreadable(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => match webpki_error(error) {
            Some(webpki::Error::UnsupportedCertVersion) => VERSION_1.to_owned(),
            Some(error) => format!("cannot be read ({error})"),
            None => format!("cannot be read ({error})"),
        },
        error => format!("cannot be read ({error})"),
    }
}

/// How many bits the RSA key of a certificate has; none if it has another key, or cannot be read.
pub(super) fn rsa_bits_of(certificate: &CertificateDer<'_>) -> Option<usize> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let info = certificate.subject_public_key_info();
    rsa_bits(element(&info)?.0)
}

/// How many bits an RSA key has, from what is in its SubjectPublicKeyInfo (RFC 3279, section
/// 2.3.1).
fn rsa_bits(info: &[u8]) -> Option<usize> {
    let (algorithm, rest) = element(info)?;
    if !contains(algorithm, RSA) {
        return None;
    }
    let (bit_string, _) = element(rest)?;
    let (key, _) = element(bit_string.get(1..)?)?;
    let (modulus, _) = element(key)?;
    let significant = modulus.iter().position(|byte| *byte != 0)?;
    let leading = modulus[significant].leading_zeros() as usize;
    Some((modulus.len() - significant) * 8 - leading)
}

/// Whether all of a file is one sequence of DER, as certificates and keys are.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && element(bytes).is_some_and(|(_, rest)| rest.is_empty())
}

/// The first element of DER (X.690), whatever its tag is: what is in it, and what comes after it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A name as `DnsName("core-01")` or `IpAddress(10.0.0.1)` has it.
fn plain(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(name);
    inner.trim_matches('"').to_owned()
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bits_of_an_rsa_key_are_counted() {
        let key = |modulus: &[u8]| {
            let length =
                |contents: &[u8]| vec![0x82, (contents.len() >> 8) as u8, contents.len() as u8];
            let wrap =
                |tag: u8, contents: &[u8]| [&[tag], length(contents).as_slice(), contents].concat();
            let numbers = [wrap(0x02, modulus), vec![0x02, 0x03, 1, 0, 1]].concat();
            let bits = [&[0], wrap(0x30, &numbers).as_slice()].concat();
            [wrap(0x30, &[&[0x06, 0x09], RSA, &[0x05, 0x00]].concat()), wrap(0x03, &bits)].concat()
        };
        assert_eq!(rsa_bits(&key(&[&[0, 0x80][..], &[1; 127]].concat())), Some(1024));
        assert_eq!(rsa_bits(&key(&[&[0, 0xff][..], &[1; 255]].concat())), Some(2048));
        assert_eq!(rsa_bits(&key(&[1; 128])), Some(1017));
        assert_eq!(rsa_bits(&key(&[0; 128])), None);
        assert_eq!(rsa_bits(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (element(&bytes), rsa_bits(&bytes), rsa_bits_of(&bytes.as_slice().into()));
        }
    }
}
