//! The cards of the machines.

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{OLD, Recording, THREE_UNITS, WEB, three_units};

#[tokio::test]
async fn machines_are_cards_with_their_units() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("texts('.card h3').join() === '10.0.0.1,10.0.0.2'")
        .await;
    browser
        .until("texts('.card:first-child .unit-name .name').join() === 'web.service,api.service'")
        .await;
    browser
        .until("$('.card .metadata').textContent === 'region=us-west, role=web'")
        .await;
    assert_eq!(
        browser.value("texts('.card .tag')").await,
        json!([]),
        "fleetctl lists no version and no leader"
    );

    browser.click(".card .unit-name").await;
    browser
        .until("$('.opened') && location.hash.startsWith('#tab=units&open=web.service/')")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_machine_has_its_version_and_the_leader_a_badge() {
    let browser = browser!();
    let server = Server::replay(&Recording::of_etcd(&THREE_UNITS[..2]));

    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("texts('.card h3').join() === '10.0.0.1,10.0.0.2,10.0.0.3'")
        .await;
    let tags = "$$('.card').map((card) => [...card.querySelectorAll('.tag')]
        .map((tag) => tag.dataset.tone ?? tag.textContent.match(/[\\d.]+/)[0]))";
    assert_eq!(browser.value(tags).await, json!([["note", "1.0.0"], ["1.0.0"], ["warn"]]));
    let odd = browser.value("$('.tag[data-tone=warn]').textContent").await;
    assert!(odd.as_str().unwrap().contains("0.11.8"), "{odd}");
    browser.until("numbers(fact('versions')) === '2'").await;

    browser.open(&server.url("#tab=machines&q=0.11.8")).await;
    browser.until("texts('.card h3').join() === '10.0.0.3'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_silent_machine_is_neither_present_nor_lost_and_its_units_have_the_age_of_its_silence() {
    let browser = browser!();
    let recording = Recording::of_etcd(&THREE_UNITS[..2])
        .silent(0.1, 24)
        .silent(0.2, 0)
        .silent(15.0, 7300)
        .silent(600.0, 7900);
    let server = Server::replay(&recording);

    browser.open(&server.url("#tab=machines")).await;
    browser.until("headline() === 'ok'").await;
    assert_eq!(browser.value("texts('.card .away:not([hidden])')").await, json!([]));
    browser
        .until("texts('.card h3').join() === '10.0.0.2,10.0.0.1,10.0.0.3'")
        .await;
    assert_eq!(browser.value("$('.card').dataset.away").await, "silent");
    assert_eq!(browser.value("texts('.card .away:not([hidden])').length").await, 1);
    assert_eq!(browser.value("numbers($('.card .away .age').textContent)").await, "2", "hours");
    assert_eq!(browser.value("[headline(), tone()]").await, json!(["machine_silent", "warn"]));
    browser
        .until("$('#headline').textContent.includes('10.0.0.2') && $('#headline time')")
        .await;
    browser.until("numbers(fact('machines')) === '3'").await;

    browser.click("#tab-units").await;
    browser
        .until("rows()[0] === 'cron.timer|active/waiting|stale|10.0.0.2'")
        .await;
    assert_eq!(browser.value("$('.line.unit .since time').textContent").await, "2 h");

    browser.click("#tab-timeline").await;
    browser.until("$$('.event').length === 3").await;
    let events = "$$('.event').map(({ dataset }) => [dataset.event, dataset.tone])";
    let expected = json!([
        ["machine_silent", "warn"],
        ["machine_heard", "idle"],
        ["machine_silent", "warn"]
    ]);
    assert_eq!(browser.value(events).await, expected);

    browser.client.set_window_size(500, 844).await.unwrap();
    browser.click("#tab-machines").await;
    // A headless window cannot be made as narrow as a phone.
    browser.value("document.body.style.width = '360px'").await;
    assert_eq!(browser.value("document.body.scrollWidth <= 360").await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_silent_machine_without_units_is_the_headline() {
    let browser = browser!();
    let mut recording = Recording::of_etcd(&THREE_UNITS[..2]);
    let overdue = json!([[{"machine": OLD}, 23.0]]);
    recording.line(&json!({"t": 0.1, "topic": "registry", "leader": WEB, "overdue": overdue}));
    let server = Server::replay(&recording);

    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("headline() === 'machine_silent' && tone() === 'warn'")
        .await;
    assert_eq!(browser.value("numbers(fact('rest'))").await, "2", "units are fine");
    browser.until("$('.card .away time').dataset.wording === 'for'").await;
    let first = browser.value("$('.card .away').textContent").await;
    browser
        .until(&format!("$('.card .away').textContent !== {first}"))
        .await;
    browser.finish(&server, &[]).await;
}
