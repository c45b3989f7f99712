//! The unit file of an open row: shown where the monitor shows it, and fetched when asked for.

use serde_json::{Value, json};

use super::accessibility::{assert_accessible, axe_core};
use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::WEB;
use crate::support::fleetd::{Fleetd, error};
use crate::unit_file_requests::{ApiCluster, NEW, OLD, registry};

/// The first button of the section, which shows and hides the file.
const SHOW: &str = ".unit-file button";

/// The lines of the difference, each as its element and its text.
const DIFFERENCE: &str = "$$('.diff > *').map((line) => [line.localName, line.textContent])";

fn asking(fleetd: &Fleetd, arguments: &[&str]) -> Server {
    let often = ["--api", fleetd.address(), "--unit-freq", "0.2", "--machine-freq", "0.2"];
    Server::start(&[&often, arguments].concat())
}

/// The page with the row of the unit open.
fn opened(server: &Server) -> String {
    server.url(&format!("#tab=units&open=web.service/{WEB}"))
}

#[tokio::test]
async fn a_file_is_fetched_when_asked_for_and_what_differs_is_marked_by_signs() {
    let browser = browser!();
    let cluster = ApiCluster::start().await;
    let server = asking(&cluster.fleetd, &["--unit-files"]);
    browser.open(&opened(&server)).await;
    browser.until("live() && $('.unit-file')?.checkVisibility()").await;
    assert_eq!(cluster.file_requests(), 0, "nobody has asked for it");

    browser.click(SHOW).await;
    browser.until("$('.unit-file pre')").await;
    let shown = browser.value("$('.unit-file pre').textContent").await;
    assert_eq!(shown, OLD.replace("hunter2", "********"));

    // fleet gets another version: the file that is shown is not replaced by itself.
    cluster.set(NEW, OLD);
    let again = "$$('.unit-file button')[1]";
    browser.until(&format!("{again}.checkVisibility()")).await;
    assert_eq!(browser.value("$$('.diff').length").await, 0);
    browser.value(&format!("{again}.click()")).await;
    browser.until("$('.diff')").await;
    assert_eq!(
        browser.value(DIFFERENCE).await,
        json!([
            ["span", " [Unit]\n"],
            ["span", " Description=Web\n"],
            ["span", " \n"],
            ["span", " [Service]\n"],
            ["del", "-Environment=PORT=80 DB_PASSWORD=********\n"],
            ["del", "-ExecStart=/bin/web --old\n"],
            ["ins", "+Environment=PORT=80 DB_PASSWORD=********\n"],
            ["ins", "+ExecStart=/bin/web\n"],
            ["span", " \n"],
            ["span", " [X-Fleet]\n"],
            ["span", " MachineMetadata=role=web\n"],
        ])
    );
    let shown = browser.value("$('.unit-file pre').textContent").await;
    assert_eq!(shown, NEW.replace("hunter3", "********"));
    browser.until(&format!("!{again}.checkVisibility()")).await;
    assert!(
        !browser
            .value("document.body.innerHTML")
            .await
            .to_string()
            .contains("hunter")
    );

    browser.click(SHOW).await;
    browser.until("!$('.unit-file pre')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_file_can_be_copied() {
    let browser = browser!();
    let cluster = ApiCluster::start().await;
    let server = asking(&cluster.fleetd, &["--unit-files=full"]);
    browser.open(&opened(&server)).await;
    browser.until("live() && $('.unit-file')?.checkVisibility()").await;
    browser.click(SHOW).await;
    browser.until("$('.file-title button')").await;

    let label = browser.value("$('.file-title button').textContent").await;
    browser.click(".file-title button").await;
    browser
        .until(&format!("$('.file-title button').textContent !== {label}"))
        .await;
    let copied = browser
        .client
        .execute_async(
            "navigator.clipboard.readText().then(arguments[0], () => arguments[0](null))",
            vec![],
        )
        .await
        .unwrap();
    // Without a permission to read it, the browser tells nothing.
    assert!(copied == OLD || copied == Value::Null, "{copied}");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn where_unit_files_are_not_shown_there_is_no_button() {
    let browser = browser!();
    let cluster = ApiCluster::start().await;
    let server = asking(&cluster.fleetd, &[]);
    browser.open(&opened(&server)).await;
    browser.until("live() && $('.unit-file')").await;
    // The answer to the page's own request has come by then.
    let asked = "fetch('v2/actions').then((answer) => answer.json())
        .then((actions) => (window.shown = actions.unit_files)) && window.shown";
    browser.until(&format!("{asked} === null")).await;
    assert_eq!(browser.value("$('.unit-file').checkVisibility()").await, false);

    // As soon as the monitor shows them, the next connection knows.
    server.reload("unit_files = \"masked\"");
    browser.until(&format!("{asked} === 'masked'")).await;
    browser.client.refresh().await.unwrap();
    browser.until("live() && $('.unit-file')?.checkVisibility()").await;
    assert_eq!(cluster.file_requests(), 0);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_source_that_fails_is_named() {
    let browser = browser!();
    let fleetd = Fleetd::tcp(|path: &str| {
        if path.starts_with("/fleet/v1/units/") {
            error(503, "")
        } else {
            registry(NEW, NEW).reply(path)
        }
    })
    .await;
    let server = asking(&fleetd, &["--unit-files"]);
    browser.open(&opened(&server)).await;
    browser.until("live() && $('.unit-file')?.checkVisibility()").await;
    browser.click(SHOW).await;
    browser.until("/etcd/.test($('.file-note').textContent)").await;
    browser.finish(&server, &["503"]).await;
}

#[tokio::test]
async fn it_fits_any_window_and_axe_finds_nothing() {
    let browser = browser!();
    let cluster = ApiCluster::start().await;
    let long = NEW.replace("/bin/web", &format!("/bin/web {}", "--option=value ".repeat(20)));
    let server = asking(&cluster.fleetd, &["--unit-files"]);
    browser.open(&opened(&server)).await;
    browser.until("live() && $('.unit-file')?.checkVisibility()").await;
    browser.click(SHOW).await;
    browser.until("$('.unit-file pre')").await;
    cluster.set(&long, OLD);
    browser.until("$$('.unit-file button')[1].checkVisibility()").await;
    browser.value("$$('.unit-file button')[1].click()").await;
    browser.until("$('.diff')").await;

    browser.touch().await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for (width, height) in [(390, 844), (1400, 900)] {
            browser.resize(width, height).await;
            let shown = format!("{scheme}, {width}");
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(browser.value(fits).await, true, "{shown}");
            let scrolls = "$$('.unit-file pre').every((pre) => pre.scrollWidth > pre.clientWidth)";
            browser.until(&format!("{width} > 1000 || {scrolls}")).await;
            let targets = "$$('.unit-file button').filter((node) => node.checkVisibility())
                .map((node) => node.getBoundingClientRect())
                .every(({ width, height }) => width >= 44 && height >= 44)";
            browser.until(&format!("{width} > 640 || {targets}")).await;
            if let Some(axe) = axe_core() {
                assert_accessible(&browser, &axe, &shown).await;
            }
            if let Some(folder) = std::env::var_os("SCREENSHOTS") {
                browser.value("$('.unit-file').scrollIntoView()").await;
                let image = browser.client.screenshot().await.unwrap();
                let file = std::path::Path::new(&folder).join(format!("{scheme}-{width}.png"));
                std::fs::write(file, image).unwrap();
            }
        }
    }
    browser.finish(&server, &[]).await;
}
