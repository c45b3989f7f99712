//! Accepts a request for a WebSocket (RFC 6455, section 4.2), and starts its session.
//!
//! A client may request a WebSocket on any path. The server accepts no extension, and one
//! subprotocol, that of the second protocol. The first protocol has no subprotocol. This module
//! must not know what is sent over a WebSocket.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::content::{HttpResponse, ResponseBody};
use super::context::{ClientPermit, Protocol, ServerContext};
use super::error::HttpError;
use super::headers::{list_contains, list_items};
use super::query::SubscriptionRequest;
use super::session::Session;
use super::stream::ClientStream;
use crate::feed::channel::{OverBudget, Transport};
use crate::metrics::DropReason;

/// The subprotocol of the second protocol. A client that does not offer it gets the first one.
const SECOND_PROTOCOL: &str = "fleet-monitor.v2";

/// The version of the WebSocket protocol.
const VERSION: &str = "13";

const WEBSOCKET: &str = "websocket";

/// Whether a request asks for a WebSocket.
pub(super) fn is_requested(headers: &HeaderMap) -> bool {
    list_contains(headers, UPGRADE, WEBSOCKET)
}

/// Accepts a request for a WebSocket, and starts the session.
///
/// # Errors
///
/// 400 or 426 if the handshake or the query is wrong. 503 if there are as many clients as allowed,
/// or if the memory budget for filters is exhausted.
pub(super) fn accept(
    context: &Arc<ServerContext>,
    mut request: Request<Incoming>,
) -> Result<HttpResponse, HttpError> {
    let mut response = handshake(&mut request)?;

    let offers_second =
        list_items(request.headers(), SEC_WEBSOCKET_PROTOCOL).any(|name| name == SECOND_PROTOCOL);
    let subscription = if offers_second {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SECOND_PROTOCOL));
        let channels = &context.channels;
        Some(SubscriptionRequest::from_request(&request, Transport::WebSocket, channels)?)
    } else {
        None
    };

    // The session is a task of its own, so that hyper frees the memory that it needed for the
    // connection.
    let protocol = match subscription {
        Some(_) => Protocol::Second,
        None => Protocol::First,
    };
    let permit = context.client_permit(protocol)?;
    let upgrade = hyper::upgrade::on(request);
    context.tasks.spawn(run_session(upgrade, permit, subscription));
    Ok(response)
}

async fn run_session(
    upgrade: OnUpgrade,
    permit: ClientPermit,
    subscription: Option<SubscriptionRequest>,
) {
    if let Some(session) = open_session(upgrade, permit, subscription).await {
        session.run().await;
    }
}

async fn open_session(
    upgrade: OnUpgrade,
    permit: ClientPermit,
    subscription: Option<SubscriptionRequest>,
) -> Option<Session> {
    // This fails only if the client disconnected before it got its response: all connections have
    // this type.
    let parts = upgrade.await.ok()?.downcast::<TokioIo<ClientStream>>().ok()?;
    let metrics = permit.context().metrics.clone();

    let session = Session::new(parts.io.into_inner(), &parts.read_buf, permit, subscription).await;
    session
        .inspect_err(|OverBudget| metrics.client_dropped(DropReason::OverBudget))
        .ok()
}

/// Checks the handshake, and returns the response to it.
fn handshake<B>(request: &mut Request<B>) -> Result<HttpResponse, HttpError> {
    let version = request.headers().get(SEC_WEBSOCKET_VERSION);
    if version.is_some_and(|version| version != VERSION) {
        let message = "only version 13 of the WebSocket protocol is spoken here";
        return Err(HttpError::new(StatusCode::UPGRADE_REQUIRED, message)
            .with_header(SEC_WEBSOCKET_VERSION, VERSION)
            .with_header(UPGRADE, WEBSOCKET));
    }

    join_lists(request.headers_mut());
    create_response_with_body(request, ResponseBody::default).map_err(|error| {
        HttpError::bad_request(format!("not a WebSocket handshake: {}", describe(&error)))
    })
}

/// tungstenite 0.30 reads only the first `Connection` header, and expects nothing but `websocket`
/// in `Upgrade`. Both headers are lists, which may have several items and span several lines (RFC
/// 9110, sections 5.3 and 7.8).
fn join_lists(headers: &mut HeaderMap) {
    let connection: Vec<&str> = list_items(headers, CONNECTION).collect();
    if let Ok(connection) = HeaderValue::from_str(&connection.join(",")) {
        headers.insert(CONNECTION, connection);
    }

    if is_requested(headers) {
        headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    }
}

/// What is wrong with a handshake, and how a proxy may have caused it.
fn describe(error: &Error) -> String {
    let Error::Protocol(error) = error else {
        return error.to_string();
    };

    match error {
        ProtocolError::WrongHttpMethod => "the method is not GET",
        ProtocolError::WrongHttpVersion => {
            "the version of HTTP is not 1.1; does a proxy in between speak 1.0?"
        }
        ProtocolError::MissingConnectionUpgradeHeader => {
            "the Connection header is not Upgrade; does a proxy in between leave it out?"
        }
        ProtocolError::MissingSecWebSocketVersionHeader => {
            "the Sec-WebSocket-Version header is not 13"
        }
        ProtocolError::MissingSecWebSocketKey => "the Sec-WebSocket-Key header is missing",
        ProtocolError::InvalidSecWebSocketKey => {
            "the Sec-WebSocket-Key header is not 16 bytes in base64"
        }
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use hyper::header::SEC_WEBSOCKET_ACCEPT;
    use hyper::{Method, Version};

    use super::*;

    /// The handshake in RFC 6455, section 1.3, with these headers replaced or, for `None`, removed.
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

    fn assert_accepted(mut request: Request<()>) {
        let response = handshake(&mut request).expect("accepted");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers();
        assert_eq!(headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers[CONNECTION], "Upgrade");
        assert_eq!(headers[UPGRADE], "websocket");
    }

    fn refusal(mut request: Request<()>) -> HttpError {
        handshake(&mut request).expect_err("refused")
    }

    #[test]
    fn the_key_of_the_standard_gets_the_response_of_the_standard() {
        assert_accepted(request(&[]));
    }

    #[test]
    fn connection_and_upgrade_are_lists_that_may_span_lines() {
        let mut request = request(&[("upgrade", Some("h2c, websocket"))]);
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        assert_accepted(request);
    }

    #[test]
    fn the_error_names_what_is_wrong_with_the_handshake() {
        for (name, value, status) in [
            ("Connection", None, 400),
            ("Connection", Some("keep-alive"), 400),
            ("Sec-WebSocket-Version", None, 400),
            ("Sec-WebSocket-Key", None, 400),
            ("Sec-WebSocket-Key", Some(""), 400),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ"), 400),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZSE="), 400),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j****=="), 400),
        ] {
            let header = name.to_ascii_lowercase();
            let error = refusal(request(&[(&header, value)]));
            assert_eq!(error.status, status, "{name}: {value:?}");
            assert!(
                error.message.contains(&format!("the {name} header")),
                "{name}: {value:?}: {}",
                error.message
            );
        }

        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert!(refusal(post).message.contains("method"));
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert!(refusal(old).message.contains("version"));
    }

    #[test]
    fn another_version_is_refused_with_the_version_of_the_server() {
        let error = refusal(request(&[("sec-websocket-version", Some("8"))]));
        assert_eq!(error.status, StatusCode::UPGRADE_REQUIRED);
        assert!(
            error
                .headers
                .contains(&(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")))
        );
    }
}
