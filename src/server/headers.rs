//! Request headers whose value is a list (RFC 9110, section 5.6.1).
//!
//! This module must not know what the server decides by them.

use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, IF_NONE_MATCH};

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
    weight(headers, ACCEPT_ENCODING, &["gzip", "x-gzip"])
        .or_else(|| weight(headers, ACCEPT_ENCODING, &["*"]))
        .is_some_and(|weight| weight > 0.0)
}

/// Whether the client would rather have this media type than the other one (RFC 9110, section
/// 12.5.1). If it gives both the same weight, it prefers the one that it names more precisely: w3m
/// accepts `text/html, application/*`. A client that takes anything prefers neither.
///
/// A media type may have parameters. If `version` is one of them, a client that names another
/// version does not accept it. Other parameters do not matter.
pub(super) fn prefers(headers: &HeaderMap, media_type: &str, other: &str) -> bool {
    media_type_rank(headers, media_type) > media_type_rank(headers, other)
}

/// The weight of a media type in `Accept`, and how precise the most specific range is that contains
/// it.
fn media_type_rank(headers: &HeaderMap, media_type: &str) -> (f32, u8) {
    let offered = ListItem::parse(media_type);
    let (kind, _) = offered.name.split_once('/').unwrap_or((offered.name, ""));
    let whole_kind = format!("{kind}/*");

    let ranges: Vec<ListItem> = list_items(headers, ACCEPT)
        .map(ListItem::parse)
        .filter(|range| match (range.version, offered.version) {
            (Some(accepted), Some(version)) => accepted == version,
            _ => true,
        })
        .collect();
    let with_version = |range: &&ListItem| range.version.is_some();
    let named = |name: &str| {
        let items = ranges.iter().filter(|range| range.name.eq_ignore_ascii_case(name));
        let items: Vec<&ListItem> = items.collect();
        items.iter().copied().find(with_version).or(items.first().copied())
    };

    [(offered.name, 2), (&whole_kind, 1), ("*/*", 0)]
        .into_iter()
        .find_map(|(name, precision)| {
            let range = named(name)?;
            Some((range.weight, precision + u8::from(with_version(&range))))
        })
        .filter(|(weight, _)| *weight > 0.0)
        .unwrap_or((0.0, 0))
}

/// The weight of the first item with one of these names. `None`: there is no such item.
fn weight(headers: &HeaderMap, header: HeaderName, names: &[&str]) -> Option<f32> {
    list_items(headers, header)
        .map(ListItem::parse)
        .find(|item| names.iter().any(|name| item.name.eq_ignore_ascii_case(name)))
        .map(|item| item.weight)
}

/// An item of a list, with those of its parameters that matter.
#[derive(Clone, Copy, Debug)]
struct ListItem<'a> {
    name: &'a str,
    version: Option<&'a str>,
    /// 1 if it has none, 0 if it is not a number.
    weight: f32,
}

impl<'a> ListItem<'a> {
    fn parse(item: &'a str) -> Self {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts
            .filter_map(|parameter| parameter.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .collect();
        let parameter = |name: &str| {
            let mut named = parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| *value)
        };

        Self {
            name,
            version: parameter("version"),
            weight: parameter("q").map_or(1.0, |weight| weight.parse().unwrap_or(0.0)),
        }
    }
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
    fn html_is_preferred_where_its_weight_is_greater_than_that_of_json() {
        for (accepted, expected) in [
            // Chromium and Firefox, when they navigate.
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"][..], true),
            // w3m and lynx.
            (&["text/html, text/*;q=0.5, image/*, application/*"], true),
            (&["text/html, text/plain, text/css, */*;q=0.01"], true),
            (&["text/html", "application/json;q=0.9"], true),
            (&["TEXT/HTML;charset=utf-8;Q=0.5, */*;q=0.1"], true),
            (&["text/*, */*;q=0.5"], true),
            // curl, `fetch`, Prometheus.
            (&["*/*"], false),
            (
                &["application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1"],
                false,
            ),
            (&["text/event-stream"], false),
            (&["application/json, text/html;q=0.9"], false),
            (&["text/html, application/json"], false),
            (&["text/html;q=0, */*;q=0.5"], false),
            (&["text/html;q=nonsense"], false),
            (&[""], false),
            (&[], false),
        ] {
            let headers = headers(&ACCEPT, accepted);
            let prefers_html = prefers(&headers, "text/html", "application/json");
            assert_eq!(prefers_html, expected, "{accepted:?}");
        }
    }

    #[test]
    fn a_media_type_with_a_version_is_preferred_by_the_weight_of_that_version() {
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let text = "text/plain; version=0.0.4; charset=utf-8";

        for (accepted, expected) in [
            // Prometheus 2.
            (
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                true,
            ),
            // Prometheus 3, with `PrometheusText0.0.4` before the others.
            (
                "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4",
                false,
            ),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; q=0.2, text/plain; q=0.1", true),
            ("application/openmetrics-text;q=0.1, text/plain;q=0.2", false),
            ("application/openmetrics-text;q=0.4, */*;q=0.5", false),
            ("application/openmetrics-text;q=0, */*", false),
            ("text/plain;q=0, */*;q=0.1", true),
            ("application/*, text/plain;q=0.9", true),
            (r#"APPLICATION/OpenMetrics-Text; Version="1.0.0"; Q=0.2, */*;q=0.1"#, true),
            // Versions that are not there.
            ("application/openmetrics-text;version=0.0.1, text/plain;q=0.1", false),
            ("application/openmetrics-text;version=2.0.0", false),
            (
                "application/openmetrics-text;version=0.0.1;q=0.9,\
                 application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.5",
                false,
            ),
            ("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", true),
            ("*/*", false),
            ("text/html, */*;q=0.1", false),
            ("", false),
        ] {
            let headers = headers(&ACCEPT, &[accepted]);
            assert_eq!(prefers(&headers, openmetrics, text), expected, "{accepted:?}");
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
