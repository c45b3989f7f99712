//! TLS to etcd: the files that the options name, the handshake, and why either fails, in words for
//! people.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, AlertDescription, ClientConfig, RootCertStore, crypto};

use super::Tls;
use super::certificate::{self, Refused, Verifier};
use super::error::{TlsError, causes};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// What makes connections to etcd encrypted.
#[derive(Clone)]
pub(super) struct Encryption {
    config: Arc<ClientConfig>,
    files: Tls,
    /// What could not be used of a file, one sentence each.
    left_out: Vec<String>,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub(super) fn new(files: &Tls) -> Result<Self, TlsError> {
        let (roots, left_out) = roots(files)?;
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = Verifier::new(roots, provider.clone(), authority(files));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for these versions")
            .dangerous()
            // It decides nothing: it asks rustls's own verifier, and puts its refusals into words.
            .with_custom_certificate_verifier(Arc::new(verifier));

        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let chain = chain(cert)?;
                let private = private_key(key)?;
                let first = chain[0].clone();
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| pair(cert, key, &first, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), files: files.clone(), left_out })
    }

    /// What could not be used of a file, one sentence each.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Shakes hands with the host of that name.
    ///
    /// # Errors
    ///
    /// Why not, for people.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> Result<TlsStream<S>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            format!(
                "{host} is no name that a certificate could be for: name etcd in --etcd by another"
            )
        })?;
        let connected = TlsConnector::from(self.config.clone()).connect(name, stream).await;
        connected.map_err(|error| match self.explain(&error) {
            Some(problem) => problem,
            None => format!(
                "{error}: does etcd speak TLS at that port? If not, it is http:// in --etcd"
            ),
        })
    }

    /// Why a new connection ended before anything was answered on it. A client's certificate is
    /// judged after the handshake (TLS 1.3, RFC 8446, section 4.4.2.4), and the alert that says so
    /// may be lost.
    pub(super) fn explain_ended(&self, error: &(dyn Error + 'static)) -> String {
        self.explain(error).unwrap_or_else(|| {
            let question = match &self.files.cert {
                Some(cert) => {
                    format!("does it accept the certificate in etcd_cert = {:?}?", cert.display())
                }
                None => "does it want a certificate of its clients (--etcd-cert, --etcd-key)?"
                    .to_owned(),
            };
            format!("it ended the connection after the handshake ({}): {question}", causes(error))
        })
    }

    /// What TLS has against a connection, as far as an error on it tells; none if it is an error of
    /// another kind.
    pub(super) fn explain(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let mut link = Some(error);
        while let Some(error) = link {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = inner.map(|inner| inner as &(dyn Error + 'static));
            if let Some(error) = inner.unwrap_or(error).downcast_ref() {
                return Some(self.reason(error));
            }
            link = error.source();
        }
        None
    }

    fn reason(&self, error: &rustls::Error) -> String {
        use AlertDescription::{
            AccessDenied, BadCertificate, CertificateExpired, CertificateRequired,
            CertificateRevoked, CertificateUnknown, DecryptError, HandshakeFailure,
            ProtocolVersion, UnknownCA, UnsupportedCertificate,
        };
        let alert = match error {
            rustls::Error::AlertReceived(alert) => alert,
            rustls::Error::InvalidCertificate(error) => {
                let words = Refused::words(error);
                return words.unwrap_or_else(|| format!("its certificate is refused: {error}"));
            }
            rustls::Error::InvalidMessage(_) => {
                return "what it answers is not TLS: does etcd speak TLS at that port? If not, it is http:// in --etcd"
                    .to_owned();
            }
            rustls::Error::PeerIncompatible(_) => {
                return format!("it speaks neither TLS 1.3 nor TLS 1.2 as it is safe: {error}");
            }
            error => return error.to_string(),
        };

        match (alert, &self.files.cert) {
            (ProtocolVersion, _) => {
                "it speaks neither TLS 1.3 nor TLS 1.2, and older versions are not safe".to_owned()
            }
            (
                BadCertificate | CertificateRequired | HandshakeFailure | CertificateUnknown
                | AccessDenied,
                None,
            ) => "it wants a certificate of its clients: name one with --etcd-cert and --etcd-key"
                .to_owned(),
            (
                BadCertificate
                | CertificateExpired
                | CertificateRequired
                | CertificateRevoked
                | CertificateUnknown
                | DecryptError
                | UnknownCA
                | UnsupportedCertificate
                | AccessDenied,
                Some(cert),
            ) => format!(
                "it does not accept the certificate in etcd_cert = {:?} ({alert:?}): that must be of a CA that etcd \
                 trusts (--trusted-ca-file), for clients (extendedKeyUsage clientAuth), and of this day",
                cert.display(),
            ),
            (alert, _) => format!("it broke off the handshake ({alert:?})"),
        }
    }
}

/// Where the certificates of CAs are from, for people.
fn authority(files: &Tls) -> String {
    match &files.ca {
        Some(path) => format!("etcd_ca = {:?}", path.display()),
        None => "this host's own".to_owned(),
    }
}

/// The CAs to verify etcd by, and what could not be used of their file.
fn roots(files: &Tls) -> Result<(RootCertStore, Vec<String>), TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &files.ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
        return Ok((roots, Vec::new()));
    };

    let mut problems = Vec::new();
    for (line, certificate) in certificates("etcd_ca", path)? {
        let added = certificate
            .and_then(|it| roots.add(it).map_err(|error| certificate::unreadable(&error)));
        problems.extend(
            added
                .err()
                .map(|problem| format!("the certificate at line {line} {problem}")),
        );
    }
    if roots.is_empty() {
        return Err(file("etcd_ca", path, &problems.join("; ")));
    }
    let left_out = problems
        .iter()
        .map(|problem| format!("etcd_ca = {:?}: {problem}; it is left out", path.display()));
    Ok((roots, left_out.collect()))
}

/// The client's own certificate, with those that lead to its CA. None may be missing, or etcd would
/// not know the client.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = certificates("etcd_cert", path)?
        .into_iter()
        .map(|(line, certificate)| {
            certificate.map_err(|problem| {
                file("etcd_cert", path, &format!("the certificate at line {line} {problem}"))
            })
        });
    certificates.collect()
}

/// A certificate that was read from a file, or what is wrong with it.
type Read = Result<CertificateDer<'static>, String>;

/// The certificates of a file, each with the line at which it begins; at least one. A broken one
/// does not break the next.
fn certificates(option: &'static str, path: &Path) -> Result<Vec<(usize, Read)>, TlsError> {
    let text = text(option, path)?;
    let lines: Vec<&str> = text.lines().collect();
    let begins = |index: &usize| lines[*index].trim() == CERTIFICATE;
    let starts: Vec<usize> = (0..lines.len()).filter(begins).collect();
    if starts.is_empty() {
        return Err(file(
            option,
            path,
            &format!("there is no certificate in it{}", what_is_there(&text)),
        ));
    }

    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    let each = starts.iter().zip(ends).map(|(&start, end)| {
        let section = lines[start..end].join("\n");
        let read = CertificateDer::from_pem_slice(section.as_bytes());
        (start + 1, read.map_err(|error| format!("cannot be read ({error})")))
    });
    Ok(each.collect())
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = text("etcd_key", path)?;
    // PKCS #8 (RFC 5958) says so in its label, what OpenSSL wrote before in a header (RFC 1421).
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        let problem = format!(
            "the private key is encrypted, and a service has nobody to ask for its passphrase: decrypt it with \
             'openssl pkey -in {} -out NEW', and let the service's user alone read NEW",
            path.display(),
        );
        return Err(file("etcd_key", path, &problem));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => file(
            "etcd_key",
            path,
            &format!("there is no private key in it{}", what_is_there(&text)),
        ),
        error => file("etcd_key", path, &format!("the private key cannot be read ({error})")),
    })
}

fn text(option: &'static str, path: &Path) -> Result<String, TlsError> {
    let bytes = std::fs::read(path).map_err(|error| file(option, path, &error.to_string()))?;
    if certificate::is_der(&bytes) {
        let kind = if option == "etcd_key" { "pkey" } else { "x509" };
        let problem = format!(
            "it is DER, not PEM: convert it with 'openssl {kind} -inform DER -in {} -out NEW'",
            path.display()
        );
        return Err(file(option, path, &problem));
    }
    // Comments between certificates may be in any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a file has, where it does not have what is needed.
fn what_is_there(text: &str) -> String {
    let label = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    label.map(|label| format!(", but a {label}")).unwrap_or_default()
}

/// Why certificate and private key cannot be used together.
fn pair(cert: &Path, key: &Path, first: &CertificateDer<'_>, error: &rustls::Error) -> TlsError {
    let short_key = certificate::rsa_bits_of(first).filter(|bits| *bits < certificate::LEAST_BITS);
    let problem = match (error, short_key) {
        (rustls::Error::InconsistentKeys(_), _) => {
            return TlsError::Pair { cert: cert.to_owned(), key: key.to_owned() };
        }
        (_, Some(bits)) => {
            let problem = format!(
                "it is an RSA key of {bits} bits, which is not safe: make one of {} or more, and a certificate for it",
                certificate::LEAST_BITS,
            );
            return file("etcd_key", key, &problem);
        }
        (rustls::Error::InvalidCertificate(_), _) => {
            return file(
                "etcd_cert",
                cert,
                &format!("the first certificate {}", certificate::unreadable(error)),
            );
        }
        (error, None) => format!(
            "it is of no kind that is supported, such as RSA and ECDSA (P-256, P-384): {error}"
        ),
    };
    file("etcd_key", key, &problem)
}

fn file(option: &'static str, path: &Path, problem: &str) -> TlsError {
    TlsError::File {
        option,
        path: PathBuf::from(path),
        problem: problem.to_owned(),
    }
}
