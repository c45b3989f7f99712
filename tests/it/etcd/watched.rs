//! The source `etcd` against a real etcd, which repeats recorded events.

use std::ops::Deref;
use std::time::Duration;

use fleet_monitor::cluster::{Reading, RegistrySnapshot};
use fleet_monitor::source::SourceEvent;
use fleet_monitor::source::etcd::key_tree::KeyTree;
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource, EtcdWatcher, TlsFiles};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::registry::{self, INCIDENTS};
use crate::support::changes;
use crate::support::etcd::{Etcd, EtcdRecording, PREFIX};

/// How long any test waits for an event.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn settings(urls: &[&str]) -> EtcdSettings {
    EtcdSettings {
        endpoints: urls.iter().map(|url| url.parse().unwrap()).collect(),
        prefix: PREFIX.into(),
        tls: TlsFiles::default(),
        login: None,
        timeout: Duration::from_secs(10),
    }
}

/// A running source, and the registry that follows from its reports.
pub struct FollowedSource {
    watcher: EtcdWatcher,
    registry: RegistrySnapshot,
}

pub fn follow(source: EtcdSource) -> FollowedSource {
    FollowedSource {
        watcher: source.start(),
        registry: RegistrySnapshot::default(),
    }
}

impl Deref for FollowedSource {
    type Target = EtcdWatcher;

    fn deref(&self) -> &EtcdWatcher {
        &self.watcher
    }
}

impl FollowedSource {
    pub async fn stop(&mut self) {
        self.watcher.stop().await;
    }
}

pub fn watch(urls: &[&str]) -> FollowedSource {
    follow(EtcdSource::new(settings(urls)).unwrap())
}

/// The next event. A report of changes is replaced by one of the whole registry.
pub async fn next(followed: &mut FollowedSource) -> SourceEvent {
    let mut event = timeout(PATIENCE, followed.watcher.next())
        .await
        .expect("an event in time");
    if let SourceEvent::Report(report) = &mut event {
        match &report.outcome {
            Ok(Reading::Registry(registry)) => followed.registry = registry.clone(),
            Ok(Reading::Changes { index, changes }) => {
                changes::apply_changes(&mut followed.registry, *index, changes);
                report.outcome = Ok(Reading::Registry(followed.registry.clone()));
            }
            _ => {}
        }
    }
    event
}

/// The first registry that fulfils a condition. Nothing but successful reports may come before it.
pub async fn until(
    watched: &mut FollowedSource,
    condition: impl Fn(&RegistrySnapshot) -> bool,
) -> RegistrySnapshot {
    loop {
        match next(watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(registry)) if condition(&registry) => return registry,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            },
            SourceEvent::Rechecked { differences: 0 } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn changes_in_etcd_are_reported_as_they_happen() {
    join_all(INCIDENTS.map(replay)).await;
}

async fn replay(name: &str) {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let recording = EtcdRecording::load(name);
    etcd.fill(&recording.start).await;
    let mut watched = watch(&[&etcd.url()]);
    let mut reported = until(&mut watched, |_| true).await;

    // The same events, applied directly. `registry` compares the result with fleetctl's lists.
    let mut expected = KeyTree::new(PREFIX);
    let now = Instant::now().into_std();
    let (tree, _) = registry::tree(&format!("{name}.start"));
    expected.load(tree, 0, now);
    let mut events = registry::events(name).into_iter();

    for step in recording.steps() {
        let index = *etcd.apply_step(step).await.last().unwrap();
        for (_, event) in events.by_ref().take(step.len()) {
            expected.apply(&event, now);
        }

        // An event that only renews a lease is reported with the next tick, and changes no row.
        if expected.has_changed() && reported.index < index {
            reported = until(&mut watched, |registry| registry.index >= index).await;
        }
        let expected = expected.snapshot(now);
        assert_same_rows(&reported, &expected, &format!("{name} at {}", step[0].t));
    }
    watched.stop().await;
}

fn assert_same_rows(reported: &RegistrySnapshot, expected: &RegistrySnapshot, step: &str) {
    assert_eq!(reported.states, expected.states, "{step}");
    assert_eq!(reported.machines, expected.machines, "{step}");
    assert_eq!(reported.files, expected.files, "{step}");
    assert_eq!(reported.leader, expected.leader, "{step}");
}
