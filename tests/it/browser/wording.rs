//! The wording of the page: the only place where tests compare it.
//!
//! Reasons and events are texts of the server, and are compared elsewhere.

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, three_units};
use crate::support::snapshots::{assert_catalogue, assert_text};

const WORDING: &str = include_str!("wording.js");

#[tokio::test]
async fn all_texts_of_the_page_are_these() {
    let browser = browser!();
    let server = Server::replay(&three_units());

    browser.open(&server.url("")).await;
    browser.until("live()").await;

    let script = "const done = arguments[arguments.length - 1];
        Promise.all([import('/words.js'), import('/verdicts.js')])
            .then(([words, { VERDICTS }]) => done(catalogue(words, VERDICTS)))
            .catch((error) => done(String(error.stack)));";
    let texts = browser
        .client
        .execute_async(&format!("{WORDING} {script}"), vec![])
        .await
        .unwrap();
    let texts: Vec<(String, String)> =
        serde_json::from_value(texts.clone()).unwrap_or_else(|error| panic!("{error}: {texts}"));
    assert!(texts.len() > 80, "there are more texts than that");
    assert_catalogue("page-words", texts);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_page_of_a_cluster_with_problems_reads_like_this() {
    let browser = browser!();
    let recording = Recording::of_etcd(&THREE_UNITS).silent(0.1, 24).silent(600.0, 624);
    let server = Server::replay(&recording);
    let panel = "[role=tabpanel]:not([hidden])";
    let opened = format!("tab=units&open=cron.timer/{DB}");
    let views = [
        (opened.as_str(), "body", ".opened"),
        ("tab=machines", panel, ".card .next-steps:not([hidden])"),
        ("tab=timeline", panel, ".event"),
    ];

    let mut shown = String::new();
    for (view, part, awaited) in views {
        browser.open(&server.url(&format!("#{view}"))).await;
        browser.until(&format!("live() && $('{awaited}')")).await;
        browser.until("numbers($('#tab-timeline').textContent) === '1'").await;
        browser.until("!$('[aria-busy=true]')").await;

        shown.push_str(&shown_texts(&browser, view, part).await);
    }

    browser.click("#show-keys").await;
    browser.until("$('#keys').open").await;
    shown.push_str(&shown_texts(&browser, "the keys", "#keys").await);
    assert_text("page", &shown);
    browser.finish(&server, &[]).await;
}

/// What a part of the page shows, below a title.
async fn shown_texts(browser: &Browser, title: &str, part: &str) -> String {
    let script = format!("{WORDING} return shownTexts('{part}');");
    let texts = browser.client.execute(&script, vec![]).await.unwrap();
    let texts = texts.as_str().expect("a text");
    format!("--- {title}\n\n{texts}\n\n")
}
