//! From an HTTP request to a WebSocket (RFC 6455, section 4.2).
//!
//! A WebSocket may be asked for on any path. No extension is agreed to, and of subprotocols the
//! second protocol alone: the first has none.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::content::{Body, Content};
use super::http::{Answer, full};
use super::query::SubscriptionRequest;
use super::session::Session;
use super::stream::Stream;
use super::{ClientPermit, Shared};
use crate::feed::channel::{OverBudget, Transport};
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
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version != VERSION)
    {
        let message = "only version 13 of the WebSocket protocol is spoken here";
        let mut answer = Content::error(StatusCode::UPGRADE_REQUIRED, message)
            .answer(headers)
            .await;
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION);
        answer
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        return answer;
    }
    let accept = match accept(&request) {
        Ok(accept) => accept,
        Err(problem) => {
            let message = format!("not a WebSocket handshake: {problem}");
            return Content::error(StatusCode::BAD_REQUEST, &message)
                .answer(headers)
                .await;
        }
    };
    let wish = || SubscriptionRequest::of(&request, Transport::WebSocket, &shared.channels);
    let wish = match speaks_second(headers).then(wish).transpose() {
        Ok(wish) => wish,
        Err((status, message)) => return Content::error(status, &message).answer(headers).await,
    };
    let Some(seat) = shared.seat() else {
        return full(shared, headers).await;
    };
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

async fn session(upgrade: OnUpgrade, seat: ClientPermit, wish: Option<SubscriptionRequest>) {
    if let Some(session) = begin(upgrade, seat, wish).await {
        session.run().await;
    }
}

async fn begin(
    upgrade: OnUpgrade,
    seat: ClientPermit,
    wish: Option<SubscriptionRequest>,
) -> Option<Session> {
    // The client may have gone before it had its answer, and nothing else can fail: all connections
    // are of this type.
    let parts = upgrade.await.ok()?.downcast::<TokioIo<Stream>>().ok()?;
    let metrics = seat.0.metrics.clone();
    let session = Session::new(parts.io.into_inner(), &parts.read_buf, seat, wish).await;
    session
        .inspect_err(|OverBudget| metrics.client_dropped(Dropped::OverBudget))
        .ok()
}

/// Whether the second protocol is among those that the client offers (RFC 6455, section 4.2.1).
fn speaks_second(headers: &HeaderMap) -> bool {
    let offers = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    offers
        .flat_map(|offer| offer.split(','))
        .any(|protocol| protocol.trim() == SECOND)
}

/// The answer to the client's key (RFC 6455, section 4.2.1), or what the handshake lacks.
fn accept<B>(request: &Request<B>) -> Result<HeaderValue, &'static str> {
    const BAD_KEY: &str = "the Sec-WebSocket-Key header is not 16 bytes in base64";
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err("the method is not GET");
    }
    if request.version() != Version::HTTP_11 {
        return Err("the version of HTTP is not 1.1; does a proxy in between speak 1.0?");
    }
    if !has_token(headers, CONNECTION, "upgrade") {
        return Err("the Connection header is not Upgrade; does a proxy in between leave it out?");
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != VERSION)
    {
        return Err("the Sec-WebSocket-Version header is not 13");
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or("the Sec-WebSocket-Key header is missing")?
        .as_bytes();
    if !is_key(key) {
        return Err(BAD_KEY);
    }
    HeaderValue::from_str(&derive_accept_key(key)).map_err(|_| BAD_KEY)
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22
            && digits
                .iter()
                .all(|digit| digit.is_ascii_alphanumeric() || b"+/".contains(digit))
    })
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&str, Option<&str>)]) -> Request<()> {
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
        headers
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .body(())
            .expect("valid")
    }

    #[test]
    fn the_key_of_the_standard_gets_the_answer_of_the_standard() {
        assert_eq!(accept(&request(&[])).expect("accepted"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_incomplete_handshake_is_refused_by_the_name_of_what_is_wrong() {
        for (name, value) in [
            ("Connection", None),
            ("Connection", Some("keep-alive")),
            ("Sec-WebSocket-Version", None),
            ("Sec-WebSocket-Version", Some("8")),
            ("Sec-WebSocket-Key", None),
            ("Sec-WebSocket-Key", Some("")),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ")),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZSE=")),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j****==")),
        ] {
            let header = name.to_ascii_lowercase();
            let problem = accept(&request(&[(&header, value)])).expect_err("refused");
            assert!(
                problem.contains(&format!("the {name} header")),
                "{name}: {value:?}: {problem}"
            );
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert!(accept(&post).expect_err("refused").contains("method"));
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert!(accept(&old).expect_err("refused").contains("version"));
    }
}
