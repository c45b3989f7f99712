//! What axe-core finds.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::browser;
use super::causes::lost_machine;
use super::chromium::Browser;
use super::outages::suspect;
use super::program::Server;
use super::recording::{Recording, THREE_UNITS};
use crate::support::cannot_run;

/// The source of axe-core; `None`, with the reason on stderr, if there is none.
fn axe() -> Option<String> {
    let Some(path) = std::env::var_os("AXE_CORE").map(PathBuf::from) else {
        cannot_run("AXE_CORE does not name axe-core's axe.min.js: get it with `npm pack axe-core`");
        return None;
    };
    let axe = std::fs::read_to_string(&path);
    Some(axe.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Checks these views in both colour schemes, as soon as `condition` is true.
async fn check(browser: &Browser, server: &Server, axe: &str, views: &[&str], condition: &str) {
    for scheme in ["light", "dark"] {
        for view in views {
            browser.prefer(scheme).await;
            browser.open(&server.url(view)).await;
            browser
                .until(&format!("live() && matchMedia('(prefers-color-scheme: {scheme})').matches"))
                .await;
            browser.until(condition).await;

            let found = run(browser, axe).await;
            assert!(found["checks"].as_u64().unwrap() > 10, "axe looked at nothing: {found}");
            assert_eq!(found["serious"], json!([]), "{view}, {scheme}");
        }
    }
}

async fn run(browser: &Browser, axe: &str) -> Value {
    browser.client.execute(axe, vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1];
        axe.run(document).then((found) => done({
            checks: found.passes.length,
            serious: found.violations
                .filter((one) => ['serious', 'critical'].includes(one.impact))
                .map((one) => [one.help, ...one.nodes.map((node) => node.target.join(' '))]),
        }))";
    browser.client.execute_async(run, vec![]).await.unwrap()
}

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
    check(&browser, &server, &axe, &views, "banners().length === 2 && badge() === 'stale'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_serious_while_a_machine_is_lost() {
    let Some(axe) = axe() else { return };
    let browser = browser!();
    let server = Server::replay(&lost_machine());
    let views = ["#tab=units", "#tab=machines"];
    check(&browser, &server, &axe, &views, "headline() === 'machine_lost'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_serious_while_the_list_is_suspect() {
    let Some(axe) = axe() else { return };
    let browser = browser!();
    let server = Server::replay(&suspect());
    check(&browser, &server, &axe, &["#tab=units"], "badge() === 'suspect'").await;
    browser.finish(&server, &[]).await;
}
