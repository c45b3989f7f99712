//! A line to one member of etcd: what was asked, and what was answered. It does not know what fleet is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::endpoint::Endpoint;
use super::error::{EtcdError, causes};
use super::gathering::{Gathering, Gathers};
use super::keys::Refusal;
use crate::source::http::{self, Connection};

/// How long a member is waited for that does not even say that it is there.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of one answer.
const MAX_BYTES: usize = 256 << 20;

/// A line to one member: a connection that is kept, and made anew where the member has closed it.
#[derive(Debug)]
pub(super) struct Line {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    connection: Option<Connection>,
    gathers: Gathers,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

/// What the head of an answer of the v2 API says.
pub(super) struct Head {
    /// etcd's index when it began to answer.
    pub(super) index: u64,
    /// The cluster of etcd that it belongs to; etcd 0.4 has none.
    pub(super) cluster: Option<String>,
}

impl Line {
    /// Connects to nothing yet. `timeout` is how long a whole answer may take.
    pub(super) fn new(endpoint: &Endpoint, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> Self {
        Self { endpoint: endpoint.clone(), tls, timeout, connection: None, gathers: Gathers::default() }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks for a key or a directory, and takes the whole answer.
    pub(super) async fn get(&mut self, key: &str, query: &str) -> Result<Answer, EtcdError> {
        let path = format!("/v2/keys{key}{query}");
        self.in_time(async |line: &mut Self| {
            let response = line.send(&path).await?;
            let response = line.good(key, response).await?;
            let head = line.head(&response)?;
            let body = line.body(key, response).await?;
            Ok(Answer { head, body })
        })
        .await
    }

    /// The member's version, such as `3.4.23`, if it tells it.
    pub(super) async fn version(&mut self) -> Option<String> {
        let body = self.in_time(async |line: &mut Self| {
            let response = line.send("/version").await?;
            line.body("/version", response).await
        });
        let body = body.await.ok()?;
        #[derive(Deserialize)]
        struct Version {
            etcdserver: String,
        }
        match serde_json::from_slice(&body) {
            Ok(Version { etcdserver }) => Some(etcdserver),
            // etcd 0.4 and 2.0
            Err(_) => Some(std::str::from_utf8(&body).ok()?.strip_prefix("etcd ")?.trim().to_owned()),
        }
    }

    /// What must come within the time that an answer may take.
    pub(super) async fn in_time<T>(
        &mut self,
        asked: impl AsyncFnOnce(&mut Self) -> Result<T, EtcdError>,
    ) -> Result<T, EtcdError> {
        let time = self.timeout;
        match timeout(time, asked(self)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(EtcdError::Timeout(self.endpoint.clone(), time))
            }
        }
    }

    /// Sends one request, over the kept connection if there is one, and waits for the head of the answer. etcd may close
    /// the connection at any time; as long as nothing came back, asking again is safe.
    pub(super) async fn send(&mut self, path: &str) -> Result<Response<Incoming>, EtcdError> {
        let request = || {
            let request = http::get(&self.endpoint.authority(), path);
            request
                .map_err(|error| EtcdError::NotEtcd(self.endpoint.clone(), format!("{path} cannot be asked: {error}")))
        };
        self.gathers.set(false);
        if let Some(mut kept) = self.connection.take()
            && let Ok(response) = kept.send(request()?).await
        {
            self.connection = Some(kept);
            return Ok(response);
        }
        let request = request()?;
        let time = self.timeout.min(CONNECT);
        let connected = timeout(time, self.connect()).await;
        let mut connection =
            connected.map_err(|_| EtcdError::Unreachable(self.endpoint.clone(), io::ErrorKind::TimedOut.into()))??;
        let response = connection.send(request).await.map_err(|error| match self.tls {
            // A client's certificate is judged after the handshake (TLS 1.3, RFC 8446, section 4.4.2.4).
            Some(_) if !error.is_parse() => EtcdError::Tls(self.endpoint.clone(), io::Error::other(causes(&error))),
            _ => self.broken_off(error),
        })?;
        self.connection = Some(connection);
        Ok(response)
    }

    async fn connect(&self) -> Result<Connection, EtcdError> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => EtcdError::Refused(self.endpoint.clone()),
            _ => EtcdError::Unreachable(self.endpoint.clone(), error),
        })?;
        let stream = Gathering::new(stream, self.gathers.clone());
        let connection = match &self.tls {
            None => Connection::over(stream).await,
            Some(tls) => {
                let failed = |error| EtcdError::Tls(self.endpoint.clone(), error);
                let name = self.endpoint.name().to_owned();
                let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
                Connection::over(TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(failed)?).await
            }
        };
        connection.map_err(|error| self.broken_off(error))
    }

    pub(super) fn broken_off(&self, error: hyper::Error) -> EtcdError {
        match error.is_parse() {
            true => EtcdError::NotEtcd(self.endpoint.clone(), error.to_string()),
            false => EtcdError::BrokenOff(self.endpoint.clone(), error),
        }
    }

    pub(super) fn nonsense(&self, error: &serde_json::Error) -> EtcdError {
        EtcdError::NotEtcd(self.endpoint.clone(), error.to_string())
    }

    pub(super) fn head(&self, response: &Response<Incoming>) -> Result<Head, EtcdError> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let index = header("x-etcd-index").and_then(|index| index.parse().ok());
        let index =
            index.ok_or_else(|| EtcdError::NotEtcd(self.endpoint.clone(), "it has no X-Etcd-Index".to_owned()))?;
        Ok(Head { index, cluster: header("x-etcd-cluster-id").map(str::to_owned) })
    }

    /// The response, if it is what was asked for.
    async fn good(&mut self, key: &str, response: Response<Incoming>) -> Result<Response<Incoming>, EtcdError> {
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(self.refusal(key, response).await?.1)
    }

    /// Why a request was refused, in etcd's words and in ours.
    pub(super) async fn refusal(
        &mut self,
        key: &str,
        response: Response<Incoming>,
    ) -> Result<(Option<Refusal>, EtcdError), EtcdError> {
        let (endpoint, status) = (self.endpoint.clone(), response.status());
        let body = self.body(key, response).await?;
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        let error = match &refusal {
            Some(Refusal { error_code: Refusal::KEY_NOT_FOUND, .. }) => EtcdError::NoFleet(endpoint, key.to_owned()),
            Some(Refusal { message, cause, .. }) => {
                let message = if cause.is_empty() { message.clone() } else { format!("{message} ({cause})") };
                EtcdError::Status { endpoint, status, message }
            }
            None if status == StatusCode::NOT_FOUND => EtcdError::NoV2(endpoint),
            None => EtcdError::Status { endpoint, status, message: words(&body) },
        };
        Ok((refusal, error))
    }

    /// The answer that came last is one without an end: what comes of it may gather.
    pub(super) fn gather(&self) {
        self.gathers.set(true);
    }

    /// The next piece of the answer that came last.
    pub(super) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        self.connection.as_mut()?.frame(body).await
    }

    async fn body(&mut self, key: &str, response: Response<Incoming>) -> Result<Vec<u8>, EtcdError> {
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while let Some(frame) = self.frame(&mut incoming).await {
            let frame = frame.map_err(|error| self.broken_off(error))?;
            if let Some(data) = frame.data_ref() {
                if body.len() + data.len() > MAX_BYTES {
                    return Err(EtcdError::TooLarge(self.endpoint.clone(), MAX_BYTES >> 20, key.to_owned()));
                }
                body.extend_from_slice(data);
            }
        }
        Ok(body)
    }
}

/// What a body says that is not etcd's, if it is for people: its first line, and no HTML.
fn words(body: &[u8]) -> String {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match str::from_utf8(line) {
        Ok(line) if line.len() <= 200 && !line.contains('<') => line.trim().to_owned(),
        _ => String::new(),
    }
}
