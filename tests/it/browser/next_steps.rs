//! The commands and links in the details of a unit and on the cards of machines.

use serde_json::json;

use super::browser;
use super::causes::lost_machine;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, WEB, three_units};

const LINKS: [&str; 4] = [
    "--link",
    "Logs=https://kibana.example/{unit}?host={ip}",
    "--link",
    "Node exporter=http://{ip}:9100/metrics",
];

/// The commands that are visible, and the links as `name address`.
const COMMANDS: &str = "$$('.commands code').filter((code) => code.checkVisibility())
    .map((code) => code.textContent)";
const ADDRESSES: &str = "$$('.next-steps a').filter((link) => link.checkVisibility())
    .map((link) => `${link.textContent} ${link.href}`)";

/// Replaces the clipboard by one that a test can read, or by none, as over plain http.
const CLIPBOARD: &str = "Boolean(Object.defineProperty(navigator, 'clipboard', {
    value: { writeText: async (text) => { window.copied = text; } } }))";
const NO_CLIPBOARD: &str = "Object.defineProperty(navigator, 'clipboard', { value: undefined }),
    addEventListener('copy', () => { window.copied = String(getSelection()); })";
/// A page that may not copy at all.
const NO_COPYING: &str = "Object.defineProperty(navigator, 'clipboard', { value: undefined }),
    document.execCommand = () => false, true";

#[tokio::test]
async fn a_unit_has_commands_and_links_for_where_it_is() {
    let browser = browser!();
    let server = Server::replay_with(&three_units(), &LINKS);

    browser
        .open(&server.url(&format!("#tab=units&open=web.service/{WEB}")))
        .await;
    browser.until("$('.opened .commands li')").await;
    let expected = json!([
        "fleetctl journal --lines=50 web.service",
        "fleetctl status web.service",
        format!("fleetctl ssh {WEB} 'systemctl status web.service'"),
        format!("fleetctl ssh {WEB}"),
        "fleetctl cat web.service",
    ]);
    assert_eq!(browser.value(COMMANDS).await, expected);
    let expected = json!([
        "Logs https://kibana.example/web.service?host=10.0.0.1",
        "Node exporter http://10.0.0.1:9100/metrics",
    ]);
    assert_eq!(browser.value(ADDRESSES).await, expected);
    let is_safe = "$$('.next-steps a').every(({ rel, target }) =>
        rel === 'noreferrer noopener' && target === '_blank')";
    assert_eq!(browser.value(is_safe).await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_commands_follow_a_unit_whose_machine_is_lost() {
    let browser = browser!();
    let server = Server::replay(&lost_machine());

    browser
        .open(&server.url(&format!("#tab=units&open=b.service/{DB}")))
        .await;
    browser.until("headline() === 'machine_lost'").await;
    browser.until(&format!("{COMMANDS}[0] === 'ssh core@10.0.0.2'")).await;
    let commands = browser.value(COMMANDS).await;
    let others = commands.as_array().unwrap().iter().filter(|command| {
        let command = command.as_str().unwrap();
        command.starts_with("fleetctl ") && !command.starts_with("fleetctl cat ")
    });
    assert_eq!(others.count(), 0, "fleetctl does not know the machine: {commands}");

    browser.click("#tab-machines").await;
    browser.click(".card[data-away=lost] .next-steps summary").await;
    browser.until(&format!("{COMMANDS}[0] === 'ssh core@10.0.0.2'")).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_command_is_copied_with_the_mouse_and_the_keyboard_and_without_a_clipboard() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let view = format!("#tab=units&open=web.service/{WEB}");
    let first = "fleetctl journal --lines=50 web.service";
    let button = ".opened .copy";

    for clipboard in [CLIPBOARD, NO_CLIPBOARD] {
        browser.open(&server.url(&view)).await;
        browser.until("$('.opened .copy')").await;
        browser.value(clipboard).await;
        let before = browser.value("$('.opened .copy').textContent").await;

        browser.click(button).await;
        browser.until(&format!("window.copied === '{first}'")).await;
        browser
            .until(&format!("$('{button}').textContent !== {before}"))
            .await;
        assert_eq!(browser.value("$('#announcement').textContent !== ''").await, true);
        assert_eq!(browser.value("String(getSelection())").await, "", "nothing stays selected");
        browser
            .until(&format!("$('{button}').textContent === {before}"))
            .await;

        browser.value("window.copied = null").await;
        browser.value("$$('.opened .copy')[1].focus()").await;
        browser.press("\u{e007}").await;
        browser.until("window.copied === 'fleetctl status web.service'").await;
        assert_eq!(browser.value("Boolean($('.opened'))").await, true, "the row stays open");
    }

    browser.open(&server.url(&view)).await;
    browser.until("$('.opened .copy')").await;
    browser.value(NO_COPYING).await;
    browser.click(button).await;
    browser.until(&format!("String(getSelection()) === '{first}'")).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_machine_has_its_commands_and_the_links_without_a_unit() {
    let browser = browser!();
    let server = Server::replay_with(&Recording::of_etcd(&THREE_UNITS), &LINKS);

    browser.open(&server.url("#tab=machines")).await;
    browser.until("$('.card .next-steps:not([hidden])')").await;
    assert_eq!(browser.value(COMMANDS).await, json!([]), "they are shown on request");

    browser.click(".card .next-steps summary").await;
    browser.until(&format!("{COMMANDS}.length === 3")).await;
    let ip = browser.value("$('.card h3').textContent").await;
    let ip = ip.as_str().unwrap();
    let expected = json!([format!("Node exporter http://{ip}:9100/metrics")]);
    assert_eq!(browser.value(ADDRESSES).await, expected);

    browser.value(CLIPBOARD).await;
    browser.click(".card .copy").await;
    browser.until("window.copied?.startsWith('fleetctl ssh ')").await;
    assert_eq!(browser.value("location.hash").await, "#tab=machines", "a copy leads nowhere");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn what_is_touched_is_large_and_nothing_is_wider_than_a_phone() {
    let browser = browser!();
    let long = "a-very-long-unit-name-which-is-more-than-a-phone-is-wide@instance.service";
    let units = [(long, WEB, "active/running"), ("cron.timer", DB, "active/waiting")];
    let server = Server::replay_with(&Recording::of(&units), &LINKS);

    browser.resize(390, 844).await;
    browser
        .open(&server.url(&format!("#tab=units&open={long}/{WEB}")))
        .await;
    browser.until("$('.opened .copy')").await;
    let fits = "document.documentElement.scrollWidth <= innerWidth
        && $$('.next-steps :is(button, a, summary)').filter((node) => node.checkVisibility())
            .every((node) => Math.min(node.offsetWidth, node.offsetHeight) >= 44
                && node.getBoundingClientRect().right <= innerWidth)";
    assert_eq!(browser.value(fits).await, true);

    browser.click("#tab-machines").await;
    browser.until("$('.card .next-steps:not([hidden])')").await;
    browser.value("$('.card .next-steps summary').click()").await;
    browser.until("$('.card .copy')").await;
    assert_eq!(browser.value(fits).await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn after_a_restart_the_server_is_asked_again_but_not_more_often() {
    let browser = browser!();
    let mut server = Server::replay_with(&three_units(), &LINKS);
    let requests = "performance.getEntriesByType('resource')
        .filter(({ name }) => name.endsWith('/v2/actions')).length";

    browser
        .open(&server.url(&format!("#tab=units&open=web.service/{WEB}")))
        .await;
    browser.until("$('.opened .commands li')").await;
    browser.click("#tab-machines").await;
    browser.until("$('.card .next-steps:not([hidden])')").await;
    browser.click("#tab-units").await;
    assert_eq!(browser.value(requests).await, 1);

    server.kill();
    browser.until("!link('live')").await;
    server.start_again();
    browser.until("live()").await;
    browser.until(&format!("{requests} === 2")).await;
    assert_eq!(browser.value("Boolean($('.opened .commands li'))").await, true);
    browser.finish(&server, &["ERR_CONNECTION_REFUSED"]).await;
}
