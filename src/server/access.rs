//! Who may look.
//!
//! The agent is read-only, but what it tells is the operator's. Three rules keep it so; each
//! request and each WebSocket goes through them, whatever its path.
//!
//! - **Host**: a page of a strange site can point its own name at our address and then count as of
//!   the same origin (DNS rebinding). So the name that a request is for must be an IP address,
//!   localhost, this machine's, or allowed.
//! - **Origin**: any page may open a WebSocket to any server, and its browser says in `Origin`
//!   whose page it is. It must be of the same host as the request, on any port, or of the viewer's
//!   own machine, or allowed. What sends no `Origin` is no page of another site, and passes.
//! - **Token**: where there is one, each request must carry it. Two things are told without: that
//!   the process lives, and the files of the page, which hold no data and are what asks the viewer
//!   for the token.
//!
//! This module decides. It does not know what is asked for, nor how a refusal is sent.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;

/// Who may look.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Origins that are let in besides the default: `http://dashboard.example:8000`, `null`, or `*`
    /// for all.
    pub allowed_origins: Vec<String>,
    /// Names by which this machine may be asked, besides the default; `*` for all.
    pub allowed_hosts: Vec<String>,
    /// What each request must carry, if there is one.
    pub token: Option<Token>,
    /// This machine's name (`gethostname(2)`).
    pub hostname: String,
}

/// A request that was not let in.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 401 or 403.
    pub status: StatusCode,
    /// Why, and which option would let it in.
    pub message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl Policy {
    /// Whether a request may come in by its host and its origin.
    ///
    /// # Errors
    ///
    /// 400 without a valid host, 403 where it is refused.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let bad_request = |message| Refusal::new(StatusCode::BAD_REQUEST, message);
        let header = only(headers, "Host").map_err(bad_request)?;
        // The host in the request line is the one that counts (RFC 9112, section 3.2.2).
        let (place, host) = match uri.authority() {
            Some(host) => ("host in the request line", host.as_str()),
            None => (
                "Host header",
                header.ok_or_else(|| bad_request("the request has no Host header".into()))?,
            ),
        };
        let not_a_host = || bad_request(format!("the {place} is not HOST or HOST:PORT: {host:?}"));
        let (host, _) = authority(host).ok_or_else(not_a_host)?;
        if !self.is_ours(&host) {
            let message = format!(
                "{host} is not a name of this machine; allow it with --allowed-hosts {host}"
            );
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        }
        let bad_origin = |message| Refusal::new(StatusCode::FORBIDDEN, message);
        match only(headers, "Origin").map_err(bad_origin)? {
            None => Ok(()),
            Some(text) => {
                let not_an_origin =
                    || bad_origin(format!("the Origin header is not SCHEME://HOST: {text:?}"));
                let origin = Origin::parse(text).ok_or_else(not_an_origin)?;
                if self.is_welcome(&origin, &host) {
                    return Ok(());
                }
                let message = format!(
                    "pages of {origin} are not let in; allow them with --allowed-origins {origin}"
                );
                Err(Refusal::new(StatusCode::FORBIDDEN, message))
            }
        }
    }

    /// Whether a request carries the token: in `Authorization: Bearer`, or in `query` as `token=`,
    /// percent-encoded. The query is for WebSockets and event streams, to which a browser cannot
    /// add a header.
    ///
    /// # Errors
    ///
    /// 401 where the token is missing or wrong.
    pub fn authorize(&self, headers: &HeaderMap, query: Option<&str>) -> Result<(), Refusal> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let unauthorized = |message| Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
        match bearer(headers).or_else(|| query.and_then(query_token)) {
            Some(given) if token.is(&given) => Ok(()),
            Some(_) => unauthorized("the token is wrong"),
            None => unauthorized(
                "a token is needed: send it as `Authorization: Bearer TOKEN`, or with a WebSocket or an event stream as `?token=TOKEN`",
            ),
        }
    }

    fn is_ours(&self, host: &Host) -> bool {
        let Host::Name(name) = host else { return true };
        name == "localhost"
            || self.is_this_machine(name)
            || self.allowed_hosts.iter().any(|allowed| {
                allowed == "*" || authority(allowed).is_some_and(|(allowed, _)| allowed == *host)
            })
    }

    /// A machine whose name has a domain goes by it with or without. No domain is added to a name
    /// that has none: it could be anybody's.
    fn is_this_machine(&self, name: &str) -> bool {
        let ours = self.hostname.trim_end_matches('.').to_ascii_lowercase();
        name == ours || ours.split('.').next() == Some(name)
    }

    fn is_welcome(&self, origin: &Origin, host: &Host) -> bool {
        let by_default = match origin {
            Origin::Page { scheme, host: of, .. } => {
                matches!(&**scheme, "http" | "https") && (of == host || of.is_loopback())
            }
            Origin::Null => false,
        };
        by_default
            || self.allowed_origins.iter().any(|allowed| {
                allowed == "*"
                    || Origin::parse(allowed.trim_end_matches('/'))
                        .is_some_and(|allowed| allowed == *origin)
            })
    }
}

/// The value of a header that must be there once at most; the error says what is wrong with it.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
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

/// A host, so that equal ones are equal: in lower case, without the dot at the end.
#[derive(Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    /// Whether only the viewer's own machine can have it (RFC 6761, section 6.3).
    fn is_loopback(&self) -> bool {
        match self {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Ip(ip) => write!(f, "{ip}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// `HOST` or `HOST:PORT`. Anything else that a URI may have there, such as a user, is not taken.
fn authority(text: &str) -> Option<(Host, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => {
            let (ip, rest) = text.split_once(']')?;
            (Host::Ip(IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?)), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (name_or_ip(&text[..end])?, &text[end..])
        }
    };
    let port = match rest.strip_prefix(':').unwrap_or(rest) {
        "" => None,
        port if rest.starts_with(':') && port.bytes().all(|digit| digit.is_ascii_digit()) => {
            Some(port.parse().ok()?)
        }
        _ => return None,
    };
    Some((host, port))
}

fn name_or_ip(text: &str) -> Option<Host> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if let Ok(ip) = name.parse() {
        return Some(Host::Ip(IpAddr::V4(ip)));
    }
    let is_name = !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        });
    is_name.then(|| Host::Name(name.to_ascii_lowercase()))
}

/// Whose page it is (RFC 6454, section 7).
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Page {
        scheme: String,
        host: Host,
        port: Option<u16>,
    },
    /// A page without an origin, such as a file, or one that its server has put in a sandbox.
    Null,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = authority(rest)?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Some(Self::Page { scheme, host, port: port.filter(|_| port != default) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Null => f.write_str("null"),
            Origin::Page { scheme, host, port: None } => write!(f, "{scheme}://{host}"),
            Origin::Page { scheme, host, port: Some(port) } => {
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

/// The token in `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().as_bytes().to_vec())
}

/// The token in a query (RFC 6750, section 2.3).
fn query_token(query: &str) -> Option<Vec<u8>> {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    token.map(|token| percent_decode_str(token).collect())
}

/// A secret that each request must carry.
#[derive(Clone)]
pub struct Token(Box<[u8]>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why there is no token where there should be one.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token from {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold a token.
    #[error("{} does not hold a token: expected one line of visible ASCII characters", .0.display())]
    Unusable(PathBuf),
}

impl Token {
    /// The token in the file `token` of `credentials`, systemd's `$CREDENTIALS_DIRECTORY`
    /// (`systemd.exec(5)`), or else in `file`. None if neither is there to be read.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or holds no token.
    pub fn read(
        file: Option<&Path>,
        credentials: Option<&Path>,
    ) -> Result<Option<Self>, TokenError> {
        let unreadable =
            |path: &Path, source| TokenError::Unreadable { path: path.to_owned(), source };
        if let Some(path) = credentials.map(|directory| directory.join("token")) {
            match std::fs::read(&path) {
                Ok(text) => return Self::parse(&text, &path).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, error)),
            }
        }
        let Some(path) = file else { return Ok(None) };
        Self::parse(&std::fs::read(path).map_err(|error| unreadable(path, error))?, path).map(Some)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, TokenError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Unusable(path.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// Whether it is `given`. The time that takes tells nothing but whether the lengths are equal.
    fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

#[cfg(test)]
mod tests;
