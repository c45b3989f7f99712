//! The source `etcd` against a real etcd, which does again what was recorded of others.

use std::ops::Deref;
use std::time::Duration;

use fleet_monitor::cluster::{Reading, RegistrySnapshot};
use fleet_monitor::source::SourceEvent;
use fleet_monitor::source::etcd::key_tree::KeyTree;
use fleet_monitor::source::etcd::{EtcdSettings, EtcdSource, EtcdWatcher, Tls};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::registry::{self, INCIDENTS};
use crate::support::changes;
use crate::support::etcd::{Etcd, EtcdRecording, PREFIX};

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn settings(urls: &[&str]) -> EtcdSettings {
    EtcdSettings {
        endpoints: urls.iter().map(|url| url.parse().unwrap()).collect(),
        prefix: PREFIX.into(),
        tls: Tls::default(),
        login: None,
        timeout: Duration::from_secs(10),
    }
}

/// A source that is being watched, and all that it has told of so far.
pub struct FollowedSource {
    watched: EtcdWatcher,
    told: RegistrySnapshot,
}

pub fn follow(source: EtcdSource) -> FollowedSource {
    FollowedSource { watched: source.start(), told: RegistrySnapshot::default() }
}

impl Deref for FollowedSource {
    type Target = EtcdWatcher;

    fn deref(&self) -> &EtcdWatcher {
        &self.watched
    }
}

impl FollowedSource {
    pub async fn stop(&mut self) {
        self.watched.stop().await;
    }
}

pub fn watch(urls: &[&str]) -> FollowedSource {
    follow(EtcdSource::new(settings(urls)).unwrap())
}

/// What it says next, ticks and all. What has changed is told with all that there is.
pub async fn next(followed: &mut FollowedSource) -> SourceEvent {
    let mut said = timeout(PATIENCE, followed.watched.next())
        .await
        .expect("it says something");
    if let SourceEvent::Report(report) = &mut said {
        match &report.outcome {
            Ok(Reading::Registry(registry)) => followed.told = registry.clone(),
            Ok(Reading::Changes { index, changes }) => {
                changes::follow(&mut followed.told, *index, changes);
                report.outcome = Ok(Reading::Registry(followed.told.clone()));
            }
            _ => {}
        }
    }
    said
}

/// The first reading that is enough. Nothing but readings may come before it.
pub async fn until(
    watched: &mut FollowedSource,
    enough: impl Fn(&RegistrySnapshot) -> bool,
) -> RegistrySnapshot {
    loop {
        match next(watched).await {
            SourceEvent::Report(report) => match report.outcome {
                Ok(Reading::Registry(told)) if enough(&told) => return told,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            },
            SourceEvent::Checked { differences: 0 } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_happens_in_etcd_is_told_as_it_happens() {
    join_all(INCIDENTS.map(replay)).await;
}

async fn replay(name: &str) {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let recording = EtcdRecording::load(name);
    etcd.fill(&recording.start).await;
    let mut watched = watch(&[&etcd.url()]);
    let mut told = until(&mut watched, |_| true).await;
    // What the same events mean by themselves: `registry` compares that with what fleetctl listed.
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
        // A renewal is told with the next tick; only what it means matters here.
        if expected.has_changed() && told.index < index {
            told = until(&mut watched, |told| told.index >= index).await;
        }
        let expected = expected.snapshot(now);
        let rows = |told: &RegistrySnapshot| {
            (
                told.states.clone(),
                told.machines.clone(),
                told.files.clone(),
                told.leader.clone(),
            )
        };
        assert_eq!(rows(&told), rows(&expected), "{name} at {}", step[0].t);
    }
    watched.stop().await;
}
