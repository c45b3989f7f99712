//! Redirects of etcd: where one leads, and whether it may be followed. Pure: it knows no
//! connection.
//!
//! A follower of etcd 0.4 answers a request that only its leader can answer, such as one with
//! `quorum=true`, with status 307 and the leader's address (`etcd/server/server.go`, `Dispatch`).

use hyper::Uri;
use serde::Deserialize;

use super::endpoint::Endpoint;

/// How many redirects are followed for one request. One leads to the leader, and another one may
/// follow if an election takes place meanwhile.
pub(super) const MAX_REDIRECTS: usize = 3;

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// Its status is not 307, the only one that etcd 0.4 uses.
    #[error("etcd redirects with status 307 only; is a proxy in front of it?")]
    Status,
    /// Its `Location` is not an absolute URL.
    #[error("that is not the URL of an etcd member")]
    Address,
    /// From `http://` to `https://`, or back.
    #[error("that is another scheme; if etcd is there, name that address in --etcd")]
    Scheme,
    /// It leads to another path than the requested one.
    #[error("that is another path than the requested one; is a proxy in front of it?")]
    Path,
    /// Neither the options nor etcd itself name that host as a member.
    #[error(
        "neither --etcd nor etcd's own list of members names that host; if etcd is there, name it \
         in --etcd"
    )]
    UnknownHost,
    /// It is the fourth redirect for one request.
    #[error("there were too many redirects in a row; do etcd's members have a leader?")]
    TooMany,
}

/// The member that a redirect leads to. `requested` is the member that redirects, and `path` the
/// path that was requested, with its query.
pub(super) fn target(
    requested: &Endpoint,
    path: &str,
    status: u16,
    location: &str,
) -> Result<Endpoint, RedirectError> {
    if status != 307 {
        return Err(RedirectError::Status);
    }

    let uri: Uri = location.parse().map_err(|_| RedirectError::Address)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(RedirectError::Address);
    };
    let (expected_scheme, default_port) = if requested.tls { ("https", 443) } else { ("http", 80) };
    if scheme != expected_scheme {
        return Err(RedirectError::Scheme);
    }
    if uri.path() != path.split('?').next().unwrap_or(path) {
        return Err(RedirectError::Path);
    }

    let host = uri.host().unwrap_or_default();
    let port = authority.port_u16().unwrap_or(default_port);
    format!("{scheme}://{host}:{port}")
        .parse()
        .map_err(|_| RedirectError::Address)
}

/// Whether one of these members is on that host.
pub(super) fn is_member_host(host: &str, members: &[Endpoint]) -> bool {
    members.iter().any(|member| member.host.eq_ignore_ascii_case(host))
}

/// The addresses in etcd's own list of its members: `/v2/members` (JSON, since etcd 2.0) or
/// `/v2/machines` (text with commas, all versions).
pub(super) fn parse_members(list: &[u8]) -> Vec<Endpoint> {
    #[derive(Deserialize)]
    struct MembersBody {
        members: Vec<MemberJson>,
    }
    #[derive(Deserialize)]
    struct MemberJson {
        #[serde(rename = "clientURLs")]
        client_urls: Vec<String>,
    }

    if let Ok(body) = serde_json::from_slice::<MembersBody>(list) {
        let urls = body.members.iter().flat_map(|member| &member.client_urls);
        return urls.filter_map(|url| url.parse().ok()).collect();
    }
    let text = str::from_utf8(list).unwrap_or_default();
    text.split(',').filter_map(|url| url.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v2/keys/_coreos.com/fleet?recursive=true&quorum=true";

    fn follow(requested: &str, status: u16, location: &str) -> Result<String, RedirectError> {
        target(&requested.parse().unwrap(), PATH, status, location)
            .map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn a_redirect_leads_to_the_same_path_of_another_member() {
        for (requested, target) in [
            ("http://10.0.0.1:4001", "http://10.0.0.2:4001"),
            ("https://10.0.0.1:4001", "https://core-02:4001"),
            ("http://[fd00::1]:4001", "http://[fd00::2]:4001"),
        ] {
            assert_eq!(follow(requested, 307, &format!("{target}{PATH}")).as_deref(), Ok(target));
        }
        let without_port = format!("http://etcd.example.com{PATH}");
        assert_eq!(
            follow("http://10.0.0.1:4001", 307, &without_port).as_deref(),
            Ok("http://etcd.example.com:80")
        );
    }

    #[test]
    fn a_redirect_that_etcd_would_not_send_is_not_followed() {
        let target = "http://10.0.0.2:4001/v2/keys/_coreos.com/fleet";
        for (status, location, why) in [
            (301, target, RedirectError::Status),
            (308, target, RedirectError::Status),
            (307, "https://10.0.0.2:4001/v2/keys/_coreos.com/fleet", RedirectError::Scheme),
            (307, "ftp://10.0.0.2/v2/keys/_coreos.com/fleet", RedirectError::Scheme),
            (307, "/v2/keys/_coreos.com/fleet", RedirectError::Address),
            (307, "", RedirectError::Address),
            (307, "http://", RedirectError::Address),
            (307, "http://10.0.0.2:4001/login", RedirectError::Path),
            (307, "http://10.0.0.2:4001/", RedirectError::Path),
        ] {
            assert_eq!(
                follow("http://10.0.0.1:4001", status, location),
                Err(why),
                "{status} {location}"
            );
        }
        let plain = follow("https://10.0.0.1:4001", 307, target);
        assert_eq!(plain, Err(RedirectError::Scheme), "encryption is not given up");
    }

    #[test]
    fn both_kinds_of_member_list_are_read() {
        let json = br#"{"members":[
            {"id":"1","name":"a","peerURLs":["http://10.0.0.9:2380"],
             "clientURLs":["http://10.0.0.1:2379","unix:///x"]},
            {"id":"2","clientURLs":["http://core-02:2379"]}]}"#;
        let text = b"http://10.0.0.1:2379, http://core-02:2379";
        for list in [json.as_slice(), text] {
            let members = parse_members(list);
            assert_eq!(members.len(), 2);
            assert!(is_member_host("10.0.0.1", &members) && is_member_host("CORE-02", &members));
            assert!(!is_member_host("10.0.0.9", &members), "the URLs of peers are not for clients");
        }
        assert_eq!(parse_members(b"<html>"), []);
        assert_eq!(parse_members(b"\xff"), []);
    }
}
