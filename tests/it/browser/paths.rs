//! The page below a path of a reverse proxy.

use tempfile::TempDir;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::three_units;
use crate::support::{ReverseProxy, documented};

/// An nginx with this example of `docs/operations.md`, or the end of the test.
macro_rules! nginx {
    ($http:expr) => {
        match ReverseProxy::nginx($http) {
            Some(nginx) => nginx,
            None => return,
        }
    };
}

#[tokio::test]
async fn below_a_path_of_nginx_all_requests_are_below_that_path() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let example = documented("nginx below a path").replace("listen 80", "listen LISTEN");
    let nginx = nginx!(&example.replace("127.0.0.1:8989", &server.address().to_string()));
    let place = format!("{}/fleet/", nginx.address);

    browser
        .open(&format!("http://{place}#tab=units&q=state:failed"))
        .await;
    browser.until("live() && names() === 'web.service'").await;

    browser.receives_events().await;
    browser.finish_below(&place, &[]).await;
}

#[tokio::test]
async fn the_path_without_its_slash_redirects_to_the_page() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let example = documented("nginx below a path").replace("listen 80", "listen LISTEN");
    let nginx = nginx!(&example.replace("127.0.0.1:8989", &server.address().to_string()));

    browser
        .open(&format!("http://{}/fleet#tab=units&q=state:failed", nginx.address))
        .await;
    browser.until("live() && names() === 'web.service'").await;
    assert_eq!(
        browser.value("location.pathname + location.hash").await,
        "/fleet/#tab=units&q=state:failed"
    );
    browser.finish_below(&format!("{}/fleet", nginx.address), &[]).await;
}

#[tokio::test]
async fn below_a_path_that_lets_no_websocket_through_it_polls() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let location = format!("location /fleet/ {{ proxy_pass http://{}/; }}", server.address());
    let nginx = nginx!(&format!("server {{ listen LISTEN; {location} }}"));
    let place = format!("{}/fleet/", nginx.address);

    browser.open(&format!("http://{place}")).await;
    browser.until("polling() && rows().length === 3").await;
    browser.finish_below(&place, &["WebSocket connection to"]).await;
}

#[tokio::test]
async fn a_token_typed_below_one_path_is_not_sent_to_a_monitor_below_another() {
    let browser = browser!();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "open-sesame-0123456789\n").unwrap();
    let server = Server::replay_with(&three_units(), &["--token-file", file.to_str().unwrap()]);
    let locations = ["one", "other"]
        .map(|path| format!("location /{path}/ {{ proxy_pass http://{}/; }}", server.address()));
    let nginx = nginx!(&format!("server {{ listen LISTEN; {} }}", locations.join(" ")));

    browser.open(&format!("http://{}/one/", nginx.address)).await;
    browser
        .until("!$('#token-form').hidden && document.activeElement.id === 'token'")
        .await;

    browser.press("open-sesame-0123456789\u{e007}").await;
    browser.until("rows().length === 3").await;

    browser.open(&format!("http://{}/other/", nginx.address)).await;
    browser.until("!$('#token-form').hidden").await;
    assert_eq!(browser.value("rows().length").await, 0);

    browser.open(&format!("http://{}/one/", nginx.address)).await;
    browser.until("rows().length === 3").await;
    browser
        .finish_below(&format!("{}/", nginx.address), &["401", "WebSocket connection to"])
        .await;
}
