//! Certificates and keys, in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData,
};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The certificates and keys of two CAs, and of a server and a client of each.
pub struct CertificateFiles(TempDir);

impl CertificateFiles {
    pub fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        for name in ["ours", "another"] {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority =
                CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            files.write(&format!("{name}.pem"), &authority.pem());
            for (whose, names) in [
                ("server", vec!["127.0.0.1".to_owned(), "localhost".to_owned()]),
                ("client", vec![]),
            ] {
                let key = KeyPair::generate().unwrap();
                let certificate = CertificateParams::new(names)
                    .unwrap()
                    .signed_by(&key, &authority)
                    .unwrap();
                files.write(&format!("{name}-{whose}.pem"), &certificate.pem());
                files.write(&format!("{name}-{whose}.key"), &key.serialize_pem());
            }
        }
        files.write("empty", "");
        files.write("prose", "Dear etcd,\nplease let me in.\n");
        files
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The hash of the public key to this private key, by which a browser knows a certificate.
    pub fn pin(&self, key: &str) -> String {
        let pem = fs::read_to_string(self.path(key)).unwrap();
        let public = KeyPair::from_pem(&pem).unwrap().subject_public_key_info();
        BASE64_STANDARD.encode(digest(&SHA256, &public))
    }

    /// Clients that trust the CA of this name.
    pub fn connector(&self, authority: &str) -> TlsConnector {
        let certificate = CertificateDer::from_pem_file(self.path(&format!("{authority}.pem")));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.unwrap()).unwrap();

        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
