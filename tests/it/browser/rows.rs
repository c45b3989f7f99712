//! What the page shows of units, machines and events.

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, WEB, list, listing, three_units};

#[tokio::test]
async fn rows_appear_and_change_without_a_reload() {
    let browser = browser!();
    let before = [("api.service", WEB, "active/running"), ("web.service", WEB, "activating/start")];
    let after = [
        ("api.service", WEB, "active/running"),
        ("new.service", DB, "active/running"),
        ("web.service", WEB, "active/running"),
    ];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live() && rows().length === 2").await;
    browser
        .until("rows().includes('web.service|activating/start|ok|10.0.0.1')")
        .await;
    browser.value("window.loadedOnce = true").await;

    list(&fleetctl, &after);
    browser
        .until("rows().includes('web.service|active/running|ok|10.0.0.1')")
        .await;
    browser
        .until("rows().includes('new.service|active/running|ok|10.0.0.2')")
        .await;
    assert_eq!(browser.value("window.loadedOnce").await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_unit_that_fails_comes_to_the_top_and_into_headline_title_and_announcement() {
    let browser = browser!();
    let before = [("api.service", WEB, "active/running"), ("web.service", DB, "active/running")];
    let after = [("api.service", WEB, "active/running"), ("web.service", DB, "failed/failed")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("names() === 'api.service web.service'").await;
    browser.until("headline() === 'ok' && tone() === 'good'").await;
    assert_eq!(browser.client.title().await.unwrap(), "fleet-monitor");

    list(&fleetctl, &after);
    browser
        .until("rows()[0] === 'web.service|failed/failed|failed|10.0.0.2'")
        .await;
    browser
        .until("headline() === 'failed' && numbers($('#headline').textContent) === '1'")
        .await;
    browser
        .until("/web.service.*10.0.0.2.*failed/.test($('.trouble').textContent)")
        .await;
    browser.until("$('.trouble time').dataset.wording === 'for'").await;
    browser.until("document.title === '(1) fleet-monitor'").await;
    browser
        .until("/web.service failed.*10.0.0.2/.test($('#announcement').textContent)")
        .await;

    browser.click("#tab-timeline").await;
    let change = "/active.running.*failed.failed/.test($('[data-event=changed]').textContent)";
    browser.until(change).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_crash_loop_is_one_warning_in_the_timeline_and_none_of_its_restarts_is() {
    let browser = browser!();
    let with_web = |state| [("api.service", DB, "active/running"), ("web.service", WEB, state)];
    let runs = with_web("active/running");
    let waits = with_web("activating/auto-restart");
    let ended = [("api.service", DB, "inactive/dead"), runs[1]];
    let restarts = (0..8).map(|turn| f64::from(turn) * 0.2 + 0.1);
    let recording = restarts
        .fold(Recording::of(&runs), |recording, time| {
            recording.at(time, &waits).at(time + 0.1, &runs)
        })
        .at(2.0, &ended)
        .at(600.0, &ended);
    let server = Server::replay(&recording);

    browser.open(&server.url("#tab=timeline")).await;
    browser
        .until("texts('[data-event=changed]').some((text) => text.includes('api.service'))")
        .await;

    let events = "$$('.event').filter((event) => event.textContent.includes('web.service'))
        .map((event) => event.dataset.event)";
    let expected = json!(["crash_loop", "changed", "changed", "changed"]);
    assert_eq!(browser.value(events).await, expected, "three changes until it was a loop");
    let warnings = browser.value("texts('.event[data-tone=bad]')").await;
    let warnings = warnings.as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].as_str().unwrap().contains("web.service"), "{warnings:?}");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_row_opens_to_its_reason_and_what_fleet_wants() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live() && names().startsWith('web.service')").await;

    browser.click("[data-key^='web.service/']").await;
    browser.until("$('.opened .reason').textContent.length > 10").await;
    browser
        .until("texts('.opened dd').includes('What web.service is for')")
        .await;
    browser.until("texts('.opened dd').includes('launched')").await;
    browser.until("$('.opened code').textContent === 'a54d853'").await;

    browser.press("\u{e00c}").await; // Escape
    browser.until("!$('.opened')").await;

    browser.press("\u{e007}").await; // Enter
    browser.until("$('.opened')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_global_unit_is_one_row_with_its_count_that_opens_to_its_machines() {
    let browser = browser!();
    let server = Server::replay(&Recording::of(&[
        ("agent.service", WEB, "active/running"),
        ("agent.service", DB, "active/running"),
        ("web.service", WEB, "active/running"),
    ]));

    browser.open(&server.url("")).await;
    browser
        .until("rows().length === 2 && rows()[1] === 'web.service|active/running|ok|10.0.0.1'")
        .await;
    let group = "rows()[0].split('|').map((part, index) => index % 2 ? numbers(part) : part)";
    assert_eq!(browser.value(group).await, json!(["agent.service", "2/2", "ok", "2"]));

    browser.click("[data-key='agent.service/*']").await;
    browser
        .until(
            "rows().filter((row) => row.startsWith('agent.service|active/running')).length === 2",
        )
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_recording_is_marked_as_one() {
    let browser = browser!();
    let server = Server::start(&["--demo"]);

    browser.open(&server.url("")).await;
    browser
        .until("banners().includes('recording') && badge() === 'recording'")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn names_of_units_are_never_markup() {
    let browser = browser!();
    let name = "<img src=x onerror=alert(1)>.service";
    let server = Server::replay(&Recording::of(&[(name, WEB, "failed/failed")]));

    browser.open(&server.url("")).await;
    browser
        .until("names().includes('<img src=x onerror=alert(1)>.service')")
        .await;

    browser.click(".line.unit").await;
    browser.until("$('.opened')").await;
    assert_eq!(browser.value("document.images.length").await, 0);
    browser.finish(&server, &[]).await;
}
