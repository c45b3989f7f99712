//! Causes that a viewer has muted.

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, WEB, list, listing, three_units};

const FAILED: [(&str, &str, &str); 3] = [
    ("api.service", WEB, "active/running"),
    ("db.service", DB, "failed/failed"),
    ("web.service", WEB, "failed/failed"),
];

const FINE: [(&str, &str, &str); 3] = [
    ("api.service", WEB, "active/running"),
    ("db.service", DB, "active/running"),
    ("web.service", WEB, "active/running"),
];

/// The button that mutes the problem of a unit.
fn button(unit: &str, machine: &str) -> String {
    format!("[data-mute='failed/{unit}/{machine}']")
}

#[tokio::test]
async fn a_muted_cause_leaves_headline_and_title_and_stands_at_the_end() {
    let browser = browser!();
    let fleetctl = listing(&FAILED);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser
        .until("live() && document.title === '(2) fleet-monitor'")
        .await;
    browser.click(&button("db.service", DB)).await;
    browser.until("causes().join() === 'unit failed,-unit failed'").await;
    browser
        .until("numbers($('#headline').textContent)[0] === '1' && numbers(fact('muted')) === '1'")
        .await;
    browser.until("document.title === '(1) fleet-monitor'").await;
    assert_eq!(browser.value("$('.trouble').dataset.unit.split('/')[0]").await, "web.service");

    browser.click(&button("web.service", WEB)).await;
    browser.until("headline() === 'muted' && tone() === 'idle'").await;
    browser.until("document.title === 'fleet-monitor'").await;
    assert_eq!(browser.value("numbers($('#headline').textContent)").await, "2");
    assert_eq!(browser.value("numbers(fact('rest'))").await, "1/3", "not all is fine");

    browser.click(&button("db.service", DB)).await;
    browser.until("causes().join() === 'unit failed,-unit failed'").await;
    browser.until("document.title === '(1) fleet-monitor'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_focus_of_the_keyboard_follows_a_cause_that_is_muted() {
    let browser = browser!();
    let fleetctl = listing(&FAILED);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live() && mutes().length === 2").await;
    browser.value("$('.mute').focus()").await;
    let focused = browser.value("document.activeElement.dataset.mute").await;
    for (turn, state) in ["true", "false"].into_iter().enumerate() {
        browser.press(" ").await;
        browser
            .until(&format!("document.activeElement.ariaPressed === '{state}'"))
            .await;
        let now = browser.value("document.activeElement.dataset.mute").await;
        assert_eq!(now, focused, "turn {turn}");
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_mute_is_kept_in_the_browser_and_shared_by_the_address() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let muted = format!("#tab=units&muted=failed/web.service/{WEB}");

    browser.open(&server.url("")).await;
    browser.until("live() && mutes().length === 1").await;
    browser.click(".mute").await;
    browser
        .until(&format!("headline() === 'muted' && location.hash === '{muted}'"))
        .await;
    browser.open(&server.url("")).await;
    browser
        .until(&format!("headline() === 'muted' && location.hash === '{muted}'"))
        .await;

    // Somebody else, who follows the link.
    browser.value("localStorage.clear()").await;
    browser.open(&server.url(&muted)).await;
    browser.until("headline() === 'muted'").await;
    assert_eq!(browser.value("localStorage.length").await, 0, "his browser keeps his own only");
    browser.open(&server.url("")).await;
    browser.until("headline() === 'failed'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn going_back_does_not_undo_a_mute() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live() && mutes().length === 1").await;
    browser.click("#tab-machines").await;
    browser.click(".mute").await;
    browser.until("headline() === 'muted'").await;
    browser.client.back().await.unwrap();
    browser.until("!$('#units').hidden").await;
    assert_eq!(browser.value("headline()").await, "muted");
    assert_eq!(browser.value("location.hash.includes('muted=failed/')").await, true);

    browser.value("$('.mute').click()").await;
    browser.until("headline() === 'failed'").await;
    browser.client.forward().await.unwrap();
    browser.until("!$('#machines').hidden").await;
    assert_eq!(browser.value("headline()").await, "failed");

    // An address that is pasted is not one where the page has been.
    let pasted = format!("location.hash = 'tab=units&muted=failed/web.service/{WEB}'");
    browser.value(&pasted).await;
    browser.until("headline() === 'muted'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_mute_ends_with_its_problem() {
    let browser = browser!();
    let fleetctl = listing(&FAILED);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live() && mutes().length === 2").await;
    browser.click(&button("web.service", WEB)).await;
    browser.click(&button("db.service", DB)).await;
    browser.until("headline() === 'muted'").await;

    list(&fleetctl, &[FINE[0], FAILED[1], FINE[2]]);
    browser
        .until("mutes().length === 1 && !location.hash.includes('web.service')")
        .await;
    list(&fleetctl, &FINE);
    browser
        .until("headline() === 'ok' && location.hash === '#tab=units'")
        .await;
    assert_eq!(browser.value("localStorage.length").await, 0);

    list(&fleetctl, &FAILED);
    browser.until("headline() === 'failed' && mutes().length > 0").await;
    assert_eq!(browser.value("mutes().filter(isMuted).length").await, 0);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_restart_of_the_server_does_not_undo_a_mute() {
    let browser = browser!();
    let fleetctl = listing(&FAILED);
    let mut server = Server::asking(&fleetctl, &["--problem-after", "1"]);

    browser.open(&server.url("")).await;
    browser.until("live() && mutes().length === 2").await;
    browser.click(&button("db.service", DB)).await;
    browser.until("mutes().filter(isMuted).length === 1").await;

    server.kill();
    browser.until("link('disconnected')").await;
    server.start_again();
    browser.until("live() && headline() === 'waiting'").await;
    browser.until("causes().join() === 'unit failed,-unit failed'").await;
    assert_eq!(
        browser
            .value("$('#announcement').textContent.includes('failed')")
            .await,
        false
    );
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn what_is_muted_in_one_tab_is_muted_in_the_others() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live() && mutes().length === 1").await;
    let first = browser.client.window().await.unwrap();
    let second = browser.client.new_window(true).await.unwrap().handle;
    browser.client.switch_to_window(second).await.unwrap();
    browser.client.goto(&server.url("")).await.unwrap();
    browser.until("live() && mutes().length === 1").await;
    browser.click(".mute").await;
    browser.until("headline() === 'muted'").await;

    browser.client.switch_to_window(first).await.unwrap();
    browser.until("headline() === 'muted'").await;
    assert_eq!(browser.value("location.hash.includes('muted=')").await, json!(true));
    browser.finish(&server, &[]).await;
}
