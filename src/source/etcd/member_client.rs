//! A client of one member of etcd: requests and responses of its v2 API. It does not know what the
//! keys mean.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::debug;

use super::connector::{Connector, MemberConfig};
use super::endpoint::{self, Endpoint};
use super::error::EtcdError;
use super::keys::{self, EtcdErrorBody, Node};
use super::redirect::{self, RedirectError};
use crate::net::http::{BodyError, HttpClient, RequestError};

/// Headers of each response of the v2 API; etcd 0.4 has no cluster ID.
const INDEX: &str = "x-etcd-index";
const CLUSTER_ID: &str = "x-etcd-cluster-id";
/// How many bytes a body may have.
const MAX_BODY_BYTES: usize = 256 << 20;
/// How many bytes the first line of a plain-text body may have to be quoted as a message.
const MAX_MESSAGE_BYTES: usize = 200;

/// A client of one member. Where the member redirects to another one, all further requests go
/// there.
#[derive(Debug)]
pub(super) struct MemberClient {
    connector: Connector,
    http: HttpClient,
}

/// A whole response of the v2 API.
pub(super) struct KeysResponse {
    pub(super) headers: KeysHeaders,
    pub(super) body: Vec<u8>,
}

/// What the headers of a response of the v2 API say.
pub(super) struct KeysHeaders {
    /// etcd's index at the time of the request.
    pub(super) index: u64,
    /// The ID of etcd's cluster; etcd 0.4 has none.
    pub(super) cluster_id: Option<String>,
}

/// A whole directory tree as it was at one index.
pub(super) struct TreeSnapshot {
    pub(super) tree: Node,
    pub(super) index: u64,
    /// The ID of etcd's cluster; etcd 0.4 has none.
    pub(super) cluster_id: Option<String>,
}

impl MemberClient {
    /// Connects with the first request.
    pub(super) fn new(endpoint: &Endpoint, config: Arc<MemberConfig>) -> Self {
        Self {
            connector: Connector::new(endpoint.clone(), config),
            http: HttpClient::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.connector.config().timeout
    }

    /// Reads a key or a directory.
    pub(super) async fn get(&mut self, key: &str, query: &str) -> Result<KeysResponse, EtcdError> {
        self.get_up_to(MAX_BODY_BYTES, key, query).await
    }

    /// Reads a key, of which the response has at most `limit` bytes.
    pub(super) async fn get_up_to(
        &mut self,
        limit: usize,
        key: &str,
        query: &str,
    ) -> Result<KeysResponse, EtcdError> {
        let path = format!("/v2/keys{key}{query}");
        self.within_timeout(async |client: &mut Self| {
            let response = client.send(&path).await?;
            if response.status() != StatusCode::OK {
                return Err(client.read_error(key, response).await?.1);
            }

            let headers = client.headers(&response)?;
            let body = client.body_up_to(limit, key, response).await?;
            Ok(KeysResponse { headers, body })
        })
        .await
    }

    /// Reads a whole directory tree. It is read with a quorum, since a member that lags behind
    /// would respond with an old tree.
    pub(super) async fn read_tree(&mut self, key: &str) -> Result<TreeSnapshot, EtcdError> {
        let KeysResponse { headers, body } = self.get(key, "?recursive=true&quorum=true").await?;

        // Decoding takes half a second for 20,000 units.
        let tree = spawn_blocking(move || keys::decode_node(&body))
            .await
            .map_err(|error| self.connector.not_etcd(error.to_string()))?
            .map_err(|error| self.invalid_body(&error))?;
        let KeysHeaders { index, cluster_id } = headers;
        Ok(TreeSnapshot { tree, index, cluster_id })
    }

    /// The member's version, such as `3.4.23`. `None` if it has no valid response.
    pub(super) async fn version(&mut self) -> Option<String> {
        let response = self.within_timeout(async |client: &mut Self| {
            let response = client.send("/version").await?;
            client.body("/version", response).await
        });
        parse_version(&response.await.ok()?)
    }

    /// Runs an exchange that must be complete within the timeout. If it is not, the connection is
    /// closed.
    pub(super) async fn within_timeout<T>(
        &mut self,
        exchange: impl AsyncFnOnce(&mut Self) -> Result<T, EtcdError>,
    ) -> Result<T, EtcdError> {
        let limit = self.timeout();
        match timeout(limit, exchange(self)).await {
            Ok(result) => result,
            Err(_) => {
                self.http.close();
                Err(EtcdError::Timeout(self.endpoint().clone(), limit))
            }
        }
    }

    /// Sends a request, and waits for the head of the response. A redirect to another member is
    /// followed.
    pub(super) async fn send(&mut self, path: &str) -> Result<Response<Incoming>, EtcdError> {
        let mut redirects = 0;
        loop {
            let response = self.send_once(path).await?;
            let status = response.status();
            let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
            let Some(location) = location else {
                return Ok(response);
            };

            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            let endpoint = self.endpoint().clone();
            let followed = match redirects {
                redirect::MAX_REDIRECTS.. => Err(RedirectError::TooMany),
                _ => self.follow_redirect(path, status, &location).await,
            };
            followed.map_err(|why| {
                let to = endpoint::without_credentials(&location);
                EtcdError::Redirect { endpoint, status, to, why }
            })?;
            redirects += 1;
        }
    }

    /// Sends all further requests to where a redirect leads, if that is a member of the same etcd.
    async fn follow_redirect(
        &mut self,
        path: &str,
        status: StatusCode,
        location: &str,
    ) -> Result<(), RedirectError> {
        let target = redirect::target(self.endpoint(), path, status.as_u16(), location)?;
        let is_member = redirect::is_member_host(&target.host, &self.connector.config().members)
            || redirect::is_member_host(&target.host, &self.list_members().await);
        if !is_member {
            return Err(RedirectError::UnknownHost);
        }

        debug!("etcd at {} redirects to {target}", self.endpoint());
        self.connector.set_endpoint(target);
        self.http.close();
        Ok(())
    }

    /// The members that etcd itself lists. Empty if it has no valid list.
    async fn list_members(&mut self) -> Vec<Endpoint> {
        for path in ["/v2/members", "/v2/machines"] {
            // The connection cannot be used again, since the body of the last response was not
            // read.
            self.http.close();

            let list = self.within_timeout(async |client: &mut Self| {
                let response = client.send_once(path).await?;
                if response.status() == StatusCode::OK {
                    client.body(path, response).await
                } else {
                    Ok(Vec::new())
                }
            });
            let list = list.await.unwrap_or_default();
            let members = redirect::parse_members(&list);
            if !members.is_empty() {
                return members;
            }
        }
        Vec::new()
    }

    /// Sends a request, and waits for the head of the response, whatever its status is.
    async fn send_once(&mut self, path: &str) -> Result<Response<Incoming>, EtcdError> {
        let Self { connector, http } = self;
        connector.batching().turn_off();
        let request = connector.request(path)?;

        http.send(request, async || connector.connect().await)
            .await
            .map_err(|error| match error {
                RequestError::Connect(error) => error,
                RequestError::Exchange(error) => connector.first_exchange_error(error),
            })
    }

    /// Batches what is received from now on, until the next request: for a response without an end.
    pub(super) fn start_batching(&self) {
        self.connector.batching().turn_on();
    }

    /// Waits for the next data of the last response's body. `None` at its end.
    pub(super) async fn data(&mut self, body: &mut Incoming) -> Option<Result<Bytes, EtcdError>> {
        let data = self.http.data(body).await?;
        Some(data.map_err(|error| self.connector.exchange_error(error)))
    }

    async fn body(
        &mut self,
        key: &str,
        response: Response<Incoming>,
    ) -> Result<Vec<u8>, EtcdError> {
        self.body_up_to(MAX_BODY_BYTES, key, response).await
    }

    /// Reads the whole body of the last response. If the body is too large, the error names `key`.
    async fn body_up_to(
        &mut self,
        limit: usize,
        key: &str,
        response: Response<Incoming>,
    ) -> Result<Vec<u8>, EtcdError> {
        let body = self.http.body(response, limit).await;
        body.map_err(|error| match error {
            BodyError::Exchange(error) => self.connector.exchange_error(error),
            BodyError::TooLarge => {
                EtcdError::TooLarge(self.endpoint().clone(), limit >> 20, key.to_owned())
            }
        })
    }

    pub(super) fn headers(&self, response: &Response<Incoming>) -> Result<KeysHeaders, EtcdError> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let index = header(INDEX)
            .and_then(|index| index.parse().ok())
            .ok_or_else(|| self.connector.not_etcd("it has no X-Etcd-Index".to_owned()))?;
        let cluster_id = header(CLUSTER_ID).map(str::to_owned);
        Ok(KeysHeaders { index, cluster_id })
    }

    /// The error for a body that is not what etcd sends.
    pub(super) fn invalid_body(&self, error: &serde_json::Error) -> EtcdError {
        self.connector.not_etcd(error.to_string())
    }

    /// Reads the body of a response that is an error: what etcd says, and the error for the user.
    pub(super) async fn read_error(
        &mut self,
        key: &str,
        response: Response<Incoming>,
    ) -> Result<(Option<EtcdErrorBody>, EtcdError), EtcdError> {
        let endpoint = self.endpoint().clone();
        let status = response.status();
        let text = self.body(key, response).await?;
        let body: Option<EtcdErrorBody> = serde_json::from_slice(&text).ok();
        let message = body
            .as_ref()
            .map_or_else(|| plain_message(&text), EtcdErrorBody::text);
        let key = key.to_owned();

        let error = match &body {
            _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                match self.connector.authorization() {
                    Some(authorization) => EtcdError::Forbidden {
                        endpoint,
                        status,
                        message,
                        key,
                        user: authorization.user.clone(),
                    },
                    None => EtcdError::NoLogin { endpoint, status, message, key },
                }
            }
            Some(body) if body.error_code == EtcdErrorBody::KEY_NOT_FOUND => {
                EtcdError::KeyNotFound(endpoint, key)
            }
            None if status == StatusCode::NOT_FOUND && self.lacks_v2(&key).await? => {
                EtcdError::NoV2(endpoint)
            }
            None if status == StatusCode::NOT_FOUND => {
                EtcdError::NotEtcd(endpoint, format!("HTTP {status}"))
            }
            _ => EtcdError::Status { endpoint, status, message },
        };
        Ok((body, error))
    }

    /// Whether this is an etcd without the v2 API. Status 404 alone does not prove it: a proxy also
    /// responds with 404 while its etcd has not started yet. So the member must report its version,
    /// and after that still respond with 404 to a request of the v2 API.
    async fn lacks_v2(&mut self, key: &str) -> Result<bool, EtcdError> {
        if self.version().await.is_none() {
            return Ok(false);
        }

        let response = self.send_once(&format!("/v2/keys{key}")).await?;
        let headers = response.headers();
        let has_v2 = headers.contains_key(CLUSTER_ID) || headers.contains_key(INDEX);
        let is_missing = response.status() == StatusCode::NOT_FOUND && !has_v2;
        self.body(key, response).await?;
        Ok(is_missing)
    }
}

/// The version in the body of `/version`: JSON, or text from etcd 0.4 and 2.0.
fn parse_version(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct VersionBody {
        etcdserver: String,
    }

    if let Ok(body) = serde_json::from_slice::<VersionBody>(body) {
        return Some(body.etcdserver);
    }
    let version = str::from_utf8(body).ok()?.strip_prefix("etcd ")?;
    Some(version.trim().to_owned())
}

/// The message in a body that is not etcd's JSON: its first line. Empty if that is HTML or too
/// long.
fn plain_message(body: &[u8]) -> String {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match str::from_utf8(line) {
        Ok(line) if line.len() <= MAX_MESSAGE_BYTES && !line.contains('<') => {
            line.trim().to_owned()
        }
        _ => String::new(),
    }
}
