//! What TLS to etcd needs, from the files that the options name.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::Tls;
use super::error::TlsError;

/// Reads the files.
///
/// # Errors
///
/// Which file cannot be used, and why.
pub(super) fn configuration(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.expect("ring has ciphers for these versions").with_root_certificates(roots(tls)?);
    let configuration = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
                pem::Error::NoItemsFound => file("etcd_key", key, &"there is no private key in it"),
                error => file("etcd_key", key, &error),
            })?;
            let chain = certificates("etcd_cert", cert)?;
            builder.with_client_auth_cert(chain, private).map_err(|error| TlsError::Pair {
                cert: cert.clone(),
                key: key.clone(),
                problem: error.to_string(),
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(configuration))
}

fn roots(tls: &Tls) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        for certificate in certificates("etcd_ca", path)? {
            roots.add(certificate).map_err(|error| file("etcd_ca", path, &error))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
    }
    Ok(roots)
}

fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = certificates.map_err(|error| file(option, path, &error))?;
    if certificates.is_empty() {
        return Err(file(option, path, &"there is no certificate in it"));
    }
    Ok(certificates)
}

fn file(option: &'static str, path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { option, path: path.to_owned(), problem: problem.to_string() }
}
