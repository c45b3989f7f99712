use std::path::Path;

use super::*;

fn policy() -> AccessPolicy {
    AccessPolicy { hostname: "core-01".into(), ..AccessPolicy::default() }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    pairs
        .iter()
        .map(|given| pair(given).expect("a header"))
        .collect::<Vec<(hyper::header::HeaderName, hyper::header::HeaderValue)>>()
        .into_iter()
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
}

/// The status for a request with these headers. 200: it is accepted.
fn status(policy: &AccessPolicy, pairs: &[(&str, &str)]) -> u16 {
    policy
        .check_host_and_origin(&Uri::from_static("/"), &headers(pairs))
        .map_or_else(|error| error.status.as_u16(), |()| 200)
}

#[test]
fn only_names_of_this_machine_are_accepted_as_host() {
    for (host, expected) in [
        ("127.0.0.1:8989", 200),
        ("10.0.0.1", 200),
        ("203.0.113.7:80", 200),
        ("[::1]:8989", 200),
        ("[2001:DB8::1]", 200),
        ("localhost", 200),
        ("LOCALHOST:8989", 200),
        ("localhost.:8989", 200),
        ("core-01", 200),
        ("Core-01:8989", 200),
        ("core-01.", 200),
        // DNS rebinding: a name of another site.
        ("evil.example", 403),
        ("evil.example:8989", 403),
        ("core-01.example.com:8989", 403),
        ("core-01-evil.example", 403),
        ("evil.core-01", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("2130706433", 403),
        ("0x7f.1", 403),
        ("core-02", 403),
        // Not a host.
        ("", 400),
        (":8989", 400),
        ("localhost:port", 400),
        ("localhost:99999", 400),
        ("localhost:80:80", 400),
        ("user@localhost", 400),
        ("localhost@evil.example", 400),
        ("evil.example#localhost", 400),
        ("evil.example/localhost", 400),
        ("localhost, evil.example", 400),
        ("::1", 400),
        ("[::1", 400),
        ("[::1]evil.example", 400),
        ("[127.0.0.1]", 400),
        ("[fe80::1%eth0]", 400),
        ("a..b", 400),
        ("..", 400),
        ("localhost..", 400),
    ] {
        assert_eq!(status(&policy(), &[("host", host)]), expected, "{host:?}");
    }
    assert_eq!(status(&policy(), &[]), 400);
    assert_eq!(status(&policy(), &[("host", "localhost"), ("host", "localhost")]), 400);
}

#[test]
fn this_machine_is_known_with_and_without_its_domain() {
    let named = |hostname: &str, host: &str| {
        status(
            &AccessPolicy { hostname: hostname.into(), ..AccessPolicy::default() },
            &[("host", host)],
        )
    };
    assert_eq!(named("core-01.example.com", "core-01"), 200);
    assert_eq!(named("core-01.example.com", "CORE-01.example.COM."), 200);
    assert_eq!(named("core-01.example.com", "core-01.evil.example"), 403);
    assert_eq!(named("Core-01", "core-01"), 200);
    assert_eq!(named("core-01", "core-01.evil.example"), 403);
    assert_eq!(named("localhost", "localhost.evil.example"), 403);
    assert_eq!(named("localhost.localdomain", "localhost.evil.example"), 403);
    assert_eq!(named("", "evil.example"), 403);
}

#[test]
fn allowed_hosts_are_accepted() {
    let allowed = |hosts: &[&str], host: &str| {
        let allowed_hosts = hosts.iter().map(|host| AllowedHost::new(host)).collect();
        status(&AccessPolicy { allowed_hosts, ..policy() }, &[("host", host)])
    };
    assert_eq!(allowed(&["fleet.example.com"], "Fleet.Example.com:8989"), 200);
    assert_eq!(allowed(&["Fleet.example.com."], "fleet.example.com:8989"), 200);
    assert_eq!(allowed(&["fleet.example.com"], "sub.fleet.example.com"), 403);
    assert_eq!(allowed(&["other", "*"], "any.example"), 200);
    assert_eq!(allowed(&["*"], "no host"), 400);
}

#[test]
fn the_host_in_the_request_line_overrides_the_header() {
    let check = |uri: &'static str| {
        policy().check_host_and_origin(&Uri::from_static(uri), &headers(&[("host", "localhost")]))
    };
    assert!(check("http://core-01:8989/").is_ok());
    assert_eq!(check("http://evil.example/").expect_err("refused").status, 403);
    assert_eq!(check("http://localhost@evil.example/").expect_err("refused").status, 400);
}

#[test]
fn only_origins_on_the_same_host_or_on_the_viewers_machine_are_accepted() {
    for (host, origin, expected) in [
        // The page itself, and the prototype's dashboard on the same host.
        ("core-01:8989", "http://core-01:8989", 200),
        ("core-01:8989", "http://core-01:8000", 200),
        ("core-01:8989", "https://CORE-01", 200),
        ("10.0.0.1:8989", "http://10.0.0.1:8000", 200),
        ("[2001:db8::1]:8989", "http://[2001:0db8:0::1]:8000", 200),
        // The same on the viewer's own machine.
        ("core-01:8989", "http://localhost:8000", 200),
        ("core-01:8989", "http://127.0.0.1:8000", 200),
        ("core-01:8989", "http://127.9.9.9", 200),
        ("core-01:8989", "http://[::1]:8000", 200),
        ("core-01:8989", "http://[::ffff:127.0.0.1]:8000", 200),
        ("core-01:8989", "http://dashboard.localhost", 200),
        ("core-01:8989", "http://localhost.", 200),
        // Other sites.
        ("core-01:8989", "http://evil.example", 403),
        ("core-01:8989", "http://core-02", 403),
        ("core-01:8989", "http://10.0.0.1", 403),
        ("10.0.0.1:8989", "http://10.0.0.2", 403),
        ("core-01:8989", "http://core-01.evil.example", 403),
        ("core-01:8989", "http://localhost.evil.example", 403),
        ("core-01:8989", "http://127.0.0.1.evil.example", 403),
        ("core-01:8989", "http://notlocalhost", 403),
        ("core-01:8989", "http://128.0.0.1", 403),
        // A page without an origin, and pages that are not web pages.
        ("core-01:8989", "null", 403),
        ("core-01:8989", "file://", 403),
        ("core-01:8989", "chrome-extension://localhost", 403),
        // Not an origin.
        ("core-01:8989", "", 403),
        ("core-01:8989", "core-01:8989", 403),
        ("core-01:8989", "http://core-01@evil.example", 403),
        ("core-01:8989", "http://core-01/", 403),
        ("core-01:8989", "http://evil.example, http://core-01", 403),
        ("core-01:8989", "http://[::1", 403),
    ] {
        assert_eq!(
            status(&policy(), &[("host", host), ("origin", origin)]),
            expected,
            "{origin:?} to {host}"
        );
    }
    let twice = [
        ("host", "core-01"),
        ("origin", "http://core-01"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(status(&policy(), &twice), 403);
}

#[test]
fn allowed_origins_are_accepted() {
    let allowed = |origins: &[&str], origin: &str| {
        let allowed_origins = origins
            .iter()
            .map(|origin| origin.parse().expect("an origin"))
            .collect();
        status(
            &AccessPolicy { allowed_origins, ..policy() },
            &[("host", "core-01:8989"), ("origin", origin)],
        )
    };
    assert_eq!(allowed(&["http://dash.example:8000"], "http://dash.example:8000"), 200);
    assert_eq!(allowed(&["HTTP://Dash.example:80"], "http://dash.example"), 200);
    assert_eq!(allowed(&["https://dash.example"], "https://dash.example:443"), 200);
    assert_eq!(allowed(&["https://dash.example"], "http://dash.example"), 403);
    assert_eq!(allowed(&["http://dash.example"], "http://dash.example:8000"), 403);
    assert_eq!(allowed(&["http://dash.example"], "null"), 403);
    assert_eq!(allowed(&["null"], "null"), 200);
    assert_eq!(allowed(&["*"], "http://any.example"), 200);
    assert_eq!(allowed(&["*"], "null"), 200);

    for text in [
        "",
        "dash.example",
        "http://",
        "http://dash.example/",
        "http://*.example",
        "://a",
    ] {
        assert_eq!(text.parse::<AllowedOrigin>(), Err(InvalidOrigin), "{text}");
    }
}

#[test]
fn a_refusal_names_the_option_that_would_allow_the_request() {
    let refusal = |pairs: &[_]| {
        policy()
            .check_host_and_origin(&Uri::from_static("/"), &headers(pairs))
            .expect_err("refused")
            .message
    };
    assert!(refusal(&[("host", "Evil.example:8989")]).ends_with(" --allowed-hosts evil.example"));
    let origin = ("origin", "http://dash.example:8000");
    assert!(
        refusal(&[("host", "core-01"), origin])
            .ends_with(" --allowed-origins http://dash.example:8000")
    );
    assert!(
        refusal(&[("host", "core-01"), ("origin", "null")]).ends_with(" --allowed-origins null")
    );
}

#[test]
fn a_token_is_read_from_the_header_or_the_query() {
    let token = Token::new(b"s3cr%t+/=&x");
    let policy = AccessPolicy { token: Some(token), ..policy() };
    let bearer = |value: &str| policy.authorize(&headers(&[("authorization", value)]), None);
    let query = |query: &str| policy.authorize(&HeaderMap::new(), Some(query));
    for value in ["Bearer s3cr%t+/=&x", "bearer  s3cr%t+/=&x "] {
        assert_eq!(bearer(value), Ok(()), "{value}");
    }
    for value in [
        "Bearer s3cr%t+/=&",
        "Bearer s3cr%t+/=&xx",
        "Bearer ",
        "Basic s3cr%t+/=&x",
        "s3cr%t+/=&x",
        "Bearer",
    ] {
        assert_eq!(bearer(value).expect_err("refused").status, 401, "{value}");
    }
    for text in [
        "token=s3cr%25t%2B%2F%3D%26x",
        "a=b&token=s3cr%25t+%2f=%26x",
        "token=s3cr%t+/=%26x",
    ] {
        assert_eq!(query(text), Ok(()), "{text}");
    }
    for text in [
        "",
        "token",
        "token=",
        "atoken=s3cr%25t%2B%2F%3D%26x",
        "token=%",
        "token=%2",
        "token=wrong",
    ] {
        assert_eq!(query(text).expect_err("refused").status, 401, "{text}");
    }
    // The header overrides the query.
    let wrong = headers(&[("authorization", "Bearer wrong")]);
    assert!(policy.authorize(&wrong, Some("token=s3cr%25t%2B%2F%3D%26x")).is_err());
}

#[test]
fn without_a_configured_token_none_is_needed() {
    assert_eq!(policy().authorize(&HeaderMap::new(), None), Ok(()));
}

#[test]
fn a_token_is_never_shown() {
    let token = Token::new(b"secret");
    let policy = AccessPolicy { token: Some(token), ..policy() };
    assert!(!format!("{policy:?}").contains("secret"));
}

#[test]
fn a_token_comes_from_the_credentials_or_else_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let credentials = directory.path().join("credentials");
    std::fs::create_dir(&credentials).expect("made");
    let file = directory.path().join("file");
    let read = |file: Option<&Path>| Token::read(file, Some(&credentials));

    assert!(Token::read(None, None).expect("none").is_none());
    assert!(read(None).expect("none").is_none());
    let missing = read(Some(&file)).expect_err("no file");
    assert!(
        matches!(&missing, TokenError::Unreadable { path, .. } if *path == file),
        "{missing:?}"
    );

    std::fs::write(&file, "of-the-file\r\n").expect("written");
    assert!(
        read(Some(&file))
            .expect("read")
            .expect("a token")
            .equals("of-the-file")
    );
    std::fs::write(credentials.join("token"), "of-systemd").expect("written");
    assert!(
        read(Some(&file))
            .expect("read")
            .expect("a token")
            .equals("of-systemd")
    );

    for useless in ["", "\n", "two words", "two\nlines\n", "größer", " x"] {
        std::fs::write(&file, useless).expect("written");
        let error = Token::read(Some(&file), None).expect_err(useless);
        assert!(matches!(&error, TokenError::Unusable(path) if *path == file), "{error:?}");
    }
}
