//! The connection to the server: cut, resumed, restarted, and without a WebSocket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, WEB, list, listing, three_units};
use crate::support::{Daemon, Double, Proxy, recorded};

#[tokio::test]
async fn it_shows_that_the_server_is_gone_and_reconnects_by_itself() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live() && rows().length === 3").await;
    browser.value("window.loadedOnce = true").await;

    server.kill();
    browser
        .until("link('disconnected') && $('#source').dataset.old === 'units'")
        .await;
    let first = browser.value("$('#link').textContent").await;
    browser
        .until(&format!("link('disconnected') && $('#link').textContent !== {first}"))
        .await;
    assert_eq!(browser.value("rows().length").await, 3, "what was known is kept");
    assert_eq!(browser.value("badge()").await, "disconnected");

    server.start_again();
    browser.until("live() && rows().length === 3").await;
    assert_eq!(browser.value("window.loadedOnce").await, true);
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

/// Records the types of all messages on the sockets that the page opens from now on.
const LISTEN: &str = "(() => {
    window.types = [];
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            this.addEventListener('message', ({ data }) => types.push(JSON.parse(data).type));
        }
    };
})()";

#[tokio::test]
async fn a_change_comes_over_the_socket_alone_and_is_drawn_once() {
    let browser = browser!();
    let before = [("web.service", WEB, "activating/start")];
    let after = [("web.service", WEB, "active/running")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    let proxy = Proxy::to(server.address()).await;

    browser.open(&format!("http://{}/", proxy.address)).await;
    browser.until("live() && !$('.banner')").await;
    browser
        .until("rows().join() === 'web.service|activating/start|ok|10.0.0.1'")
        .await;
    let count = "window.drawn = 0,
        new MutationObserver(() => drawn++).observe($('#subline'), { childList: true })";
    browser.value(count).await;

    list(&fleetctl, &after);
    browser
        .until("rows().join() === 'web.service|active/running|ok|10.0.0.1'")
        .await;
    browser.until("$('#tab-timeline .count').textContent === '1'").await;
    assert_eq!(browser.value("drawn").await, 1, "the row and the event are drawn together");
    assert_eq!(
        proxy.asked("Sec-WebSocket-Protocol:"),
        ["Sec-WebSocket-Protocol: fleet-monitor.v2"]
    );
    assert_eq!(proxy.asked("GET /v2/"), [""; 0]);
    browser.finish_on(proxy.address.port(), &[]).await;
}

#[tokio::test]
async fn after_a_cut_it_resumes_with_what_it_missed() {
    let browser = browser!();
    let fleetctl = Double::new("v1.0.0");
    let daemon = Daemon::asking(&fleetctl, &["--unit-freq", "0.1", "--machine-freq", "0.1"]).await;
    let proxy = Proxy::to(daemon.address).await;

    browser
        .open(&format!("http://{}/#q=web.service", proxy.address))
        .await;
    browser
        .until("live() && rows().includes('web.service|active/running|ok|172.17.8.101')")
        .await;
    browser.value(LISTEN).await;

    proxy.cut();
    browser.until("link('disconnected')").await;
    let (_, before) = daemon.get("/v2/state").await;
    let mut rows = recorded("v1.0.0")["lists"]["list-units"]["rows"].take();
    for row in rows
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .filter(|row| row[0] == "web.service")
    {
        (row[2], row[3]) = ("failed".into(), "failed".into());
    }

    fleetctl.write("rows.json", &json!({ "list-units": rows }).to_string());
    while daemon.get("/v2/state").await.1["revision"] == before["revision"] {}

    proxy.mend_for_websockets();
    browser
        .until("live() && rows().includes('web.service|failed/failed|failed|172.17.8.101')")
        .await;
    browser.until("types.includes('status')").await;
    let types = browser.value("types.join(' ')").await;
    assert!(types.as_str().unwrap().starts_with("hello delta "), "{types}");
    assert!(!types.as_str().unwrap().contains("snapshot"), "{types}");
    let asked = format!(
        "GET /?epoch={}&revision={} ",
        before["epoch"].as_str().unwrap(),
        before["revision"]
    );
    assert_eq!(proxy.asked(&asked).len(), 1, "{:?}", proxy.asked("GET"));
    // And from there it goes on.
    fleetctl.write("rows.json", "{}");
    browser
        .until("rows().includes('web.service|active/running|ok|172.17.8.101')")
        .await;
    browser
        .finish_on(proxy.address.port(), &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn after_a_restart_of_the_server_it_shows_the_new_cluster() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());

    browser.open(&server.url(&format!("#open=api.service/{WEB}"))).await;
    browser.until("live() && rows().length === 3 && $('.opened')").await;
    browser.value(LISTEN).await;

    server.kill();
    let other = Recording::of(&[
        ("other.service", DB, "active/running"),
        ("web.service", WEB, "active/running"),
    ]);
    std::fs::write(server.directory.path().join("recording.jsonl"), other.0).unwrap();

    server.start_again();
    browser
        .until("live() && names() === 'other.service web.service'")
        .await;
    browser
        .until("location.hash === '#tab=units' && headline() === 'ok'")
        .await;
    let types = browser.value("types.join(' ')").await;
    assert!(
        types
            .as_str()
            .unwrap()
            .starts_with("hello resync snapshot snapshot snapshot snapshot status"),
        "{types}"
    );
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn data_is_up_to_date_until_the_server_has_been_silent_for_long() {
    let browser = browser!();
    let server = Server::replay(&three_units().at(600.0, &[]));

    browser.open(&server.url("")).await;
    browser.until("live() && $('#source').dataset.old === ''").await;
    browser
        .value("(() => { const now = Date.now; Date.now = () => now() + 900_000; })()")
        .await;
    browser.until("$('#source').dataset.old === 'units'").await;
    browser.until("badge() === 'stale' && link('live')").await;
    browser
        .until("numbers($('#source').textContent).endsWith('/15')")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn however_often_it_connects_it_has_one_socket() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live()").await;

    server.kill();
    browser.until("link('disconnected')").await;
    // Before each new socket is open, the page is asked to reconnect at once.
    let hurried = "window.made = [];
        window.WebSocket = class extends WebSocket {
            constructor(...given) {
                super(...given);
                if (made.push(this) < 5) queueMicrotask(() => dispatchEvent(new Event('online')));
            }
        }";
    browser.value(&format!("(() => {{ {hurried} }})()")).await;

    server.start_again();
    browser.until("live() && made.length === 5").await;
    assert_eq!(
        browser
            .value("made.filter((socket) => socket.readyState <= 1).length")
            .await,
        1
    );

    let read = "setInterval(() => fetch('/metrics').then((answer) => answer.text())
        .then((text) => (window.metrics = text)), 100)";
    browser.value(read).await;
    browser
        .until("/^fleet_monitor_clients 1$/m.test(window.metrics)")
        .await;
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn one_client_too_many_polls() {
    let browser = browser!();
    let before = [("web.service", WEB, "activating/start")];
    let after = [("web.service", WEB, "active/running")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &["--max-clients", "1"]);
    let mut only = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    let handshake = "GET / HTTP/1.1\r\nHost: localhost\r\n\
                     Upgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    only.write_all(handshake.as_bytes()).unwrap();
    let mut answer = [0; 12];
    only.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");

    browser.open(&server.url("")).await;
    let watch = "window.kinds = new Set(),
        setInterval(() => kinds.add(document.body.dataset.link), 20), null";
    browser.value(watch).await;
    browser.until("polling()").await;
    browser
        .until("rows().join() === 'web.service|activating/start|ok|10.0.0.1'")
        .await;

    list(&fleetctl, &after);
    browser
        .until("rows().join() === 'web.service|active/running|ok|10.0.0.1'")
        .await;
    assert_eq!(browser.value("kinds.has('disconnected')").await, false);

    drop(only);
    browser.until("live()").await;
    browser.finish(&server, &["WebSocket connection to"]).await;
}
