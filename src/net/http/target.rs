//! A URL to post to: its parts, and how it is shown. Pure: it resolves no name.
//!
//! Whoever knows the path of a webhook can often post to it without a password. So errors and logs
//! show only where a URL leads to, and neither its path nor what is before an `@`.

use std::fmt;
use std::str::FromStr;

use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use super::basic_authorization;
use crate::net::host;

/// A URL to post to. `Debug` and `Display` show its scheme, host and port only.
#[derive(Clone, PartialEq, Eq)]
pub struct PostTarget {
    is_tls: bool,
    /// A name or an IP address. An IPv6 address has no brackets, but its zone, if there is one.
    host: String,
    port: u16,
    /// What is requested: the path, and the query with its `?`, if there is one.
    path: String,
    /// The user and the password: HTTP Basic (RFC 7617).
    authorization: Option<HeaderValue>,
}

/// Why a text is no [`PostTarget`]. It does not quote the text, which may contain a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostTargetError(&'static str);

/// A part of a path that is shorter is no secret.
const MIN_SECRET_BYTES: usize = 8;

const EXPECTED: PostTargetError =
    PostTargetError("expected a URL, such as https://hooks.example.com/fleet");

impl FromStr for PostTarget {
    type Err = PostTargetError;

    fn from_str(text: &str) -> Result<Self, PostTargetError> {
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(PostTargetError("expected http:// or https://")),
        };

        let path_start = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_start);
        let (credentials, server) = match authority.rsplit_once('@') {
            Some((credentials, server)) => (Some(credentials), server),
            None => (None, authority),
        };

        let path = parse_path(path)?;
        let (host, port) = parse_server(server)?;
        Ok(Self {
            is_tls,
            host,
            port: port.unwrap_or(default_port(is_tls)),
            path,
            authorization: credentials.map(parse_credentials).transpose()?,
        })
    }
}

impl PostTarget {
    /// Another path on the same server, below this one.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let (own, query) = self.path.split_at(self.path.find('?').unwrap_or(self.path.len()));
        let path = format!("{}{path}{query}", own.trim_end_matches('/'));
        Self { path, ..self.clone() }
    }

    /// Whether the scheme is `https://`.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whether a text of the server shows the path, the query or a long part of them, which may be
    /// secret, as they are or percent-decoded.
    pub(super) fn is_quoted_in(&self, text: &str) -> bool {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let whole = [path, query].into_iter().filter(|part| !matches!(*part, "" | "/"));
        let long_parts = self
            .path
            .split(['/', '?', '&', '='])
            .filter(|part| part.len() >= MIN_SECRET_BYTES);

        let decoded_text = percent_decode_str(text).decode_utf8_lossy();
        whole.chain(long_parts).any(|part| {
            let decoded = percent_decode_str(part).decode_utf8_lossy();
            text.contains(part) || decoded_text.contains(&*decoded)
        })
    }

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        self.without_default_port(host::in_header(&self.host, self.port))
    }

    fn without_default_port(&self, authority: String) -> String {
        let end = format!(":{}", default_port(self.is_tls));
        match authority.strip_suffix(&end) {
            Some(host) => host.to_owned(),
            None => authority,
        }
    }
}

impl fmt::Display for PostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let authority = self.without_default_port(host::in_url(&self.host, self.port));
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for PostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostTarget({self})")
    }
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// The path and the query. A password with a `/` in it would end up there, and its user would be
/// taken for the host, so that there may be no `@`.
fn parse_path(text: &str) -> Result<String, PostTargetError> {
    if text.contains('@') {
        return Err(PostTargetError(
            "expected no @ after the host: write it as %40, and a / or ? in a password as %2F or \
             %3F",
        ));
    }
    if text.contains('#') {
        return Err(PostTargetError("expected no #: write it as %23"));
    }
    if !text.chars().all(|char| char.is_ascii_graphic()) {
        return Err(PostTargetError(
            "expected letters of ASCII and no blanks: write others as %XX",
        ));
    }

    let path = match text {
        "" => "/".to_owned(),
        text if text.starts_with('?') => format!("/{text}"),
        text => text.to_owned(),
    };
    match path.parse::<PathAndQuery>() {
        Ok(_) => Ok(path),
        Err(_) => Err(EXPECTED),
    }
}

/// The host and the port.
fn parse_server(text: &str) -> Result<(String, Option<u16>), PostTargetError> {
    let host_end = match text.rfind(']') {
        Some(bracket) => bracket + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(host_end);

    // An IPv6 address without brackets has more colons than the one before a port.
    let has_port_alone = port.rfind(':').is_none_or(|colon| colon == 0);
    let has_brackets = host.starts_with('[');
    let host = host::parse_in_url(host)
        .filter(|host| has_port_alone && host.contains(':') == has_brackets)
        .filter(|host| host::parse(host).is_some())
        .ok_or(PostTargetError("expected the name or address of a host, IPv6 in brackets"))?;

    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(EXPECTED),
        Some(port) => Some(parse_port(port)?),
    };
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, PostTargetError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| port > 0 && is_number)
        .ok_or(PostTargetError("expected a port from 1 to 65535 after the host"))
}

/// The header for what is before the `@`.
fn parse_credentials(credentials: &str) -> Result<HeaderValue, PostTargetError> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let [user, password] =
        [user, password].map(|part| percent_decode_str(part).collect::<Vec<u8>>());

    if user.is_empty() && password.is_empty() {
        return Err(PostTargetError("expected USER:PASSWORD before the @"));
    }
    if user.contains(&b':') || [&user, &password].iter().any(|part| has_control(part)) {
        return Err(PostTargetError(
            "expected a user without a colon, and no control characters in user and password",
        ));
    }

    Ok(basic_authorization(&user, &password))
}

fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::snapshots::assert_catalogue;

    fn parse(text: &str) -> PostTarget {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (text, shown, authority, port, path) in [
            ("http://am", "http://am", "am", 80, "/"),
            ("https://am", "https://am", "am", 443, "/"),
            ("HTTPS://am:443/", "https://am", "am", 443, "/"),
            ("http://am:443", "http://am:443", "am:443", 443, "/"),
            (
                "http://10.0.0.1:9093/x/y",
                "http://10.0.0.1:9093",
                "10.0.0.1:9093",
                9093,
                "/x/y",
            ),
            ("https://am?a=b", "https://am", "am", 443, "/?a=b"),
            ("https://am/h?a=b&c=%40", "https://am", "am", 443, "/h?a=b&c=%40"),
            ("http://[fd00::1]/", "http://[fd00::1]", "[fd00::1]", 80, "/"),
            (
                "http://[fe80::1%25eth0]:9093/x",
                "http://[fe80::1%25eth0]:9093",
                "[fe80::1]:9093",
                9093,
                "/x",
            ),
        ] {
            let target = parse(text);
            let parts = (&*target.to_string(), &*target.authority(), target.port(), target.path());
            assert_eq!(parts, (shown, authority, port, path), "{text}");
            assert_eq!(target.authorization(), None, "{text}");
        }
        assert_eq!(parse("http://[fe80::1%25eth0]:9093").host(), "fe80::1%eth0");
    }

    #[test]
    fn user_and_password_are_decoded_for_the_header() {
        for (text, pair) in [
            ("https://Aladdin:open%20sesame@host/", "Aladdin:open sesame"),
            ("https://user@host", "user:"),
            ("https://:token@host", ":token"),
            ("https://a:b:c@d@host/x", "a:b:c@d"),
            ("https://a:%40%2F%3F@host:1", "a:@/?"),
        ] {
            let header = parse(text).authorization().unwrap().clone();
            assert_eq!(header, format!("Basic {}", BASE64_STANDARD.encode(pair)), "{text}");
            assert_eq!(parse(text).host(), "host", "{text}");
        }
    }

    #[test]
    fn neither_a_password_nor_a_path_is_shown() {
        let target = parse("https://user:geheim@hooks.example.com/services/geheim?token=geheim");
        let shown = format!("{target} {target:?} {:?}", target.authorization());
        let encoded = BASE64_STANDARD.encode("user:geheim");
        assert!(!shown.contains("geheim") && !shown.contains(&encoded), "{shown}");
    }

    #[test]
    fn a_path_is_appended_before_the_query() {
        for (text, path) in [
            ("http://am", "/api/v2/alerts"),
            ("http://am/", "/api/v2/alerts"),
            ("http://am/prefix/?a=b", "/prefix/api/v2/alerts?a=b"),
        ] {
            let target = parse(text);
            assert_eq!(target.below("/api/v2/alerts").path(), path, "{text}");
        }
    }

    #[test]
    fn an_invalid_url_is_explained_without_quoting_it() {
        let errors = [
            "",
            "hooks.example.com",
            "ftp://cret.example.com",
            "unix:///run/cret.sock",
            "https://",
            "https:///cret",
            "https://cret cret/",
            "https://host:cret",
            "https://host:0/cret",
            "https://host:+1/cret",
            "https://host:65536",
            "https://host:",
            "https://fd00::1/",
            "https://[cret]/",
            "https://[fd00::1]cret/",
            "https://[fd00::1",
            "https://user:12/cret@host/",
            "https://host/a@cret",
            "https://host/#cret",
            "https://host/a b",
            "https://host/ä",
            "https://@host",
            "https://a%3Ab:cret@host",
            "https://a:cret%0A@host",
        ]
        .map(|text| (format!("{text:?}"), text.parse::<PostTarget>().unwrap_err()));

        assert!(errors.iter().all(|(_, error)| !error.to_string().contains("cret")));
        assert_catalogue("post-target-errors", errors);
    }
}
