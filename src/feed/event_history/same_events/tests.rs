//! What is the same for two monitors, with examples and with random histories.

use std::time::UNIX_EPOCH;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cluster::{MachineId, Place};

const TOLERANCE: Duration = Duration::from_secs(10);

fn changed(unit: &str, from: &str, to: &str) -> Event {
    let place = Place { unit: unit.into(), machine: Some("m1".into()), ip: None };
    Event::Changed { place, from: from.into(), to: to.into() }
}

fn at(second: u64, event: Event) -> PeerEvent {
    PeerEvent { time: UNIX_EPOCH + Duration::from_secs(second), event }
}

fn own(events: &[PeerEvent]) -> Vec<Transition> {
    events
        .iter()
        .zip(1..)
        .map(|(PeerEvent { time, event }, number)| Transition {
            number,
            time: *time,
            event: event.clone(),
        })
        .collect()
}

/// The seconds of those events of `peer` that are not in `mine`.
fn unknown_seconds(mine: &[PeerEvent], peer: &[PeerEvent]) -> Vec<u64> {
    unknown(&own(mine), peer, TOLERANCE)
        .iter()
        .map(|event| event.time.duration_since(UNIX_EPOCH).unwrap().as_secs())
        .collect()
}

#[test]
fn the_same_change_a_poll_later_is_known() {
    let fails = |second| at(second, changed("a.service", "active", "failed"));
    assert_eq!(unknown_seconds(&[fails(100)], &[fails(92)]), [0; 0]);
    assert_eq!(unknown_seconds(&[fails(100)], &[fails(110)]), [0; 0]);
    assert_eq!(unknown_seconds(&[fails(100)], &[fails(111)]), [111]);
}

#[test]
fn another_change_at_the_same_moment_is_not() {
    let fails = at(100, changed("a.service", "active", "failed"));
    for event in [
        changed("b.service", "active", "failed"),
        changed("a.service", "active", "inactive"),
        changed("a.service", "starting", "failed"),
        Event::MachineLost { machine: "m1".into(), ip: None },
    ] {
        assert_eq!(unknown_seconds(std::slice::from_ref(&fails), &[at(100, event)]), [100]);
    }
}

#[test]
fn the_address_and_the_reason_make_no_difference() {
    let gone = |ip: Option<&str>, reason: &'static str| Event::Gone {
        place: Place {
            unit: "a.service".into(),
            machine: Some("m1".into()),
            ip: ip.map(Into::into),
        },
        from: "active/running".into(),
        reason: reason.into(),
    };
    let mine = [at(100, gone(None, "its unit file was deleted"))];
    assert_eq!(unknown_seconds(&mine, &[at(101, gone(Some("10.0.0.1"), "gone"))]), [0; 0]);
}

#[test]
fn of_two_changes_that_one_saw_once_one_stays() {
    let fails = |second| at(second, changed("a.service", "active", "failed"));
    assert_eq!(unknown_seconds(&[fails(100)], &[fails(99), fails(104)]), [104]);
    assert_eq!(unknown_seconds(&[fails(100), fails(104)], &[fails(103)]), [0; 0]);
}

/// A few kinds of events, close to each other, oldest first.
fn history() -> impl Strategy<Value = Vec<PeerEvent>> {
    let event = (0..60_u64, 0..3_u8).prop_map(|(second, kind)| {
        let event = match kind {
            0 => changed("a.service", "active", "failed"),
            1 => changed("a.service", "failed", "active"),
            _ => Event::MachineSilent { machine: MachineId::from("m1"), ip: None },
        };
        at(second, event)
    });
    vec(event, 0..20).prop_map(|mut events| {
        events.sort_by_key(|event| event.time);
        events
    })
}

fn merged(mine: &[PeerEvent], peer: &[PeerEvent]) -> Vec<PeerEvent> {
    let mut all = [mine, &unknown(&own(mine), peer, TOLERANCE)].concat();
    all.sort_by_key(|event| event.time);
    all
}

/// How many events of each kind there are.
fn counts(events: &[PeerEvent]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for PeerEvent { event, .. } in events {
        *counts.entry(event.to_string()).or_default() += 1;
    }
    counts
}

proptest! {
    #[test]
    fn merging_with_itself_or_again_adds_nothing(mine in history(), peer in history()) {
        prop_assert_eq!(merged(&mine, &mine), mine.clone());
        let once = merged(&mine, &peer);
        prop_assert_eq!(merged(&once, &peer), once.clone());
        prop_assert_eq!(merged(&once, &mine), once);
    }

    #[test]
    fn either_side_comes_to_as_many_events(mine in history(), peer in history()) {
        prop_assert_eq!(counts(&merged(&mine, &peer)), counts(&merged(&peer, &mine)));
    }

    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(mine in history(), peer in history()) {
        let all = merged(&mine, &peer);
        for event in &mine {
            prop_assert!(all.contains(event));
        }

        // Each event of the other side has one in the result that is the same.
        prop_assert!(unknown(&own(&all), &peer, TOLERANCE).is_empty());
        // And what was added is the same as nothing that was left over here.
        let added = unknown(&own(&mine), &peer, TOLERANCE);
        let [of_mine, of_peer, of_all] = [&mine, &peer, &all].map(|events| counts(events));
        for (kind, count) in of_all {
            let mine = of_mine.get(&kind).copied().unwrap_or_default();
            let peer = of_peer.get(&kind).copied().unwrap_or_default();
            prop_assert!(count >= mine.max(peer) && count <= mine + peer, "{}", kind);
        }
        prop_assert_eq!(all.len(), mine.len() + added.len());
    }

    #[test]
    fn three_monitors_come_to_the_same_whoever_is_asked_first(
        seen in history(), delays in vec(0..5_u64, 60),
    ) {
        // The same changes, seen at different moments, and not closer than can be told apart.
        let mut apart: Vec<PeerEvent> = Vec::new();
        for event in seen {
            let is_close = apart.iter().any(|other| {
                other.event == event.event
                    && event.time.duration_since(other.time).unwrap() < 2 * TOLERANCE
            });
            if !is_close {
                apart.push(event);
            }
        }
        let delayed = |offset: usize| -> Vec<PeerEvent> {
            let delays = delays.iter().cycle().skip(offset);
            apart.iter().zip(delays).map(|(event, delay)| PeerEvent {
                time: event.time + Duration::from_secs(*delay),
                event: event.event.clone(),
            }).collect()
        };

        let [one, other] = [0, 20].map(delayed);
        prop_assert_eq!(merged(&merged(&apart, &one), &other), apart.clone());
        prop_assert_eq!(merged(&merged(&[], &other), &one).len(), apart.len());
    }
}
