//! The page on paper.

use fantoccini::wd::PrintConfiguration;
use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, WEB};

/// 500 units on each of two machines.
fn thousand_units() -> Recording {
    let names: Vec<String> = (0..1000).map(|number| format!("app-{number:04}.service")).collect();
    let units: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let machine = if number % 2 == 0 { WEB } else { DB };
            (name.as_str(), machine, "active/running")
        })
        .collect();
    Recording::of(&units)
}

#[tokio::test]
async fn all_rows_that_match_are_printed_and_afterwards_only_what_is_visible_is_in_the_document() {
    let browser = browser!();
    let server = Server::replay(&thousand_units());

    browser.open(&server.url("#tab=units&q=machine:10.0.0.1")).await;
    browser.until("rows().length > 10").await;
    let listen = "addEventListener('beforeprint', () => (window.printed = {
        rows: new Set(rows()).size, head: numbers($('#printed').textContent.split('·').pop()) }))";
    browser.value(listen).await;

    let paper = PrintConfiguration::default();
    let pdf = browser.client.print(paper).await.unwrap();
    let pages = pdf.windows(12).filter(|bytes| bytes == b"/Type /Page\n").count();
    assert!(pages > 8, "500 rows need more than {pages} pages");
    assert_eq!(browser.value("window.printed").await, json!({"rows": 500, "head": "500/1/000"}));

    browser.until("rows().length < 200").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn paper_is_white_even_if_the_screen_is_dark_and_has_no_bar() {
    let browser = browser!();
    let server = Server::replay(&thousand_units());

    browser
        .open(&server.url(&format!("#tab=units&open=app-0000.service/{WEB}")))
        .await;
    browser.until("$('.opened')").await;
    browser.emulate_paper("dark").await;
    browser.value("dispatchEvent(new Event('beforeprint'))").await;
    browser.until("matchMedia('print').matches").await;

    let colours = "['body', '.line.unit .name', '.opened dd', '.units'].map((selector) => {
        const { color, backgroundColor } = getComputedStyle($(selector));
        return [color, backgroundColor].join() })";
    let colours = browser.value(colours).await;
    for colours in colours.as_array().unwrap() {
        let colours = colours.as_str().unwrap();
        let is_black = colours.starts_with("rgb(0, 0, 0),");
        let is_white = ["rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"]
            .iter()
            .any(|white| colours.ends_with(white));
        assert!(is_black && is_white, "{colours}");
    }
    for hidden in ["#filter", "[role=tablist]", "#link", ".detail .more"] {
        let is_visible = browser.value(&format!("$('{hidden}').checkVisibility()")).await;
        assert_eq!(is_visible, false, "{hidden}");
    }
    assert_eq!(browser.value("$('#printed').checkVisibility()").await, true);
    assert_eq!(browser.value("rows().length").await, 1000);
    let is_in_order = "$$('.line').every((line, index, all) => !index
        || line.getBoundingClientRect().top >= all[index - 1].getBoundingClientRect().bottom - 1)";
    assert_eq!(browser.value(is_in_order).await, true);
    browser.finish(&server, &[]).await;
}
