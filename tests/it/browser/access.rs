//! Who may see the page: tokens, other sites and rebound names.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::three_units;
use super::site::answering;

#[tokio::test]
async fn a_page_that_was_refused_is_let_in_again() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());
    let allow = |server: &Server| server.reload("allowed_hosts = [\"strange.example\"]\n");
    let address = format!("http://strange.example:{}/", server.port);

    allow(&server);
    for _ in 0..50 {
        // The reload takes a moment.
        browser.open(&address).await;
        if browser.value("!!$('#gate')").await == true {
            break;
        }
    }
    browser.until("live()").await;

    server.kill();
    server.start_again(); // with an empty configuration
    browser
        .until("$('#gate').dataset.kind === 'refused' && !$('#gate').hidden")
        .await;
    browser
        .until("$('#gate-text').textContent.includes('--allowed-hosts')")
        .await;

    allow(&server);
    browser.until("live() && $('#gate').hidden").await;

    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_and_kept_in_the_tab_only() {
    let browser = browser!();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "open-sesame-0123456789\n").unwrap();
    let server = Server::replay_with(&three_units(), &["--token-file", file.to_str().unwrap()]);

    browser.open(&server.url("#tab=units&q=state:failed")).await;
    browser
        .until("!$('#token-form').hidden && document.activeElement.id === 'token'")
        .await;
    assert_eq!(browser.value("rows().length").await, 0);

    browser.press("wrong\u{e007}").await;
    browser
        .until("$('#gate').matches('[data-kind=token][data-rejected]')")
        .await;

    browser.press("open-sesame-0123456789\u{e007}").await;
    browser.until("live() && names() === 'web.service'").await;
    assert_eq!(browser.value("localStorage.length").await, 0);
    assert_eq!(browser.value("document.cookie").await, "");
    assert_eq!(browser.value("location.href.includes('sesame')").await, false);

    browser.client.refresh().await.unwrap();
    browser.until("live() && names() === 'web.service'").await;
    browser.finish(&server, &["401", "WebSocket connection to"]).await;
}

#[tokio::test]
async fn a_page_at_the_gate_is_let_in_when_no_token_is_required_any_more() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let token = server.directory.path().join("token");
    std::fs::write(&token, "open-sesame-0123456789\n").unwrap();

    server.reload(&format!("token_file = {token:?}\n"));
    for _ in 0..50 {
        // The reload takes a moment.
        browser.open(&server.url("")).await;
        browser.until("live() || !$('#token-form').hidden").await;
        if browser.value("link('token')").await == true {
            break;
        }
    }
    browser.until("link('token') && badge() === 'token'").await;

    server.reload("");
    browser
        .until("live() && $('#gate').hidden && rows().length === 3")
        .await;
    browser.finish(&server, &["401", "WebSocket connection to"]).await;
}

#[tokio::test]
async fn another_site_and_a_rebound_name_are_refused_and_this_machine_is_let_in() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let port = answering(
        "200 OK",
        "<!doctype html><link rel=icon href='data:,'><script>
         const socket = new WebSocket('ws://127.0.0.1:' + location.hash.slice(1) + '/');
         socket.onmessage = () => (window.socketResult = 'a message');
         socket.onclose = () => (window.socketResult ??= 'refused');
         fetch('http://127.0.0.1:' + location.hash.slice(1) + '/v2/state')
             .then((answer) => answer.json())
             .then((state) => state.units.length + ' units', () => 'refused')
             .then((result) => (window.fetchResult = result));
         </script>",
    );

    browser
        .open(&format!("http://strange.example:{port}/#{}", server.port))
        .await;
    browser.until("window.socketResult && window.fetchResult").await;
    assert_eq!(
        browser.value("[window.socketResult, window.fetchResult]").await,
        json!(["refused", "refused"])
    );

    browser
        .open(&format!("http://localhost:{port}/#{}", server.port))
        .await;
    browser.until("window.socketResult && window.fetchResult").await;
    assert_eq!(
        browser.value("[window.socketResult, window.fetchResult]").await,
        json!(["a message", "3 units"])
    );
    // A name that now points here is not this machine's name, whatever it points to.
    browser
        .open(&format!("http://strange.example:{}/", server.port))
        .await;
    assert_eq!(browser.value("$('#cluster')").await, Value::Null, "the page itself is refused");
    assert_eq!(browser.value("document.querySelectorAll('.line').length").await, 0);

    browser.client.clone().close().await.unwrap();
}
