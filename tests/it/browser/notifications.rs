//! The browser's notifications of new problems. A stand-in writes down what is shown.

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, WEB, list, listing, three_units};

const FINE: [(&str, &str, &str); 3] = [
    ("api.service", WEB, "active/running"),
    ("db.service", DB, "active/running"),
    ("web.service", WEB, "active/running"),
];

const ONE_FAILED: [(&str, &str, &str); 3] =
    [FINE[0], FINE[1], ("web.service", WEB, "failed/failed")];

const TWO_FAILED: [(&str, &str, &str); 3] = [
    ("api.service", WEB, "active/running"),
    ("db.service", DB, "failed/failed"),
    ONE_FAILED[2],
];

/// A browser without notifications yet, in which everything is allowed that is asked for.
const STAND_IN: &str = "
    window.asked = 0;
    window.shown = [];
    window.Notification = class {
        static get permission() { return sessionStorage.permission ?? 'default'; }
        static async requestPermission() {
            asked++;
            sessionStorage.permission = window.answer ?? 'granted';
            return Notification.permission;
        }
        constructor(title, options) {
            Object.assign(this, { title, ...options, isOpen: true });
            shown.push(this);
        }
        close() {
            if (!this.isOpen) return;
            this.isOpen = false;
            this.onclose?.();
        }
    };";

/// The button.
const BELL: &str = "$('#notify')";

#[tokio::test]
async fn nothing_is_asked_before_the_viewer_asks_and_his_choice_is_kept() {
    let browser = browser!();
    browser.run_before_scripts(STAND_IN).await;
    let fleetctl = listing(&FINE);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser
        .until(&format!("live() && {BELL}.ariaPressed === 'false'"))
        .await;
    assert_eq!(browser.value("asked").await, 0);
    browser.click("#notify").await;
    browser
        .until(&format!("{BELL}.ariaPressed === 'true' && asked === 1"))
        .await;

    browser.open(&server.url("")).await;
    browser
        .until(&format!("live() && {BELL}.ariaPressed === 'true'"))
        .await;
    assert_eq!(browser.value("asked").await, 0);
    browser.click("#notify").await;
    browser.until(&format!("{BELL}.ariaPressed === 'false'")).await;
    browser.open(&server.url("")).await;
    browser
        .until(&format!("live() && {BELL}.ariaPressed === 'false'"))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_burst_is_one_notification_which_goes_with_its_problems() {
    let browser = browser!();
    browser.run_before_scripts(STAND_IN).await;
    let fleetctl = listing(&FINE);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live()").await;
    browser.click("#notify").await;
    list(&fleetctl, &ONE_FAILED);
    browser.until("causes().length === 1").await;
    list(&fleetctl, &TWO_FAILED);
    browser.until("shown.length === 1").await;
    assert_eq!(browser.value("numbers(shown[0].title)").await, "2");
    assert_eq!(
        browser
            .value("['db', 'web'].every((name) => shown[0].body.includes(`${name}.service`))")
            .await,
        true
    );

    list(&fleetctl, &ONE_FAILED);
    browser
        .until("shown.length === 2 && shown[1].title.includes('web.service')")
        .await;
    assert_eq!(browser.value("[shown[1].silent, shown[0].silent]").await, json!([true, false]));
    assert_eq!(browser.value("shown[0].tag === shown[1].tag").await, true);

    list(&fleetctl, &FINE);
    browser.until("!shown[1].isOpen").await;
    assert_eq!(browser.value("shown.length").await, 2);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn what_is_open_or_muted_is_not_notified_of() {
    let browser = browser!();
    browser.run_before_scripts(STAND_IN).await;
    let fleetctl = listing(&ONE_FAILED);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live() && causes().length === 1").await;
    browser.click("#notify").await;
    browser.until(&format!("{BELL}.ariaPressed === 'true'")).await;
    browser.open(&server.url("")).await;
    browser.until("live() && causes().length === 1").await;

    list(&fleetctl, &TWO_FAILED);
    browser.until("shown.length === 1").await;
    assert_eq!(browser.value("shown[0].title.includes('db.service')").await, true);
    assert_eq!(browser.value("shown[0].title.includes('web.service')").await, false);

    browser.click(&format!("[data-mute='failed/db.service/{DB}']")).await;
    browser.until("!shown[0].isOpen").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn problems_that_a_restarted_server_opens_again_are_not_new() {
    let browser = browser!();
    browser.run_before_scripts(STAND_IN).await;
    let fleetctl = listing(&ONE_FAILED);
    let mut server = Server::asking(&fleetctl, &["--problem-after", "1"]);

    browser.open(&server.url("")).await;
    browser.until("live() && causes().length === 1").await;
    browser.click("#notify").await;
    server.kill();
    browser.until("link('disconnected')").await;
    server.start_again();
    browser.until("live() && causes().length === 1").await;

    list(&fleetctl, &TWO_FAILED);
    browser.until("shown.length === 1").await;
    assert_eq!(browser.value("shown[0].title.includes('db.service')").await, true);
    assert_eq!(browser.value("shown[0].body.includes('web.service')").await, false);
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn a_viewer_who_has_refused_is_told_so() {
    let browser = browser!();
    browser
        .run_before_scripts(&format!("window.answer = 'denied'; {STAND_IN}"))
        .await;
    let fleetctl = listing(&FINE);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live()").await;
    browser.click("#notify").await;
    browser
        .until(&format!("{BELL}.matches('[data-refused]') && {BELL}.ariaPressed === 'false'"))
        .await;
    browser.until("$('#announcement').textContent !== ''").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn there_is_no_button_at_a_recording() {
    let browser = browser!();
    browser.run_before_scripts(STAND_IN).await;
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser
        .until(&format!("live() && {BELL}.hidden && {BELL}.title !== ''"))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn there_is_no_button_in_a_browser_without_notifications() {
    let browser = browser!();
    browser.run_before_scripts("delete window.Notification").await;
    let fleetctl = listing(&FINE);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser
        .until(&format!("live() && {BELL}.hidden && {BELL}.title !== ''"))
        .await;
    browser.finish(&server, &[]).await;
}
