use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::*;
use crate::snapshots::assert_catalogue;

/// A source whose answers the test decides. It records who asked.
#[derive(Clone)]
struct FakeSource {
    versions: Arc<Mutex<BTreeMap<String, UnitFileVersions>>>,
    asked: Arc<watch::Sender<Vec<UnitFileQuery>>>,
    keeps_old_versions: bool,
    /// `None`: it answers at once.
    release: Option<Arc<Notify>>,
}

impl FakeSource {
    fn new() -> Self {
        Self {
            versions: Arc::default(),
            asked: Arc::new(watch::Sender::new(Vec::new())),
            keeps_old_versions: false,
            release: None,
        }
    }

    fn hanging() -> Self {
        Self { release: Some(Arc::default()), ..Self::new() }
    }

    fn has(&self, unit: &str, versions: UnitFileVersions) {
        self.versions.lock().unwrap().insert(unit.to_owned(), versions);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().iter().map(|query| query.unit.clone()).collect()
    }

    fn start(&self) -> UnitFiles {
        let (files, requests) = UnitFiles::channel();
        tokio::spawn(UnitFileService::new(self.clone(), requests).run());
        files
    }
}

impl UnitFileSource for FakeSource {
    fn keeps_old_versions(&self) -> bool {
        self.keeps_old_versions
    }

    async fn read(&self, query: UnitFileQuery) -> Result<UnitFileVersions, UnitFileError> {
        self.asked.send_modify(|asked| asked.push(query.clone()));
        if let Some(release) = &self.release {
            release.notified().await;
        }
        let versions = self.versions.lock().unwrap();
        versions
            .get(&query.unit)
            .cloned()
            .ok_or_else(|| UnitFileError::Source("it is down".to_owned()))
    }
}

fn version(hash: &str, content: &str) -> UnitFileVersion {
    UnitFileVersion { hash: hash.into(), content: content.into() }
}

fn current(hash: &str, content: &str) -> UnitFileVersions {
    UnitFileVersions { current: Some(version(hash, content)), old: vec![] }
}

fn query(unit: &str, hash: &str, old: &[&str]) -> UnitFileQuery {
    UnitFileQuery {
        unit: unit.to_owned(),
        current: Some(hash.into()),
        old: old.iter().map(|&hash| hash.into()).collect(),
    }
}

#[tokio::test]
async fn a_file_is_read_once_for_each_hash() {
    let source = FakeSource::new();
    source.has("a.service", current("1", "A"));
    let files = source.start();

    let first = files.get(query("a.service", "1", &[])).await.unwrap();
    let second = files.get(query("a.service", "1", &[])).await.unwrap();
    assert_eq!((first.is_fetched, second.is_fetched), (true, false));
    assert_eq!((&first.versions, &second.versions), (&current("1", "A"), &current("1", "A")));

    source.has("a.service", current("2", "B"));
    let changed = files.get(query("a.service", "2", &[])).await.unwrap();
    assert_eq!(changed.versions, current("2", "B"));
    assert_eq!(source.asked().len(), 2);
}

#[tokio::test]
async fn a_file_that_another_unit_has_too_is_not_read_again() {
    let source = FakeSource::new();
    source.has("web@1.service", current("1", "A"));
    let files = source.start();

    files.get(query("web@1.service", "1", &[])).await.unwrap();
    let other = files.get(query("web@2.service", "1", &[])).await.unwrap();
    assert_eq!(other.versions, current("1", "A"));
    assert_eq!(source.asked(), ["web@1.service"]);
}

#[tokio::test]
async fn an_old_version_comes_from_the_cache_if_the_source_does_not_keep_it() {
    let source = FakeSource::new();
    source.has("a.service", current("1", "A"));
    let files = source.start();
    files.get(query("a.service", "1", &[])).await.unwrap();

    source.has("a.service", current("2", "B"));
    let answer = files.get(query("a.service", "2", &["1", "0"])).await.unwrap();
    assert_eq!(answer.versions.old, [version("1", "A")]);

    let again = files.get(query("a.service", "2", &["1", "0"])).await.unwrap();
    assert!(!again.is_fetched, "the source cannot have version 0");
    assert_eq!(again.versions, answer.versions);
}

#[tokio::test]
async fn a_source_that_keeps_old_versions_is_asked_for_those_that_are_not_cached() {
    let source = FakeSource { keeps_old_versions: true, ..FakeSource::new() };
    source.has("a.service", current("2", "B"));
    let files = source.start();
    files.get(query("a.service", "2", &[])).await.unwrap();

    let both = UnitFileVersions { old: vec![version("1", "A")], ..current("2", "B") };
    source.has("a.service", both.clone());
    let answer = files.get(query("a.service", "2", &["1"])).await.unwrap();
    assert_eq!((answer.versions, answer.is_fetched), (both, true));

    assert!(!files.get(query("a.service", "2", &["1"])).await.unwrap().is_fetched);
}

#[tokio::test]
async fn requests_for_one_file_share_a_query_and_failures_are_not_cached() {
    let source = FakeSource::hanging();
    let files = source.start();
    let requests = tokio::spawn({
        let files = files.clone();
        async move { join_all((0..10).map(|_| files.get(query("a.service", "1", &[])))).await }
    });
    source
        .asked
        .subscribe()
        .wait_for(|asked| !asked.is_empty())
        .await
        .unwrap();
    source.release.as_ref().unwrap().notify_one();

    for answer in requests.await.unwrap() {
        assert_eq!(answer, Err(UnitFileError::Source("it is down".to_owned())));
    }
    assert_eq!(source.asked().len(), 1);

    source.has("a.service", current("1", "A"));
    source.release.as_ref().unwrap().notify_one();
    let answer = files.get(query("a.service", "1", &[])).await.unwrap();
    assert_eq!(answer.versions, current("1", "A"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_asked_little_and_every_request_is_answered() {
    let source = FakeSource::hanging();
    let files = source.start();
    let begun = Instant::now();

    let units: Vec<String> = (0..MAX_REQUESTS + 10).map(|unit| format!("{unit}.service")).collect();
    let answers = join_all(units.iter().map(|unit| files.get(query(unit, "1", &[])))).await;

    let busy = answers.iter().filter(|answer| **answer == Err(UnitFileError::Busy));
    assert_eq!(busy.count(), 10);
    let late = answers
        .iter()
        .filter(|answer| matches!(answer, Err(UnitFileError::Timeout(_))));
    assert_eq!(late.count(), MAX_REQUESTS);
    assert!(begun.elapsed() <= Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(source.asked().len(), 4, "two at a time, for 5 s each");
}

#[tokio::test(start_paused = true)]
async fn requests_of_clients_that_have_gone_leave_nothing_behind() {
    let source = FakeSource::hanging();
    let files = source.start();

    for unit in 0..10 * MAX_REQUESTS {
        let request = files.get(query(&format!("{unit}.service"), "1", &[]));
        let gone = timeout(Duration::from_millis(1), request).await;
        assert!(gone.is_err(), "{gone:?}");
    }

    let answer = files.get(query("a.service", "1", &[])).await;
    assert!(matches!(answer, Err(UnitFileError::Timeout(_))), "{answer:?}");
    // Of the queries that waited, nobody wants any but the last.
    assert_eq!(source.asked().last().map(String::as_str), Some("a.service"));
    assert!(source.asked().len() <= 5, "{:?}", source.asked());
}

fn running(machines: &[(&str, &str)]) -> Vec<(Text, MachineId)> {
    machines
        .iter()
        .map(|&(hash, machine)| (hash.into(), machine.into()))
        .collect()
}

#[test]
fn the_old_versions_of_most_machines_are_requested() {
    let machines = running(&[
        ("1", "a"),
        ("2", "b"),
        ("3", "c"),
        ("3", "d"),
        ("9", "e"),
        ("5", "f"),
        ("4", "g"),
        ("6", "h"),
    ]);
    let query = UnitFileQuery::new(&"a.service".into(), Some("9".into()), &machines);
    assert_eq!(query.old.iter().map(|hash| &**hash).collect::<Vec<_>>(), ["3", "1", "2", "4"]);
}

#[test]
fn the_document_shows_what_differs_where() {
    let versions = UnitFileVersions {
        current: Some(version("2", "[Service]\nExecStart=/bin/new\nEnvironment=TOKEN=b\n")),
        old: vec![version("1", "[Service]\nExecStart=/bin/old\nEnvironment=TOKEN=a\n")],
    };
    let machines = running(&[("0", "a"), ("1", "b"), ("2", "c"), ("1", "d")]);
    let document =
        |mode| json!(UnitFileDocument::new(&"a.service".into(), &versions, &machines, mode));

    let full = document(UnitFileMode::Full);
    assert_eq!(full["content"], "[Service]\nExecStart=/bin/new\nEnvironment=TOKEN=b\n");
    assert_eq!(full["hash"], "2");
    assert_eq!(full["masked"], false);
    assert_eq!(
        full["running"],
        json!([
            {
                "hash": "1",
                "machines": ["b", "d"],
                "content": "[Service]\nExecStart=/bin/old\nEnvironment=TOKEN=a\n",
                "diff": [
                    " [Service]",
                    "-ExecStart=/bin/old",
                    "-Environment=TOKEN=a",
                    "+ExecStart=/bin/new",
                    "+Environment=TOKEN=b",
                ],
            },
            { "hash": "0", "machines": ["a"], "content": null, "diff": null },
        ])
    );

    let masked = document(UnitFileMode::Masked);
    assert_eq!(masked["masked"], true);
    assert_eq!(
        masked["running"][0]["diff"],
        json!([
            " [Service]",
            "-ExecStart=/bin/old",
            "-Environment=TOKEN=********",
            "+ExecStart=/bin/new",
            "+Environment=TOKEN=********",
        ])
    );
}

#[test]
fn each_version_is_masked_once() {
    let looked_at = |mask: &dyn Fn()| {
        masking::LOOKED_AT.set(0);
        mask();
        masking::LOOKED_AT.get()
    };
    let texts = ["a", "b", "c"].map(|text| format!("[Service]\nExecStart=/bin/{text} TOKEN=1\n"));
    let once = looked_at(&|| texts.iter().for_each(|text| _ = masking::mask(text)));

    let versions = UnitFileVersions {
        current: Some(version("0", &texts[0])),
        old: vec![version("1", &texts[1]), version("2", &texts[2])],
    };
    let machines = running(&[("1", "a"), ("2", "b"), ("1", "c"), ("0", "d")]);
    let document = looked_at(&|| {
        let mode = UnitFileMode::Masked;
        UnitFileDocument::new(&"a.service".into(), &versions, &machines, mode);
    });
    assert_eq!(document, once);
}

#[test]
fn a_file_that_fleet_does_not_have_any_more_is_shown_as_machines_run_it() {
    let versions = UnitFileVersions { current: None, old: vec![version("1", "[Unit]\n")] };
    let document = json!(UnitFileDocument::new(
        &"a.service".into(),
        &versions,
        &running(&[("1", "a")]),
        UnitFileMode::Masked
    ));
    assert_eq!((&document["hash"], &document["content"]), (&Value::Null, &Value::Null));
    assert_eq!(document["running"][0]["content"], "[Unit]\n");
    assert_eq!(document["running"][0]["diff"], Value::Null);
}

#[test]
fn errors_are_in_these_words() {
    let errors = [
        UnitFileError::Busy,
        UnitFileError::Timeout(Duration::from_secs(5)),
        UnitFileError::Recording,
        UnitFileError::Source("the error of the source".to_owned()),
    ];
    assert_catalogue("unit-file-errors", errors.map(|error| (format!("{error:?}"), error)));
}
