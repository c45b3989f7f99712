//! The program behind real reverse proxies, set up as `docs/operations.md` says. What the page
//! makes of them is in `browser.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;

use crate::support::{Daemon, Program, ReverseProxy, documented};

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// The whole answer to a request for a path.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect(path)
        .unwrap();
    answer
}

/// Everything that the program serves is there below `/fleet/`, and who asks for `/fleet` is sent
/// there.
async fn assert_serves_below_fleet(proxy: &ReverseProxy) {
    let redirect = get(proxy.address, "/fleet").await;
    assert!(redirect.starts_with("HTTP/1.1 301 "), "{redirect}");
    let location = redirect
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("location: ").map(str::to_owned));
    assert_eq!(location.as_deref(), Some("/fleet/"));

    for (path, content) in
        [("", "<!doctype html>"), ("app.js", "import "), ("v2/state", "\"units\"")]
    {
        let answer = get(proxy.address, &format!("/fleet/{path}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(content),
            "{path}: {answer}"
        );
    }

    let mut websocket = connect_async(format!("ws://{}/fleet/", proxy.address))
        .await
        .expect("a WebSocket")
        .0;
    let message = timeout(PATIENCE, websocket.next())
        .await
        .expect("in time")
        .expect("no end")
        .unwrap();
    assert!(message.to_text().unwrap().starts_with("{\"type\":\"machine\""), "{message}");

    // The first events come although the answer has no end.
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"GET /fleet/v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
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

/// Of each backend its name, how HAProxy's check of `monitor` went, and with which status of HTTP;
/// once all have been checked.
async fn checks(proxy: &ReverseProxy) -> Vec<[String; 3]> {
    let all_done = async {
        loop {
            let answer = get(proxy.address, "/stats;csv").await;
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
