//! Reads PEM files with certificates and keys, and explains what is wrong with a file. It knows
//! neither the option that names a file, nor anything of connections: each problem is the end of a
//! sentence that begins with them.

use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use super::certificate::{MIN_RSA_BITS, parse_problem};
use super::der;

const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A certificate of a file, or what is wrong with it.
type ParsedCertificate = Result<CertificateDer<'static>, String>;

/// The certificate of a client or a server, with the intermediate certificates up to its CA, and
/// its private key.
pub(crate) struct TlsIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Why a certificate cannot be used. It names the file by what it is for.
pub(crate) enum IdentityError {
    /// What is wrong with the file of the certificate.
    Certificate(String),
    /// What is wrong with the file of the private key.
    Key(String),
    /// Certificate and key do not belong together.
    Pair,
}

/// The CA certificates in a file, and what is wrong with each that cannot be used. It is an error
/// if none can.
pub(crate) fn read_roots(path: &Path) -> Result<(RootCertStore, Vec<String>), String> {
    let mut roots = RootCertStore::empty();
    let mut problems = Vec::new();
    for (line, certificate) in read_certificates(path)? {
        let added = certificate.and_then(|it| roots.add(it).map_err(|error| parse_problem(&error)));
        if let Err(problem) = added {
            problems.push(format!("the certificate at line {line} {problem}"));
        }
    }

    if roots.is_empty() {
        return Err(problems.join("; "));
    }
    Ok((roots, problems))
}

impl TlsIdentity {
    /// Reads both files. A certificate that cannot be read is an error even if it is not the first:
    /// without it the other side could not verify the first one.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = read_chain(certificate).map_err(IdentityError::Certificate)?;
        let key = read_private_key(key).map_err(IdentityError::Key)?;
        Ok(Self { chain, key })
    }
}

impl IdentityError {
    /// Why rustls does not take a certificate and a key. `first` is the first certificate of the
    /// file.
    pub(super) fn new(first: &CertificateDer<'_>, error: &rustls::Error) -> Self {
        if let rustls::Error::InconsistentKeys(_) = error {
            return Self::Pair;
        }

        if let Some(bits) = der::rsa_bits_of_certificate(first)
            && bits < MIN_RSA_BITS
        {
            return Self::Key(format!(
                "it is an RSA key of {bits} bits, which is not safe: make one of {MIN_RSA_BITS} or \
                 more, and a certificate for it"
            ));
        }

        if let rustls::Error::InvalidCertificate(_) = error {
            return Self::Certificate(format!("the first certificate {}", parse_problem(error)));
        }

        Self::Key(format!(
            "this kind of key is not supported: use RSA or ECDSA (P-256, P-384): {error}"
        ))
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    read_certificates(path)?
        .into_iter()
        .map(|(line, certificate)| {
            certificate.map_err(|problem| format!("the certificate at line {line} {problem}"))
        })
        .collect()
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read_text("pkey", path)?;

    // That a key is encrypted is in the label of PKCS #8 (RFC 5958), and in a header of OpenSSL's
    // older format (RFC 1421).
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        return Err(format!(
            "the private key is encrypted, and nobody can enter a passphrase for a service: \
             decrypt it with 'openssl pkey -in {} -out NEW', and let only the service's user read \
             NEW",
            path.display(),
        ));
    }

    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("there is no private key in it{}", found_instead(&text))
        }
        error => format!("the private key cannot be read ({error})"),
    })
}

/// The certificates of a file, each with the line at which it begins; at least one. A broken one
/// does not affect the next.
fn read_certificates(path: &Path) -> Result<Vec<(usize, ParsedCertificate)>, String> {
    let text = read_text("x509", path)?;
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = (0..lines.len())
        .filter(|index| lines[*index].trim() == BEGIN_CERTIFICATE)
        .collect();
    if starts.is_empty() {
        return Err(format!("there is no certificate in it{}", found_instead(&text)));
    }

    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    let certificates = starts.iter().zip(ends).map(|(&start, end)| {
        let section = lines[start..end].join("\n");
        let parsed = CertificateDer::from_pem_slice(section.as_bytes())
            .map_err(|error| format!("cannot be read ({error})"));
        (start + 1, parsed)
    });
    Ok(certificates.collect())
}

/// Reads a file. `converter` is the command of openssl(1) that makes PEM of what is to be in it.
fn read_text(converter: &str, path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;

    if der::is_der(&bytes) {
        return Err(format!(
            "it is DER, not PEM: convert it with 'openssl {converter} -inform DER -in {} -out NEW'",
            path.display()
        ));
    }
    // Comments between certificates may be in any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The label of the first PEM section, for a file without the section that is needed. It is the end
/// of a sentence; empty if the file has no section.
fn found_instead(text: &str) -> String {
    let label = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    label.map(|label| format!(", but a {label}")).unwrap_or_default()
}
