//! Finding one's way: filters, addresses, sorting, scrolling and the focus.

use fantoccini::Locator;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{Recording, WEB, list, listing, three_units};

#[tokio::test]
async fn filters_find_by_text_state_machine_and_verdict() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("rows().length === 3").await;
    for (filter, expected) in [
        ("ap", "api.service"),
        ("state:failed", "web.service"),
        ("machine:10.0.0.1", "web.service api.service"),
        ("machine:9c4b", "cron.timer"),
        ("machine:10.0.0.1 -verdict:failed", "api.service"),
        ("verdict:failed", "web.service"),
        ("-service", "cron.timer"),
        ("failed", "web.service"),
        ("unit:*.service state:failed state:waiting", "web.service"),
        ("meta:role=web", "web.service api.service"),
    ] {
        browser.press("/").await;
        browser.until("document.activeElement.id === 'filter'").await;
        browser
            .client
            .find(Locator::Css("#filter"))
            .await
            .unwrap()
            .clear()
            .await
            .unwrap();
        browser
            .client
            .find(Locator::Css("#filter"))
            .await
            .unwrap()
            .send_keys(filter)
            .await
            .unwrap();
        browser.until(&format!("names() === '{expected}'")).await;
        browser.press("\u{e007}").await; // Enter leaves the box
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_filter_names_an_unknown_key_and_says_how_much_it_finds() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let counts = "$('#filter-count').textContent.match(/\\d+/g)?.join()";
    let error = "$('#filter-error[role=alert]').textContent";

    browser.open(&server.url("#q=stat:failed")).await;
    browser.until("rows().length === 3").await;
    browser.until(&format!("{error}.includes('stat:')")).await;
    browser.until(&format!("{error}.includes('state:')")).await;
    browser.until("$('#filter').ariaInvalid === 'true'").await;
    browser.until("$('#filter-count').textContent === ''").await;

    browser.open(&server.url("#q=machine:10.0.0.1")).await;
    browser.until(&format!("{counts} === '2,3' && {error} === ''")).await;
    browser.until("!$('#filter').hasAttribute('aria-invalid')").await;
    browser.until("/2.*3/.test($('#announcement').textContent)").await;
    browser.click("#tab-machines").await;
    browser.until(&format!("{counts} === '1,2'")).await;
    browser.click("#tab-timeline").await;
    browser.until(&format!("{counts} === '0,0'")).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_view_is_its_address_and_back_and_forward_work() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser
        .open(&server.url("#tab=units&q=machine:10.0.0.1&sort=-unit"))
        .await;
    browser
        .until("names() === 'web.service api.service' && $('#filter').value === 'machine:10.0.0.1'")
        .await;
    browser
        .until("$$('[role=columnheader]')[0].ariaSort === 'descending'")
        .await;

    browser.click("[data-term='state:failed']").await;
    browser.until("names() === 'web.service'").await;
    browser
        .until("location.hash.includes('q=machine:10.0.0.1+state:failed')")
        .await;

    browser.click("#tab-machines").await;
    browser.until("location.hash.startsWith('#tab=machines')").await;
    browser
        .until("texts('.unit-name .name').join() === 'web.service'")
        .await;

    browser.client.back().await.unwrap();
    browser
        .until("location.hash.startsWith('#tab=units') && names() === 'web.service'")
        .await;

    browser.client.back().await.unwrap();
    browser
        .until("names() === 'web.service api.service' && $('#filter').value === 'machine:10.0.0.1'")
        .await;

    browser.client.forward().await.unwrap();
    browser.until("names() === 'web.service'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn columns_sort_by_click_and_by_keyboard() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser
        .until("names() === 'web.service api.service cron.timer'")
        .await;

    browser.click("[role=columnheader] button").await;
    browser
        .until("names() === 'api.service cron.timer web.service'")
        .await;
    browser
        .until("$$('[role=columnheader]')[0].ariaSort === 'ascending'")
        .await;

    browser.press("\u{e007}").await; // Enter, on the button that has the focus
    browser
        .until("names() === 'web.service cron.timer api.service'")
        .await;
    browser.until("location.hash.includes('sort=-unit')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn ten_thousand_units_scroll_and_the_document_stays_small() {
    let browser = browser!();
    let names: Vec<String> = (0..10_000).map(|number| format!("app-{number:05}.service")).collect();
    let units: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), WEB, "active/running"))
        .collect();
    let server = Server::replay(&Recording::of(&units));

    browser.open(&server.url("")).await;
    browser.until("names().startsWith('app-00000.service')").await;
    assert_eq!(
        browser
            .value("$('[role=treegrid]').getAttribute('aria-rowcount')")
            .await,
        "10001"
    );
    let most = browser
        .client
        .execute_async(
            "const done = arguments[arguments.length - 1]; let most = 0;
             const step = () => {
                 most = Math.max(most, document.querySelectorAll('[role=row]').length);
                 const { scrollHeight } = document.documentElement;
                 if (scrollY + innerHeight >= scrollHeight - 1) return done(most);
                 scrollBy(0, 9000);
                 requestAnimationFrame(step);
             };
             step();",
            vec![],
        )
        .await
        .unwrap();
    assert!(most.as_u64().unwrap() < 200, "{most} rows in the document");
    browser.until("names().endsWith('app-09999.service')").await;
    browser.until("$$('.line').pop().ariaRowIndex === '10001'").await;

    browser.click("#tab-machines").await;
    browser
        .until("$$('.card').length === 2 && $$('.unit-name').length < 200")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_row_that_vanishes_stays_while_it_has_the_focus_and_leaves_the_address_at_once() {
    let browser = browser!();
    let api = ("api.service", WEB, "active/running");
    let web = ("web.service", WEB, "active/running");
    let fleetctl = listing(&[api, web]);
    let server = Server::asking(&fleetctl, &[]);

    browser
        .open(&server.url(&format!("#tab=units&open=api.service/{WEB},web.service/{WEB}")))
        .await;
    browser
        .until("rows().length === 2 && document.querySelectorAll('.opened').length === 2")
        .await;
    browser.value("$('[data-key^=\"web.service/\"]').focus()").await;
    assert_eq!(
        browser.value("document.activeElement.dataset.key").await,
        format!("web.service/{WEB}")
    );

    // The focus holds the order, and so keeps the row.
    list(&fleetctl, &[api]);
    browser
        .until("document.activeElement.dataset.leaving === 'gone'")
        .await;
    browser.value("document.activeElement.blur()").await;
    browser.until("names() === 'api.service'").await;
    browser
        .until(&format!("location.hash === '#tab=units&open=api.service/{WEB}'"))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_phone_needs_no_horizontal_scrolling() {
    let browser = browser!();
    let server = Server::start(&["--demo"]);

    browser.client.set_window_size(500, 844).await.unwrap();
    for tab in ["units", "machines", "timeline"] {
        // A frame of 360 px: a headless window cannot be made that narrow.
        browser.open(&server.url(&format!("#tab={tab}"))).await;
        browser.until("live()").await;
        browser.value("document.body.style.width = '360px'").await;
        assert_eq!(browser.value("document.body.scrollWidth <= 360").await, true, "{tab}");
        assert_eq!(
            browser
                .value("document.documentElement.scrollWidth <= innerWidth")
                .await,
            true,
            "{tab}"
        );
    }
    browser.finish(&server, &[]).await;
}
