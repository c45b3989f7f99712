//! What is known of what happened, and since when.

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{Recording, WEB, three_units};

/// The time of an element in the page, in milliseconds since 1970.
const TIME_OF: &str = "((selector) => Date.parse($(selector).dateTime))";
/// A time of day, such as 14:03:22.
const CLOCK: &str = r"/(^|\s)\d\d:\d\d:\d\d$/";

#[tokio::test]
async fn a_unit_without_events_says_since_when_it_has_none() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser
        .open(&server.url(&format!("#tab=units&open=api.service/{WEB}")))
        .await;
    browser.until("live() && $('.opened .none time')").await;
    let events_since = "fetch('v2/state').then((answer) => answer.json())
        .then(({ health }) => health.events_since)";
    let events_since = browser.value(events_since).await;
    let shown = browser.value(&format!("{TIME_OF}('.opened .none time')")).await;
    assert!(events_since.is_number(), "{events_since}");
    assert_eq!(shown, events_since);

    browser.click("#tab-timeline").await;
    browser
        .until("$('.end time') && !$('.event') && !$('[data-dropped]')")
        .await;
    let shown = browser.value(&format!("{TIME_OF}('.end time')")).await;
    assert_eq!(shown, events_since);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn events_that_are_no_longer_kept_are_not_denied() {
    let browser = browser!();
    let names: Vec<String> = (0..1100).map(|number| format!("app-{number:04}.service")).collect();
    let all_are =
        |state| -> Vec<_> { names.iter().map(|name| (name.as_str(), WEB, state)).collect() };
    let (first, others) = names.split_first().unwrap();
    let first_ends = [(first.as_str(), WEB, "inactive/dead")]
        .into_iter()
        .chain(others.iter().map(|name| (name.as_str(), WEB, "active/running")))
        .collect::<Vec<_>>();
    let recording = Recording::of(&all_are("active/running"))
        .at(0.1, &first_ends)
        .at(0.3, &all_are("inactive/dead"))
        .at(600.0, &all_are("inactive/dead"));
    let server = Server::replay(&recording);

    browser.open(&server.url("#tab=timeline")).await;
    browser
        .until("numbers($('#tab-timeline').textContent) === '1/000'")
        .await;
    browser.until("$('.end[data-dropped] time')").await;
    let complete = browser.value(&format!("{TIME_OF}('.end time')")).await;

    browser
        .open(&server.url(&format!("#tab=units&sort=unit&open={first}/{WEB}")))
        .await;
    browser
        .until("live() && $('.opened .none time') && $('.opened .changed time')")
        .await;
    let after = browser.value(&format!("{TIME_OF}('.opened .none time')")).await;
    assert_eq!(after, complete);
    let changed = browser.value(&format!("{TIME_OF}('.opened .changed time')")).await;
    assert!(changed.as_u64() < complete.as_u64(), "{changed} is before {complete}");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn times_stand_beside_ages_as_text() {
    let browser = browser!();
    let changed = [("api.service", WEB, "failed/failed")];
    let recording = Recording::of(&[("api.service", WEB, "active/running")])
        .at(0.1, &changed)
        .at(600.0, &changed);
    let server = Server::replay(&recording);

    browser.open(&server.url("#tab=timeline")).await;
    let has_time = |selector| format!("{CLOCK}.test($('{selector}').textContent)");
    browser.until(&has_time(".event time .at")).await;
    browser
        .open(&server.url(&format!("#tab=units&open=api.service/{WEB}")))
        .await;
    browser.until(&has_time(".history time .at")).await;
    browser.until(&has_time(".facts time .at")).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn an_age_that_is_a_lower_bound_has_words_for_its_symbol() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser
        .until("$('.cell.since time [aria-hidden]').textContent.startsWith('≥')")
        .await;
    browser
        .until("$('.cell.since time .visually-hidden').textContent.length > 10")
        .await;
    browser.finish(&server, &[]).await;
}
