//! What is known of what happened, and since when.

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, WEB, list, listing, three_units};

/// The time of an element in the page, in milliseconds since 1970.
const TIME_OF: &str = "((selector) => Date.parse($(selector).dateTime))";
const ENTER: &str = "\u{e007}";
const LEFT: &str = "\u{e012}";
/// A time of day with its zone, such as 14:03:22 +05:30.
const CLOCK: &str = r"/(^|\s)\d\d:\d\d:\d\d (UTC|\+05:30)$/";

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
    let detail = format!("#tab=units&sort=unit&open={first}/{WEB}");

    // A server that has no other events than the newest ones of the cluster.
    let server = Server::replay_with(&recording, &["--history", "0"]);
    browser.open(&server.url("#tab=timeline")).await;
    browser
        .until("numbers($('#tab-timeline').textContent) === '1/000'")
        .await;
    browser.until("$('.end[data-dropped] time')").await;
    let complete = browser.value(&format!("{TIME_OF}('.end time')")).await;

    browser.open(&server.url(&detail)).await;
    browser
        .until("live() && $('.opened .none time') && $('.opened .changed time')")
        .await;
    let after = browser.value(&format!("{TIME_OF}('.opened .none time')")).await;
    assert_eq!(after, complete);
    let changed = browser.value(&format!("{TIME_OF}('.opened .changed time')")).await;
    assert!(changed.as_u64() < complete.as_u64(), "{changed} is before {complete}");
    browser.finish(&server, &["v2/history"]).await;
}

#[tokio::test]
async fn a_unit_has_its_events_although_the_newest_of_the_cluster_are_those_of_others() {
    let browser = browser!();
    let names: Vec<String> = (0..1100).map(|number| format!("app-{number:04}.service")).collect();
    let with_a = |state, apps| -> Vec<_> {
        let apps = names.iter().map(move |name| (name.as_str(), DB, apps));
        [("a.service", WEB, state)].into_iter().chain(apps).collect()
    };
    let recording = Recording::of(&with_a("active/running", "active/running"))
        .at(0.1, &with_a("inactive/dead", "active/running"))
        .at(0.3, &with_a("inactive/dead", "inactive/dead"))
        .at(600.0, &with_a("inactive/dead", "inactive/dead"));
    let server = Server::replay(&recording);

    browser.open(&server.url("#tab=timeline")).await;
    browser
        .until("numbers($('#tab-timeline').textContent) === '1/000'")
        .await;
    browser
        .open(&server.url(&format!("#tab=units&sort=unit&open=a.service/{WEB}")))
        .await;
    browser.until("live() && $$('.history li').length === 1").await;
    browser
        .until("$('.history').textContent.includes('active/running → inactive/dead')")
        .await;

    // The beginning of the monitor, not that of the newest events.
    let events_since = "fetch('v2/state').then((answer) => answer.json())
        .then(({ health }) => health.events_since)";
    let events_since = browser.value(events_since).await;
    let complete = browser.value(&format!("{TIME_OF}('.opened .none time')")).await;
    assert_eq!(complete, events_since);
    browser.finish(&server, &[]).await;
}

/// A unit that fails and is started again four times, beside one that runs.
fn flapping() -> Recording {
    let with_web = |state| [("api.service", WEB, "active/running"), ("web.service", WEB, state)];
    let mut recording = Recording::of(&with_web("active/running"));
    for step in 0..4 {
        // Far enough from each other that no two of them arrive at the same time.
        let time = f64::from(step);
        recording = recording
            .at(time + 0.5, &with_web("failed/failed"))
            .at(time + 1.0, &with_web("active/running"));
    }
    recording.at(600.0, &with_web("active/running"))
}

#[tokio::test]
async fn a_unit_that_is_flapping_is_so_in_words_and_in_the_strip_of_its_last_hour() {
    let browser = browser!();
    let server = Server::replay(&flapping());

    browser
        .open(&server.url(&format!("#tab=units&open=web.service/{WEB},api.service/{WEB}")))
        .await;
    browser
        .until("live() && $$('.last-hour:not([hidden])').length === 2")
        .await;
    browser.until("$$('.last-hour[data-flapping]').length === 1").await;
    // Four falls, and four starts: the last one arrives later.
    let words = "$('.last-hour[data-flapping] h3').textContent";
    browser
        .until(&format!("/\\b8\\b/.test({words}) && /\\b4\\b/.test({words})"))
        .await;
    let bars = browser
        .value("$$('.last-hour[data-flapping] rect[data-tone=bad]').length")
        .await;
    assert_eq!(bars, 4);

    // By keyboard, each state can be read with its times.
    let strip = ".last-hour[data-flapping] .strip";
    let said = format!("$('{strip}').getAttribute('aria-valuetext')");
    let shown = "$('.last-hour[data-flapping] .chosen').textContent";
    browser.value(&format!("$('{strip}').focus()")).await;
    browser
        .until(&format!("{said} === {shown} && {shown}.startsWith('active/running')"))
        .await;
    browser.press(LEFT).await;
    browser
        .until(&format!("{said} === {shown} && {shown}.startsWith('failed/failed')"))
        .await;
    let times = browser
        .value(&format!("{shown}.match(/\\d\\d:\\d\\d:\\d\\d/g).length"))
        .await;
    assert_eq!(times, 2);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn what_happens_while_the_details_are_open_is_added_and_all_events_can_be_shown() {
    let browser = browser!();
    let with_web = |state| [("api.service", WEB, "active/running"), ("web.service", WEB, state)];
    let states = ["active/running", "inactive/dead"];
    let fleetctl = listing(&with_web(states[0]));
    let server = Server::asking(&fleetctl, &[]);

    browser
        .open(&server.url(&format!("#tab=units&open=web.service/{WEB}")))
        .await;
    browser.until("live() && $('.last-hour:not([hidden])')").await;
    let changes = "/\\b(\\d+) change/.exec($('.last-hour h3').textContent)?.[1]";
    for count in 1..=10 {
        list(&fleetctl, &with_web(states[count % 2]));
        browser.until(&format!("{changes} === '{count}'")).await;
        let items = count.min(8);
        browser.until(&format!("$$('.history li').length === {items}")).await;
    }

    // By keyboard: the button keeps the focus.
    browser.value("$('.all-events').focus()").await;
    browser.press(ENTER).await;
    browser.until("$$('.history li').length === 10").await;
    browser.until("document.activeElement.matches('.all-events')").await;
    browser.press(ENTER).await;
    browser.until("$$('.history li').length === 8").await;
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
