//! What the page shows while fleet cannot be read.

use std::time::Duration;

use fleet_monitor::feed::Publish;
use fleet_monitor::server::Timing;
use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, WEB, list, listing};
use super::site::answering;
use crate::server::{ServerBench, settings, view};

#[tokio::test]
async fn an_outage_is_in_headline_title_icon_and_announcement() {
    let browser = browser!();
    let units = [("api.service", WEB, "active/running"), ("web.service", DB, "active/running")];
    let fleetctl = listing(&units);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live() && headline() === 'ok'").await;
    assert_eq!(browser.value("[tone(), badge()]").await, json!(["good", "live"]));
    let icon = browser.value("$('link[rel=icon]').href").await;

    fleetctl.mode("fail");
    browser
        .until("headline() === 'problem' && $('#headline time') && numbers(fact('rest')) === '2'")
        .await;
    browser
        .until("tone() === 'bad' && document.title === '(?) fleet-monitor'")
        .await;
    browser.until("link('live') && badge() === 'stale'").await;
    browser.until("$('#announcement').textContent !== ''").await;
    browser
        .until("banners().join() === 'failing units,failing machines,failing unit_files'")
        .await;
    assert_ne!(browser.value("$('link[rel=icon]').href").await, icon);
    assert_eq!(browser.value("rows().length").await, 2, "what was known is kept");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn overdue_data_are_said_to_be_so_although_nothing_is_published() {
    let browser = browser!();
    let timing = Timing { heartbeat: Duration::from_secs(1), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;

    bench.read_before(Duration::from_secs(8), &view(&[("web.service", "active")]));
    browser.open(&format!("http://{}/", bench.address)).await;
    browser.until("live() && headline() === 'ok'").await;
    browser.until("headline() === 'ok' && fact('rest')").await;
    browser
        .until("tone() === 'warn' && document.title === '(?) fleet-monitor'")
        .await;
    browser
        .until("banners().includes('overdue') && badge() === 'stale'")
        .await;
    browser.finish_on(bench.address.port(), &[]).await;
}

/// Four units, which are all missing from the list that is read next.
pub(super) fn suspect() -> Recording {
    let units = ["a.service", "b.service", "c.service", "d.service"]
        .map(|unit| (unit, WEB, "active/running"));
    let mut recording = Recording::of(&units);
    recording.line(&json!({"t": 0.5, "topic": "units", "states": []}));
    recording.line(&json!({"t": 0.6, "topic": "machines", "same": true}));
    recording.line(&json!({"t": 0.6, "topic": "unit_files", "same": true}));
    recording
}

#[tokio::test]
async fn a_suspect_list_is_in_the_headline() {
    let browser = browser!();
    let server = Server::replay(&suspect());

    browser.open(&server.url("")).await;
    browser
        .until("headline() === 'problem' && $('#headline time') && fact('rest').startsWith('4 ')")
        .await;
    browser
        .until("banners().includes('suspect') && badge() === 'suspect'")
        .await;
    browser
        .until("tone() === 'bad' && document.title === '(?) fleet-monitor'")
        .await;
    assert_eq!(browser.value("rows().length").await, 4);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn one_topic_that_fails_is_named_and_the_others_go_on() {
    let browser = browser!();
    let before = [("web.service", DB, "active/running")];
    let after = [("web.service", DB, "active/exited")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);

    browser.open(&server.url("")).await;
    browser.until("live() && headline() === 'ok'").await;

    fleetctl.mode("fail list-machines");
    browser.until("banners().join() === 'failing machines'").await;

    list(&fleetctl, &after);
    browser
        .until("rows().join() === 'web.service|active/exited|ok|10.0.0.2'")
        .await;
    browser
        .until("headline() === 'ok' && fact('rest').includes('machines')")
        .await;
    browser
        .until("tone() === 'warn' && document.title === '(?) fleet-monitor'")
        .await;
    browser
        .until("$('#announcement').textContent.includes('machines')")
        .await;
    browser
        .until("$('#source').dataset.old === 'machines' && badge() === 'stale'")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn an_outage_from_the_start_is_no_empty_cluster() {
    let browser = browser!();
    let fleet = answering("503 Service Unavailable", "no etcd");
    let server = Server::start(&["--api", &format!("http://127.0.0.1:{fleet}")]);
    for tab in ["units", "machines", "timeline"] {
        browser.open(&server.url(&format!("#tab={tab}"))).await;
        browser
            .until("live() && headline() === 'problem' && $('#headline time')")
            .await;
        let facts = browser
            .value("$$('[data-fact]').map((one) => one.dataset.fact)")
            .await;
        assert_eq!(facts, json!(["rest"]), "nothing is known of the cluster");
        let banners = browser.value("texts('.banner').join()").await;
        assert!(banners.as_str().unwrap().contains("503"), "{banners}");
        assert_eq!(browser.value("texts('.empty:not([hidden])')").await, json!([]));
        assert_eq!(
            browser
                .value("texts('[role=tab] .count:not([hidden])').includes('0')")
                .await,
            false
        );
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn before_the_first_answer_nothing_is_claimed_about_the_cluster() {
    let browser = browser!();
    let mut recording = Recording::default();
    recording.line(&json!({"recording": 1, "source": "fleetctl v1.0.0"}));
    let server = Server::replay(&recording.at(600.0, &[("web.service", WEB, "active/running")]));

    browser.open(&server.url("")).await;
    browser.until("live() && headline() === 'no_data'").await;
    assert_eq!(browser.value("$('#subline').textContent").await, "");
    assert_eq!(
        browser
            .value("texts('.empty:not([hidden]), [role=tab] .count:not([hidden])')")
            .await,
        json!([])
    );
    browser.finish(&server, &[]).await;
}
