//! Decides which requests are accepted, by their host, origin and token.
//!
//! This module must not know what a request asks for, nor how a refusal is sent.
//!
//! The server is read-only, but what it shows is only for the operator. Three rules protect it.
//! `http` applies them to each request and each WebSocket, whatever the path, and knows the only
//! exception from the first two: a liveness check in HTTP/1.0.
//!
//! - **Host**: a page of a hostile site can point its own DNS name at the server's address, and the
//!   browser then treats both as one origin (DNS rebinding). So the requested host must be an IP
//!   address, localhost, the name of this machine, or a name that the operator allowed.
//! - **Origin**: any page may open a WebSocket to any server. The browser sends the origin of the
//!   page in `Origin`. It must have the same host as the request, on any port, or be on the
//!   viewer's own machine, or be allowed by the operator. A request without `Origin` is accepted:
//!   it does not come from a page of another site, or that page cannot read the response.
//! - **Token**: if a token is configured, each request must carry it. Three kinds of requests need
//!   none: OPTIONS, the liveness check, and the files of the page, which contain no data and ask
//!   the viewer for the token.

mod host;
mod origin;
#[cfg(test)]
mod tests;
mod token;

use hyper::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use hyper::{StatusCode, Uri};

use super::error::HttpError;
pub use host::AllowedHost;
use host::HttpHost;
use origin::WebOrigin;
pub use origin::{AllowedOrigin, InvalidOrigin};
pub use token::{Token, TokenError};

/// The access rules, built once from the options.
#[derive(Clone, Debug, Default)]
pub struct AccessPolicy {
    /// Origins that are accepted in addition to the default ones.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Names of this machine in addition to the default ones.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The token that each request must carry. `None`: no token is needed.
    pub token: Option<Token>,
    /// The name of this machine (`gethostname(2)`).
    pub hostname: String,
}

impl AccessPolicy {
    /// Checks the host and the origin of a request.
    ///
    /// # Errors
    ///
    /// 400 without a valid host. 403 if the host or the origin is not allowed.
    pub(super) fn check_host_and_origin(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), HttpError> {
        let host = requested_host(uri, headers)?;
        if !self.is_this_server(&host) {
            return Err(HttpError::forbidden(format!(
                "{host} is not a name of this machine; allow it with --allowed-hosts {host}"
            ))
            .with_missing("allowed_hosts", &host));
        }

        let Some(text) = single_header(headers, "Origin").map_err(HttpError::forbidden)? else {
            return Ok(());
        };
        let origin: WebOrigin = text.parse().map_err(|InvalidOrigin| {
            HttpError::forbidden(format!("the Origin header is not SCHEME://HOST: {text:?}"))
        })?;
        if !self.accepts_origin(&origin, &host) {
            return Err(HttpError::forbidden(format!(
                "pages of {origin} are not allowed; allow them with --allowed-origins {origin}"
            ))
            .with_missing("allowed_origins", &origin));
        }

        Ok(())
    }

    /// Checks the token of a request: in `Authorization: Bearer`, or in `query` as `token=`,
    /// percent-encoded. The query is for WebSockets and event streams, since a browser cannot add a
    /// header to them.
    ///
    /// # Errors
    ///
    /// 401 if the token is missing or wrong.
    pub(super) fn authorize(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<(), HttpError> {
        let Some(token) = &self.token else {
            return Ok(());
        };

        let message = match bearer(headers).or_else(|| query.and_then(query_token)) {
            Some(given) if token.equals(&given) => return Ok(()),
            Some(_) => "the token is wrong",
            None => {
                "a token is needed: send it as `Authorization: Bearer TOKEN`, \
                 or with a WebSocket or an event stream as `?token=TOKEN`"
            }
        };
        Err(HttpError::new(StatusCode::UNAUTHORIZED, message)
            .with_header(WWW_AUTHENTICATE, "Bearer"))
    }

    fn is_this_server(&self, host: &HttpHost) -> bool {
        let HttpHost::Name(name) = host else {
            return true;
        };

        name == "localhost"
            || self.is_this_machine(name)
            || self.allowed_hosts.iter().any(|allowed| allowed.matches(name))
    }

    /// Whether it is the name of this machine. If the hostname has a domain, the name is accepted
    /// with and without it. If it has none, no domain is added: anybody could own such a name.
    fn is_this_machine(&self, name: &str) -> bool {
        let hostname = self.hostname.trim_end_matches('.').to_ascii_lowercase();

        name == hostname || hostname.split('.').next() == Some(name)
    }

    fn accepts_origin(&self, origin: &WebOrigin, host: &HttpHost) -> bool {
        origin.is_web_page_on(host)
            || self.allowed_origins.iter().any(|allowed| allowed.matches(origin))
    }
}

/// The host that a request is for. The one in the request line overrides the header (RFC 9112,
/// section 3.2.2).
fn requested_host(uri: &Uri, headers: &HeaderMap) -> Result<HttpHost, HttpError> {
    let header = single_header(headers, "Host").map_err(HttpError::bad_request)?;

    let (place, text) = match (uri.authority(), header) {
        (Some(authority), _) => ("host in the request line", authority.as_str()),
        (None, Some(header)) => ("Host header", header),
        (None, None) => {
            return Err(HttpError::bad_request("the request has no Host header"));
        }
    };

    let (host, _) = host::parse_authority(text).ok_or_else(|| {
        HttpError::bad_request(format!("the {place} is not HOST or HOST:PORT: {text:?}"))
    })?;
    Ok(host)
}

/// The value of a header that may be there only once. The error is a message for the client.
fn single_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();

    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| format!("the {name} header has characters that are not ASCII")),
        (Some(_), Some(_)) => Err(format!("the request has more than one {name} header")),
    }
}

/// The token in `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;

    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The token in a query (RFC 6750, section 2.3). Many programs do not encode a `+`, which a form
/// decodes as a space. A token has no spaces, so each space was a `+`.
fn query_token(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "token")
        .map(|(_, token)| token.replace(' ', "+"))
}
