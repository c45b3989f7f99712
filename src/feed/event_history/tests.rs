//! What is kept, for how long, and what is said to be missing. Times are passed in.

use std::sync::Arc;

use super::*;
use crate::builders;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A history, and a clock that stands still unless it is moved.
struct Watched {
    history: EventHistory,
    now: Moment,
    view: View,
    number: u64,
}

impl Watched {
    fn new() -> Self {
        Self::with_limit(MAX_BYTES)
    }

    fn with_limit(max_bytes: usize) -> Self {
        Self {
            history: EventHistory::with_limit(max_bytes),
            now: Moment::now(),
            view: View::default(),
            number: 0,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = Moment { instant: self.now.instant + time, wall: self.now.wall + time };
    }

    /// What is in the cluster from now on, as `(unit, machine)`.
    fn show(&mut self, units: &[(&str, &str)]) {
        let unit = |(unit, machine): &(&str, &str)| {
            Arc::new(builders::unit(builders::unit_state(unit, machine, "active/running")))
        };
        let machine = |(_, id): &(&str, &str)| Arc::new(builders::member(builders::machine(id)));
        self.view = View {
            units: units.iter().map(unit).collect(),
            machines: units.iter().map(machine).collect(),
        };
        self.record(&[]);
    }

    fn record(&mut self, events: &[Event]) {
        let number = |event: &Event| {
            self.number += 1;
            let time = self.now.wall;
            Arc::new(Transition { number: self.number, time, event: event.clone() })
        };
        let transitions: Vec<_> = events.iter().map(number).collect();
        self.history.record(&transitions, &self.view, self.now);
    }

    fn change(&mut self, unit: &str, machine: &str) {
        self.record(&[changed(unit, machine)]);
    }

    fn find(&self, query: &HistoryQuery) -> FoundEvents {
        self.history.find(query)
    }

    /// The numbers of the events that are kept of a unit.
    fn numbers(&self, unit: &str) -> Vec<u64> {
        let found = self.find(&of(unit));
        found.events.iter().map(|transition| transition.number).collect()
    }
}

fn of(unit: &str) -> HistoryQuery {
    HistoryQuery::Unit(unit.into())
}

fn on(unit: &str, machine: &str) -> HistoryQuery {
    HistoryQuery::UnitOn(unit.into(), machine.into())
}

fn changed(unit: &str, machine: &str) -> Event {
    let place = Place {
        unit: unit.into(),
        machine: (!machine.is_empty()).then(|| machine.into()),
        ip: Some("10.0.0.1".into()),
    };
    Event::Changed {
        place,
        from: "active/running".into(),
        to: "failed/failed".into(),
    }
}

#[test]
fn a_unit_that_changes_all_the_time_displaces_no_other() {
    let mut watched = Watched::new();
    watched.change("quiet.service", "m");
    for _ in 0..2000 {
        watched.change("busy.service", "m");
    }

    assert_eq!(watched.numbers("quiet.service"), [1]);
    assert_eq!(watched.find(&of("quiet.service")).dropped, None);
    assert_eq!(watched.numbers("busy.service"), Vec::from_iter(1952..=2001));
}

#[test]
fn what_is_missing_is_known_by_its_time() {
    let mut watched = Watched::new();
    let begun = watched.now.wall;
    for _ in 0..=MAX_EVENTS + 1 {
        watched.change("a.service", "m");
        watched.pass(SECOND);
    }

    let found = watched.find(&of("a.service"));
    assert_eq!(found.dropped, Some(begun + SECOND), "the newest of the two that were dropped");
    assert_eq!(found.events[0].time, begun + 2 * SECOND);
}

#[test]
fn an_event_is_found_as_it_was() {
    let mut watched = Watched::new();
    let place = || Place { unit: "a.service".into(), machine: None, ip: None };
    let events = [
        changed("a.service", "m"),
        Event::Appeared { place: place(), to: "submitted".into() },
        Event::CrashLoop { place: place(), to: "a".into(), reason: "3 restarts".into() },
        Event::CrashLoopOver { place: place(), to: None, reason: "stopped".into() },
        Event::Gone {
            place: place(),
            from: "a".into(),
            reason: "it was deleted".into(),
        },
    ];
    watched.record(&events);

    let found = watched.find(&of("a.service")).events;
    assert_eq!(found.into_iter().map(|found| found.event).collect::<Vec<_>>(), events);
}

#[test]
fn a_query_selects_a_unit_everywhere_or_on_one_machine_and_on_none() {
    let mut watched = Watched::new();
    for machine in ["m1", "", "m2"] {
        watched.change("a.service", machine);
        watched.change("b.service", machine);
    }

    assert_eq!(watched.numbers("a.service"), [1, 3, 5]);
    let found = watched.find(&on("a.service", "m2"));
    let numbers: Vec<u64> = found.events.iter().map(|transition| transition.number).collect();
    assert_eq!(numbers, [3, 5]);
    assert!(!watched.find(&of("c.service")).is_known);
}

#[test]
fn a_machine_has_its_own_events_and_not_those_of_its_units() {
    let mut watched = Watched::new();
    watched.change("a.service", "m");
    let lost = Event::MachineLost { machine: "m".into(), ip: None };
    watched.record(std::slice::from_ref(&lost));
    watched.record(&[Event::SourceDown { reason: "no answer".into() }]);

    let found = watched.find(&HistoryQuery::Machine("m".into()));
    assert_eq!(found.events.len(), 1);
    assert_eq!(found.events[0].event, lost);
    assert_eq!(watched.history.len(), 2, "the source is neither a unit nor a machine");
}

#[test]
fn what_is_gone_is_kept_for_the_keep_time_and_what_is_there_for_ever() {
    let mut watched = Watched::new();
    watched.show(&[("a.service", "m"), ("b.service", "m")]);
    watched.change("a.service", "m");
    watched.change("b.service", "m");
    watched.show(&[("b.service", "m")]);

    watched.pass(24 * HOUR);
    watched.show(&[("b.service", "m")]);
    assert_eq!(watched.numbers("a.service"), [1]);

    watched.pass(PRUNE_INTERVAL);
    watched.show(&[("b.service", "m")]);
    assert!(!watched.find(&of("a.service")).is_known);
    assert_eq!(watched.numbers("b.service"), [2]);
    assert_eq!(watched.history.len(), 1);
}

#[test]
fn a_unit_that_comes_back_has_its_history_and_later_says_what_is_missing() {
    let mut watched = Watched::new();
    watched.change("a.service", "m");
    let first = watched.now.wall;

    watched.pass(HOUR);
    watched.change("a.service", "m");
    assert_eq!(watched.numbers("a.service"), [1, 2]);
    assert_eq!(watched.find(&of("a.service")).dropped, None);

    watched.pass(25 * HOUR);
    watched.show(&[]);
    assert_eq!(watched.find(&of("a.service")).dropped, Some(first + HOUR));
    watched.change("a.service", "m");
    assert_eq!(watched.numbers("a.service"), [3]);
    assert_eq!(watched.find(&of("a.service")).dropped, Some(first + HOUR));
}

#[test]
fn the_other_machines_of_a_unit_do_not_hide_that_one_was_removed() {
    let mut watched = Watched::new();
    watched.change("a.service", "m1");
    let first = watched.now.wall;
    watched.pass(25 * HOUR);
    watched.show(&[("a.service", "m2")]);
    watched.pass(PRUNE_INTERVAL);
    watched.change("a.service", "m2");
    watched.show(&[("a.service", "m2")]);

    assert_eq!(watched.numbers("a.service"), [2]);
    assert_eq!(watched.find(&of("a.service")).dropped, Some(first));
}

#[test]
fn nothing_is_kept_while_it_is_off_and_afterwards_that_is_known() {
    let mut watched = Watched::new();
    watched.change("a.service", "m");
    watched.history.set_keep(Duration::ZERO, watched.now);
    assert!(!watched.history.is_on());
    watched.change("a.service", "m");
    assert_eq!((watched.history.len(), watched.history.bytes()), (0, 0));

    watched.pass(HOUR);
    watched.history.set_keep(HOUR, watched.now);
    watched.change("a.service", "m");
    let found = watched.find(&of("a.service"));
    assert_eq!((found.events.len(), found.dropped), (1, Some(watched.now.wall)));
}

#[test]
fn five_thousand_units_with_fifty_events_each_fit_into_64_mib() {
    let mut watched = Watched::new();
    for _ in 0..MAX_EVENTS {
        for unit in 0..5000 {
            let unit = format!("a-name-of-some-length@{unit}.service");
            watched.change(&unit, "3f1a8c5e9b2d4f60a7c1d2e3b4f50617");
        }
    }

    assert_eq!(watched.history.len(), 5000 * MAX_EVENTS);
    let bytes = watched.history.bytes();
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
    assert!(bytes >= 5000 * MAX_EVENTS * size_of::<Transition>(), "{bytes} bytes");
    const { assert!(MAX_BYTES < 64 * 1024 * 1024) };
}

#[test]
fn the_bytes_are_counted_as_they_come_and_go() {
    let mut watched = Watched::new();
    for round in 0..120 {
        for unit in 0..20 {
            watched.change(&format!("{}.service", unit * (round % 3)), "m");
        }
        let counted = watched.history.ring_bytes;
        watched.history.count_bytes();
        assert_eq!(watched.history.ring_bytes, counted);
    }

    watched.pass(25 * HOUR);
    watched.show(&[]);
    assert_eq!((watched.history.len(), watched.history.bytes()), (0, 0));
}

#[test]
fn when_memory_is_short_each_unit_has_fewer_events_and_says_so() {
    const LIMIT: usize = 1024 * 1024;
    let mut watched = Watched::with_limit(LIMIT);
    for _ in 0..MAX_EVENTS {
        for unit in 0..1000 {
            watched.change(&format!("{unit}.service"), "m");
            assert!(watched.history.bytes() <= LIMIT);
        }
        watched.pass(SECOND);
    }

    let counts: Vec<usize> = (0..1000)
        .map(|unit| watched.numbers(&format!("{unit}.service")).len())
        .collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!((1..MAX_EVENTS).contains(least) && most - least <= 1, "{least} to {most}");
    assert!(watched.find(&of("1.service")).dropped.is_some());

    // Once most of them are gone, there is memory for more.
    watched.pass(25 * HOUR);
    for _ in 0..5 {
        watched.pass(PRUNE_INTERVAL);
        watched.show(&[]);
    }
    for _ in 0..MAX_EVENTS {
        watched.change("a.service", "m");
    }
    assert_eq!(watched.numbers("a.service").len(), MAX_EVENTS);
}

#[test]
fn more_units_than_there_is_memory_for_lose_the_oldest() {
    const LIMIT: usize = 64 * 1024;
    let mut watched = Watched::with_limit(LIMIT);
    for unit in 0..5000 {
        watched.change(&format!("{unit}.service"), "m");
        watched.pass(SECOND);
        assert!(watched.history.bytes() <= LIMIT);
    }

    assert!(!watched.find(&of("1.service")).is_known);
    assert!(watched.find(&of("1.service")).dropped.is_some());
    assert_eq!(watched.numbers("4999.service"), [5000]);
}

#[test]
fn an_answer_has_the_newest_events_of_a_unit_on_many_machines() {
    let mut watched = Watched::new();
    let begun = watched.now.wall;
    for machine in 0..=MAX_FOUND {
        watched.change("a.service", &format!("m{machine}"));
        watched.pass(SECOND);
    }

    let found = watched.find(&of("a.service"));
    assert_eq!((found.events.len(), found.dropped), (MAX_FOUND, Some(begun)));
}

/// What another monitor has seen from one second to another, before the clock of `watched`.
fn peer(watched: &Watched, complete: (u64, u64), events: &[(u64, Event)]) -> PeerEvents {
    let before = |second: u64| watched.now.wall - Duration::from_secs(second);
    let event =
        |(second, event): &(u64, Event)| PeerEvent { time: before(*second), event: event.clone() };
    PeerEvents {
        events: events.iter().map(event).collect(),
        complete: (before(complete.0), before(complete.1)),
        incomplete: Vec::new(),
        tolerance: 5 * SECOND,
    }
}

impl Watched {
    /// Merges what another monitor has seen. Returns how many of its events were new.
    fn merge(&mut self, peer: &PeerEvents, start: SystemTime) -> usize {
        let unknown = self.history.unknown_of(peer, self.now.wall);
        let number = |PeerEvent { time, event }: PeerEvent| {
            self.number += 1;
            Arc::new(Transition { number: self.number, time, event })
        };
        let events: Vec<_> = unknown.into_iter().map(number).collect();
        self.history.merge(peer, &events, start);
        events.len()
    }
}

#[test]
fn what_another_monitor_has_seen_is_in_the_order_of_its_times() {
    let mut watched = Watched::new();
    let start = watched.now.wall;
    watched.pass(100 * SECOND);
    watched.change("a.service", "m");
    let fails = || changed("a.service", "m");
    let other = peer(&watched, (1000, 0), &[(900, fails()), (50, fails()), (2, fails())]);

    assert_eq!(watched.merge(&other, start), 2, "the last is the one that was seen here");
    assert_eq!(watched.merge(&other, start), 0);
    assert_eq!(watched.numbers("a.service"), [2, 3, 1]);
    let since = watched.history.noticed_since(start);
    assert_eq!(since, watched.now.wall - 1000 * SECOND);
    assert_eq!(watched.find(&of("a.service")).dropped, None);
}

#[test]
fn what_another_monitor_lacks_of_a_unit_is_known_to_be_missing() {
    let mut watched = Watched::new();
    let start = watched.now.wall;
    watched.pass(100 * SECOND);
    let fails = || changed("a.service", "m");
    let mut other = peer(&watched, (1000, 0), &[(500, fails())]);
    let until = watched.now.wall - 600 * SECOND;
    other.incomplete = vec![(Some("a.service".into()), Some("m".into()), until)];

    watched.merge(&other, start);
    assert_eq!(watched.find(&of("a.service")).dropped, Some(until));

    // A third one has all of it.
    let third = peer(&watched, (2000, 0), &[(700, fails()), (500, fails())]);
    watched.merge(&third, start);
    let found = watched.find(&of("a.service"));
    assert_eq!((found.events.len(), found.dropped), (2, None));
}

#[test]
fn events_beyond_the_limit_are_missing_and_old_ones_are_not_learned() {
    let mut watched = Watched::new();
    let start = watched.now.wall;
    watched.pass(DEFAULT_KEEP + HOUR);
    let far_apart: Vec<(u64, Event)> = (0..=MAX_EVENTS as u64)
        .rev()
        .map(|number| (100 + 10 * number, changed("a.service", "m")))
        .collect();
    let other = peer(&watched, (10_000, 0), &far_apart);

    assert_eq!(watched.merge(&other, start), MAX_EVENTS + 1);
    let found = watched.find(&of("a.service"));
    assert_eq!(found.events.len(), MAX_EVENTS);
    assert_eq!(found.dropped, Some(other.events[0].time));

    let too_old = peer(&watched, (10_000, 0), &[(24 * 3600 + 1, changed("b.service", "m"))]);
    assert_eq!(watched.merge(&too_old, start), 0);
}

#[test]
fn what_is_shared_says_of_what_it_is_not_complete() {
    let mut watched = Watched::new();
    let start = watched.now.wall;
    for _ in 0..=MAX_EVENTS {
        watched.pass(SECOND);
        watched.change("busy.service", "m");
    }
    watched.change("quiet.service", "m");

    let shared = watched.history.share(start);
    assert_eq!(shared.events.len(), MAX_EVENTS + 1);
    assert_eq!(shared.complete_since, start);
    let busy = EventSubject::Unit("busy.service".into(), Some("m".into()));
    assert_eq!(shared.incomplete, [(busy, start + SECOND)]);
}

#[test]
fn after_a_restart_a_full_list_of_events_may_lack_older_ones() {
    let mut watched = Watched::new();
    let begun = watched.now.wall;
    for _ in 0..MAX_EVENTS {
        watched.pass(SECOND);
        watched.change("busy.service", "m");
    }
    watched.change("quiet.service", "m");
    let saved: Vec<Arc<Transition>> = watched
        .history
        .share(begun)
        .events
        .into_iter()
        .map(Arc::new)
        .collect();
    let stopped = watched.now.wall;
    watched.pass(SECOND);

    watched.history = EventHistory::default();
    watched
        .history
        .restore(&saved, Some((begun, stopped)), watched.now.wall);
    assert_eq!(watched.history.noticed_since(watched.now.wall), begun);
    assert_eq!(watched.find(&of("busy.service")).dropped, Some(begun + SECOND));
    assert_eq!(watched.find(&of("quiet.service")).dropped, None);
}
