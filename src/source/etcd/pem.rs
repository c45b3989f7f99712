//! Reads the PEM files that the options name for TLS, and explains what is wrong with a file. It
//! knows nothing of connections.

use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use super::certificate::{MIN_RSA_BITS, parse_problem};
use super::der;
use super::error::TlsFileError;

const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A certificate of a file, or what is wrong with it.
type ParsedCertificate = Result<CertificateDer<'static>, String>;

/// The CA certificates of this host.
pub(super) fn host_roots() -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);

    if roots.is_empty() {
        return Err(TlsFileError::NoCaCertificates);
    }
    Ok(roots)
}

/// The CA certificates in the file of `--etcd-ca`, and a warning for each that cannot be used.
pub(super) fn read_roots(path: &Path) -> Result<(RootCertStore, Vec<String>), TlsFileError> {
    let mut roots = RootCertStore::empty();
    let mut problems = Vec::new();
    for (line, certificate) in read_certificates("etcd_ca", path)? {
        let added = certificate.and_then(|it| roots.add(it).map_err(|error| parse_problem(&error)));
        if let Err(problem) = added {
            problems.push(format!("the certificate at line {line} {problem}"));
        }
    }

    if roots.is_empty() {
        return Err(file_error("etcd_ca", path, &problems.join("; ")));
    }
    let warnings = problems
        .iter()
        .map(|problem| format!("etcd_ca = {:?}: {problem}; it is left out", path.display()))
        .collect();
    Ok((roots, warnings))
}

/// The client certificate in the file of `--etcd-cert`, with the intermediate certificates up to
/// its CA. One that cannot be read is an error: without it etcd could not verify the client.
pub(super) fn read_client_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    read_certificates("etcd_cert", path)?
        .into_iter()
        .map(|(line, certificate)| {
            certificate.map_err(|problem| {
                file_error("etcd_cert", path, &format!("the certificate at line {line} {problem}"))
            })
        })
        .collect()
}

/// The private key in the file of `--etcd-key`.
pub(super) fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let text = read_text("etcd_key", path)?;

    // That a key is encrypted is in the label of PKCS #8 (RFC 5958), and in a header of OpenSSL's
    // older format (RFC 1421).
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        let problem = format!(
            "the private key is encrypted, and nobody can enter a passphrase for a service: \
             decrypt it with 'openssl pkey -in {} -out NEW', and let only the service's user read \
             NEW",
            path.display(),
        );
        return Err(file_error("etcd_key", path, &problem));
    }

    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => {
                format!("there is no private key in it{}", found_instead(&text))
            }
            error => format!("the private key cannot be read ({error})"),
        };
        file_error("etcd_key", path, &problem)
    })
}

/// Why client certificate and private key cannot be used together. `first` is the first certificate
/// of the file.
pub(super) fn pair_error(
    cert: &Path,
    key: &Path,
    first: &CertificateDer<'_>,
    error: &rustls::Error,
) -> TlsFileError {
    if let rustls::Error::InconsistentKeys(_) = error {
        return TlsFileError::Pair { cert: cert.to_owned(), key: key.to_owned() };
    }

    if let Some(bits) = der::rsa_bits_of_certificate(first)
        && bits < MIN_RSA_BITS
    {
        let problem = format!(
            "it is an RSA key of {bits} bits, which is not safe: make one of {MIN_RSA_BITS} or \
             more, and a certificate for it"
        );
        return file_error("etcd_key", key, &problem);
    }

    if let rustls::Error::InvalidCertificate(_) = error {
        let problem = format!("the first certificate {}", parse_problem(error));
        return file_error("etcd_cert", cert, &problem);
    }

    let problem =
        format!("this kind of key is not supported: use RSA or ECDSA (P-256, P-384): {error}");
    file_error("etcd_key", key, &problem)
}

/// The certificates of a file, each with the line at which it begins; at least one. A broken one
/// does not affect the next.
fn read_certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<(usize, ParsedCertificate)>, TlsFileError> {
    let text = read_text(option, path)?;
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = (0..lines.len())
        .filter(|index| lines[*index].trim() == BEGIN_CERTIFICATE)
        .collect();
    if starts.is_empty() {
        let problem = format!("there is no certificate in it{}", found_instead(&text));
        return Err(file_error(option, path, &problem));
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

fn read_text(option: &'static str, path: &Path) -> Result<String, TlsFileError> {
    let bytes =
        std::fs::read(path).map_err(|error| file_error(option, path, &error.to_string()))?;

    if der::is_der(&bytes) {
        let command = if option == "etcd_key" { "pkey" } else { "x509" };
        let problem = format!(
            "it is DER, not PEM: convert it with 'openssl {command} -inform DER -in {} -out NEW'",
            path.display()
        );
        return Err(file_error(option, path, &problem));
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

fn file_error(option: &'static str, path: &Path, problem: &str) -> TlsFileError {
    TlsFileError::File { option, path: path.to_owned(), problem: problem.to_owned() }
}
