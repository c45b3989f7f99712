//! What axe-core finds.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, list, listing};
use crate::support::cannot_run;

#[tokio::test]
async fn axe_finds_nothing_serious_on_any_tab() {
    let Some(axe) = axe() else { return };
    let browser = browser!();
    let server = Server::replay(
        &Recording::of_etcd(&THREE_UNITS)
            .silent(0.1, 24)
            .failing(0.2, &["registry"]),
    );
    let views = [
        "#tab=units&open=cron.timer/9c4b7a2e1d3f48568e0f1a2b3c4d5e6f",
        "#tab=machines",
        "#tab=timeline",
    ];
    for (scheme, view) in in_both_schemes(&views) {
        browser.prefer(scheme).await;
        browser.open(&server.url(view)).await;
        browser
            .until(&format!("live() && matchMedia('(prefers-color-scheme: {scheme})').matches"))
            .await;
        browser.until("banners().length === 2").await;
        assert_eq!(serious(&browser, &axe).await, json!([]), "{view}, {scheme}");
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_serious_in_rows_that_are_held_and_at_links_to_units_that_are_elsewhere()
{
    let Some(axe) = axe() else { return };
    let browser = browser!();
    let before = [THREE_UNITS[0], THREE_UNITS[1]];
    let after = [THREE_UNITS[0], THREE_UNITS[2]];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    let view = format!("#tab=units&open=api.service/{DB},gone.service/{DB}");

    for (scheme, view) in in_both_schemes(&[&view]) {
        list(&fleetctl, &before);
        browser.prefer(scheme).await;
        browser.open(&server.url(view)).await;
        browser
            .until("live() && names() === 'api.service cron.timer' && $('.moved')")
            .await;
        browser.point_at("[data-key^='cron.timer/']").await;
        list(&fleetctl, &after);
        browser
            .until("$('[data-leaving=gone]') && $('[data-note=missing]')")
            .await;
        assert_eq!(serious(&browser, &axe).await, json!([]), "{scheme}");
    }
    browser.finish(&server, &[]).await;
}

/// The source of axe-core; without it `None`, with the reason on stderr.
fn axe() -> Option<String> {
    let Some(path) = std::env::var_os("AXE_CORE").map(PathBuf::from) else {
        cannot_run("AXE_CORE does not name axe-core's axe.min.js: get it with `npm pack axe-core`");
        return None;
    };
    let source = std::fs::read_to_string(&path);
    Some(source.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn in_both_schemes<'a>(views: &[&'a str]) -> impl Iterator<Item = (&'static str, &'a str)> {
    ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| views.iter().map(move |view| (scheme, *view)))
}

/// What axe finds in the page that is serious.
async fn serious(browser: &Browser, axe: &str) -> Value {
    browser.client.execute(axe, vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1];
        axe.run(document).then((found) => done({
            checks: found.passes.length,
            serious: found.violations
                .filter((one) => ['serious', 'critical'].includes(one.impact))
                .map((one) => [one.help, ...one.nodes.map((node) => node.target.join(' '))]),
        }))";
    let mut found = browser.client.execute_async(run, vec![]).await.unwrap();
    assert!(found["checks"].as_u64().unwrap() > 10, "axe looked at nothing: {found}");
    found["serious"].take()
}
