//! Reading the table while it changes: rows keep their places until nobody reads them.

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, WEB, list, listing};
use crate::support::Double;

const API: (&str, &str, &str) = ("api.service", WEB, "active/running");
const MID: (&str, &str, &str) = ("mid.service", WEB, "active/running");
const NEW: (&str, &str, &str) = ("new.service", DB, "active/running");
const WEB_RUNS: (&str, &str, &str) = ("web.service", WEB, "active/running");
const WEB_FAILED: (&str, &str, &str) = ("web.service", WEB, "failed/failed");

const BEFORE: [(&str, &str, &str); 3] = [API, MID, WEB_RUNS];
/// One row comes, one goes, and one moves to the top.
const AFTER: [(&str, &str, &str); 3] = [API, NEW, WEB_FAILED];

const HELD: &str = "names() === 'api.service mid.service web.service'
    && rows()[2] === 'web.service|failed/failed|failed|10.0.0.1'
    && $('[data-leaving=gone] .name').textContent === 'mid.service'
    && numbers($('.waiting [role=status]').textContent) === '3'";
const RELEASED: &str = "names() === 'web.service api.service new.service'
    && !$('[data-leaving]') && $('.waiting [role=status]').textContent === ''";

/// Opens the page, and waits for the rows of [`BEFORE`].
async fn open(browser: &Browser, server: &Server) {
    browser.open(&server.url("")).await;
    browser
        .until("names() === 'api.service mid.service web.service'")
        .await;
}

/// The mouse is on a row while the lists become [`AFTER`].
async fn open_and_hold(browser: &Browser, server: &Server, fleetctl: &Double) {
    open(browser, server).await;
    browser.point_at("[data-key^='api.service/']").await;
    list(fleetctl, &AFTER);
    browser.until(HELD).await;
}

#[tokio::test]
async fn the_mouse_holds_the_order_of_the_rows_until_it_leaves_them() {
    let browser = browser!();
    let fleetctl = listing(&BEFORE);
    let server = Server::asking(&fleetctl, &[]);

    open_and_hold(&browser, &server, &fleetctl).await;

    browser.click("[data-key^='api.service/']").await;
    browser
        .until("$('.opened').previousElementSibling.dataset.key.startsWith('api.service/')")
        .await;
    assert_eq!(browser.value(HELD).await, true, "a click opens a row and moves none");

    browser.point_at("h1").await;
    browser.until(RELEASED).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_button_at_the_count_shows_what_waits() {
    let browser = browser!();
    let fleetctl = listing(&BEFORE);
    let server = Server::asking(&fleetctl, &[]);

    open_and_hold(&browser, &server, &fleetctl).await;

    browser.point_at(".waiting button").await;
    assert_eq!(browser.value(HELD).await, true, "on the way to the button nothing moves");
    browser.click(".waiting button").await;
    browser.until(RELEASED).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_focus_of_the_keyboard_holds_the_order_until_it_leaves_or_asks_for_what_waits() {
    let browser = browser!();
    let fleetctl = listing(&BEFORE);
    let server = Server::asking(&fleetctl, &[]);

    open(&browser, &server).await;
    browser.value("$$('[role=columnheader] button').pop().focus()").await;
    browser.press("\u{e004}").await; // Tab
    browser.press("\u{e015}").await; // the arrow down
    browser
        .until("document.activeElement.dataset.key.startsWith('mid.service/')")
        .await;
    list(&fleetctl, &AFTER);
    browser.until(HELD).await;

    browser.press("\u{e007}").await; // Enter opens no row that is gone
    assert_eq!(browser.value("Boolean($('.opened'))").await, false);

    browser.press("\u{e004}").await; // Tab
    browser
        .until("document.activeElement.matches('.waiting button')")
        .await;
    assert_eq!(browser.value(HELD).await, true);
    browser.press("\u{e007}").await; // Enter
    browser.until(RELEASED).await;
    assert_eq!(
        browser.value("document.activeElement.matches('.line.unit')").await,
        true,
        "the focus is in the table again"
    );

    list(&fleetctl, &BEFORE);
    browser.until("$('[data-leaving=gone]')").await;
    browser.value("document.activeElement.blur()").await;
    browser
        .until("names() === 'api.service mid.service web.service'")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_touch_holds_nothing() {
    let browser = browser!();
    let fleetctl = listing(&BEFORE);
    let server = Server::asking(&fleetctl, &[]);

    open(&browser, &server).await;
    browser.tap("[data-key^='api.service/']").await;
    browser.until("$('.opened')").await;
    list(&fleetctl, &AFTER);
    browser.until(RELEASED).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn another_order_or_filter_is_applied_at_once() {
    let browser = browser!();
    let fleetctl = listing(&BEFORE);
    let server = Server::asking(&fleetctl, &[]);

    open_and_hold(&browser, &server, &fleetctl).await;

    browser.press("/").await;
    browser.press("service").await;
    browser.until(RELEASED).await;
    browser.finish(&server, &[]).await;
}
