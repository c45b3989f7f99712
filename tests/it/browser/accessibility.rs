//! What axe-core finds.

use std::path::PathBuf;

use serde_json::json;

use super::browser;
use super::causes::lost_machine;
use super::chromium::Browser;
use super::outages::suspect;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, four_troubles, list, listing};
use crate::support::cannot_run;

const VIEWS: [&str; 3] = [
    "#tab=units&open=cron.timer/9c4b7a2e1d3f48568e0f1a2b3c4d5e6f",
    "#tab=machines",
    "#tab=timeline",
];

/// The source of axe-core, or the end of the test.
macro_rules! axe {
    () => {
        match axe_core() {
            Some(axe) => axe,
            None => return,
        }
    };
}

#[tokio::test]
async fn axe_finds_nothing_on_any_tab() {
    let failing = Recording::of_etcd(&THREE_UNITS)
        .silent(0.1, 24)
        .failing(0.2, &["registry"]);
    assert_views_are_accessible(&failing, &VIEWS, "badge() === 'stale'").await;
}

#[tokio::test]
async fn axe_finds_nothing_when_a_machine_is_lost() {
    let views = ["#tab=units", "#tab=machines"];
    assert_views_are_accessible(&lost_machine(), &views, "headline() === 'machine_lost'").await;
}

#[tokio::test]
async fn axe_finds_nothing_in_times_of_any_zone() {
    let views = [
        "#tab=units&open=cron.timer/9c4b7a2e1d3f48568e0f1a2b3c4d5e6f&times=local",
        "#tab=timeline&times=utc",
    ];
    let silent = Recording::of_etcd(&THREE_UNITS).silent(0.1, 24);
    assert_views_are_accessible(&silent, &views, "$$('time').length > 2").await;
}

#[tokio::test]
async fn axe_finds_nothing_while_a_cause_is_muted_and_notifications_are_offered() {
    let axe = axe!();
    let browser = browser!();
    let units = [THREE_UNITS[0], THREE_UNITS[2], ("other.service", DB, "failed/failed")];
    let fleetctl = listing(&units);
    let server = Server::asking(&fleetctl, &[]);
    let muted = format!("#tab=units&muted=failed/other.service/{DB}");

    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.open(&server.url(&muted)).await;
        browser
            .until("mutes().some(isMuted) && fact('muted') && !$('#notify').hidden")
            .await;
        assert_accessible(&browser, &axe, scheme).await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_while_the_list_is_suspect() {
    assert_views_are_accessible(&suspect(), &["#tab=units"], "badge() === 'suspect'").await;
}

/// Fails with what axe-core finds in these views of a recording, as soon as `condition` is true.
async fn assert_views_are_accessible(recording: &Recording, views: &[&str], condition: &str) {
    let axe = axe!();
    let browser = browser!();
    let server = Server::replay(recording);

    for (scheme, view) in ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| views.iter().map(move |view| (scheme, view)))
    {
        browser.prefer(scheme).await;
        browser.open(&server.url(view)).await;
        browser
            .until(&format!("live() && matchMedia('(prefers-color-scheme: {scheme})').matches"))
            .await;
        browser.until(condition).await;
        assert_accessible(&browser, &axe, &format!("{view}, {scheme}")).await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_in_the_next_steps() {
    let axe = axe!();
    let browser = browser!();
    let link = ["--link", "Host=http://{ip}:9100/"];
    let server = Server::replay_with(&Recording::of(&THREE_UNITS), &link);

    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.open(&server.url(VIEWS[0])).await;
        browser.until("$('.opened .next-steps a')").await;
        assert_accessible(&browser, &axe, &format!("a unit, {scheme}")).await;

        browser.open(&server.url("#tab=machines")).await;
        browser.until("$('.card .next-steps:not([hidden])')").await;
        browser.click(".card .next-steps summary").await;
        browser.until("$('.card .next-steps a')").await;
        assert_accessible(&browser, &axe, &format!("a machine, {scheme}")).await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_in_small_windows_nor_in_the_list_of_keys() {
    let axe = axe!();
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    for (scheme, (width, height)) in ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| [(390, 844), (640, 360)].map(|size| (scheme, size)))
    {
        browser.prefer(scheme).await;
        browser.resize(width, height).await;
        for view in VIEWS {
            browser.open(&server.url(view)).await;
            browser.until("live() && $$('.trouble').length === 4").await;
            assert_accessible(&browser, &axe, &format!("{view}, {scheme}, {width}")).await;
        }

        browser.click("#show-keys").await;
        browser.until("$('#keys').open").await;
        assert_accessible(&browser, &axe, &format!("the keys, {scheme}, {width}")).await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_in_rows_that_are_held_and_at_links_to_units_that_are_elsewhere() {
    let axe = axe!();
    let browser = browser!();
    let before = [THREE_UNITS[0], THREE_UNITS[1]];
    let after = [THREE_UNITS[0], THREE_UNITS[2]];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    let view = format!("#tab=units&open=api.service/{DB},gone.service/{DB}");

    for scheme in ["light", "dark"] {
        list(&fleetctl, &before);
        browser.prefer(scheme).await;
        browser.open(&server.url(&view)).await;
        browser
            .until("live() && names() === 'api.service cron.timer' && $('.moved')")
            .await;
        browser.point_at("[data-key^='cron.timer/']").await;
        list(&fleetctl, &after);
        browser
            .until("$('[data-leaving=gone]') && $('[data-note=missing]')")
            .await;
        assert_accessible(&browser, &axe, scheme).await;
    }
    browser.finish(&server, &[]).await;
}

/// The script of axe-core; `None`, with the reason on stderr, if there is none.
pub(super) fn axe_core() -> Option<String> {
    let Some(path) = std::env::var_os("AXE_CORE").map(PathBuf::from) else {
        cannot_run("AXE_CORE does not name axe-core's axe.min.js: get it with `npm pack axe-core`");
        return None;
    };
    let axe = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(axe)
}

/// Fails with what axe-core finds wrong in what the page shows.
pub(super) async fn assert_accessible(browser: &Browser, axe: &str, shown: &str) {
    browser.client.execute(axe, vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1];
        axe.run(document).then((found) => done({
            checks: found.passes.length,
            violations: found.violations
                .map((one) => [one.help, ...one.nodes.map((node) => node.target.join(' '))]),
        }))";
    let found = browser.client.execute_async(run, vec![]).await.unwrap();
    assert!(found["checks"].as_u64().unwrap() > 10, "axe looked at nothing: {found}");
    assert_eq!(found["violations"], json!([]), "{shown}");
}
