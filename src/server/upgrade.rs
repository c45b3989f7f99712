//! From an HTTP request to a WebSocket (RFC 6455, section 4.2).
//!
//! A WebSocket may be asked for on any path. No extension is agreed to, and of subprotocols the second protocol alone: the
//! first has none.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::content::{Body, Content};
use super::http::{Answer, full};
use super::query::Wish;
use super::session::Session;
use super::stream::Stream;
use super::{Seat, Shared};
use crate::feed::channel::{Crowded, Transport};
use crate::metrics::Dropped;

/// The subprotocol that is the second protocol. Without it a client gets the first.
const SECOND: HeaderValue = HeaderValue::from_static("fleet-monitor.v2");

const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    has_token(headers, UPGRADE, "websocket")
}

/// Answers a request for a WebSocket, and begins the session if it is granted.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != VERSION) {
        let message = "only version 13 of the WebSocket protocol is spoken here";
        let mut answer = Content::error(StatusCode::UPGRADE_REQUIRED, message).answer(headers).await;
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION);
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return answer;
    }
    let Some(accept) = accept(&request) else {
        let message = "not a WebSocket handshake: it takes GET, HTTP/1.1, Connection: Upgrade, Sec-WebSocket-Version: \
                       13 and a Sec-WebSocket-Key of 16 bytes";
        return Content::error(StatusCode::BAD_REQUEST, message).answer(headers).await;
    };
    let wish = || Wish::of(&request, Transport::WebSocket, &shared.channels);
    let wish = match speaks_second(headers).then(wish).transpose() {
        Ok(wish) => wish,
        Err((status, message)) => return Content::error(status, &message).answer(headers).await,
    };
    let Some(seat) = shared.seat() else { return full(shared, headers).await };
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if wish.is_some() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, SECOND);
    }
    // A task of its own, so that what hyper needed for the connection is freed.
    shared.tasks.spawn(session(hyper::upgrade::on(request), seat, wish));
    answer
}

async fn session(upgrade: OnUpgrade, seat: Seat, wish: Option<Wish>) {
    if let Some(session) = begin(upgrade, seat, wish).await {
        session.run().await;
    }
}

async fn begin(upgrade: OnUpgrade, seat: Seat, wish: Option<Wish>) -> Option<Session> {
    // The client may have gone before it had its answer, and nothing else can fail: all connections are of this type.
    let parts = upgrade.await.ok()?.downcast::<TokioIo<Stream>>().ok()?;
    let metrics = seat.0.metrics.clone();
    let session = Session::new(parts.io.into_inner(), &parts.read_buf, seat, wish).await;
    session.inspect_err(|Crowded| metrics.client_dropped(Dropped::Crowded)).ok()
}

/// Whether the second protocol is among those that the client offers (RFC 6455, section 4.2.1).
fn speaks_second(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|offer| offer.split(',')).any(|protocol| protocol.trim() == SECOND)
}

/// The answer to the client's key, if the handshake is complete (RFC 6455, section 4.2.1).
fn accept<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let key = headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    let complete = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, CONNECTION, "upgrade")
        && headers.get(SEC_WEBSOCKET_VERSION)? == VERSION
        && is_key(key);
    complete.then(|| HeaderValue::from_str(&derive_accept_key(key)).ok())?
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22 && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || b"+/".contains(digit))
    })
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&'static str, Option<&'static str>)]) -> Request<()> {
        let mut headers = vec![
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in changes {
            headers.retain(|(other, _)| other != name);
            headers.extend(value.map(|value| (*name, value)));
        }
        let request = Request::get("/");
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)).body(()).expect("valid")
    }

    #[test]
    fn the_key_of_the_standard_gets_the_answer_of_the_standard() {
        assert_eq!(accept(&request(&[])).expect("accepted"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_incomplete_handshake_is_refused() {
        for change in [
            ("connection", None),
            ("connection", Some("keep-alive")),
            ("sec-websocket-version", None),
            ("sec-websocket-version", Some("8")),
            ("sec-websocket-key", None),
            ("sec-websocket-key", Some("")),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ")),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZSE=")),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25j****==")),
        ] {
            assert_eq!(accept(&request(&[change])), None, "{change:?}");
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert_eq!(accept(&post), None);
    }
}
