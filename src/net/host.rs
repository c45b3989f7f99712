//! Parses and formats hosts: in an option, in a URL, in the header `Host`, and for a socket. Pure:
//! it resolves no name.
//!
//! A host is stored in the form that a socket needs: a name, or an address without brackets. An
//! IPv6 address may have a zone, the local network interface that leads to it: `fe80::1%eth0` (RFC
//! 4007, section 11). In a URL its `%` is written as `%25` (RFC 6874). The zone is not sent to a
//! server, to which it means nothing.

use std::net::{IpAddr, Ipv6Addr};

/// Parses the host of an option, with or without brackets. `None` if it is neither a name nor an
/// address.
pub(crate) fn parse(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('[') {
        let address = rest.strip_suffix(']')?;
        return is_ipv6(address).then(|| address.to_owned());
    }

    let is_host = is_name(text) || text.parse::<IpAddr>().is_ok() || is_ipv6(text);
    is_host.then(|| text.to_owned())
}

/// Parses the host of a URL, with or without brackets. The `%` of a zone need not be escaped, since
/// it is not in most places from which people copy an address.
pub(crate) fn parse_in_url(text: &str) -> Option<String> {
    let Some((address, zone)) = text.split_once('%') else {
        let host = text.trim_matches(['[', ']']);
        return (!host.is_empty()).then(|| host.to_owned());
    };

    let zone = zone.strip_prefix("25").filter(|zone| *zone != "]").unwrap_or(zone);
    parse(&format!("{address}%{zone}"))
}

/// A host and a port for a URL.
pub(crate) fn in_url(host: &str, port: u16) -> String {
    for_socket(&host.replace('%', "%25"), port)
}

/// A host and a port for the header `Host`.
pub(crate) fn in_header(host: &str, port: u16) -> String {
    for_socket(without_zone(host), port)
}

/// A host and a port as `HOST:PORT`, with brackets around an IPv6 address.
pub(crate) fn for_socket(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A host without its zone.
fn without_zone(host: &str) -> &str {
    host.split_once('%').map_or(host, |(address, _)| address)
}

/// Whether a text can be the name of a host. One with a leading `-` cannot, so that no program
/// takes it for a flag.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_'))
}

/// Whether a text is an IPv6 address, with or without a zone. A zone has only characters that need
/// no escape in a URL.
fn is_ipv6(text: &str) -> bool {
    let is_zone_character = |char: char| char.is_ascii_alphanumeric() || "-._~".contains(char);
    let (address, is_zone) = match text.split_once('%') {
        Some((address, zone)) => (address, !zone.is_empty() && zone.chars().all(is_zone_character)),
        None => (text, true),
    };
    is_zone && address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_parsed_as_people_copy_it() {
        for (text, host) in [
            ("core-01", "core-01"),
            ("172.17.8.101", "172.17.8.101"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1%eth0.100]", "fe80::1%eth0.100"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(host), "{text}");
        }
        for text in [
            "",
            "-o",
            "a b",
            "[core-01]",
            "[172.17.8.101]",
            "[::1",
            "::1]",
            "fe80::1%",
            "core-01%eth0",
            "fe80::1%a/b",
            "[::1]:22",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_zone_is_escaped_in_a_url_and_not_sent_to_the_host() {
        for text in ["[fe80::1%25eth0]", "[fe80::1%eth0]"] {
            assert_eq!(parse_in_url(text).as_deref(), Some("fe80::1%eth0"), "{text}");
        }
        assert_eq!(parse_in_url("[fe80::1%25]").as_deref(), Some("fe80::1%25"), "interface 25");
        assert_eq!(parse_in_url("core%2d01"), None);
        assert_eq!(in_url("fe80::1%eth0", 2379), "[fe80::1%25eth0]:2379");
        assert_eq!(in_header("fe80::1%eth0", 2379), "[fe80::1]:2379");
        assert_eq!(for_socket("fe80::1%eth0", 22), "[fe80::1%eth0]:22");
        assert_eq!(in_url("core-01", 4001), "core-01:4001");
    }
}
