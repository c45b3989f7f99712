//! The time line of a recording that is played.

use serde_json::{Value, json};

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, Recording, THREE_UNITS, WEB};

const RIGHT: &str = "\u{e014}";

/// The recorded wall clock at its beginning: `2023-11-14T22:13:20Z`.
const BEGIN: u64 = 1_700_000_000_000;

/// The sub state of the unit `api.service`.
const API: &str = "$$('.line.unit').find((row) => row.textContent.includes('api.service'))
    ?.textContent.match(/running|exited|dead/)?.[0]";

const PLACE: &str = "Number($('#replay-position').value)";

/// Ten minutes with a wall clock, in which a unit stops at two minutes, starts again at four, and
/// stops again at eight.
fn ten_minutes() -> Recording {
    let with = |state: &'static str| {
        let mut units = THREE_UNITS;
        units[0] = ("api.service", WEB, state);
        units
    };
    let running = with("active/running");
    let stopped = with("inactive/dead");
    let mut recording = Recording::of(&running);
    for second in (10..=600).step_by(10) {
        let is_stopped = (120..240).contains(&second) || second >= 480;
        recording = recording.at(f64::from(second), if is_stopped { &stopped } else { &running });
    }

    let lines = recording.0.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if line.get("recording").is_some() {
            line = json!({"recording": 3, "run": "r", "t": 0, "source": line["source"]});
        }
        let milliseconds = BEGIN + (line["t"].as_f64().unwrap() * 1000.0) as u64;
        let seconds = milliseconds / 1000 - BEGIN / 1000;
        let (minute, second) = (13 + (seconds + 20) / 60, (seconds + 20) % 60);
        line["time"] = json!(format!("2023-11-14T22:{minute:02}:{second:02}Z"));
        format!("{line}\n")
    });
    Recording(lines.collect())
}

/// Goes to a place of the slider, as a drag does.
async fn drag_to(browser: &Browser, milliseconds: u64) {
    let drag = format!(
        "(() => {{ const slider = $('#replay-position'); slider.value = {milliseconds};
            slider.dispatchEvent(new Event('input', {{bubbles: true}})); return true; }})()"
    );
    browser.value(&drag).await;
}

/// The wall clock that is shown, in seconds since the beginning of the recording.
async fn shown_second(browser: &Browser) -> i64 {
    // "2023-11-14 22:13:20 +05:30" without its second blank is as RFC 3339 has it.
    let shown = "Date.parse($('#replay-time').textContent.split(',')[0]
        .replace(' ', 'T').replace(' ', ''))";
    let shown = browser.value(shown).await.as_f64().unwrap();
    (shown / 1000.0) as i64 - (BEGIN / 1000) as i64
}

#[tokio::test]
async fn a_drag_leads_to_what_was_then_with_its_wall_clock() {
    let browser = browser!();
    let server = Server::replay(&ten_minutes());
    browser.open(&server.url("")).await;
    browser.until(&format!("live() && {API} === 'running'")).await;

    for (second, state) in [(180, "dead"), (300, "running"), (130, "dead"), (20, "running")] {
        drag_to(&browser, second * 1000).await;
        browser.until(&format!("{API} === '{state}'")).await;
        browser
            .until(&format!("Math.abs({PLACE} - {second}000) < 15000"))
            .await;
        let shown = shown_second(&browser).await;
        assert!(shown.abs_diff(second as i64) < 15, "{shown} s, not {second} s");
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_drag_leads_to_the_problems_of_then() {
    let browser = browser!();
    let server = Server::replay_with(&ten_minutes(), &["--problem-after", "60"]);
    browser.open(&server.url("")).await;
    browser.until(&format!("live() && {API} === 'running'")).await;
    browser.click("#replay-play").await;

    // A unit has failed since before the beginning, and is a problem one minute after it.
    for (second, problems) in [(90, 1), (30, 0), (600, 1), (54, 0)] {
        drag_to(&browser, second * 1000).await;
        browser
            .until(&format!("{PLACE} === {second}000 && causes().length === {problems}"))
            .await;
        browser
            .until(&format!("document.title.startsWith('({problems})') === {}", problems > 0))
            .await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn steps_lead_from_event_to_event_and_a_pause_stays_there() {
    let browser = browser!();
    let server = Server::replay(&ten_minutes());
    browser.open(&server.url("")).await;
    browser.until(&format!("live() && {API} === 'running'")).await;
    browser
        .until("$('#replay-next').getAttribute('aria-disabled') === 'false'")
        .await;

    browser.click("#replay-play").await;
    browser
        .until("$('#replay-play').getAttribute('aria-label') === 'Play'")
        .await;
    for (second, state) in [(120, "dead"), (240, "running"), (480, "dead")] {
        browser.click("#replay-next").await;
        browser
            .until(&format!("{API} === '{state}' && Math.abs({PLACE} - {second}000) < 1500"))
            .await;
    }
    browser.click("#replay-previous").await;
    browser
        .until(&format!("{API} === 'running' && Math.abs({PLACE} - 240000) < 1500"))
        .await;

    // A second page sees the same, and what it changes is changed here too.
    let place = browser.value(PLACE).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(browser.value(PLACE).await, place, "paused");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_speed_is_that_of_the_time_that_passes() {
    let browser = browser!();
    let server = Server::replay(&ten_minutes());
    browser.open(&server.url("")).await;
    browser.until("live() && $('#replay').checkVisibility()").await;
    browser
        .value(
            "(() => { const speed = $('#replay-speed'); speed.value = '60';
                speed.dispatchEvent(new Event('change')); return true; })()",
        )
        .await;

    browser.until(&format!("{API} === 'dead'")).await;
    browser.until(&format!("{PLACE} > 115000")).await;
    browser.until("badge() === 'ended'").await;
    browser
        .until("$('#replay-play').getAttribute('aria-label') === 'Play'")
        .await;
    browser.click("#replay-play").await;
    browser
        .until(&format!("{PLACE} < 115000 && {API} === 'running'"))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn the_keyboard_moves_it_and_a_screen_reader_reads_it() {
    let browser = browser!();
    let server = Server::replay(&ten_minutes());
    browser.open(&server.url("")).await;
    browser.until("live() && $('#replay').checkVisibility()").await;
    browser.click("#replay-play").await;
    browser
        .until("$('#replay-play').getAttribute('aria-label') === 'Play'")
        .await;

    browser.value("($('#replay-position').focus(), true)").await;
    let before = browser.value(PLACE).await.as_f64().unwrap();
    browser.press(RIGHT).await;
    browser.until(&format!("{PLACE} > {before}")).await;
    browser
        .until("/2023-11-1[45] .*\\d of 10:00/.test($('#replay-position').ariaValueText)")
        .await;
    assert_eq!(browser.value("$('#replay').getAttribute('aria-label')").await, "Recording");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn it_fits_a_phone_and_can_be_touched() {
    let browser = browser!();
    let server = Server::replay(&ten_minutes());
    browser.open(&server.url("")).await;
    browser.resize(390, 844).await;
    browser.until("live() && $('#replay').checkVisibility()").await;

    let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.value(fits).await, true);
    let sizes = "$$('#replay button, #replay input, #replay select').map((node) => {
        const { width, height } = node.getBoundingClientRect();
        return width >= 44 && height >= 44;
    })";
    assert_eq!(browser.value(sizes).await, json!([true, true, true, true, true]));
    let wide = browser.value("$('#replay-position').offsetWidth").await;
    assert!(wide.as_f64().unwrap() > 300.0, "{wide}");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_live_cluster_has_no_time_line() {
    let browser = browser!();
    let fleetctl = super::recording::listing(&[("cron.timer", DB, "active/waiting")]);
    let server = Server::asking(&fleetctl, &[]);
    browser.open(&server.url("")).await;
    browser.until("live() && rows().length === 1").await;
    assert_eq!(browser.value("$('#replay').checkVisibility()").await, false);
    browser.finish(&server, &[]).await;
}
