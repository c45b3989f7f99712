//! One HTTP/1.1 connection to whoever is read from. Only GET is ever sent over it.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// A connection, and the task that drives it. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    pub(super) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> hyper::Result<Self> {
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async {
            // What ends it is told to the request under way too, and without one nobody need know.
            let _ = driver.await;
        });
        Ok(Self { requests, _driver: AbortOnDropHandle::new(driver) })
    }

    pub(super) async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.requests.ready().await?;
        self.requests.send_request(request).await
    }
}

/// A request for a path, of the host that `authority` names.
pub(super) fn get(authority: &str, path: &str) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("fleet-monitor/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
}
