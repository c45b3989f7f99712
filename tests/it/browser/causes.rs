//! What is wrong, by its causes: the headline, the cards and the chips.

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::outages::suspect;
use super::program::Server;
use super::recording::{DB, Recording, WEB};

const UNITS: [(&str, &str, &str); 5] = [
    ("a.service", WEB, "active/running"),
    ("b.service", DB, "active/running"),
    ("c.service", DB, "active/running"),
    ("d.service", DB, "inactive/dead"),
    ("old.service", WEB, "failed/failed"),
];

/// A cluster with a unit that had failed before the monitor started, in which a machine is lost.
pub(super) fn lost_machine() -> Recording {
    (1..8)
        .map(|step| f64::from(step) * 0.5)
        .fold(Recording::of(&UNITS), |recording, time| recording.without_db(time, &UNITS))
        .at(600.0, &UNITS)
}

#[tokio::test]
async fn a_lost_machine_leads_and_what_had_failed_before_stands_behind() {
    let browser = browser!();
    let server = Server::replay(&lost_machine());

    browser.open(&server.url("")).await;
    browser
        .until("headline() === 'machine_lost' && tone() === 'bad'")
        .await;
    browser
        .until("causes().join() === '+machine machine_lost,unit failed'")
        .await;
    browser
        .until("/10\\.0\\.0\\.2.*3/.test($('#headline').textContent)")
        .await;
    browser
        .until("$('[data-fact=began] time') && fact('lasting').startsWith('1 ')")
        .await;

    browser.click(".trouble[data-shape=machine]").await;
    browser.until("names() === 'b.service c.service d.service'").await;
    browser
        .until("location.hash === '#tab=units&q=machine:10.0.0.2+verdict:machine_lost'")
        .await;

    browser.click(".trouble[data-shape=unit]").await;
    browser
        .until("$('.opened') && location.hash.includes('open=old.service/')")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn chips_count_each_row_once_and_a_lost_one_as_lost() {
    let browser = browser!();
    let server = Server::replay(&lost_machine());

    browser.open(&server.url("")).await;
    browser.until("headline() === 'machine_lost'").await;
    let chips = "$$('.chip').map((chip) => `${chip.dataset.term} ${numbers(chip.textContent)}`)";
    let expected = json!(["state:failed 1", "verdict:machine_lost 3", "state:active 1"]);
    assert_eq!(browser.value(chips).await, expected);

    browser.click("[data-term='verdict:machine_lost']").await;
    browser.until("names() === 'b.service c.service d.service'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn what_is_new_becomes_old_although_no_message_arrives() {
    let browser = browser!();
    let server = Server::replay(&lost_machine());

    browser.open(&server.url("")).await;
    browser
        .until("causes().join() === '+machine machine_lost,unit failed'")
        .await;
    browser
        .value("(() => { const now = Date.now; Date.now = () => now() + 700_000; })()")
        .await;
    browser
        .until("causes().join() === 'machine machine_lost,unit failed'")
        .await;
    browser.until("$('#headline time') && !fact('began')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_unit_that_is_wanted_and_not_reported_yet_is_expected() {
    let browser = browser!();
    let recording = Recording::of(&UNITS[..1]).at(0.5, &UNITS[..1]);
    let server = Server::replay(&recording.wanted(1.0, &UNITS[..2]));

    browser.open(&server.url("")).await;
    browser.until("$('[data-term=\"state:expected\"]')").await;
    assert_eq!(browser.value("$('[data-term=\"state:submitted\"]')").await, json!(null));
    assert_eq!(browser.value("headline()").await, "ok");
    assert_eq!(browser.value("numbers(fact('rest'))").await, "1");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_unit_that_has_just_failed_is_in_the_table_and_no_problem() {
    let browser = browser!();
    let before = Recording::of(&UNITS[..4]);
    let failed = [("a.service", WEB, "failed/failed"), UNITS[1], UNITS[2], UNITS[3]];
    let recording = before.at(0.5, &failed).at(600.0, &failed);
    let server = Server::replay_with(&recording, &["--problem-after", "600"]);

    browser.open(&server.url("")).await;
    browser
        .until("rows()[0] === 'a.service|failed/failed|failed|10.0.0.1'")
        .await;
    browser.until("headline() === 'waiting' && tone() === 'busy'").await;
    assert_eq!(browser.value("numbers($('#headline').textContent)").await, "3/4");
    assert_eq!(browser.value("numbers(fact('waiting'))").await, "1");
    assert_eq!(browser.value("[causes(), document.title]").await, json!([[], "fleet-monitor"]));
    assert_eq!(browser.value("$('#announcement').textContent").await, "");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_suspect_source_is_one_cause_and_mutes_those_that_would_follow_from_it() {
    let browser = browser!();
    let mut recording = suspect();
    recording.line(&json!({"t": 3, "topic": "machines", "same": true}));
    let server = Server::replay_with(&recording, &["--problem-after", "2"]);

    browser.open(&server.url("")).await;
    browser.until("causes().join() === '+source warning'").await;
    browser.until("headline() === 'problem' && tone() === 'bad'").await;
    browser.click(".trouble").await;
    browser.until("location.hash === '#tab=timeline'").await;
    browser.finish(&server, &[]).await;
}
