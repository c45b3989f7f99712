//! Hosts as they are written in the `Host` and `Origin` headers and in `--allowed-hosts`.
//!
//! This module must not know which hosts are accepted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host in a normal form: a name is in lower case and without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HttpHost {
    Ip(IpAddr),
    Name(String),
}

impl HttpHost {
    /// Whether it is always the viewer's own machine (RFC 6761, section 6.3).
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            HttpHost::Ip(ip) => ip.to_canonical().is_loopback(),
            HttpHost::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            HttpHost::Ip(ip) => write!(f, "{ip}"),
            HttpHost::Name(name) => f.write_str(name),
        }
    }
}

/// Parses `HOST` or `HOST:PORT`. Other parts that an authority may have in a URI, such as a user,
/// are refused.
pub(super) fn parse_authority(text: &str) -> Option<(HttpHost, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => {
            let (ip, rest) = text.split_once(']')?;
            (HttpHost::Ip(IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?)), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (parse_name_or_ipv4(&text[..end])?, &text[end..])
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

fn parse_name_or_ipv4(text: &str) -> Option<HttpHost> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if let Ok(ip) = name.parse() {
        return Some(HttpHost::Ip(IpAddr::V4(ip)));
    }

    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = !name.is_empty()
        && name
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(is_label_byte));
    is_name.then(|| HttpHost::Name(name.to_ascii_lowercase()))
}

/// An item of `--allowed-hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// `*`: every name.
    Any,
    /// One name, in lower case and without the dot at its end.
    Name(String),
}

impl AllowedHost {
    /// Any name for `*`, else this one. An IP address has no effect, since all are accepted anyway.
    pub fn new(text: &str) -> Self {
        if text == "*" {
            return Self::Any;
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        Self::Name(name.to_ascii_lowercase())
    }

    /// Whether a name is allowed. It has to be in the normal form of [`HttpHost::Name`].
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            AllowedHost::Any => true,
            AllowedHost::Name(allowed) => allowed == name,
        }
    }
}
