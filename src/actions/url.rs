//! Links: which URLs are valid templates, and how values are put into them. Pure.
//!
//! A value stays in its place, whatever it is: in the path, the query and the fragment all but
//! unreserved characters are escaped (RFC 3986, section 2.3), and in the host only an address or a
//! machine's ID is allowed. So a unit's name can neither add a parameter nor lead to another host.

use std::net::IpAddr;

use percent_encoding::utf8_percent_encode;

use super::ActionSubject;
use super::template::{Placeholder, TemplateError, TemplatePart, parts};
use crate::net::host;
use crate::net::percent::RESERVED;

/// How many links there may be.
pub const MAX_LINKS: usize = 20;
/// How long a name may be, in characters.
const MAX_NAME: usize = 60;
/// How long a URL may be, in bytes.
const MAX_URL: usize = 2000;

/// Why a name and a URL are no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The name is empty, too long, or not printable.
    #[error("expected a name of 1 to {MAX_NAME} printable characters")]
    Name,
    /// The URL begins with something else.
    #[error("expected a URL that begins with http:// or https://")]
    Scheme,
    /// The URL is too long.
    #[error("expected a URL of at most {MAX_URL} bytes")]
    Length,
    /// A placeholder is unknown, or a brace has no partner.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// There is a character that a URL cannot contain.
    #[error("a URL cannot contain {0:?}: write it as {1}")]
    Character(char, String),
    /// There is something before an `@` in front of the path.
    #[error("a user and a password do not belong in a link, which all readers of the page see")]
    Credentials,
    /// The host is missing or wrong, or its port is.
    #[error("expected a host, and a port if need be, after the scheme")]
    Host,
    /// A placeholder in the host that a value of may lead anywhere.
    #[error("the host can only contain {{machine}}, or be {{ip}}")]
    PlaceholderInHost,
    /// A part of the path is `.` or `..`, which a browser would resolve.
    #[error("the path cannot contain the parts . and ..")]
    Dots,
}

/// Checks the name of a link.
pub(super) fn check_name(name: &str) -> Result<(), LinkError> {
    let is_short = (1..=MAX_NAME).contains(&name.chars().count());

    if is_short && name.trim() == name && !name.contains(char::is_control) {
        Ok(())
    } else {
        Err(LinkError::Name)
    }
}

/// Checks a template.
pub(super) fn check(url: &str) -> Result<(), LinkError> {
    let UrlParts { host, rest, .. } = UrlParts::of(url).ok_or(LinkError::Scheme)?;
    if url.len() > MAX_URL {
        return Err(LinkError::Length);
    }
    parts(url)?;

    if let Some(char) = url.chars().find(|char| !is_of_url(*char)) {
        let escaped = utf8_percent_encode(char.encode_utf8(&mut [0; 4]), RESERVED).to_string();
        return Err(LinkError::Character(char, escaped));
    }
    if host.contains('@') {
        return Err(LinkError::Credentials);
    }
    if has_dots(rest) {
        return Err(LinkError::Dots);
    }
    check_host(host)
}

/// Whether a URL or a template may contain a character (RFC 3986, appendix A).
fn is_of_url(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%{}".contains(char)
}

/// Checks the host of a template, with its port.
fn check_host(text: &str) -> Result<(), LinkError> {
    let placeholders = parts(text)?.into_iter().filter_map(|part| match part {
        TemplatePart::Value(placeholder) => Some(placeholder),
        TemplatePart::Text(_) => None,
    });
    for placeholder in placeholders {
        let is_allowed = match placeholder {
            Placeholder::Machine => true,
            Placeholder::Ip => text == "{ip}" || text.starts_with("{ip}:"),
            Placeholder::Unit | Placeholder::Prefix | Placeholder::Instance => false,
        };
        if !is_allowed {
            return Err(LinkError::PlaceholderInHost);
        }
    }

    // Any values will do.
    let text = text.replace("{ip}", "192.0.2.1").replace("{machine}", "0");
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (&*text, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_host = name.starts_with('[') || !name.contains(':');
    match host::parse(name) {
        // A zone means nothing to another computer.
        Some(host) if is_port && is_host && !host.contains('%') => Ok(()),
        _ => Err(LinkError::Host),
    }
}

/// The URL. `None` if it is no template, if a value is not known, or if a value in the host or a
/// part of the path could lead elsewhere.
pub(super) fn expand(url: &str, subject: &ActionSubject<'_>) -> Option<String> {
    let UrlParts { scheme, host, rest } = UrlParts::of(url)?;
    let host = expand_with(host, |placeholder| of_host(placeholder, subject))?;
    let rest = expand_with(rest, |placeholder| {
        let value = placeholder.value(subject)?;
        Some(utf8_percent_encode(value, RESERVED).to_string())
    })?;

    (!has_dots(&rest)).then(|| format!("{scheme}{host}{rest}"))
}

fn expand_with(
    template: &str,
    escaped_value: impl Fn(Placeholder) -> Option<String>,
) -> Option<String> {
    let parts = parts(template).ok()?.into_iter();

    parts
        .map(|part| match part {
            TemplatePart::Text(text) => Some(text.to_owned()),
            TemplatePart::Value(placeholder) => escaped_value(placeholder),
        })
        .collect()
}

/// A value in the host.
fn of_host(placeholder: Placeholder, subject: &ActionSubject<'_>) -> Option<String> {
    let value = placeholder.value(subject)?;

    match placeholder {
        Placeholder::Ip => match value.parse().ok()? {
            IpAddr::V4(_) => Some(value.to_owned()),
            IpAddr::V6(_) => Some(format!("[{value}]")),
        },
        Placeholder::Machine => {
            let is_id = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_id.then(|| value.to_owned())
        }
        Placeholder::Unit | Placeholder::Prefix | Placeholder::Instance => None,
    }
}

/// Whether a part of the path is `.` or `..`, be it escaped: a browser resolves these.
fn has_dots(rest: &str) -> bool {
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let path = path.replace("%2e", ".").replace("%2E", ".");

    path.split('/').any(|part| matches!(part, "." | ".."))
}

/// A URL in three parts: `https://`, then host and port, then all that follows.
struct UrlParts<'a> {
    scheme: &'a str,
    host: &'a str,
    rest: &'a str,
}

impl<'a> UrlParts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let scheme = ["https://", "http://"]
            .into_iter()
            .find(|scheme| url.starts_with(scheme))?;
        let (scheme, rest) = url.split_at(scheme.len());
        let (host, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));

        Some(Self { scheme, host, rest })
    }
}
