//! Certificates and keys, in files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

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

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
