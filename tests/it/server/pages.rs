//! What a browser gets in place of JSON: refusals as a page, and the page that needs no script.

use super::http::{REFUSED, gunzip};
use super::*;
use crate::support::snapshots::assert_catalogue;

/// The `Accept` header of Chromium, when somebody opens an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

const HTML: &str = "text/html; charset=utf-8";

async fn open(bench: &ServerBench, path: &str) -> Response {
    bench.request("GET", path, &[("Accept", BROWSER)]).await
}

/// The texts of a page of a refusal, without its markup.
fn words_of(page: &str) -> String {
    let main = page.split("<main>\n").nth(1).expect("a main element");
    let main = main.split("</main>").next().expect("the end of it");
    main.split('<')
        .filter_map(|part| part.split_once('>'))
        .map(|(_, text)| text)
        .collect::<String>()
        .replace("&quot;", "\"")
        .trim()
        .to_owned()
}

#[tokio::test]
async fn whoever_opens_an_address_in_a_browser_gets_a_refusal_as_a_page_in_these_words() {
    let full = ServerSettings { max_clients: 0, ..settings() };
    let full = ServerBench::with(full, Timing::default(), Publish::Changes).await;
    let locked = ServerBench::with(with_token("s3cret"), Timing::default(), Publish::Changes).await;

    let mut shown = Vec::new();
    for (head, status) in REFUSED {
        let bench = if status == 401 { &locked } else { &full };
        let request = format!("{head}\r\nAccept: {BROWSER}\r\nConnection: close\r\n\r\n");
        let answer = bench.send(request.as_bytes()).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, HTML), "{head}");
        assert!(answer.header("vary").contains("Accept"), "{head}");
        shown.push((head.replace('\r', ""), words_of(answer.text())));
    }
    assert_catalogue("refusal-pages", shown);
}

#[tokio::test]
async fn programs_get_refusals_in_json_whatever_they_accept() {
    let bench = ServerBench::start().await;
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.2";
    for accept in ["*/*", "application/json", "text/event-stream", prometheus] {
        let headers = [("Accept", accept), ("Host", "evil.example")];
        let answer = bench.request("GET", "/metrics", &headers).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (403, "application/json"),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn a_page_of_a_refusal_has_its_headers_and_needs_no_file() {
    let bench = ServerBench::start().await;
    let stranger = [("Accept", BROWSER), ("Host", "fleet.example.com")];
    let answer = bench.request("GET", "/", &stranger).await;
    assert_eq!(answer.status, 403);
    for setting in [
        "--allowed-hosts fleet.example.com",
        "allowed_hosts = [&quot;fleet.example.com&quot;]",
        "systemctl reload fleet-monitor",
    ] {
        assert!(answer.text().contains(setting), "{setting}: {}", answer.text());
    }
    assert!(!answer.text().contains("<link rel=\"stylesheet\""), "{}", answer.text());
    assert!(!answer.text().contains("href=\"./"), "a link would be refused too");
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");

    let post = bench.request("POST", "/", &[("Accept", BROWSER)]).await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
    let head = bench.request("HEAD", "/nothing", &[("Accept", BROWSER)]).await;
    assert_eq!((head.status, head.header("content-type"), head.text()), (404, HTML, ""));
}

#[tokio::test]
async fn no_header_and_no_query_gets_markup_into_a_page_of_a_refusal() {
    let bench = ServerBench::start().await;
    let host = bench.address.to_string();
    let script = "<script>alert(1)</script>";
    let query = "/v2/events?%3Cscript%3Ealert(1)%3C/script%3E=x";
    for (path, headers) in [
        ("/", &[("Host", script)][..]),
        ("/", &[("Host", &host), ("Origin", script)]),
        (query, &[("Host", &host)]),
    ] {
        let headers = [headers, &[("Accept", BROWSER)]].concat();
        let answer = bench.request("GET", path, &headers).await;
        assert!(matches!(answer.status, 400 | 403), "{path} {headers:?}: {}", answer.status);
        assert_eq!(answer.header("content-type"), HTML);
        assert!(!answer.text().contains("<script"), "{}", answer.text());
        assert!(answer.text().contains("&lt;script&gt;alert(1)"), "{}", answer.text());
    }
}

#[tokio::test]
async fn the_plain_page_has_everything_without_a_script_and_loads_itself_again() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("größe.service", "active"), ("web.service", "failed")]));
    let answer = open(&bench, "/plain").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, HTML));
    assert_eq!(answer.header("refresh"), "10");
    assert!(!answer.text().contains("<script"), "{}", answer.text());
    for name in ["größe.service", "web.service", "10.0.0.1"] {
        assert!(answer.text().contains(name), "{}", answer.text());
    }

    let programs = bench.get("/plain?refresh=off").await;
    assert_eq!((programs.status, programs.header("content-type")), (200, HTML));
    assert_eq!(programs.header("refresh"), "");
    for file in ["/style.css", "/plain.css"] {
        assert!(answer.text().contains(&format!("href=\"{}\"", &file[1..])), "{file}");
    }
}

#[tokio::test]
async fn the_plain_page_is_sent_again_only_if_a_word_of_it_has_changed() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("a.service", "active")]));

    // Its clock has minutes, and one may just have ended.
    let mut answers = Vec::new();
    for _ in 0..2 {
        let tag = open(&bench, "/plain").await.header("etag").to_owned();
        let again = bench.request("GET", "/plain", &[("If-None-Match", &tag)]).await;
        answers.push((again.status, again.header("refresh").to_owned()));
    }
    assert!(answers.contains(&(304, "10".to_owned())), "{answers:?}");

    let tag = open(&bench, "/plain").await.header("etag").to_owned();
    let _client = bench.client().await;
    let again = bench.request("GET", "/plain", &[("If-None-Match", &tag)]).await;
    assert_eq!(again.status, 200, "it says how many clients there are");
}

#[tokio::test]
async fn the_plain_page_of_5000_units_is_compressed() {
    let mut bench = ServerBench::start().await;
    let names: Vec<String> = (0..5000).map(|number| format!("unit-{number:05}.service")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "active")).collect();
    bench.read_all(&view(&units));

    let plain = bench.get("/plain").await;
    let compressed = bench.request("GET", "/plain", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), "gzip");
    assert!(compressed.body.len() < plain.body.len() / 8, "{} bytes", compressed.body.len());
    let unpacked = String::from_utf8(gunzip(&compressed.body).await).expect("UTF-8");
    assert_eq!(unpacked.matches("<td class=\"state\">").count(), 5000);
    assert!(unpacked.ends_with("</html>\n"));
}

#[tokio::test]
async fn with_a_token_the_plain_page_says_how_to_send_it_and_takes_none_from_its_address() {
    let mut bench =
        ServerBench::with(with_token("s3cret"), Timing::default(), Publish::Changes).await;
    bench.read_all(&view(&[("a.service", "active")]));
    for path in ["/plain", "/plain?token=s3cret"] {
        let answer = open(&bench, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (401, HTML), "{path}");
        assert!(answer.text().contains("curl -H"), "{}", answer.text());
        assert!(!answer.text().contains("a.service"), "{}", answer.text());
    }

    let right = [("Accept", BROWSER), ("Authorization", "Bearer s3cret")];
    assert_eq!(bench.request("GET", "/plain", &right).await.status, 200);
}
