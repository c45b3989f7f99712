//! The program behind real reverse proxies, set up as the documents say, with their default
//! timeouts. What the page makes of them is in `browser.rs`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::certificates::CertificateFiles;
use crate::support::endpoint::{Connection, Endpoint};
use crate::support::{Daemon, Double, Program, ReverseProxy, documented};

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than nginx waits for a byte by default (60 s, `proxy_read_timeout`), and than HAProxy does
/// with the configuration that Debian installs (50 s, `timeout client` and `timeout server`).
const LONGER_THAN_TIMEOUTS: Duration = Duration::from_secs(61);

/// A proxy, or the end of the test.
macro_rules! proxy {
    ($proxy:expr) => {
        match $proxy {
            Some(proxy) => proxy,
            None => return,
        }
    };
}

async fn monitor() -> Daemon {
    Program::new(&["--demo"]).start().await
}

/// The same with the certificate `ours-server`.
async fn monitor_with_tls(files: &CertificateFiles) -> Daemon {
    Program::new(&["--demo"]).with_tls(files).start().await
}

fn documented_nginx(monitor: SocketAddr) -> Option<ReverseProxy> {
    let example = documented("nginx below a path");
    ReverseProxy::nginx(
        &example
            .replace("listen 80", "listen LISTEN")
            .replace("127.0.0.1:8989", &monitor.to_string()),
    )
}

fn documented_haproxy(monitor: SocketAddr) -> Option<ReverseProxy> {
    let example = documented("HAProxy below a path");
    ReverseProxy::haproxy(
        &example
            .replace("bind :80", "bind LISTEN")
            .replace("127.0.0.1:8989", &monitor.to_string()),
    )
}

/// An nginx that trusts the CA in this file.
fn nginx_to_tls(monitor: SocketAddr, ca: &Path) -> Option<ReverseProxy> {
    let example = documented("nginx below a path").replace("listen 80", "listen LISTEN");
    let tls = documented("nginx to a monitor with TLS")
        .replace("fleet.example.com:8989", &format!("localhost:{}", monitor.port()))
        .replace("/etc/ssl/fleet-monitor/ca.pem", ca.to_str().unwrap());
    ReverseProxy::nginx(&with_line_replaced(&example, "proxy_pass ", &tls))
}

/// An HAProxy that trusts the CA in this file.
fn haproxy_to_tls(monitor: SocketAddr, ca: &Path) -> Option<ReverseProxy> {
    let example = documented("HAProxy below a path").replace("bind :80", "bind LISTEN");
    let tls = documented("HAProxy to a monitor with TLS")
        .replace("fleet.example.com:8989", &monitor.to_string())
        .replace("/etc/ssl/fleet-monitor/ca.pem", ca.to_str().unwrap())
        .replace("fleet.example.com", "localhost");
    ReverseProxy::haproxy(&with_line_replaced(&example, "server ", &tls))
}

/// An nginx with the certificate `ours-server`, which connects to the monitor without TLS.
fn nginx_with_tls(monitor: SocketAddr, files: &CertificateFiles) -> Option<ReverseProxy> {
    let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
    ReverseProxy::nginx(
        &documented("nginx with TLS")
            .replace("listen 443", "listen LISTEN")
            .replace("/etc/ssl/fleet.example.com.pem", &path("ours-server.pem"))
            .replace("/etc/ssl/fleet.example.com.key", &path("ours-server.key"))
            .replace("127.0.0.1:8989", &monitor.to_string()),
    )
}

/// The only line that begins with a word is replaced.
fn with_line_replaced(text: &str, begin: &str, by: &str) -> String {
    let is_meant = |line: &&str| line.trim_start().starts_with(begin);
    assert_eq!(text.lines().filter(is_meant).count(), 1, "{begin}: {text}");

    let lines = text
        .lines()
        .map(|line| if is_meant(&line) { by.trim_end() } else { line });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn plain(proxy: &ReverseProxy) -> Endpoint {
    Endpoint { address: proxy.address, tls: None }
}

/// The whole answer to a request for a path.
async fn get(proxy: &Endpoint, path: &str) -> String {
    let mut stream = proxy.connect().await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect(path)
        .unwrap();
    answer
}

/// A WebSocket of the first protocol.
async fn websocket(proxy: &Endpoint, path: &str) -> WebSocketStream<Connection> {
    let stream = proxy.connect().await.unwrap();
    client_async(format!("ws://localhost{path}"), stream)
        .await
        .expect("a WebSocket")
        .0
}

/// An event stream, behind the head of the answer.
async fn event_stream(proxy: &Endpoint, path: &str) -> Lines<BufReader<Connection>> {
    let mut stream = proxy.connect().await.unwrap();
    let request = format!("GET {path}v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    BufReader::new(stream).lines()
}

/// Everything that the program serves is there below `/fleet/`, and who asks for `/fleet` is sent
/// there.
async fn assert_serves_below_fleet(proxy: &ReverseProxy) {
    let proxy = plain(proxy);
    let redirect = get(&proxy, "/fleet").await;
    assert!(redirect.starts_with("HTTP/1.1 301 "), "{redirect}");
    let location = redirect
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("location: ").map(str::to_owned));
    assert_eq!(location.as_deref(), Some("/fleet/"));

    assert_serves_below(&proxy, "/fleet/").await;
}

/// Page, WebSocket and event stream are there below this path.
async fn assert_serves_below(proxy: &Endpoint, place: &str) {
    for (path, content) in
        [("", "<!doctype html>"), ("app.js", "import "), ("v2/state", "\"units\"")]
    {
        let answer = get(proxy, &format!("{place}{path}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(content),
            "{path}: {answer}"
        );
    }

    let mut websocket = websocket(proxy, place).await;
    let message = timeout(PATIENCE, websocket.next())
        .await
        .expect("in time")
        .expect("no end")
        .unwrap();
    assert!(message.to_text().unwrap().starts_with("{\"type\":\"machine\""), "{message}");

    // The first events come although the answer has no end.
    let mut lines = event_stream(proxy, place).await;
    let data = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("data: ") {
                return line;
            }
        }
        panic!("the stream has ended");
    };
    let data = timeout(PATIENCE, data).await.expect("in time");
    assert!(data.contains("\"hello\""), "{data}");
}

/// A WebSocket and an event stream get something although the proxy would have given up by then
/// what is idle.
async fn assert_idle_clients_stay(proxy: Endpoint, place: &str) {
    let begun = Instant::now();
    let mut websocket = websocket(&proxy, place).await;
    let mut lines = event_stream(&proxy, place).await;

    let pinged = async {
        while begun.elapsed() < LONGER_THAN_TIMEOUTS {
            timeout(PATIENCE, websocket.next())
                .await
                .expect("a ping in time")
                .expect("the WebSocket was closed")
                .unwrap();
        }
    };
    let heard = async {
        while begun.elapsed() < LONGER_THAN_TIMEOUTS {
            timeout(PATIENCE, lines.next_line())
                .await
                .expect("a heartbeat in time")
                .unwrap()
                .expect("the event stream was closed");
        }
    };
    tokio::join!(pinged, heard);
}

#[tokio::test]
async fn the_documented_nginx_serves_everything_below_a_path() {
    let monitor = monitor().await;
    let proxy = proxy!(documented_nginx(monitor.address));
    assert_serves_below_fleet(&proxy).await;
}

#[tokio::test]
async fn the_documented_haproxy_serves_everything_below_a_path() {
    let monitor = monitor().await;
    let proxy = proxy!(documented_haproxy(monitor.address));
    assert_serves_below_fleet(&proxy).await;
}

/// A proxy that trusts the CA of the monitor serves everything. One that trusts another CA answers
/// with this status.
async fn assert_verifies_the_monitor(
    proxy_to_tls: impl Fn(SocketAddr, &Path) -> Option<ReverseProxy>,
    refusal: u16,
) {
    let files = CertificateFiles::new();
    let monitor = monitor_with_tls(&files).await;
    let proxy = proxy!(proxy_to_tls(monitor.address, &files.path("ours.pem")));
    assert_serves_below_fleet(&proxy).await;

    let other = proxy!(proxy_to_tls(monitor.address, &files.path("another.pem")));
    let answer = get(&plain(&other), "/fleet/healthz").await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {refusal} ")), "{answer}");
}

#[tokio::test]
async fn the_documented_nginx_connects_with_tls_and_verifies_the_monitor() {
    assert_verifies_the_monitor(nginx_to_tls, 502).await;
}

#[tokio::test]
async fn the_documented_haproxy_connects_with_tls_and_verifies_the_monitor() {
    assert_verifies_the_monitor(haproxy_to_tls, 503).await;
}

#[tokio::test]
async fn the_documented_nginx_terminates_tls() {
    let files = CertificateFiles::new();
    let monitor = monitor().await;
    let proxy = proxy!(nginx_with_tls(monitor.address, &files));
    let tls = Some(files.connector("ours"));
    assert_serves_below(&Endpoint { address: proxy.address, tls }, "/").await;
}

#[tokio::test]
async fn idle_clients_stay_connected_with_the_default_timeouts_of_proxies() {
    let files = CertificateFiles::new();
    let ca = files.path("ours.pem");
    // Nothing changes in its cluster, so that there are only pings and heartbeats.
    let fleetctl = Double::new("v1.0.0");
    let monitor = Daemon::asking(&fleetctl, &[]).await;
    let encrypted = Program::asking(&fleetctl, &[]).with_tls(&files).start().await;

    let below_a_path = [
        proxy!(documented_nginx(monitor.address)),
        proxy!(documented_haproxy(monitor.address)),
        proxy!(nginx_to_tls(encrypted.address, &ca)),
        proxy!(haproxy_to_tls(encrypted.address, &ca)),
    ];
    let with_tls = proxy!(nginx_with_tls(monitor.address, &files));
    let terminating = Endpoint {
        address: with_tls.address,
        tls: Some(files.connector("ours")),
    };

    tokio::join!(
        join_all(
            below_a_path
                .iter()
                .map(|proxy| assert_idle_clients_stay(plain(proxy), "/fleet/"))
        ),
        assert_idle_clients_stay(terminating, "/"),
    );
}

/// Of each backend its name, how HAProxy's check of `monitor` went, and with which status of HTTP;
/// once all have been checked.
async fn checks(proxy: &ReverseProxy) -> Vec<[String; 3]> {
    let all_done = async {
        loop {
            let answer = get(&plain(proxy), "/stats;csv").await;
            let table = answer.lines().skip_while(|line| !line.starts_with("# "));
            let mut rows =
                table.map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());

            let titles = rows.next().unwrap();
            let column = |title| titles.iter().position(|other| *other == title).unwrap();
            let columns = ["pxname", "check_status", "check_code"].map(column);
            let server = column("svname");

            let servers = rows.filter(|row| row.get(server) == Some(&"monitor"));
            let checks: Vec<[String; 3]> = servers
                .map(|row| columns.map(|column| row[column].to_owned()))
                .collect();
            // Before it is `INI`, and while a check is under way there is a star in front.
            if checks.iter().all(|[_, status, _]| status.starts_with("L7")) {
                return checks;
            }
            // HAProxy can only be asked.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all_done).await.expect("all were checked")
}

#[tokio::test]
async fn haproxy_finds_it_alive_however_old_its_check_is() {
    let monitor = monitor().await;
    let backends = [
        ("get", "option httpchk GET /healthz", "L7OK", "200"),
        ("options", "option httpchk /healthz", "L7OK", "204"),
        ("head", "option httpchk HEAD /healthz/", "L7OK", "200"),
        (
            "new",
            "option httpchk\n    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host localhost",
            "L7OK",
            "200",
        ),
        // Nothing but `/healthz` answers who does not say whom he asks.
        ("bare", "option httpchk", "L7STS", "400"),
        ("ready", "option httpchk GET /readyz", "L7STS", "400"),
    ];
    let mut configuration =
        "frontend web\n    mode http\n    bind LISTEN\n    stats enable\n    stats uri /stats\n"
            .to_owned();
    for (name, check, ..) in backends {
        let address = monitor.address;
        configuration += &format!(
            "backend {name}\n    mode http\n    {check}\n    server monitor {address} check inter 200ms fall 1\n"
        );
    }
    let proxy = proxy!(ReverseProxy::haproxy(&configuration));
    let expected = backends.map(|(name, _, status, code)| [name, status, code].map(str::to_owned));
    assert_eq!(checks(&proxy).await, expected);
}
