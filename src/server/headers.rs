//! Request headers whose value is a list (RFC 9110, section 5.6.1).
//!
//! This module must not know what the server decides by them.

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, IF_NONE_MATCH};

/// The items of a list. The header may be there several times.
pub(super) fn list_items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Whether a list contains an item, in upper or lower case.
pub(super) fn list_contains(headers: &HeaderMap, name: HeaderName, item: &str) -> bool {
    list_items(headers, name).any(|other| other.eq_ignore_ascii_case(item))
}

/// Whether the client already has the content with this tag (RFC 9110, section 13.1.2). The
/// server's own tags contain no comma, so splitting at commas is safe.
pub(super) fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = |tag: &'_ str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();

    list_items(headers, IF_NONE_MATCH).any(|known| known == "*" || opaque(known) == opaque(etag))
}

/// Whether the client accepts gzip (RFC 9110, section 12.5.3).
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |codings: &[&str]| {
        list_items(headers, ACCEPT_ENCODING).find_map(|item| {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = parameters
                .trim()
                .strip_prefix("q=")
                .map_or(Some(1.0), |weight| weight.trim().parse().ok());

            codings
                .iter()
                .any(|other| coding.trim().eq_ignore_ascii_case(other))
                .then_some(weight.unwrap_or(0.0))
        })
    };

    weight(&["gzip", "x-gzip"])
        .or_else(|| weight(&["*"]))
        .is_some_and(|weight: f32| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use hyper::header::{CONNECTION, HeaderValue};

    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_list_may_span_several_headers() {
        let headers = headers(&CONNECTION, &["keep-alive, ,Upgrade", "close"]);
        let items: Vec<&str> = list_items(&headers, CONNECTION).collect();
        assert_eq!(items, ["keep-alive", "Upgrade", "close"]);
        assert!(list_contains(&headers, CONNECTION, "upgrade"));
        assert!(!list_contains(&headers, CONNECTION, "keep"));
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        for (accepted, expected) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5, br"], true),
            (&["deflate", "gzip"], true),
            (&["*"], true),
            (&["x-gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000, *"], false),
            (&["*;q=0"], false),
            (&["br"], false),
            (&[""], false),
            (&[], false),
            (&["gzip;q=nonsense"], false),
        ] {
            assert_eq!(
                accepts_gzip(&headers(&ACCEPT_ENCODING, accepted)),
                expected,
                "{accepted:?}"
            );
        }
    }

    #[test]
    fn a_known_tag_is_found_in_any_form() {
        for (known, expected) in [
            (&[r#"W/"e-7""#][..], true),
            (&[r#""e-7""#], true),
            (&[r#""a", W/"e-7" , "b""#], true),
            (&[r#""a""#, r#""e-7""#], true),
            (&["*"], true),
            (&[r#""e-8""#], false),
            (&["e-7"], false),
            (&[], false),
        ] {
            assert_eq!(
                matches_etag(&headers(&IF_NONE_MATCH, known), r#"W/"e-7""#),
                expected,
                "{known:?}"
            );
        }
    }
}
