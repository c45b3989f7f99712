//! HTTP, and who may look.

use fleet_monitor::actions::{ClusterAccess, LinkTemplate, commands};
use fleet_monitor::metrics::UnitSeries;
use fleet_monitor::server::access::AllowedHost;
use serde_json::json;
use wildmatch::WildMatch;

use super::*;
use crate::support::snapshots::assert_catalogue;

/// Undoes gzip with the program that everybody has, so that no code of ours is trusted twice.
pub(super) async fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut child = tokio::process::Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip");
    let mut stdin = child.stdin.take().expect("a pipe");
    let body = body.to_vec();
    let writing = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.expect("an output");
    writing.await.expect("no panic").expect("written");
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_a_strict_policy() {
    let bench = ServerBench::start().await;
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/feed.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/plain.css", "text/css; charset=utf-8"),
        ("/units.js", "text/javascript; charset=utf-8"),
        ("/?tab=units&filter=x", "text/html; charset=utf-8"),
    ] {
        let answer = bench.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{path}");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        let again = bench
            .request("GET", path, &[("If-None-Match", answer.header("etag"))])
            .await;
        assert_eq!((again.status, again.text()), (304, ""), "{path}");
    }
}

#[tokio::test]
async fn the_lists_of_the_first_protocol_are_there_once_they_have_been_read() {
    let mut bench = ServerBench::start().await;
    for (path, topic) in [("/v1/units", "units"), ("/v1/machines", "machines")] {
        let answer = bench.get(path).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!(503)));
        assert!(
            answer.json()["error"]["message"].as_str().unwrap().contains(topic),
            "{}",
            answer.text()
        );
    }
    let units = [("a.service", "active")];
    bench.read_all(&view(&units));
    let machines = bench.get("/v1/machines").await;
    assert_eq!((machines.status, machines.text()), (200, format!("{NO_MACHINES}\n").as_str()));
    let answer = bench.get("/v1/units").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.text(), list(&units) + "\n");

    let tag = answer.header("etag");
    assert_eq!(tag, r#"W/"epoch-2""#);
    for known in [tag, r#""epoch-2""#, "*", r#""x", W/"epoch-2""#] {
        let again = bench.request("GET", "/v1/units", &[("If-None-Match", known)]).await;
        assert_eq!((again.status, again.header("etag"), again.text()), (304, tag, ""), "{known}");
    }
    bench.read(FleetList::Units, &view(&[("a.service", "failed")]));
    let changed = bench.request("GET", "/v1/units", &[("If-None-Match", tag)]).await;
    assert_eq!((changed.status, changed.header("etag")), (200, r#"W/"epoch-5""#));
}

#[tokio::test]
async fn lists_and_the_state_can_be_filtered() {
    let mut bench = ServerBench::start().await;
    let shown = Arc::new(View {
        units: [unit("a.service", "active"), unit("b.service", "failed")]
            .into_iter()
            .collect(),
        machines: vec![member("0123", false), member("4567", false)],
    });
    bench.read_all(&shown);
    let names = |list: &serde_json::Value| -> Vec<String> {
        let rows = list.as_array().expect("a list");
        let name = |row: &serde_json::Value| {
            let name = [&row[0], &row["unit"], &row["machine"]];
            name.into_iter()
                .find_map(|name| name.as_str())
                .expect("a name")
                .to_owned()
        };
        rows.iter().map(name).collect()
    };

    let units = bench.get("/v1/units?filter=failed").await.json();
    assert_eq!(units["type"], "unit");
    assert_eq!(names(&units["items"]), ["b.service"]);
    let machines = bench.get("/v1/machines?filter=machine:4567&token=t").await.json();
    assert_eq!(names(&machines["items"]), ["4567"]);

    let state = bench.get("/v2/state?filter=-failed+machine:0123").await.json();
    assert_eq!(
        (names(&state["units"]), names(&state["machines"])),
        (vec!["a.service".into()], vec!["0123".into()])
    );
    assert_eq!(state["health"]["state"], "ok");
    let state = bench.get("/v2/state?topics=units").await.json();
    assert_eq!(names(&state["units"]), ["a.service", "b.service"]);
    assert!(state.get("machines").is_none() && state.get("transitions").is_none(), "{state}");
}

#[tokio::test]
async fn a_filtered_answer_has_a_tag_of_its_own_and_leaves_the_whole_one_alone() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("a.service", "active"), ("b.service", "failed")]));

    for (path, queries) in [
        ("/v1/units", ["filter=failed", "filter=state:active"]),
        ("/v2/state", ["filter=failed", "topics=units&filter=failed"]),
    ] {
        let whole = bench.get(path).await;
        let mut tags = vec![whole.header("etag").to_owned()];
        for query in queries {
            let path = format!("{path}?{query}");
            let answer = bench.get(&path).await;
            let tag = answer.header("etag").to_owned();
            let again = bench.request("GET", &path, &[("If-None-Match", &tag)]).await;
            assert_eq!((again.status, again.text()), (304, ""), "{path}");
            let other = bench.request("GET", &path, &[("If-None-Match", &tags[0])]).await;
            assert_eq!(other.status, 200, "{path}");

            let gzip = [("Accept-Encoding", "gzip")];
            let packed = bench.request("GET", &path, &gzip).await;
            assert_eq!(packed.status, 200, "{path}");
            tags.push(tag);
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 3, "{tags:?}");

        let after = bench.get(path).await;
        assert_eq!(after.header("etag"), whole.header("etag"));
        let empty = bench.get(&format!("{path}?filter=")).await;
        assert_eq!(empty.header("etag"), whole.header("etag"), "no term is no filter");
    }
    assert_eq!(
        bench.get("/v1/units").await.text(),
        list(&[("a.service", "active"), ("b.service", "failed")]) + "\n"
    );
}

#[tokio::test]
async fn the_state_is_everything_and_its_status_comes_even_when_nothing_changed() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("größe.service", "active")]));
    let answer = bench.get("/v2/state").await;
    let state = answer.json();
    assert_eq!(state["units"][0]["unit"], "größe.service");
    assert_eq!(state["health"]["state"], "ok");
    let revision = state["revision"].as_u64().expect("a number");
    assert_eq!(answer.header("etag"), format!("W/\"epoch-{revision}\""));
    let _client = bench.client().await;
    let reason = "fleetctl: größer";
    let failure = Some(ReadFailure { since: Moment::now(), reason: reason.into() });
    bench.health.lists[0].failure = failure;
    bench.publisher.publish(FeedInput {
        view: &view(&[]),
        problems: &Default::default(),
        health: &bench.health,
        transitions: &[],
        change: None,
        read: &[],
        now: Moment::now(),
    });
    let answer = bench.get("/v2/state").await;
    for method in ["GET", "HEAD"] {
        let again = bench
            .request(method, "/v2/state", &[("If-None-Match", answer.header("etag"))])
            .await;
        assert_eq!((again.status, again.text()), (304, ""));
        assert!(again.header("fleet-monitor-status").is_ascii());
        let status: serde_json::Value =
            serde_json::from_str(again.header("fleet-monitor-status")).expect("JSON");
        assert_eq!(status["state"], "failing");
        assert_eq!(status["reason"], reason);
        assert_eq!(status["clients"], 1);
    }
}

#[tokio::test]
async fn the_actions_are_the_links_of_the_settings_and_the_commands_for_the_source() {
    let url = "https://kibana.example/{unit}?host={ip}";
    let links = vec![LinkTemplate::new("Logs", url).unwrap()];
    let with_links = ServerSettings { links, ..settings() };
    let bench = ServerBench::with(with_links, Timing::default(), Publish::Changes).await;

    let answer = bench.get("/v2/actions").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let expected = json!({
        "commands": {"unit": [], "machine": []},
        "links": [{"name": "Logs", "url": url}],
        "logs": false,
        "unit_files": null,
    });
    assert_eq!(answer.json(), expected);
    let known = [("If-None-Match", answer.header("etag"))];
    assert_eq!(bench.request("GET", "/v2/actions/", &known).await.status, 304);

    bench.server.set_commands(commands(&ClusterAccess::default()));
    let changed = bench.request("GET", "/v2/actions", &known).await;
    assert_eq!(changed.status, 200);
    let first = &changed.json()["commands"]["unit"][0];
    assert_eq!(first["name"], "journal");
    assert!(first["command"].as_str().unwrap().contains("{unit}"), "{first}");

    bench.server.set_settings(settings());
    assert_eq!(bench.get("/v2/actions").await.json()["links"], json!([]));
}

#[tokio::test]
async fn the_status_is_short_however_long_its_reasons_are() {
    let mut bench = ServerBench::start().await;
    let reason = "\u{7f}".repeat(10_000);
    for topic in &mut bench.health.lists {
        topic.failure = Some(ReadFailure { since: Moment::now(), reason: reason.as_str().into() });
    }
    bench.publisher.publish(FeedInput {
        view: &view(&[]),
        problems: &Default::default(),
        health: &bench.health,
        transitions: &[],
        change: None,
        read: &[],
        now: Moment::now(),
    });
    let answer = bench.get("/v2/state").await;
    assert_eq!(answer.json()["health"]["reason"], reason);
    let header = answer.header("fleet-monitor-status");
    assert!(header.len() < 6 * 1024, "{} bytes", header.len());
    let status: serde_json::Value = serde_json::from_str(header).expect("JSON");
    assert_eq!(status["reason"], reason[..200]);
}

#[tokio::test]
async fn the_process_lives_and_is_ready_when_all_has_been_read() {
    let mut bench = ServerBench::start().await;
    let alive = bench.get("/healthz").await;
    assert_eq!((alive.status, alive.text()), (200, "{\"status\":\"ok\"}\n"));
    let answer = bench.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.json()["reason"].as_str().unwrap().contains("machines"),
        "{}",
        answer.text()
    );

    bench.read_all(&view(&[]));
    let answer = bench.get("/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"], "ready");
    assert!(answer.json()["summary"].is_string());
    assert_eq!(answer.json()["health"]["source"], "test");

    bench.health.lists[1].failure =
        Some(ReadFailure { since: Moment::now(), reason: "exit status 1".into() });
    bench.publisher.publish(FeedInput {
        view: &view(&[]),
        problems: &Default::default(),
        health: &bench.health,
        transitions: &[],
        change: None,
        read: &[],
        now: Moment::now(),
    });
    let answer = bench.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.json()["reason"].as_str().unwrap().contains("exit status 1"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["health"]["state"], "failing");
    assert_eq!(bench.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn data_older_than_the_schedule_allows_are_not_ready_though_nothing_failed() {
    let mut bench = ServerBench::start().await;
    let ready = async |bench: &ServerBench| {
        let metrics = bench.get("/metrics").await;
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("fleet_monitor_ready "));
        line.expect("the metric").to_owned()
    };
    bench.read_before(Duration::from_secs(12), &view(&[]));
    assert_eq!(bench.get("/readyz").await.status, 200);
    assert_eq!(ready(&bench).await, "1");

    // Whoever asks compares with the clock: nothing is published in between.
    bench.read_before(Duration::from_millis(12_900), &view(&[]));
    while bench.get("/readyz").await.status == 200 {}

    bench.read_before(Duration::from_secs(32), &view(&[]));
    let answer = bench.get("/readyz").await;
    assert_eq!(answer.status, 503);
    let health = &bench.get("/v2/state").await.json()["health"];
    assert_eq!(health["state"], "overdue");
    let reason = health["reason"].as_str().unwrap();
    assert!(
        reason.contains("units") && reason.contains("32 s") && reason.contains("2 s"),
        "{reason}"
    );
    assert!(answer.json()["reason"].as_str().unwrap().ends_with(reason), "{}", answer.text());
    assert_eq!(ready(&bench).await, "0");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let bench = ServerBench::start().await;
    for (method, path, code) in [
        ("GET", "/nothing", 404),
        ("POST", "/nothing", 404),
        ("GET", "/app.js/extra", 404),
        ("GET", "/healthz//", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/", 405),
        ("PUT", "/v2/state", 405),
    ] {
        let answer = bench.request(method, path, &[]).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (code, "application/json"),
            "{method} {path}"
        );
        assert_eq!(answer.json()["error"]["code"], code);
        assert!(answer.json()["error"]["message"].is_string());
        let allow = if code == 405 { "GET, HEAD, OPTIONS" } else { "" };
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    let options = bench.request("OPTIONS", "/", &[]).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("a.service", "active")]));

    for path in [
        "/",
        "/v1/units",
        "/v1/machines",
        "/v2/state",
        "/plain",
        "/healthz",
        "/readyz",
        "/metrics",
        "/nothing",
    ] {
        // The plain page has a clock, and a minute may end between two requests.
        let before = bench.get(path).await;
        let head = bench.request("HEAD", path, &[]).await;
        let answers = [before, bench.get(path).await];
        assert!(head.body.is_empty(), "{path}");
        assert!(answers.iter().all(|get| get.status == head.status), "{path}");
        for name in ["content-type", "etag"] {
            assert!(
                answers.iter().any(|get| get.header(name) == head.header(name)),
                "{path} {name}"
            );
        }

        // Ages and the CPU time may have another digit.
        let length = head.header("content-length").parse::<usize>().expect("a length");
        assert!(
            if matches!(path, "/readyz" | "/v2/state" | "/metrics") {
                length > 100
            } else {
                answers.iter().any(|get| get.body.len() == length)
            },
            "{path}: {length}"
        );
    }
}

#[tokio::test]
async fn json_ends_with_a_newline_on_every_path() {
    let bench = ServerBench::start().await;
    let mut full = ServerBench::start().await;
    let names: Vec<String> = (0..100).map(|number| format!("unit-{number}.service")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "active")).collect();
    full.read_all(&view(&units));

    for bench in [&bench, &full] {
        for (method, path) in [
            ("GET", "/v1/units"),
            ("GET", "/v1/machines"),
            ("GET", "/v2/state"),
            ("GET", "/healthz"),
            ("GET", "/readyz"),
            ("GET", "/nothing"),
            ("POST", "/v2/state"),
            ("GET", "/v2/events?topics=all"),
        ] {
            for encoding in ["identity", "gzip"] {
                let accepted = [("Accept-Encoding", encoding)];
                let answer = bench.request(method, path, &accepted).await;
                assert_eq!(answer.header("content-type"), "application/json", "{path}");
                assert_eq!(
                    answer.header("content-length"),
                    answer.body.len().to_string(),
                    "{path}"
                );

                let body = match answer.header("content-encoding") {
                    "gzip" => gunzip(&answer.body).await,
                    _ => answer.body,
                };
                assert!(body.ends_with(b"}\n"), "{method} {path}, {encoding}");
            }
        }
    }
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_wants_that() {
    let mut bench = ServerBench::start().await;
    let gzip = [("Accept-Encoding", "gzip")];
    for (units, compressed) in [(1, false), (100, true), (2000, true)] {
        let names: Vec<String> =
            (0..units).map(|number| format!("unit-{number:05}.service")).collect();
        let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "active")).collect();
        bench.read(FleetList::Units, &view(&units));
        let plain = bench.get("/v1/units").await;
        let expected = list(&units) + "\n";
        assert_eq!((plain.header("content-encoding"), plain.text()), ("", expected.as_str()));
        assert!(plain.header("vary").contains("Accept-Encoding"));
        let answer = bench.request("GET", "/v1/units", &gzip).await;
        assert_eq!(answer.header("etag"), plain.header("etag"));
        if compressed {
            assert_eq!(answer.header("content-encoding"), "gzip");
            assert!(answer.body.len() < plain.body.len() / 4);
            assert_eq!(gunzip(&answer.body).await, plain.body);
        } else {
            assert_eq!((answer.header("content-encoding"), &answer.body), ("", &plain.body));
        }

        // It has the time in it, and so differs.
        let [mut plain, mut unpacked] = [bench.get("/v2/state").await.json(), {
            let answer = bench.request("GET", "/v2/state", &gzip).await;
            assert_eq!(answer.header("content-encoding"), if compressed { "gzip" } else { "" });
            let body = if compressed {
                gunzip(&answer.body).await
            } else {
                answer.body
            };
            serde_json::from_slice(&body).expect("JSON")
        }];
        for state in [&mut plain, &mut unpacked] {
            state["time"].take();
            state["health"].take();
        }
        assert_eq!(plain, unpacked);
    }
}

#[tokio::test]
async fn what_is_large_but_for_one_answer_alone_is_compressed_too() {
    let unit_series = UnitSeries { selected: vec![WildMatch::new("*")], ..UnitSeries::default() };
    let settings = ServerSettings { unit_series, ..settings() };
    let mut bench = ServerBench::with(settings, Timing::default(), Publish::Changes).await;
    let names: Vec<String> = (0..2000).map(|number| format!("unit-{number:05}.service")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "active")).collect();
    bench.read_all(&view(&units));
    let plain = bench.get("/metrics").await;
    let answer = bench.request("GET", "/metrics", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    // The values of the process change between two requests, and may have another digit then.
    let lines = |body: &[u8]| body.split(|byte| *byte == b'\n').count();
    assert_eq!(lines(&gunzip(&answer.body).await), lines(&plain.body));
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let bench = ServerBench::start().await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stream = TcpStream::connect(bench.address).await.expect("a connection");
    for _ in 0..3 {
        stream.write_all(request).await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(br#"{"status":"ok"}"#) {
            answer.push(stream.read_u8().await.expect("a byte"));
        }
    }
}

#[tokio::test]
async fn strangers_are_refused_on_every_path_and_told_how_to_get_in() {
    let bench = ServerBench::start().await;
    let rebound = [("Host", "evil.example:8989")];
    let foreign = [("Origin", "http://evil.example")];
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/units",
        "/v2/state",
        "/plain",
        "/nothing",
    ] {
        let answer = bench.request("GET", path, &rebound).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.text().contains("--allowed-hosts evil.example"), "{}", answer.text());
        for method in ["GET", "OPTIONS"] {
            let answer = bench.request(method, path, &foreign).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(
                answer.text().contains("--allowed-origins http://evil.example"),
                "{}",
                answer.text()
            );
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        }
        assert_eq!(bench.refused(path, &rebound).await.status, 403, "{path}");
        assert_eq!(bench.refused(path, &foreign).await.status, 403, "{path}");
        assert_eq!(bench.refused(path, &[("Origin", "null")]).await.status, 403, "{path}");
    }

    // Settings that are taken into use let them in.
    let mut settings = settings();
    settings.access.allowed_hosts = vec![AllowedHost::new("evil.example")];
    settings.access.allowed_origins = vec!["http://evil.example".parse().unwrap()];
    bench.server.set_settings(settings);
    assert_eq!(bench.request("GET", "/", &rebound).await.status, 200);
    assert_eq!(bench.request("GET", "/", &foreign).await.status, 200);
}

#[tokio::test]
async fn only_healthz_answers_http_1_0_without_a_host() {
    let bench = ServerBench::start().await;
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/healthz/?from=probe", 200),
        ("OPTIONS", "/healthz", 204),
        ("POST", "/healthz", 405),
        ("GET", "/", 400),
        ("OPTIONS", "/", 400),
        ("OPTIONS", "*", 400),
        ("GET", "/readyz", 400),
        ("GET", "/metrics", 400),
        ("GET", "/v2/state", 400),
        ("GET", "/nothing", 400),
    ] {
        let answer = bench
            .send(format!("{method} {path} HTTP/1.0\r\n\r\n").as_bytes())
            .await;
        assert_eq!(answer.status, status, "{method} {path}");
        if (method, status) == ("GET", 200) {
            assert_eq!(answer.json()["status"], "ok");
        }
    }
    // Any other request for it is judged as on every path.
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nConnection: close", 400),
        ("GET /healthz HTTP/1.0\r\nHost: evil.example", 403),
        ("GET /healthz HTTP/1.0\r\nHost: a b", 400),
        ("GET /healthz HTTP/1.0\r\nHost: ", 400),
        ("GET /healthz HTTP/1.0\r\nOrigin: http://evil.example", 400),
        ("GET http://evil.example/healthz HTTP/1.0", 403),
        ("GET /healthz HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket", 400),
    ] {
        assert_eq!(bench.send(format!("{head}\r\n\r\n").as_bytes()).await.status, status, "{head}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_path_is_ignored() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[("a.service", "active")]));
    for path in [
        "/v1/units",
        "/v1/machines",
        "/v2/state",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v2/events",
    ] {
        let without = bench.request("HEAD", path, &[]).await;
        let with = bench.request("HEAD", &format!("{path}/"), &[]).await;
        assert_eq!((with.status, without.status), (200, 200), "{path}");
        assert_eq!(with.header("content-type"), without.header("content-type"), "{path}");
        assert_eq!(with.header("etag"), without.header("etag"), "{path}");
    }
    // A page, or a file of it, names others beside it, which would not be there.
    for path in ["/app.js/", "/plain/"] {
        assert_eq!(bench.get(path).await.status, 404, "{path}");
    }
}

/// Requests that are refused, but for the end of their head, and with which status.
pub(super) const REFUSED: [(&str, u16); 36] = [
    ("GET /nothing HTTP/1.1\r\nHost: localhost", 404),
    ("POST /v2/state HTTP/1.1\r\nHost: localhost", 405),
    ("GET /v1/units HTTP/1.1\r\nHost: localhost", 503),
    ("GET / HTTP/1.1\r\nAccept: */*", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a", 400),
    ("GET / HTTP/1.1\r\nHost: $host", 400),
    ("GET / HTTP/1.1\r\nHost: gr\u{fc}n", 400),
    ("GET http://localhost@evil.example/ HTTP/1.1\r\nHost: localhost", 400),
    ("GET / HTTP/1.1\r\nHost: Evil.example:8989", 403),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://dash.example:8000", 403),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: null", 403),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: here", 403),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nOrigin: null", 403),
    ("GET /v2/events?topics=units,all HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?topics= HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?filter=stat:failed HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?filter=foo:bar HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?filter=unit: HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?epoch=e&revision=-1 HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?epoch=e HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/events?filters=a HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v1/units?filter=stat:failed HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v1/units?topics=units HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v1/machines?filters=a HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/state?filter=stat:failed HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/state?topics=all HTTP/1.1\r\nHost: localhost", 400),
    ("GET /v2/state?revision=7 HTTP/1.1\r\nHost: localhost", 400),
    (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8",
        426,
    ),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket", 400),
    (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade",
        400,
    ),
    (
        "GET / HTTP/1.0\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",
        400,
    ),
    (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: short",
        400,
    ),
    ("GET /v2/events HTTP/1.1\r\nHost: localhost", 503),
    ("GET /v2/state HTTP/1.1\r\nHost: localhost", 401),
];

#[tokio::test]
async fn refusals_are_in_json_and_in_these_words() {
    let bench = ServerBench::with(
        ServerSettings { max_clients: 0, ..settings() },
        Timing::default(),
        Publish::Changes,
    )
    .await;
    let with_token =
        ServerBench::with(with_token("s3cret"), Timing::default(), Publish::Changes).await;
    let mut told = Vec::new();
    for (head, status) in REFUSED {
        let bench = if status == 401 { &with_token } else { &bench };
        let answer = bench
            .send(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, "application/json"),
            "{head}"
        );
        let answer = answer.json();
        assert_eq!(answer["error"]["code"], status, "{head}");
        told.push((
            head.replace('\r', ""),
            format!("{status}: {}", answer["error"]["message"].as_str().unwrap()),
        ));
    }
    let wrong = [("Authorization", "Bearer wrong")];
    let wrong =
        with_token.request("GET", "/v2/state", &wrong).await.json()["error"]["message"].take();
    told.push((
        "Authorization: Bearer wrong".to_owned(),
        format!("401: {}", wrong.as_str().unwrap()),
    ));
    assert_catalogue("http-refusals", told);
}

#[tokio::test]
async fn a_dashboard_on_the_same_host_or_the_viewers_machine_is_let_in() {
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[]));
    for origin in [format!("http://{}:8000", bench.address.ip()), "http://localhost:8000".into()] {
        let mut request = format!("ws://{}/", bench.address)
            .into_client_request()
            .expect("a request");
        request
            .headers_mut()
            .insert("origin", origin.parse().expect("a value"));
        let mut client = connect_async(request).await.expect("let in").0;
        assert_eq!(text(&mut client).await, NO_MACHINES);

        let answer = bench.request("GET", "/v2/state", &[("Origin", &origin)]).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, &*origin));
        assert!(!answer.headers.contains_key("cross-origin-resource-policy"));
        assert!(answer.header("vary").contains("Origin"));
        assert_eq!(answer.header("access-control-expose-headers"), "ETag, Fleet-Monitor-Status");
        let known = [("Origin", &*origin), ("If-None-Match", answer.header("etag"))];
        let answer = bench.request("GET", "/v2/state", &known).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (304, &*origin));

        let preflight = [("Origin", &*origin), ("Access-Control-Request-Method", "GET")];
        let answer = bench.request("OPTIONS", "/v2/state", &preflight).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, &*origin));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "Authorization, If-None-Match, Last-Event-ID"
        );
        assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn with_a_token_only_the_page_and_the_sign_of_life_are_free() {
    let mut bench =
        ServerBench::with(with_token("s3cret/=\n"), Timing::default(), Publish::Changes).await;
    bench.read_all(&view(&[]));
    let right = [("Authorization", "Bearer s3cret/=")];
    let wrong = [("Authorization", "Bearer s3cret")];
    for path in [
        "/readyz",
        "/metrics",
        "/v1/units",
        "/v1/machines",
        "/v2/state",
        "/v2/actions",
        "/plain",
        "/nothing",
    ] {
        for headers in [&[][..], &wrong] {
            let answer = bench.request("GET", path, headers).await;
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, "Bearer"),
                "{path}"
            );
            assert_eq!(answer.json()["error"]["code"], 401);
        }
        let answer = bench.request("GET", path, &right).await;
        assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        // The query is for WebSockets: a token in the address of a page ends up in histories.
        let answer = bench.get(&format!("{path}?token=s3cret/=")).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    for path in ["/", "/app.js", "/feed.js", "/style.css", "/units.js", "/healthz"] {
        assert_eq!(bench.get(path).await.status, 200, "{path}");
        assert_eq!(bench.refused(path, &[]).await.status, 401, "{path}");
    }
    let preflight = [("Origin", "http://localhost:8000"), ("Access-Control-Request-Method", "GET")];
    assert_eq!(bench.request("OPTIONS", "/v2/state", &preflight).await.status, 204);

    assert_eq!(bench.refused("/", &wrong).await.status, 401);
    assert_eq!(bench.refused("/?token=wrong", &[]).await.status, 401);
    let mut client = bench.client_at("/?token=s3cret%2F%3D").await;
    assert_eq!(text(&mut client).await, NO_MACHINES);
    assert_eq!(bench.server.clients(), 1);
}
