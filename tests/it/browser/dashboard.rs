//! A page that repeats rows by their first column, as the prototype's dashboard does, with several
//! versions of AngularJS.

use std::path::PathBuf;

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::Recording;
use super::site::serving;
use crate::support::cannot_run;

/// The dashboard, with each version of AngularJS, or the end of the test.
macro_rules! dashboards {
    () => {
        match dashboards() {
            Some(dashboards) => dashboards,
            None => return,
        }
    };
}

const PAGE: &str = include_str!("dashboard.html");

/// The columns with which the dashboard works.
const WITH_KEY: [&str; 2] = ["--unit-fields", "key,load,active,sub,machine"];

/// Whether the table has the rows of the last list, each in its place and with all its cells.
const SHOWS_THE_LIST: &str = "lastList.items.length > 0 && JSON.stringify(lastList.items) ===
    JSON.stringify($$('tbody tr').map((row) => [...row.cells].map((cell) => cell.textContent)))";

/// The dashboard on a web server of its own.
struct Dashboard {
    /// The file name of its AngularJS, which has the version.
    angular: String,
    port: u16,
}

impl Dashboard {
    /// Its address when it shows the lists of this server.
    fn showing(&self, server: &Server) -> String {
        format!("http://127.0.0.1:{}/?{}", self.port, server.port)
    }
}

/// `None`, with the reason on stderr, if there is no AngularJS.
fn dashboards() -> Option<Vec<Dashboard>> {
    let Some(folder) = std::env::var_os("ANGULAR").map(PathBuf::from) else {
        cannot_run("ANGULAR does not name a folder with versions of AngularJS: run tests/run");
        return None;
    };

    let files = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|file| file.unwrap().path());
    let dashboards: Vec<Dashboard> = files
        .map(|file| Dashboard {
            angular: file.file_name().unwrap().to_string_lossy().into_owned(),
            port: serving(vec![
                ("/", PAGE.to_owned()),
                ("/angular.js", std::fs::read_to_string(file).unwrap()),
            ]),
        })
        .collect();
    assert!(!dashboards.is_empty(), "{} is empty", folder.display());
    Some(dashboards)
}

/// Opens the dashboard with each version of AngularJS, and waits until it has shown so many unit
/// lists without an error.
async fn assert_shown(dashboards: &[Dashboard], browser: &Browser, server: &Server, lists: u32) {
    for dashboard in dashboards {
        browser.open(&dashboard.showing(server)).await;
        browser.until(&format!("lists >= {lists}")).await;

        let shown = format!("[errors, {SHOWS_THE_LIST}]");
        assert_eq!(browser.value(&shown).await, json!([[], true]), "{}", dashboard.angular);
    }
}

/// A thousand rows on five machines, one of which has no address: 160 global units and 200 others.
fn a_thousand_rows() -> Recording {
    let machine = |number: u32| format!("{number:032x}");
    let ip = |number: u32| (number != 4).then(|| format!("10.0.0.{number}"));
    let state = |unit: &str, number: u32| {
        json!({
            "unit": unit,
            "machine": machine(number),
            "ip": ip(number),
            "load": "loaded",
            "active": "active",
            "sub": "running",
        })
    };

    let mut machines = Vec::new();
    let mut states = Vec::new();
    for number in 0..5 {
        machines.push(json!({"id": machine(number), "ip": ip(number)}));
        states.extend((0..160).map(|unit| state(&format!("agent-{unit}.service"), number)));
        states.extend((0..40).map(|unit| state(&format!("web-{number}-{unit}.service"), number)));
    }

    let mut recording = Recording::default();
    recording.line(&json!({"recording": 1, "source": "fleetctl v1.0.0"}));
    recording.line(&json!({"t": 0.0, "topic": "machines", "machines": machines}));
    recording.line(&json!({"t": 0.0, "topic": "units", "states": states}));
    recording
}

#[tokio::test]
async fn with_keys_the_prototypes_dashboard_shows_the_demo() {
    let dashboards = dashboards!();
    let browser = browser!();
    let fast = ["--demo", "--replay-speed", "20"];
    let server = Server::start(&[&fast[..], &WITH_KEY].concat());

    // Machines leave and join meanwhile, so that keys change.
    assert_shown(&dashboards, &browser, &server, 20).await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn with_keys_the_prototypes_dashboard_shows_a_thousand_rows() {
    let dashboards = dashboards!();
    let browser = browser!();
    let server = Server::replay_with(&a_thousand_rows(), &WITH_KEY);

    assert_shown(&dashboards, &browser, &server, 1).await;
    assert_eq!(browser.value("lastList.items.length").await, 1000);
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn without_keys_the_prototypes_dashboard_cannot_show_the_demo() {
    let dashboards = dashboards!();
    let browser = browser!();
    let server = Server::start(&["--demo", "--replay-speed", "20"]);

    for dashboard in &dashboards {
        browser.open(&dashboard.showing(&server)).await;
        browser
            .until("errors.some((error) => error.includes('ngRepeat:dupes'))")
            .await;
        assert_eq!(browser.value("$$('tbody tr').length").await, 0, "{}", dashboard.angular);
    }
    browser.client.clone().close().await.unwrap();
}
