//! An HTTP/1.1 client that keeps one connection open, for fleet's API, for etcd, and for what is
//! posted. It knows none of them: the caller connects, and decides what an error means.

mod connection;
mod fetch;
mod marked_stream;
mod post;
mod target;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};

pub(crate) use connection::HttpConnection;
pub(crate) use fetch::{FetchFailure, FetchLimits, fetch};
#[cfg(test)]
pub(crate) use post::PostFailure;
pub(crate) use post::{PostClient, PostError};
pub use target::{PostTarget, PostTargetError};

/// A request with its whole body, which is empty for a GET.
pub(crate) type HttpRequest = Request<Full<Bytes>>;

/// A client of one server. It keeps its connection open, and reconnects if the server closed it.
#[derive(Debug, Default)]
pub(crate) struct HttpClient {
    connection: Option<HttpConnection>,
}

/// Why a request has no response.
pub(crate) enum RequestError<E> {
    /// No connection could be opened, for this reason.
    Connect(E),
    /// A new connection was closed before the response, or the response is not HTTP.
    Exchange(hyper::Error),
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It has more bytes than the caller allows.
    TooLarge,
    /// The connection was closed in the middle of it.
    Exchange(hyper::Error),
}

impl HttpClient {
    /// Sends a request, and waits for the head of the response.
    ///
    /// A server may close a kept connection at any time, and the next request then fails. The
    /// request is sent once more, over a new connection: a GET can be repeated. A POST is repeated
    /// only if nothing of a response came. Even then the server may have received it, so the caller
    /// must tolerate that a POST arrives twice.
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn send<E>(
        &mut self,
        request: HttpRequest,
        connect: impl AsyncFnOnce() -> Result<HttpConnection, E>,
    ) -> Result<Response<Incoming>, RequestError<E>> {
        if let Some(mut kept) = self.connection.take() {
            match kept.send(request.clone()).await {
                Ok(response) => {
                    self.connection = Some(kept);
                    return Ok(response);
                }
                Err(error) if !may_be_repeated(&request, &error, &kept) => {
                    return Err(RequestError::Exchange(error));
                }
                Err(_) => {}
            }
        }

        let mut connection = connect().await.map_err(RequestError::Connect)?;
        let response = connection.send(request).await.map_err(RequestError::Exchange)?;
        self.connection = Some(connection);
        Ok(response)
    }

    /// Waits for the next data of the last response's body. `None` at its end.
    pub(crate) async fn data(&mut self, body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
        let frame = self.connection.as_mut()?.frame(body).await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// Reads the whole body of the last response, of at most `limit` bytes.
    pub(crate) async fn body(
        &mut self,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Vec<u8>, BodyError> {
        let mut incoming = response.into_body();
        let mut body = Vec::new();

        while let Some(data) = self.data(&mut incoming).await {
            let data = data.map_err(BodyError::Exchange)?;
            if data.len() > limit - body.len() {
                return Err(BodyError::TooLarge);
            }
            body.extend_from_slice(&data);
        }
        Ok(body)
    }

    /// Closes the connection. The next request opens another.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }
}

/// A GET request for a path. `authority` is the value of the header `Host`.
pub(crate) fn get(authority: &str, path: &str) -> Result<HttpRequest, hyper::http::Error> {
    request(Method::GET, authority, path, Bytes::new())
}

/// A POST request to a path. `authority` is the value of the header `Host`.
pub(crate) fn post(
    authority: &str,
    path: &str,
    body: Bytes,
) -> Result<HttpRequest, hyper::http::Error> {
    request(Method::POST, authority, path, body)
}

fn request(
    method: Method,
    authority: &str,
    path: &str,
    body: Bytes,
) -> Result<HttpRequest, hyper::http::Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("fleet-monitor/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
}

/// Whether a request that failed over a kept connection may be sent again over a new one (RFC 9110,
/// section 9.2.2).
fn may_be_repeated(
    request: &HttpRequest,
    error: &hyper::Error,
    connection: &HttpConnection,
) -> bool {
    let was_sent = !error.is_canceled();
    request.method().is_idempotent() || !was_sent || !connection.has_received()
}

/// The header `Authorization` of HTTP Basic (RFC 7617). Its `Debug` does not show the password.
pub(crate) fn basic_authorization(user: &[u8], password: &[u8]) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode([user, b":", password].concat());
    let mut header = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is ASCII");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    fn request() -> HttpRequest {
        get("server", "/").unwrap()
    }

    fn post_request() -> HttpRequest {
        post("server", "/", Bytes::from_static(b"abc")).unwrap()
    }

    /// A connection to a server that answers each request with the next of these responses, and
    /// then closes the connection.
    async fn connect(responses: &'static [&'static str]) -> Result<HttpConnection, Infallible> {
        let (client, server) = tokio::io::duplex(1024);
        tokio::spawn(serve(server, responses));
        Ok(HttpConnection::over(client).await.unwrap())
    }

    async fn serve(mut stream: DuplexStream, responses: &[&str]) {
        for response in responses {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    }

    async fn never() -> Result<HttpConnection, Infallible> {
        panic!("a connection is kept")
    }

    async fn send(
        client: &mut HttpClient,
        responses: &'static [&'static str],
    ) -> Result<Vec<u8>, hyper::Error> {
        match client.send(request(), async || connect(responses).await).await {
            Ok(response) => Ok(client.body(response, 100).await.unwrap()),
            Err(RequestError::Exchange(error)) => Err(error),
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_the_next_request() {
        let mut client = HttpClient::default();
        send(&mut client, &[EMPTY, EMPTY]).await.unwrap();

        let response = client.send(request(), async || never().await).await;

        assert!(response.is_ok());
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_is_opened_again() {
        let mut client = HttpClient::default();
        send(&mut client, &[EMPTY]).await.unwrap();
        send(&mut client, &[EMPTY]).await.unwrap();
    }

    #[tokio::test]
    async fn a_post_is_repeated_if_a_kept_connection_was_closed_without_any_response() {
        for responses in [&[EMPTY][..], &[EMPTY, ""]] {
            let mut client = HttpClient::default();
            send(&mut client, responses).await.unwrap();

            let connect = async || connect(&[EMPTY]).await;
            let response = client.send(post_request(), connect).await;

            assert!(response.is_ok(), "{responses:?}");
        }
    }

    #[tokio::test]
    async fn a_post_is_not_repeated_after_a_part_of_a_response() {
        const PART: &str = "HTTP/1.1 2";
        let mut client = HttpClient::default();
        send(&mut client, &[EMPTY, PART]).await.unwrap();
        let response = client.send(post_request(), async || never().await).await;
        assert!(matches!(response, Err(RequestError::Exchange(_))));

        // Unlike a GET.
        let mut client = HttpClient::default();
        send(&mut client, &[EMPTY, PART]).await.unwrap();
        send(&mut client, &[EMPTY]).await.unwrap();
    }

    #[tokio::test]
    async fn a_new_connection_is_not_tried_twice() {
        let mut client = HttpClient::default();
        let error = send(&mut client, &[""]).await.unwrap_err();
        assert!(error.is_incomplete_message(), "{error:?}");

        let error = send(&mut client, &["SSH-2.0\r\n\r\n"]).await.unwrap_err();
        assert!(error.is_parse(), "{error:?}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        const ABC: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for (limit, expected) in [(2, None), (3, Some(b"abc".to_vec()))] {
            let mut client = HttpClient::default();
            let response = client.send(request(), async || connect(&[ABC]).await).await;
            let Ok(response) = response else {
                panic!("no response")
            };

            let body = client.body(response, limit).await;

            assert_eq!(body.ok(), expected, "{limit}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_cut_off_is_an_error() {
        const CUT_OFF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na";
        let mut client = HttpClient::default();
        let response = client.send(request(), async || connect(&[CUT_OFF]).await).await;
        let Ok(response) = response else {
            panic!("no response")
        };

        let error = client.body(response, 100).await.unwrap_err();

        assert!(matches!(error, BodyError::Exchange(_)), "{error:?}");
    }
}
