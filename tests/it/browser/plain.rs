//! The plain page, which needs no script, and the pages of refusals.

use serde_json::json;

use super::accessibility::{assert_accessible, axe_core};
use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{Recording, THREE_UNITS, WEB, list, listing, three_units};
use crate::support::{Proxy, ReverseProxy};

/// A Chromium that runs no script of a page.
const NO_SCRIPTS: [&str; 1] = ["--blink-settings=scriptEnabled=false"];

const NAMES: &str = "$$('#units td.name').map((cell) => cell.textContent.trim()).join(' ')";

/// Wrong units and machines, and a source that fails.
fn trouble() -> Recording {
    Recording::of_etcd(&THREE_UNITS)
        .silent(0.1, 24)
        .failing(0.2, &["registry"])
}

#[tokio::test]
async fn without_scripts_the_page_leads_to_the_plain_one() {
    let Some(browser) = Browser::start_with(&NO_SCRIPTS).await else {
        return;
    };
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    let shown = browser.wait_for_text("web.service").await;
    assert!(shown.contains("api.service") && shown.contains("failed/failed"), "{shown}");
    assert_eq!(browser.client.current_url().await.unwrap().path(), "/plain");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn without_scripts_the_page_below_a_path_leads_to_the_plain_one_there() {
    let Some(browser) = Browser::start_with(&NO_SCRIPTS).await else {
        return;
    };
    let server = Server::replay(&three_units());
    let location = format!("location /fleet/ {{ proxy_pass http://{}/; }}", server.address());
    let site = format!("server {{ listen LISTEN; {location} }}");
    let Some(nginx) = ReverseProxy::nginx(&site) else {
        return;
    };
    let place = format!("{}/fleet/", nginx.address);

    browser.open(&format!("http://{place}")).await;
    browser.wait_for_text("web.service").await;
    assert_eq!(browser.client.current_url().await.unwrap().path(), "/fleet/plain");
    browser.finish_below(&place, &[]).await;
}

#[tokio::test]
async fn with_scripts_the_page_says_at_once_that_it_is_connecting() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let proxy = Proxy::to(server.address()).await;
    proxy.hold("Upgrade: websocket");

    browser.open(&format!("http://{}/", proxy.address)).await;
    browser
        .until("link('connecting') && $('#gate-title').textContent && $('#link').textContent")
        .await;
    proxy.mend();
    browser.until("live() && $('#gate').hidden").await;
    browser.finish_on(proxy.address.port(), &[]).await;
}

#[tokio::test]
async fn it_shows_a_change_without_any_script() {
    let Some(browser) = Browser::start_with(&NO_SCRIPTS).await else {
        return;
    };
    let before = [("web.service", WEB, "activating/start")];
    let after = [("web.service", WEB, "active/running")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("plain")).await;
    browser.wait_for_text("activating/start").await;
    list(&fleetctl, &after);
    browser.wait_for_text("active/running").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_on_the_plain_page_nor_on_a_refusal() {
    let Some(axe) = axe_core() else { return };
    let browser = browser!();
    let server = Server::replay(&trouble());

    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.open(&server.url("plain")).await;
        let has_colours = format!("matchMedia('(prefers-color-scheme: {scheme})').matches");
        browser
            .until(&format!("$$('#problems tbody tr').length === 3 && {has_colours}"))
            .await;
        assert_accessible(&browser, &axe, scheme).await;

        browser.open(&server.url("nothing")).await;
        browser.until("$('h1') && $('main a')").await;
        assert_accessible(&browser, &axe, &format!("refusal, {scheme}")).await;
    }
    browser.finish(&server, &["404"]).await;
}

#[tokio::test]
async fn the_plain_page_fits_on_a_phone() {
    let browser = browser!();
    let server = Server::replay(&trouble());

    browser.open(&server.url("plain?refresh=off")).await;
    browser.until("$$('#problems tbody tr').length === 3").await;
    assert_eq!(browser.value(NAMES).await, "api.service cron.timer web.service");

    browser.client.set_window_size(500, 844).await.unwrap();
    // A headless window cannot be made as narrow as a phone.
    browser.value("document.body.style.width = '390px'").await;
    browser.until("document.body.scrollWidth <= 390").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_first_visit_by_a_dns_name_gets_a_page_with_its_style() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser
        .open(&format!("http://strange.example:{}/", server.port))
        .await;
    browser
        .until("$('main').textContent.includes('--allowed-hosts strange.example')")
        .await;
    assert_eq!(
        browser.value("$$('main code').map((code) => code.textContent)").await[0],
        json!("allowed_hosts = [\"strange.example\"]")
    );
    let has_style = "getComputedStyle(document.body).fontFamily.includes('system-ui')";
    assert_eq!(browser.value(has_style).await, true, "its policy allows its style");
    let place = format!("strange.example:{}/", server.port);
    browser.finish_below(&place, &["403"]).await;
}

#[tokio::test]
async fn a_link_of_a_refusal_leads_to_the_page() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("some/wrong/path")).await;
    browser.until("$('main a')").await;
    browser.click("main a").await;
    browser.until("live() && location.pathname === '/'").await;
    browser.finish(&server, &["404"]).await;
}
