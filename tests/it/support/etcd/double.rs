//! A double of etcd, which misbehaves as a real one does not.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::fleetd::Reply;

/// A server that replies to requests for etcd as a test decides. It is the same as the one for
/// fleetd.
pub use super::super::fleetd::Fleetd as EtcdDouble;

/// What etcd sends, for an [`EtcdDouble`] to send it in one way or another.
pub struct EtcdReply {
    pub status: u16,
    /// `X-Etcd-Cluster-Id` and `X-Etcd-Index`; `None` if the server is not etcd.
    pub head: Option<(&'static str, u64)>,
    pub body: String,
}

impl EtcdReply {
    /// A tree or an event, as JSON.
    pub fn of(cluster: &'static str, index: u64, body: &Value) -> Self {
        Self {
            status: 200,
            head: Some((cluster, index)),
            body: body.to_string(),
        }
    }

    /// An error of etcd. 100: there is no such key; 401: the event is no longer in its history.
    pub fn error(cluster: &'static str, index: u64, code: u16) -> Self {
        let (status, message) = match code {
            100 => (404, "Key not found"),
            401 => (400, "The event in requested index is outdated and cleared"),
            _ => (500, "Raft Internal Error"),
        };
        let body = json!({"errorCode": code, "message": message, "cause": "", "index": index});
        Self { status, head: Some((cluster, index)), body: body.to_string() }
    }

    /// The reply of an etcd without the v2 API.
    pub fn without_v2() -> Self {
        Self {
            status: 404,
            head: None,
            body: "404 page not found\n".to_owned(),
        }
    }

    /// Sends it without a fault.
    pub fn whole(self) -> Reply {
        Reply::Whole(self.bytes())
    }

    /// Closes the connection in the middle of the body.
    pub fn truncated(self) -> Reply {
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - self.body.len() / 2);
        Reply::Raw(bytes)
    }

    /// Never sends the body.
    pub fn silent(self) -> Reply {
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - self.body.len());
        Reply::Stall(bytes)
    }

    /// Sends one byte at a time, with a pause after each.
    pub fn dripping(self, pause: Duration) -> Reply {
        Reply::Drip(self.bytes(), pause)
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, head, body } = self;
        let head = head.map(|(cluster, index)| {
            format!("X-Etcd-Cluster-Id: {cluster}\r\nX-Etcd-Index: {index}\r\n")
        });
        let head = head.unwrap_or_default();
        let length = body.len();
        format!("HTTP/1.1 {status} Whatever\r\n{head}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }
}
