//! Origins of web pages, as they are written in the `Origin` header and in `--allowed-origins`.
//!
//! This module must not know which origins are accepted.

use std::fmt;
use std::str::FromStr;

use super::host::{HttpHost, parse_authority};

/// The origin of a web page (RFC 6454, section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WebOrigin {
    Page {
        /// In lower case.
        scheme: String,
        host: HttpHost,
        /// `None`: the default port of the scheme.
        port: Option<u16>,
    },
    /// `null`: a page without an origin, such as a file, or a page that its server put in a
    /// sandbox.
    Null,
}

impl WebOrigin {
    /// Whether it is a web page on this host or on the viewer's own machine, on any port.
    pub(super) fn is_web_page_on(&self, server: &HttpHost) -> bool {
        match self {
            WebOrigin::Page { scheme, host, .. } => {
                matches!(&**scheme, "http" | "https") && (host == server || host.is_loopback())
            }
            WebOrigin::Null => false,
        }
    }
}

impl FromStr for WebOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "null" {
            return Ok(Self::Null);
        }

        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let (host, port) = parse_authority(authority).ok_or(InvalidOrigin)?;
        if !is_scheme(scheme) {
            return Err(InvalidOrigin);
        }

        let scheme = scheme.to_ascii_lowercase();
        let default_port = match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = port.filter(|_| port != default_port);
        Ok(Self::Page { scheme, host, port })
    }
}

/// Whether the text is a URI scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_scheme_byte)
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebOrigin::Null => f.write_str("null"),
            WebOrigin::Page { scheme, host, port: None } => write!(f, "{scheme}://{host}"),
            WebOrigin::Page { scheme, host, port: Some(port) } => {
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

/// The error for a text that is neither `SCHEME://HOST` nor `SCHEME://HOST:PORT` nor `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOrigin;

/// An item of `--allowed-origins`: one origin, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(
    /// `None`: all origins.
    Option<WebOrigin>,
);

impl AllowedOrigin {
    pub(super) fn matches(&self, origin: &WebOrigin) -> bool {
        self.0.as_ref().is_none_or(|allowed| allowed == origin)
    }
}

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        match text {
            "*" => Ok(Self(None)),
            _ => text.parse().map(|origin| Self(Some(origin))),
        }
    }
}
