//! Opens connections to one member of etcd, builds requests to it, and explains errors of its
//! connections. It sends no requests, and does not know what is at a path.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::batching_stream::{BatchingStream, BatchingSwitch};
use super::endpoint::Endpoint;
use super::error::EtcdError;
use super::login::Authorization;
use super::tls::MemberTls;
use crate::net::http::{self, HttpConnection, HttpRequest};

/// How long a connection may take to open. A host that is down does not even refuse a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections to the members of one etcd share.
#[derive(Debug)]
pub(super) struct MemberConfig {
    /// The members that `--etcd` names.
    pub(super) members: Vec<Endpoint>,
    /// `None` if no member is `https://`.
    pub(super) tls: Option<MemberTls>,
    /// The credentials of the etcd user. `None` if no user is configured.
    pub(super) authorization: Option<Authorization>,
    /// How long a whole response may take.
    pub(super) timeout: Duration,
}

/// Connects to one member.
#[derive(Debug)]
pub(super) struct Connector {
    endpoint: Endpoint,
    config: Arc<MemberConfig>,
    batching: BatchingSwitch,
}

impl Connector {
    pub(super) fn new(endpoint: Endpoint, config: Arc<MemberConfig>) -> Self {
        Self { endpoint, config, batching: BatchingSwitch::default() }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to another member from now on.
    pub(super) fn set_endpoint(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
    }

    pub(super) fn config(&self) -> &MemberConfig {
        &self.config
    }

    /// Turns on or off that its connections batch what they receive.
    pub(super) fn batching(&self) -> &BatchingSwitch {
        &self.batching
    }

    /// The credentials for this member. They are sent only to members that `--etcd` names: not to
    /// another one to which a redirect leads.
    pub(super) fn authorization(&self) -> Option<&Authorization> {
        self.config
            .authorization
            .as_ref()
            .filter(|_| self.config.members.contains(&self.endpoint))
    }

    /// A request for a path.
    pub(super) fn request(&self, path: &str) -> Result<HttpRequest, EtcdError> {
        let mut request = http::get(&self.endpoint.authority(), path).map_err(|error| {
            self.not_etcd(format!("a request for {path} is not possible: {error}"))
        })?;

        if let Some(authorization) = self.authorization() {
            let header = authorization.header.clone();
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        Ok(request)
    }

    /// Opens a connection, with TLS if the endpoint is `https`.
    pub(super) async fn connect(&self) -> Result<HttpConnection, EtcdError> {
        let limit = self.config.timeout.min(CONNECT_TIMEOUT);
        match timeout(limit, self.open()).await {
            Ok(connection) => connection,
            Err(_) => {
                let error = io::ErrorKind::TimedOut.into();
                Err(EtcdError::Unreachable(self.endpoint.clone(), error))
            }
        }
    }

    async fn open(&self) -> Result<HttpConnection, EtcdError> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream =
            TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => EtcdError::Refused(self.endpoint.clone()),
                    _ => EtcdError::Unreachable(self.endpoint.clone(), error),
                }
            })?;
        let stream = BatchingStream::new(stream, self.batching.clone());

        let connection = match self.tls() {
            None => HttpConnection::over(stream).await,
            Some(tls) => {
                let encrypted = tls
                    .connect(host, stream)
                    .await
                    .map_err(|error| EtcdError::Tls(self.endpoint.clone(), error.into()))?;
                HttpConnection::over(encrypted).await
            }
        };
        connection.map_err(|error| self.exchange_error(error))
    }

    /// Why a new connection yielded no response.
    pub(super) fn first_exchange_error(&self, error: hyper::Error) -> EtcdError {
        match self.tls() {
            Some(tls) if !error.is_parse() => {
                EtcdError::Tls(self.endpoint.clone(), tls.explain_close(&error).into())
            }
            _ => self.exchange_error(error),
        }
    }

    /// Why a response was cut off, or is not HTTP.
    pub(super) fn exchange_error(&self, error: hyper::Error) -> EtcdError {
        match self.tls().and_then(|tls| tls.explain(&error)) {
            Some(problem) => EtcdError::Tls(self.endpoint.clone(), problem.into()),
            None if error.is_parse() => self.not_etcd(error.to_string()),
            None => EtcdError::BrokenOff(self.endpoint.clone(), error),
        }
    }

    /// The error for a response that is not one of etcd's v2 API.
    pub(super) fn not_etcd(&self, problem: String) -> EtcdError {
        EtcdError::NotEtcd(self.endpoint.clone(), problem)
    }

    fn tls(&self) -> Option<&MemberTls> {
        self.config.tls.as_ref().filter(|_| self.endpoint.tls)
    }
}
