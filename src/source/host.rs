//! How a host is written: in an option, in a URL, in the header of a request, and for a socket.
//! Pure.
//!
//! A host is kept as a socket takes it: a name, or an address without brackets. An IPv6 address may
//! have a zone, the interface that leads to it: `fe80::1%eth0` (RFC 4007, section 11). Its `%` is
//! `%25` in a URL (RFC 6874), and a server is not told the zone, which means nothing to it.

use std::net::{IpAddr, Ipv6Addr};

/// The host that an option names, with or without brackets. `None`: it is neither a name nor an
/// address.
pub fn read(text: &str) -> Option<String> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            return rest
                .strip_suffix(']')
                .filter(|address| is_ipv6(address))
                .map(str::to_owned);
        }
        None => text,
    };
    (is_name(address) || address.parse::<IpAddr>().is_ok() || is_ipv6(address))
        .then(|| address.to_owned())
}

/// The host of a URL, from what is between its scheme and its port. People copy a zone with a bare
/// `%`, too.
pub(super) fn read_in_url(text: &str) -> Option<String> {
    let Some((address, zone)) = text.split_once('%') else {
        let host = text.trim_matches(['[', ']']);
        return (!host.is_empty()).then(|| host.to_owned());
    };
    let zone = zone.strip_prefix("25").filter(|zone| *zone != "]").unwrap_or(zone);
    read(&format!("{address}%{zone}"))
}

/// A host and a port as a URL has them.
pub(super) fn in_url(host: &str, port: u16) -> String {
    for_socket(&host.replace('%', "%25"), port)
}

/// The same as the header `Host` has them.
pub(super) fn in_header(host: &str, port: u16) -> String {
    for_socket(without_zone(host), port)
}

/// The same as programs take them that connect.
pub(super) fn for_socket(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The name or address by which the host itself knows that it is meant.
pub(super) fn without_zone(host: &str) -> &str {
    host.split_once('%').map_or(host, |(address, _)| address)
}

/// A name has no leading `-`, so that no program that it is passed to can take it for a flag.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_'))
}

/// The characters of a zone are those that need no encoding in a URL.
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
    fn an_address_is_read_as_people_copy_it() {
        for (text, host) in [
            ("core-01", "core-01"),
            ("172.17.8.101", "172.17.8.101"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1%eth0.100]", "fe80::1%eth0.100"),
        ] {
            assert_eq!(read(text).as_deref(), Some(host), "{text}");
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
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_zone_is_encoded_in_a_url_and_not_told_to_the_host() {
        for text in ["[fe80::1%25eth0]", "[fe80::1%eth0]"] {
            assert_eq!(read_in_url(text).as_deref(), Some("fe80::1%eth0"), "{text}");
        }
        assert_eq!(read_in_url("[fe80::1%25]").as_deref(), Some("fe80::1%25"), "interface 25");
        assert_eq!(read_in_url("core%2d01"), None);
        assert_eq!(in_url("fe80::1%eth0", 2379), "[fe80::1%25eth0]:2379");
        assert_eq!(in_header("fe80::1%eth0", 2379), "[fe80::1]:2379");
        assert_eq!(for_socket("fe80::1%eth0", 22), "[fe80::1%eth0]:22");
        assert_eq!(in_url("core-01", 4001), "core-01:4001");
    }
}
