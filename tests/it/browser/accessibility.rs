//! What axe-core finds.

use std::path::PathBuf;

use serde_json::json;

use super::browser;
use super::causes::lost_machine;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{Recording, THREE_UNITS};
use crate::support::cannot_run;

#[tokio::test]
async fn axe_finds_nothing_serious_on_any_tab() {
    let Some(path) = std::env::var_os("AXE_CORE").map(PathBuf::from) else {
        cannot_run("AXE_CORE does not name axe-core's axe.min.js: get it with `npm pack axe-core`");
        return;
    };
    let axe = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let browser = browser!();
    let failing = Server::replay(
        &Recording::of_etcd(&THREE_UNITS)
            .silent(0.1, 24)
            .failing(0.2, &["registry"]),
    );
    let lost = Server::replay(&lost_machine());
    let views = [
        (&failing, "#tab=units&open=cron.timer/9c4b7a2e1d3f48568e0f1a2b3c4d5e6f", "stale"),
        (&failing, "#tab=machines", "stale"),
        (&failing, "#tab=timeline", "stale"),
        (&lost, "#tab=units", "recording"),
    ];
    for (scheme, (server, view, badge)) in ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| views.map(|view| (scheme, view)))
    {
        browser.prefer(scheme).await;
        browser.open(&server.url(view)).await;
        browser
            .until(&format!("live() && matchMedia('(prefers-color-scheme: {scheme})').matches"))
            .await;
        browser
            .until(&format!("badge() === '{badge}' && causes().length === 2"))
            .await;
        browser.client.execute(&axe, vec![]).await.unwrap();
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document).then((found) => done({
                checks: found.passes.length,
                serious: found.violations
                    .filter((one) => ['serious', 'critical'].includes(one.impact))
                    .map((one) => [one.help, ...one.nodes.map((node) => node.target.join(' '))]),
            }))";
        let found = browser.client.execute_async(run, vec![]).await.unwrap();
        assert!(found["checks"].as_u64().unwrap() > 10, "axe looked at nothing: {found}");
        assert_eq!(found["serious"], json!([]), "{view}, {scheme}");
    }
    browser.finish(&failing, &[]).await;
}
