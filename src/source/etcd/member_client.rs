//! A client of one member of etcd: requests and responses. It does not know what fleet is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, LOCATION};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::endpoint::{self, Endpoint};
use super::error::EtcdError;
use super::gathering::{Gathering, Gathers};
use super::keys::Refusal;
use super::login::Authorization;
use super::redirect::{self, NotFollowed};
use super::tls::Encryption;
use crate::source::http::{self, Connection};

/// How long a member is waited for that does not even say that it is there.
const CONNECT: Duration = Duration::from_secs(2);
/// Headers of every answer of the v2 API; etcd 0.4 has no cluster ID.
const INDEX: &str = "x-etcd-index";
const CLUSTER_ID: &str = "x-etcd-cluster-id";
/// Bytes of one answer.
const MAX_BYTES: usize = 256 << 20;

/// What all clients of the members of one etcd share.
#[derive(Debug)]
pub(super) struct Access {
    /// The members that were named.
    pub(super) members: Vec<Endpoint>,
    /// There if one of them is `https://`.
    pub(super) encryption: Option<Encryption>,
    /// The user that requests are made as.
    pub(super) authorization: Option<Authorization>,
    /// How long a whole answer may take.
    pub(super) timeout: Duration,
}

/// A client of one member: a connection that is kept, and made anew where the member has closed it.
/// Where the member redirects to another one, all further requests go there.
#[derive(Debug)]
pub(super) struct MemberClient {
    endpoint: Endpoint,
    access: Arc<Access>,
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

impl MemberClient {
    /// Connects to nothing yet.
    pub(super) fn new(endpoint: &Endpoint, access: Arc<Access>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            access,
            connection: None,
            gathers: Gathers::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn timeout(&self) -> Duration {
        self.access.timeout
    }

    /// Asks for a key or a directory, and takes the whole answer.
    pub(super) async fn get(&mut self, key: &str, query: &str) -> Result<Answer, EtcdError> {
        let path = format!("/v2/keys{key}{query}");
        self.in_time(async |client: &mut Self| {
            let response = client.send(&path).await?;
            let response = client.good(key, response).await?;
            let head = client.head(&response)?;
            let body = client.body(key, response).await?;
            Ok(Answer { head, body })
        })
        .await
    }

    /// The member's version, such as `3.4.23`, if it tells it.
    pub(super) async fn version(&mut self) -> Option<String> {
        let body = self.in_time(async |client: &mut Self| {
            let response = client.send("/version").await?;
            client.body("/version", response).await
        });
        let body = body.await.ok()?;
        #[derive(Deserialize)]
        struct Version {
            etcdserver: String,
        }
        match serde_json::from_slice(&body) {
            Ok(Version { etcdserver }) => Some(etcdserver),
            // etcd 0.4 and 2.0
            Err(_) => Some(
                std::str::from_utf8(&body)
                    .ok()?
                    .strip_prefix("etcd ")?
                    .trim()
                    .to_owned(),
            ),
        }
    }

    /// What must come within the time that an answer may take.
    pub(super) async fn in_time<T>(
        &mut self,
        asked: impl AsyncFnOnce(&mut Self) -> Result<T, EtcdError>,
    ) -> Result<T, EtcdError> {
        let time = self.timeout();
        match timeout(time, asked(self)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(EtcdError::Timeout(self.endpoint.clone(), time))
            }
        }
    }

    /// Sends one request, and waits for the head of the answer. A redirect to another member is
    /// followed.
    pub(super) async fn send(&mut self, path: &str) -> Result<Response<Incoming>, EtcdError> {
        let mut redirects = 0;
        loop {
            let response = self.send_once(path).await?;
            let status = response.status();
            let Some(location) =
                response.headers().get(LOCATION).filter(|_| status.is_redirection())
            else {
                return Ok(response);
            };
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            let endpoint = self.endpoint.clone();
            let followed = match redirects {
                redirect::MOST.. => Err(NotFollowed::TooMany),
                _ => self.follow(path, status, &location).await,
            };
            followed.map_err(|why| {
                let to = endpoint::without_credentials(&location);
                EtcdError::Redirect { endpoint, status, to, why }
            })?;
            redirects += 1;
        }
    }

    /// Sends all further requests where a redirect leads, if that is a member of the same etcd.
    async fn follow(
        &mut self,
        path: &str,
        status: StatusCode,
        location: &str,
    ) -> Result<(), NotFollowed> {
        let target = redirect::target(&self.endpoint, path, status.as_u16(), location)?;
        let is_member = redirect::is_host_of(&target.host, &self.access.members)
            || redirect::is_host_of(&target.host, &self.told_members().await);
        if !is_member {
            return Err(NotFollowed::Stranger);
        }
        debug!("etcd at {} redirects to {target}", self.endpoint);
        self.endpoint = target;
        self.connection = None;
        Ok(())
    }

    /// The members that etcd itself tells.
    async fn told_members(&mut self) -> Vec<Endpoint> {
        for path in ["/v2/members", "/v2/machines"] {
            // What the redirect came with is not read.
            self.connection = None;
            let list = self.in_time(async |client: &mut Self| {
                let response = client.send_once(path).await?;
                if response.status() == StatusCode::OK {
                    client.body(path, response).await
                } else {
                    Ok(Vec::new())
                }
            });
            let members = list.await.map(|list| redirect::members(&list)).unwrap_or_default();
            if !members.is_empty() {
                return members;
            }
        }
        Vec::new()
    }

    /// Sends one request, over the kept connection if there is one, and waits for the head of the
    /// answer. etcd may close the connection at any time; as long as nothing came back, asking
    /// again is safe.
    async fn send_once(&mut self, path: &str) -> Result<Response<Incoming>, EtcdError> {
        self.gathers.set(false);
        if let Some(mut kept) = self.connection.take()
            && let Ok(response) = kept.send(self.request(path)?).await
        {
            self.connection = Some(kept);
            return Ok(response);
        }

        let request = self.request(path)?;
        let time = self.timeout().min(CONNECT);
        let connected = timeout(time, self.connect()).await;
        let mut connection = connected.map_err(|_| {
            EtcdError::Unreachable(self.endpoint.clone(), io::ErrorKind::TimedOut.into())
        })??;
        let response = connection
            .send(request)
            .await
            .map_err(|error| match self.encryption() {
                Some(encryption) if !error.is_parse() => {
                    EtcdError::Tls(self.endpoint.clone(), encryption.explain_ended(&error))
                }
                _ => self.broken_off(error),
            })?;
        self.connection = Some(connection);
        Ok(response)
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, EtcdError> {
        let request = http::get(&self.endpoint.authority(), path);
        let mut request = request.map_err(|error| {
            EtcdError::NotEtcd(self.endpoint.clone(), format!("{path} cannot be asked: {error}"))
        })?;
        if let Some(authorization) = self.authorization() {
            request
                .headers_mut()
                .insert(AUTHORIZATION, authorization.header.clone());
        }
        Ok(request)
    }

    /// The user that this member is asked as. A password goes to members that were named, and to
    /// nobody that others name.
    fn authorization(&self) -> Option<&Authorization> {
        self.access
            .authorization
            .as_ref()
            .filter(|_| self.access.members.contains(&self.endpoint))
    }

    fn encryption(&self) -> Option<&Encryption> {
        self.access.encryption.as_ref().filter(|_| self.endpoint.tls)
    }

    async fn connect(&self) -> Result<Connection, EtcdError> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream =
            TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => EtcdError::Refused(self.endpoint.clone()),
                    _ => EtcdError::Unreachable(self.endpoint.clone(), error),
                }
            })?;
        let stream = Gathering::new(stream, self.gathers.clone());
        let connection = match self.encryption() {
            None => Connection::over(stream).await,
            Some(encryption) => {
                let encrypted = encryption.connect(host, stream).await;
                Connection::over(
                    encrypted.map_err(|problem| EtcdError::Tls(self.endpoint.clone(), problem))?,
                )
                .await
            }
        };
        connection.map_err(|error| self.broken_off(error))
    }

    pub(super) fn broken_off(&self, error: hyper::Error) -> EtcdError {
        let of_tls = self.encryption().and_then(|encryption| encryption.explain(&error));
        match of_tls {
            Some(problem) => EtcdError::Tls(self.endpoint.clone(), problem),
            None if error.is_parse() => {
                EtcdError::NotEtcd(self.endpoint.clone(), error.to_string())
            }
            None => EtcdError::BrokenOff(self.endpoint.clone(), error),
        }
    }

    pub(super) fn nonsense(&self, error: &serde_json::Error) -> EtcdError {
        EtcdError::NotEtcd(self.endpoint.clone(), error.to_string())
    }

    pub(super) fn head(&self, response: &Response<Incoming>) -> Result<Head, EtcdError> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let index = header(INDEX).and_then(|index| index.parse().ok());
        let index = index.ok_or_else(|| {
            EtcdError::NotEtcd(self.endpoint.clone(), "it has no X-Etcd-Index".to_owned())
        })?;
        Ok(Head { index, cluster: header(CLUSTER_ID).map(str::to_owned) })
    }

    /// The response, if it is what was asked for.
    async fn good(
        &mut self,
        key: &str,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, EtcdError> {
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
        let message = match &refusal {
            Some(Refusal { message, cause, .. }) if cause.is_empty() => message.clone(),
            Some(Refusal { message, cause, .. }) => format!("{message} ({cause})"),
            None => words(&body),
        };
        let error = match &refusal {
            _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let key = key.to_owned();
                match self.authorization().map(|authorization| authorization.user.clone()) {
                    Some(user) => EtcdError::Forbidden { endpoint, status, message, key, user },
                    None => EtcdError::NoLogin { endpoint, status, message, key },
                }
            }
            Some(Refusal { error_code: Refusal::KEY_NOT_FOUND, .. }) => {
                EtcdError::NoFleet(endpoint, key.to_owned())
            }
            None if status == StatusCode::NOT_FOUND && self.is_without_v2(key).await? => {
                EtcdError::NoV2(endpoint)
            }
            None if status == StatusCode::NOT_FOUND => {
                EtcdError::NotEtcd(endpoint, format!("HTTP {status}"))
            }
            _ => EtcdError::Status { endpoint, status, message },
        };
        Ok((refusal, error))
    }

    /// Whether it is an etcd that has no v2 API. Status 404 alone is not its own word: a proxy says
    /// so too while etcd is not there yet. So it must tell its version, and still have nothing
    /// where that API would be.
    async fn is_without_v2(&mut self, key: &str) -> Result<bool, EtcdError> {
        if self.version().await.is_none() {
            return Ok(false);
        }
        let response = self.send_once(&format!("/v2/keys{key}")).await?;
        let is_v2 =
            response.headers().contains_key(CLUSTER_ID) || response.headers().contains_key(INDEX);
        let is_missing = response.status() == StatusCode::NOT_FOUND && !is_v2;
        self.body(key, response).await?;
        Ok(is_missing)
    }

    /// The answer that came last is one without an end: what comes of it may gather.
    pub(super) fn gather(&self) {
        self.gathers.set(true);
    }

    /// The next piece of the answer that came last.
    pub(super) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        self.connection.as_mut()?.frame(body).await
    }

    async fn body(
        &mut self,
        key: &str,
        response: Response<Incoming>,
    ) -> Result<Vec<u8>, EtcdError> {
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while let Some(frame) = self.frame(&mut incoming).await {
            let frame = frame.map_err(|error| self.broken_off(error))?;
            if let Some(data) = frame.data_ref() {
                if body.len() + data.len() > MAX_BYTES {
                    return Err(EtcdError::TooLarge(
                        self.endpoint.clone(),
                        MAX_BYTES >> 20,
                        key.to_owned(),
                    ));
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
