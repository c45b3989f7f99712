//! Watches fleet's registry in etcd: each change as it happens, and what lists cannot say.

pub mod endpoint;

use std::path::PathBuf;
use std::time::Duration;

use endpoint::Endpoint;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The members of etcd; the next one is asked where one fails.
    pub endpoints: Vec<Endpoint>,
    /// Where fleet keeps its registry, such as `/_coreos.com/fleet`.
    pub prefix: String,
    /// For `https://`.
    pub tls: Tls,
    /// How long an answer may take, or a member may say nothing.
    pub timeout: Duration,
}

/// Files in PEM for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificates of the authorities that etcd's are believed from; without, those of the host.
    pub ca: Option<PathBuf>,
    /// The certificate by which this client is known, with what leads to its authority.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}
