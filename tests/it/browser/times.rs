//! Times: as ages, in the viewer's zone (+05:30, see `chromium.rs`), and in UTC.

use serde_json::json;

use super::browser;
use super::causes::lost_machine;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, WEB, three_units};

/// The cell of the first row.
const CELL: &str = "$('.cell.since time').textContent";
const TITLE: &str = "$('[role=columnheader].since').textContent";
const FORMAT: &str = "$('#times').value";
/// A time in the zone of the viewer, and the same in UTC, in a tooltip.
const BOTH: &str = r"/\d\d:\d\d:\d\d \+05:30\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/";

async fn choose(browser: &Browser, format: &str) {
    let choose =
        format!("$('#times').value = '{format}', $('#times').dispatchEvent(new Event('change'))");
    browser.value(&choose).await;
}

#[tokio::test]
async fn each_time_has_a_tooltip_with_both_zones_and_the_time_for_programs() {
    let browser = browser!();
    let recording = Recording::of_etcd(&THREE_UNITS).silent(0.1, 24).silent(600.0, 624);
    let server = Server::replay(&recording);

    for view in [
        format!("#tab=units&open=cron.timer/{DB}"),
        "#tab=machines".into(),
        "#tab=timeline".into(),
    ] {
        browser.open(&server.url(&view)).await;
        browser
            .until(
                "live() && $$('time').length > 2
                    && numbers($('#tab-timeline').textContent) === '1'",
            )
            .await;
        browser.until("!$('[aria-busy=true]')").await;
        let shown = "$$('time[data-since]').filter((time) => time.textContent)";
        let lacking = format!(
            "{shown}.filter(({{ title, dateTime }}) => !{BOTH}.test(title) || !dateTime)
                .map(({{ outerHTML }}) => outerHTML)"
        );
        assert_eq!(browser.value(&lacking).await, json!([]), "{view}");
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_switch_and_a_key_write_all_times_as_the_viewer_wants() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until(&format!("live() && /^≥ \\d+ s/.test({CELL})")).await;
    assert_eq!(browser.value(FORMAT).await, "relative");

    choose(&browser, "utc").await;
    browser
        .until(&format!("/^≤ \\d\\d:\\d\\d:\\d\\d/.test({CELL})"))
        .await;
    assert_eq!(browser.value(&format!("{TITLE}.endsWith('(UTC)')")).await, true);
    assert_eq!(browser.value("fact('change')?.match(/\\d+ s/) ?? null").await, json!(null));
    assert_eq!(browser.value("location.hash.endsWith('&times=utc')").await, true);
    let utc = browser.value(CELL).await;

    browser.value("$('[data-key]').focus()").await;
    browser.press("t").await;
    browser.until(&format!("{FORMAT} === 'relative'")).await;
    browser.press("t").await;
    browser.until(&format!("{FORMAT} === 'local'")).await;
    browser
        .until(&format!("{TITLE}.endsWith('(+05:30)') && {CELL} !== {utc}"))
        .await;
    let announced = browser.value("$('#announcement').textContent").await;
    assert!(announced.as_str().unwrap().contains("+05:30"), "{announced}");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_format_is_kept_in_the_browser_and_shared_by_the_address() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live()").await;
    choose(&browser, "local").await;
    browser.until("location.hash === '#tab=units&times=local'").await;
    browser.open(&server.url("")).await;
    browser
        .until(&format!("{FORMAT} === 'local' && location.hash === '#tab=units&times=local'"))
        .await;
    browser.click("#tab-machines").await;
    choose(&browser, "utc").await;
    browser.client.back().await.unwrap();
    browser.until("!$('#units').hidden").await;
    assert_eq!(browser.value(FORMAT).await, "utc", "going back does not undo it");

    // Somebody else, who follows the link.
    browser.value("localStorage.clear()").await;
    browser.open(&server.url("#tab=units&times=utc")).await;
    browser.until(&format!("live() && {FORMAT} === 'utc'")).await;
    assert_eq!(browser.value("localStorage.length").await, 0, "his browser keeps his own only");
    browser.open(&server.url("")).await;
    browser.until(&format!("live() && {FORMAT} === 'relative'")).await;
    browser.finish(&server, &[]).await;
}

/// The keyboard and a finger open a row: no time has to be pointed at.
#[tokio::test]
async fn the_details_of_a_row_write_its_times_in_both_zones() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser
        .open(&server.url(&format!("#tab=units&open=web.service/{WEB}")))
        .await;
    browser.until("live() && $$('.facts time').length === 2").await;
    let parts = "[...$('.facts time').children].map(({ textContent }) => textContent)";
    browser
        .until(&format!(
            r"(([age, local, utc]) => /^for at least \d+ s$/.test(age)
                && /^\d\d:\d\d:\d\d \+05:30$/.test(local.slice(-15))
                && /\d\d:\d\d:\d\d UTC or earlier$/.test(utc))({parts})"
        ))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_lost_machine_says_when_it_was_lost_and_what_ran_there() {
    let browser = browser!();
    let server = Server::replay(&lost_machine());

    browser.open(&server.url("#tab=machines&times=utc")).await;
    browser
        .until("$('.card[data-away=lost] .away').textContent.match(/ago .*\\+05:30 .*UTC$/)")
        .await;
    browser.until("!$('.card .moved-units').hidden").await;
    browser.click(".card .moved-units summary").await;
    browser
        .until(
            "$('.moved-units .unit-name').checkVisibility()
                && $('.moved-units .place').textContent",
        )
        .await;
    browser.click(".moved-units button").await;
    browser.until("$('.opened')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_phone_has_room_for_times() {
    let browser = browser!();
    let recording = Recording::of_etcd(&THREE_UNITS).silent(0.1, 24).silent(600.0, 624);
    let server = Server::replay(&recording);

    browser.client.set_window_size(500, 844).await.unwrap();
    for view in [
        format!("#tab=units&open=cron.timer/{DB}"),
        "#tab=machines".into(),
        "#tab=timeline".into(),
    ] {
        browser.open(&server.url(&format!("{view}&times=local"))).await;
        browser.until("live() && $$('time').length > 2").await;
        // A headless window cannot be made as narrow as a phone.
        browser.value("document.body.style.width = '360px'").await;
        assert_eq!(browser.value("document.body.scrollWidth <= 360").await, true, "{view}");
    }
    browser.finish(&server, &[]).await;
}
