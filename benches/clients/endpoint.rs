//! Where a server listens, with TLS or without, and connections to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_monitor::server::{CertificateFiles, ServerTls};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_util::either::Either;

/// A connection to a server.
pub type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Plain, Self::Tls];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
        }
    }

    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == name)
            .expect("a transport")
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// The certificate of the server; `None`: without TLS.
    certificate: Option<PathBuf>,
}

impl Endpoint {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, certificate: None }
    }

    /// As arguments of a process that connects to it.
    pub fn arguments(&self) -> [String; 2] {
        let certificate = self.certificate.as_deref().unwrap_or(Path::new(""));
        [self.address.to_string(), certificate.display().to_string()]
    }

    pub fn from_arguments([address, certificate]: [&str; 2]) -> Self {
        Self {
            address: address.parse().expect("an address"),
            certificate: (!certificate.is_empty()).then(|| certificate.into()),
        }
    }

    /// Opens connections to it.
    pub fn connector(&self) -> Connector {
        let tls = self.certificate.as_ref().map(|file| {
            let mut roots = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_file(file).expect("a certificate");
            roots.add(certificate).expect("a certificate");
            let config =
                ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .expect("TLS 1.3")
                    .with_root_certificates(roots)
                    .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        });

        Connector { address: self.address, tls }
    }
}

/// Opens connections to a server.
pub struct Connector {
    pub address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Connector {
    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        match &self.tls {
            None => Either::Left(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let stream = tls.connect(name, stream).await.expect("a handshake");
                Either::Right(Box::new(stream))
            }
        }
    }
}

/// The certificate of a server, in files.
pub struct Certificate(TempDir);

impl Certificate {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let directory = TempDir::new().expect("a directory");
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        write("cert", made.cert.pem());
        write("key", made.signing_key.serialize_pem());
        Self(directory)
    }

    pub fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint { address, certificate: Some(self.0.path().join("cert")) }
    }

    pub fn server(&self) -> ServerTls {
        ServerTls::read(CertificateFiles {
            cert: self.0.path().join("cert"),
            key: self.0.path().join("key"),
            client_ca: None,
        })
        .expect("a certificate")
    }
}
