//! The log of a unit in its details: a double in front of the program sends it.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::accessibility::{assert_accessible, axe_core};
use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, WEB, four_troubles, three_units};
use crate::support::{LogServer, LogViewer, log_line, log_machine};

const UNIT: &str = "web.service";

/// The texts of the lines, without their times.
const LINES: &str = "$$('.log-line').map((line) =>
    ['priority', 'program', 'message'].map((part) =>
        line.querySelector(`.log-${part}`).textContent.trim()).join(' '))";
const MESSAGES: &str = "texts('.log-message')";
const NOTES: &str = "$$('.log-note[data-kind]').map(({ dataset }) => dataset.kind)";

/// How many pixels of the log are below what is shown of it, and whether that is none.
const BELOW: &str = "(({ scrollHeight, scrollTop, clientHeight }) =>
    scrollHeight - scrollTop - clientHeight)($('.log'))";

/// A page with the details of a unit, and the log in them.
struct Page {
    browser: Browser,
    /// The program. The page is opened on the double in front of it.
    _server: Server,
    logs: LogServer,
}

impl Page {
    /// The details of `web.service`; `None` without a browser.
    async fn open() -> Option<Self> {
        let browser = Browser::start().await?;
        Some(Self::open_in(browser, Server::replay(&three_units()), UNIT).await)
    }

    async fn open_in(browser: Browser, server: Server, unit: &str) -> Self {
        let logs = LogServer::before(server.address(), true).await;
        let page = Self { browser, _server: server, logs };
        page.show(&format!("#tab=units&open={unit}/{WEB}")).await;
        page
    }

    async fn show(&self, view: &str) {
        self.browser.open(&format!("{}/{view}", self.logs.url())).await;
        self.until("live() && $('.unit-log') && !$('.unit-log').hidden").await;
    }

    async fn until(&self, condition: &str) {
        self.browser.until(condition).await;
    }

    async fn value(&self, expression: &str) -> Value {
        self.browser.value(expression).await
    }

    async fn click(&self, selector: &str) {
        self.browser.click(selector).await;
    }

    /// Opens the log.
    async fn open_log(&mut self) -> LogViewer {
        self.click("[data-log=opener]").await;
        self.logs.viewer().await
    }

    /// Opens the log, and sends lines with these numbers.
    async fn follow(&mut self, numbers: std::ops::Range<u64>) -> LogViewer {
        let mut viewer = self.open_log().await;
        viewer.begin(&[log_machine(WEB, "10.0.0.1", "connected")]).await;
        let count = numbers.end - numbers.start;
        viewer.send(&lines(numbers)).await;
        self.until(&format!("$$('.log-line').length === {count}")).await;
        viewer
    }

    async fn finish(self, expected: &[&str]) {
        self.browser.finish_on(self.logs.address.port(), expected).await;
    }
}

/// A page with the details of a unit, or the end of the test.
macro_rules! page {
    () => {
        match Page::open().await {
            Some(page) => page,
            None => return,
        }
    };
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<Value> {
    numbers
        .map(|number| log_line(WEB, number, 6, &format!("line {number}")))
        .collect()
}

#[tokio::test]
async fn a_log_is_offered_only_if_the_server_has_logs() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let without = LogServer::before(server.address(), false).await;
    let with = LogServer::before(server.address(), true).await;
    let view = format!("#tab=units&open={UNIT}/{WEB}");

    browser.open(&format!("{}/{view}", without.url())).await;
    browser.until("live() && $('.unit-log')").await;
    let answered = "performance.getEntriesByName(location.origin + '/v2/actions')[0]?.responseEnd";
    browser.until(answered).await;
    assert_eq!(browser.value("$('.unit-log').hidden").await, true);

    browser.open(&format!("{}/{view}", with.url())).await;
    browser.until("live() && !$('.unit-log').hidden").await;
    assert_eq!(
        browser.value("$('.log').checkVisibility()").await,
        false,
        "it is not opened yet"
    );
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn the_last_lines_are_shown_and_then_each_as_it_is_written() {
    let mut page = page!();
    let mut viewer = page.open_log().await;
    let query = viewer.query();
    assert_eq!(json!(query), json!({"unit": UNIT, "lines": "200", "follow": "yes"}));

    let hostile = log_line(WEB, 2, 3, "<img src=x onerror=alert(1)>");
    viewer
        .begin(&[
            log_machine(WEB, "10.0.0.1", "connected"),
            log_line(WEB, 1, 6, "started"),
            hostile,
            json!({"type": "line", "machine": WEB, "time": 1, "priority": null, "pid": null,
                   "identifier": null, "message": "bare", "truncated": true, "binary": true,
                   "cursor": "s=3"}),
        ])
        .await;
    page.until("$$('.log-line').length === 3").await;
    assert_eq!(
        page.value(LINES).await,
        json!([
            "info docker[4711]: started",
            "err docker[4711]: <img src=x onerror=alert(1)>",
            "  bare",
        ])
    );
    assert_eq!(page.value("document.images.length").await, 0);
    assert_eq!(page.value("$$('.log-line')[1].dataset.priority").await, "3");
    let times = "$$('.log-line time').every((time) => time.title && time.dateTime)";
    assert_eq!(page.value(times).await, true);
    assert_eq!(page.value("$('.log-machine').checkVisibility()").await, false, "there is one");

    // 1 ms after the beginning of 1970.
    let time = "$$('.log-time')[2].textContent";
    assert_eq!(page.value(time).await, "1970-01-01 05:30:00");
    page.value("$('#times').value = 'utc', $('#times').dispatchEvent(new Event('change'))")
        .await;
    page.until(&format!("{time} === '1970-01-01 00:00:00'")).await;
    assert_eq!(page.value("$('.log-zone').textContent.endsWith('UTC')").await, true);

    viewer.send(&lines(4..100)).await;
    page.until("$$('.log-line').length === 99").await;
    assert_eq!(page.value(BELOW).await, 0, "the newest is in view");
    assert_eq!(page.value(&format!("{MESSAGES}.at(-1)")).await, "line 99");
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_log_stays_still_while_somebody_reads_above_its_end() {
    let mut page = page!();
    let mut viewer = page.follow(0..100).await;

    page.value("$('.log').scrollTo(0, 300)").await;
    page.until("$('.log').scrollTop === 300").await;
    viewer.send(&lines(100..3000)).await;
    page.until("numbers($('.log-newer').textContent) === '2/900'").await;
    assert_eq!(page.value("$('.log').scrollTop").await, 300);
    assert_eq!(
        page.value(&format!("{MESSAGES}[0]")).await,
        "line 0",
        "nothing is dropped there"
    );

    page.click(".log-newer").await;
    page.until(&format!("{MESSAGES}.at(-1) === 'line 2999' && {BELOW} === 0"))
        .await;
    assert_eq!(page.value("$('.log-newer').hidden").await, true);
    assert_eq!(page.value("document.activeElement === $('.log')").await, true);

    page.value("$('.log').scrollTo(0, 300)").await;
    viewer.send(&lines(3000..3001)).await;
    page.until("!$('.log-newer').hidden").await;
    page.value("$('.log').scrollTo(0, $('.log').scrollHeight)").await;
    page.until(&format!("{MESSAGES}.at(-1) === 'line 3000'")).await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_log_that_is_paused_goes_on_where_it_was() {
    let mut page = page!();
    let mut viewer = page.follow(0..3).await;

    page.click("[data-log=pauser]").await;
    viewer.send(&lines(3..5)).await;
    page.until("numbers($('.log-newer').textContent) === '2'").await;
    assert_eq!(page.value("$$('.log-line').length").await, 3);

    page.click("[data-log=pauser]").await;
    page.until("$$('.log-line').length === 5").await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn at_most_two_thousand_lines_are_kept_and_that_is_told() {
    let mut page = page!();
    let mut viewer = page.follow(0..100).await;

    viewer.send(&lines(100..2500)).await;
    page.until(&format!("{MESSAGES}.at(-1) === 'line 2499'")).await;
    assert_eq!(page.value("$$('.log-line').length").await, 2000);
    assert_eq!(page.value("numbers($('[data-log=dropped]').textContent)").await, "500");
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_log_is_narrowed_by_text() {
    let mut page = page!();
    let mut viewer = page.follow(0..30).await;

    page.value("$('.log-tools input').focus()").await;
    page.browser.press("line 2 -29").await;
    page.until("$$('.log-line').length === 11").await;
    assert_eq!(page.value("numbers($('.log-count').textContent)").await, "11/30");
    viewer.send(&lines(30..43)).await;
    page.until(&format!("{MESSAGES}.at(-1) === 'line 42'")).await;
    assert_eq!(page.value("$$('.log-line').length").await, 13);

    page.browser.press("\u{e00c}").await; // Escape
    page.until("$$('.log-line').length === 43").await;
    assert_eq!(page.value("$('.opened') !== null").await, true, "the row is open");
    page.browser.press("\u{e00c}").await;
    page.until("!$('.opened')").await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn moves_missed_lines_and_unreadable_machines_are_told_between_the_lines() {
    let mut page = page!();
    let mut viewer = page.follow(0..1).await;

    viewer
        .send(&[
            json!({"type": "missed", "machine": WEB, "lines": 120, "reason": "slow"}),
            json!({"type": "moved", "machine": DB}),
            log_machine(DB, "10.0.0.2", "failed"),
            log_machine(DB, "10.0.0.2", "connected"),
            log_line(DB, 1, 6, "here"),
            json!({"type": "of_a_newer_server"}),
        ])
        .await;
    page.until(&format!("{MESSAGES}.at(-1) === 'here'")).await;
    assert_eq!(page.value(NOTES).await, json!(["missed", "moved", "failed", "readable"]));
    page.until("numbers($('[data-kind=missed]').textContent).startsWith('120')")
        .await;
    page.until("$('[data-kind=moved]').textContent.includes('10.0.0.2')")
        .await;
    assert_eq!(
        page.value("$$('.log-machine').map((node) => node.checkVisibility() && node.textContent)")
            .await,
        json!(["10.0.0.1 ", "10.0.0.2 "])
    );
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_lost_connection_is_told_and_opened_again_without_a_line_twice() {
    let mut page = page!();
    drop(page.follow(0..3).await);
    page.until("$('.unit-log').dataset.state === 'disconnected'").await;
    assert_eq!(page.value("$$('.log-line').length").await, 3, "the lines stay");

    // As right after a restart of the server, and as a broken proxy.
    page.logs
        .viewer()
        .await
        .refuse(404, "there is no unit web.service")
        .await;
    let mut broken = page.logs.viewer().await;
    broken.begin(&[]).await;
    broken.write("data: Hello\n\n").await;
    broken.until_closed().await;

    let mut viewer = page.logs.viewer().await;
    viewer.begin(&[log_machine(WEB, "10.0.0.1", "connected")]).await;
    viewer.send(&lines(1..6)).await;
    page.until("$$('.log-line').length === 6").await;
    page.until("$('.unit-log').dataset.state === 'live'").await;
    assert_eq!(page.value(NOTES).await, json!(["gap"]));
    page.finish(&["404"]).await;
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_can_be_tried_again() {
    let mut page = page!();
    page.open_log()
        .await
        .refuse(404, "there is no unit web.service")
        .await;
    page.until("$('.unit-log').dataset.state === 'refused'").await;
    page.until("$('.log-state').textContent.includes('There is no unit')")
        .await;

    page.follow(0..3).await;
    page.finish(&["404"]).await;
}

#[tokio::test]
async fn nobody_reads_a_log_that_is_stopped_or_whose_row_is_closed() {
    let mut page = page!();
    let viewer = page.follow(0..3).await;
    page.click("[data-log=opener]").await;
    viewer.until_closed().await;
    page.until("$('.unit-log').dataset.state === 'stopped'").await;
    assert_eq!(page.value("$$('.log-line').length").await, 3, "the lines stay");

    let mut viewer = page.open_log().await;
    viewer.begin(&lines(0..4)).await;
    page.until("$$('.log-line').length === 4").await;
    page.click("[data-key^='web.service/']").await;
    page.until("!$('.opened')").await;
    viewer.until_closed().await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_page_that_is_hidden_for_long_stops_reading_until_it_is_shown() {
    let mut page = page!();
    let viewer = page.follow(0..3).await;
    let show = |state: &str| {
        format!(
            "(Object.defineProperty(document, 'visibilityState',
                 {{ value: '{state}', configurable: true }}),
              document.dispatchEvent(new Event('visibilitychange')))"
        )
    };

    // A minute is over at once.
    page.value(
        "(() => {
            const real = window.setTimeout;
            window.setTimeout = (action, delay) => real(action, delay === 60_000 ? 0 : delay);
        })()",
    )
    .await;
    page.value(&show("hidden")).await;
    viewer.until_closed().await;
    page.until("$('.unit-log').dataset.state === 'hidden'").await;

    page.value(&show("visible")).await;
    let mut viewer = page.logs.viewer().await;
    viewer.begin(&lines(1..5)).await;
    page.until("$$('.log-line').length === 5").await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_log_keeps_its_place_while_its_row_is_scrolled_away() {
    let browser = browser!();
    let mut page = Page::open_in(browser, Server::replay(&four_troubles()), "app-00.service").await;
    let mut viewer = page.follow(0..100).await;
    page.value("$('.log').scrollTo(0, 300)").await;
    page.until("$('.log').scrollTop === 300").await;

    // Whatever has the focus stays in the document.
    page.value("document.activeElement.blur()").await;
    page.value("scrollTo(0, document.documentElement.scrollHeight)").await;
    page.until("!$('.log')").await;
    viewer.send(&lines(100..102)).await;
    page.value("scrollTo(0, 0)").await;
    page.until("$('.log')?.scrollTop === 300").await;
    page.until("numbers($('.log-newer').textContent) === '2'").await;

    page.click(".log-newer").await;
    page.value("document.activeElement.blur()").await;
    page.value("scrollTo(0, document.documentElement.scrollHeight)").await;
    page.until("!$('.log')").await;
    viewer.send(&lines(102..110)).await;
    page.value("scrollTo(0, 0)").await;
    page.until(&format!("{MESSAGES}.at(-1) === 'line 109' && {BELOW} === 0"))
        .await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_row_of_a_global_unit_has_the_log_of_its_machine() {
    let browser = browser!();
    let global = [
        ("agent.service", WEB, "active/running"),
        ("agent.service", DB, "active/running"),
    ];
    let server = Server::replay(&Recording::of(&global));
    let logs = LogServer::before(server.address(), true).await;
    let mut page = Page { browser, _server: server, logs };

    page.show(&format!("#tab=units&open=agent.service/*,agent.service/{DB}"))
        .await;
    let viewer = page.open_log().await;
    assert_eq!(viewer.query()["machine"], DB);
    page.finish(&[]).await;
}

#[tokio::test]
async fn a_token_is_sent_in_a_header_only() {
    let browser = browser!();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "open-sesame-0123456789\n").unwrap();
    let arguments = ["--token-file", file.to_str().unwrap()];
    let server = Server::replay_with(&three_units(), &arguments);
    let logs = LogServer::before(server.address(), true).await;
    let mut page = Page { browser, _server: server, logs };

    let address = format!("{}/#tab=units&open={UNIT}/{WEB}", page.logs.url());
    page.browser.open(&address).await;
    page.until("!$('#token-form').hidden && document.activeElement.id === 'token'")
        .await;
    page.browser.press("open-sesame-0123456789\u{e007}").await;
    page.until("live() && $('.unit-log') && !$('.unit-log').hidden").await;

    let viewer = page.open_log().await;
    let head = viewer.request.to_ascii_lowercase();
    assert!(head.contains("authorization: bearer open-sesame-0123456789\r\n"), "{head}");
    assert!(!viewer.query().contains_key("token"), "{head}");
    page.finish(&["401", "WebSocket connection to"]).await;
}

#[tokio::test]
async fn a_page_reads_no_more_logs_than_leave_it_connections() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());
    let logs = LogServer::before(server.address(), true).await;
    let mut page = Page { browser, _server: server, logs };
    let keys: Vec<String> = (0..5).map(|number| format!("app-0{number}.service/{WEB}")).collect();
    page.show(&format!("#tab=units&q=app-0&open={}", keys.join(",")))
        .await;

    let mut viewers = Vec::new();
    for key in &keys {
        page.browser.resize(1440, 3000).await;
        let opener = format!("[data-key='{key}#'] [data-log=opener]");
        page.until(&format!("$(\"{opener}\")?.checkVisibility()")).await;
        page.value(&format!("$(\"{opener}\").click()")).await;
        let mut viewer = page.logs.viewer().await;
        viewer.begin(&lines(0..1)).await;
        viewers.push(viewer);
    }
    viewers.remove(0).until_closed().await;
    page.until(
        "$$('.unit-log').map(({ dataset }) => dataset.state).join(' ')
        === 'crowded live live live live'",
    )
    .await;
    page.finish(&[]).await;
}

#[tokio::test]
async fn ten_thousand_lines_a_second_do_not_freeze_the_page() {
    const BATCHES: u64 = 50;
    const LINES_IN_BATCH: u64 = 10_000 / BATCHES;

    let mut page = page!();
    let mut viewer = page.follow(0..1).await;
    let mut next = 1;
    let flood = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(1000 / BATCHES));
        loop {
            ticks.tick().await;
            viewer.send(&lines(next..next + LINES_IN_BATCH)).await;
            next += LINES_IN_BATCH;
        }
    };
    let reader = async {
        page.until("$('[data-log=dropped]').checkVisibility()").await;
        page.until("$('.log').getAttribute('aria-live') === 'off'").await;

        page.value(
            "(() => {
                window.longest = 0;
                let last = performance.now();
                const look = (now) => {
                    window.longest = Math.max(window.longest, now - last);
                    last = now;
                    requestAnimationFrame(look);
                };
                requestAnimationFrame(look);
            })()",
        )
        .await;
        page.click("[data-log=pauser]").await;
        page.until("!$('.log-newer').hidden").await;
        let shown = page.value(&format!("{MESSAGES}.at(-1)")).await;
        page.until("parseInt(numbers($('.log-newer').textContent.replace(',', ''))) > 9000")
            .await;
        assert_eq!(page.value(&format!("{MESSAGES}.at(-1)")).await, shown);
        page.click("[data-log=pauser]").await;
        page.until("$('.log-newer').hidden").await;
    };
    tokio::select! {
        () = reader => {}
        () = flood => {}
    }

    page.until(&format!("{MESSAGES}.at(-1) === 'line {}'", next - 1))
        .await;
    assert_eq!(page.value("$$('.log-line').length").await, 2000);
    // Much less, unless the machine is as busy as it is with other tests.
    let longest = page.value("window.longest").await;
    assert!(longest.as_f64().unwrap() < 5000.0, "{longest} ms without a frame");
    page.finish(&[]).await;
}

#[tokio::test]
async fn axe_finds_nothing_in_a_log_and_fingers_find_its_buttons() {
    let Some(axe) = axe_core() else { return };
    let browser = browser!();
    let recording = Recording::of(&THREE_UNITS);
    let mut page = Page::open_in(browser, Server::replay(&recording), UNIT).await;
    let messages = [
        log_machine(WEB, "10.0.0.1", "connected"),
        json!({"type": "machine", "machine": DB, "ip": "10.0.0.2", "state": "failed",
               "role": "previous", "reason": "connection refused"}),
        json!({"type": "missed", "machine": WEB, "lines": 120, "reason": "rate"}),
        json!({"type": "moved", "machine": WEB}),
    ];

    // A stream that ended would be opened again.
    let mut viewers = Vec::new();
    for (scheme, (width, height)) in ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| [(1440, 900), (390, 844)].map(|size| (scheme, size)))
    {
        page.browser.prefer(scheme).await;
        page.browser.resize(width, height).await;
        page.show(&format!("#tab=units&open={UNIT}/{WEB}")).await;
        let mut viewer = page.open_log().await;
        viewer.begin(&messages).await;
        let long = "/var/lib/docker/overlay2/3f1a8c5e9b2d4f60a7c1d2e3b4f50617/merged ".repeat(4);
        let lines: Vec<Value> = (0..40)
            .map(|number| log_line(WEB, number, (number % 8) as u8, &format!("{number} {long}")))
            .collect();
        viewer.send(&lines).await;
        page.until("$$('.log-line').length === 40").await;
        page.value("$('.log').scrollTo(0, 100)").await;
        viewer.send(&[log_line(WEB, 50, 6, "new")]).await;
        page.until("!$('.log-newer').hidden").await;
        viewers.push(viewer);

        let shown = format!("{scheme}, {width}");
        assert_accessible(&page.browser, &axe, &shown).await;
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth
            && $('.log').scrollWidth <= $('.log').clientWidth";
        assert_eq!(page.value(fits).await, true, "{shown}");
        if width < 640 {
            let small = "$$('.unit-log button, .unit-log input').filter((node) => {
                const { width, height } = node.getBoundingClientRect();
                return node.checkVisibility() && Math.min(width, height) < 44;
            }).length";
            assert_eq!(page.value(small).await, 0, "{shown}");
        }
    }
    page.finish(&[]).await;
}
