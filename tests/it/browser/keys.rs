//! The keyboard: the skip link, and the list of keys.

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{four_troubles, three_units};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const BACK: &str = "\u{e008}\u{e004}"; // Shift and Tab
const DOWN: &str = "\u{e015}";

#[tokio::test]
async fn the_first_stop_skips_to_the_list_of_units() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    for view in ["tab=units", "tab=machines"] {
        browser.open(&server.url(&format!("#{view}"))).await;
        browser.until("live() && $('#chips button')").await;
        let hidden = "$('#skip').getBoundingClientRect().bottom < 0";
        assert_eq!(browser.value(hidden).await, true);

        browser.press(TAB).await;
        browser
            .until(
                "document.activeElement.id === 'skip'
                    && $('#skip').getBoundingClientRect().top > 0",
            )
            .await;
        browser.press(ENTER).await;
        browser.until("document.activeElement === $('.line.unit')").await;
        browser
            .until("location.hash === '' || location.hash === '#tab=units'")
            .await;

        browser.press(DOWN).await;
        browser.until("document.activeElement === $$('.line.unit')[1]").await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_skip_link_leads_to_the_list_even_if_it_is_empty() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("#tab=units&q=nothing")).await;
    browser.until("live() && $('#units .empty').checkVisibility()").await;
    browser.press(TAB).await;
    browser.press(ENTER).await;
    browser.until("document.activeElement.id === 'units'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_question_mark_shows_the_keys_and_escape_gives_the_focus_back() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live() && rows().length === 3").await;
    browser.value("$('.line.unit').focus()").await;
    for close in [ESCAPE, "?", ENTER] {
        browser.press("?").await;
        browser.until("$('#keys').matches(':modal')").await;
        browser.until("$('#keys').contains(document.activeElement)").await;
        for _ in 0..3 {
            browser.press(TAB).await;
            let place = "document.activeElement.closest('#keys, body').tagName";
            let outside = "document.activeElement.closest('#cluster, header')";
            assert!(browser.value(outside).await.is_null(), "{}", browser.value(place).await);
        }

        browser.value("$('#keys button').focus()").await;
        browser.press(close).await;
        browser.until("!$('#keys').open").await;
        browser.until("document.activeElement === $('.line.unit')").await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_question_mark_in_the_filter_is_text() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live() && rows().length === 3").await;
    browser.press("/").await;
    browser.until("document.activeElement.id === 'filter'").await;
    browser.press("?").await;
    browser.until("$('#filter').value === '?'").await;
    assert_eq!(browser.value("$('#keys').open").await, false);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_button_shows_the_keys_and_has_the_focus_afterwards() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live()").await;
    browser.click("#show-keys").await;
    browser.until("$('#keys').matches(':modal')").await;
    browser.click("#keys button").await;
    browser.until("!$('#keys').open").await;
    assert_eq!(browser.value("document.activeElement.id").await, "show-keys");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_bar_does_not_cover_what_has_the_focus() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    for (width, height) in [(390, 844), (1440, 500)] {
        browser.resize(width, height).await;
        browser.open(&server.url("#tab=machines")).await;
        browser.until("live() && $$('.unit-name').length > 20").await;
        browser.value("$$('.unit-name')[20].focus()").await;
        browser.value("scrollBy(0, 300)").await;
        for _ in 0..15 {
            browser.press(BACK).await;
            browser
                .until(
                    "document.activeElement.getBoundingClientRect().top
                         >= $('#bar').getBoundingClientRect().bottom",
                )
                .await;
        }
    }
    browser.finish(&server, &[]).await;
}
