//! Links to units that are not where they were when the link was made.

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, OLD, Recording, WEB, list, listing, three_units};

#[tokio::test]
async fn a_link_to_a_unit_that_moved_opens_it_where_it_is_now_and_says_so() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser
        .open(&server.url(&format!("#tab=units&open=web.service/{DB}")))
        .await;
    browser
        .until("$('.opened').previousElementSibling.dataset.key.startsWith('web.service/3f1a')")
        .await;
    browser
        .until("/10.0.0.2.*10.0.0.1/.test($('.moved').textContent)")
        .await;
    browser
        .until(&format!("location.hash === '#tab=units&open=web.service/{WEB}'"))
        .await;

    // Who opens the row again has not come by the link.
    browser.click("[data-key^='web.service/']").await;
    browser.until("!$('.opened')").await;
    browser.click("[data-key^='web.service/']").await;
    browser.until("$('.opened') && !$('.moved')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_link_to_a_global_unit_that_left_the_machine_opens_its_group_and_says_so() {
    let browser = browser!();
    let server = Server::replay(&Recording::of(&[
        ("agent.service", WEB, "active/running"),
        ("agent.service", DB, "active/running"),
    ]));

    browser
        .open(&server.url(&format!("#tab=units&open=agent.service/{OLD}")))
        .await;
    browser
        .until("/agent.service.*d2e8f4a1/.test($('[data-note=moved]').textContent)")
        .await;
    browser.until("rows().length === 3").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_link_to_a_unit_that_is_nowhere_says_so_until_the_unit_is_there() {
    let browser = browser!();
    let api = ("api.service", WEB, "active/running");
    let web = ("web.service", WEB, "active/running");
    let fleetctl = listing(&[api]);
    let server = Server::asking(&fleetctl, &[]);
    let link = server.url(&format!("#tab=units&open=web.service/{DB}"));

    browser.open(&link).await;
    browser
        .until("/web.service/.test($('[data-note=missing]').textContent)")
        .await;
    browser.click("[data-note=missing] button").await;
    browser
        .until("!$('[data-note=missing]') && location.hash === '#tab=units'")
        .await;

    browser.open(&link).await;
    browser.until("$('[data-note=missing]')").await;
    list(&fleetctl, &[api, web]);
    browser
        .until("!$('[data-note=missing]') && $('.opened .moved')")
        .await;
    browser.finish(&server, &[]).await;
}
