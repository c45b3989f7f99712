//! Redirects of etcd: where one leads, and whether it may be followed.
//!
//! A follower of etcd 0.4 answers what only its leader can answer, such as `quorum=true`, with
//! status 307 and the leader's address (`etcd/server/server.go`, `Dispatch`). Pure: it knows no
//! connection.

use hyper::Uri;
use serde::Deserialize;

use super::endpoint::Endpoint;

/// How many redirects one request may take. An election may add one to the one that leads to the
/// leader.
pub(super) const MOST: usize = 3;

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// It is not etcd 0.4's status 307.
    #[error("etcd redirects with status 307 alone; is a proxy in front of it?")]
    Status,
    /// It has no address that can be understood.
    #[error("that is no address of etcd")]
    Address,
    /// From `http://` to `https://`, or back.
    #[error("that is another scheme; if etcd is there, name that address in --etcd")]
    Scheme,
    /// It leads to another path than was asked for.
    #[error("that is another path than was asked for; is a proxy in front of it?")]
    Path,
    /// Neither the options nor etcd itself name that host.
    #[error(
        "neither --etcd nor etcd's own list of members names that host; if etcd is there, name it in --etcd"
    )]
    Stranger,
    /// One redirect follows another.
    #[error("that is one redirect after another; have etcd's members a leader?")]
    TooMany,
}

/// The member that a redirect leads to.
///
/// # Errors
///
/// Why it does not lead to a member that could be followed to.
pub(super) fn target(
    asked: &Endpoint,
    path: &str,
    status: u16,
    location: &str,
) -> Result<Endpoint, NotFollowed> {
    if status != 307 {
        return Err(NotFollowed::Status);
    }
    let uri: Uri = location.parse().map_err(|_| NotFollowed::Address)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(NotFollowed::Address);
    };
    if scheme != if asked.tls { "https" } else { "http" } {
        return Err(NotFollowed::Scheme);
    }
    if uri.path() != path.split('?').next().unwrap_or(path) {
        return Err(NotFollowed::Path);
    }
    let port = authority.port_u16().unwrap_or(if asked.tls { 443 } else { 80 });
    let endpoint = format!("{scheme}://{}:{port}", uri.host().unwrap_or_default());
    endpoint.parse().map_err(|_| NotFollowed::Address)
}

/// Whether one of these members is on that host.
pub(super) fn is_host_of(host: &str, members: &[Endpoint]) -> bool {
    members.iter().any(|member| member.host.eq_ignore_ascii_case(host))
}

/// The addresses in etcd's own list of its members: `/v2/members` (JSON, since etcd 2.0) or
/// `/v2/machines` (text with commas, of all).
pub(super) fn members(list: &[u8]) -> Vec<Endpoint> {
    #[derive(Deserialize)]
    struct Members {
        members: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        #[serde(rename = "clientURLs")]
        client_urls: Vec<String>,
    }
    if let Ok(Members { members }) = serde_json::from_slice(list) {
        let urls = members.iter().flat_map(|member| &member.client_urls);
        return urls.filter_map(|url| url.parse().ok()).collect();
    }
    let text = str::from_utf8(list).unwrap_or_default();
    text.split(',').filter_map(|url| url.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v2/keys/_coreos.com/fleet?recursive=true&quorum=true";

    fn lead(asked: &str, status: u16, location: &str) -> Result<String, NotFollowed> {
        target(&asked.parse().unwrap(), PATH, status, location).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn a_redirect_leads_to_the_same_path_of_another_member() {
        for (asked, there) in [
            ("http://10.0.0.1:4001", "http://10.0.0.2:4001"),
            ("https://10.0.0.1:4001", "https://core-02:4001"),
            ("http://[fd00::1]:4001", "http://[fd00::2]:4001"),
        ] {
            assert_eq!(lead(asked, 307, &format!("{there}{PATH}")).as_deref(), Ok(there));
        }
        let without_port = format!("http://etcd.example.com{PATH}");
        assert_eq!(
            lead("http://10.0.0.1:4001", 307, &without_port).as_deref(),
            Ok("http://etcd.example.com:80")
        );
    }

    #[test]
    fn what_etcd_does_not_do_is_not_followed() {
        let there = "http://10.0.0.2:4001/v2/keys/_coreos.com/fleet";
        for (status, location, why) in [
            (301, there, NotFollowed::Status),
            (308, there, NotFollowed::Status),
            (307, "https://10.0.0.2:4001/v2/keys/_coreos.com/fleet", NotFollowed::Scheme),
            (307, "ftp://10.0.0.2/v2/keys/_coreos.com/fleet", NotFollowed::Scheme),
            (307, "/v2/keys/_coreos.com/fleet", NotFollowed::Address),
            (307, "", NotFollowed::Address),
            (307, "http://", NotFollowed::Address),
            (307, "http://10.0.0.2:4001/login", NotFollowed::Path),
            (307, "http://10.0.0.2:4001/", NotFollowed::Path),
        ] {
            assert_eq!(
                lead("http://10.0.0.1:4001", status, location),
                Err(why),
                "{status} {location}"
            );
        }
        let plain = lead("https://10.0.0.1:4001", 307, there);
        assert_eq!(plain, Err(NotFollowed::Scheme), "encryption is not given up");
    }

    #[test]
    fn the_members_are_read_in_both_spellings() {
        let json = br#"{"members":[{"id":"1","name":"a","peerURLs":["http://10.0.0.9:2380"],
            "clientURLs":["http://10.0.0.1:2379","unix:///x"]},{"id":"2","clientURLs":["http://core-02:2379"]}]}"#;
        let text = b"http://10.0.0.1:2379, http://core-02:2379";
        for list in [json.as_slice(), text] {
            let members = members(list);
            assert_eq!(members.len(), 2);
            assert!(is_host_of("10.0.0.1", &members) && is_host_of("CORE-02", &members));
            assert!(!is_host_of("10.0.0.9", &members), "peers are no members to ask");
        }
        assert_eq!(members(b"<html>"), []);
        assert_eq!(members(b"\xff"), []);
    }
}
