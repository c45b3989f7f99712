//! What is on the plain page, and in which order.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::builders;
use crate::cluster::{Event, Health, Machine, Place, UnitState, View};
use crate::feed::tests::problem_tracker;
use crate::problems::ProblemChange;

/// A text that would be a script if it were not escaped.
const HOSTILE: &str = "<script>alert('1')</script>";

fn unit(name: &str, verdict: Verdict) -> Arc<Unit> {
    let state = builders::unit_state(name, "m1", "active/running");
    let reason = format!("why {name}").into();
    Arc::new(Unit { verdict, reason, ..builders::unit(state) })
}

fn joined(number: u64, machine: &str) -> Arc<Transition> {
    Arc::new(Transition {
        number,
        time: UNIX_EPOCH,
        event: Event::MachineJoined { machine: machine.into(), ip: None },
    })
}

/// A page on which everything that is wrong is a problem.
fn page(units: &[Arc<Unit>], machines: &[Arc<Member>], events: &[Arc<Transition>]) -> String {
    page_with(&problems_of(units, machines), units, machines, events)
}

fn page_with(
    problems: &[Arc<Problem>],
    units: &[Arc<Unit>],
    machines: &[Arc<Member>],
    events: &[Arc<Transition>],
) -> String {
    String::from_utf8(body(problems, units, machines, events).to_vec()).expect("UTF-8")
}

fn problems_of(units: &[Arc<Unit>], machines: &[Arc<Member>]) -> Vec<Arc<Problem>> {
    let view = View {
        units: units.iter().cloned().collect(),
        machines: machines.to_vec(),
    };
    let health = Health { events_since: Some(UNIX_EPOCH), ..Health::default() };
    let changes = problem_tracker().update(&view, &health, Moment::now());

    let opened = changes.into_iter().map(|change| match change {
        ProblemChange::Opened(problem) => problem,
        other => panic!("not opened: {other:?}"),
    });
    opened.collect()
}

/// The texts of the cells of a class, from the top of the page to its end.
fn cells<'a>(page: &'a str, class: &str) -> Vec<&'a str> {
    page.split(&format!("<td class=\"{class}\">"))
        .skip(1)
        .map(|rest| rest.lines().next().expect("a line"))
        .collect()
}

#[test]
fn problems_come_first_and_those_that_were_seen_to_begin_before_all_others() {
    let problem = |name, verdict, since_seen, opened| {
        let [problem] = &problems_of(&[unit(name, verdict)], &[])[..] else {
            panic!("one unit, one problem");
        };
        let opened = UNIX_EPOCH + Duration::from_secs(opened);
        Arc::new(Problem { since_seen, opened, ..(**problem).clone() })
    };
    let problems = [
        problem("before.service", Verdict::Failed, false, 90),
        problem("early.service", Verdict::Failed, true, 60),
        problem("stale.service", Verdict::Stale, true, 90),
        problem("failed.service", Verdict::Failed, true, 90),
    ];
    let page = page_with(&problems, &[unit("a.service", Verdict::Ok)], &[], &[]);

    let names: Vec<&str> = cells(&page, "name")
        .into_iter()
        .map(|text| text.split(' ').next().expect("a word"))
        .collect();
    let expected = ["failed.service", "stale.service", "early.service", "before.service"];
    assert_eq!(names, [&expected[..], &["a.service"]].concat());
    assert_eq!(cells(&page, "reason")[0], "why failed.service");
    assert!(cells(&page, "since")[3].starts_with("before "));
}

#[test]
fn what_is_wrong_and_no_problem_is_in_the_table_of_all_units_with_its_reason() {
    let units = [unit("a.service", Verdict::Failed), unit("b.service", Verdict::Ok)];
    let page = page_with(&[], &units, &[], &[]);

    assert_eq!(cells(&page, "reason"), [""; 0]);
    let verdicts = cells(&page, "verdict");
    assert!(verdicts[0].contains("why a.service"), "{verdicts:?}");
    assert!(!verdicts[1].contains("why"), "{verdicts:?}");
}

#[test]
fn a_machine_that_is_lost_or_silent_is_a_problem_and_first_among_the_machines() {
    let time = UNIX_EPOCH + Duration::from_secs(60);
    let member = |id| builders::member(builders::machine(id));
    let machines = [
        member("m1"),
        Member { silent_since: Some(time), ..member("m2") },
        Member { lost_since: Some(time), ..member("m3") },
    ]
    .map(Arc::new);
    let page = page(&[], &machines, &[]);

    let names = cells(&page, "name");
    assert!(names[0].contains("m3") && names[1].contains("m2"), "{names:?}");
    assert_eq!(cells(&page, "id"), ["m3", "m2", "m1"]);
}

#[test]
fn a_machine_is_shown_by_its_address_if_that_is_known_from_the_unit_or_from_the_machine() {
    let on = |machine: Option<&str>, ip: Option<&str>, target: Option<&str>| {
        let state = UnitState {
            machine: machine.map(Into::into),
            ip: ip.map(Into::into),
            ..builders::unit_state("a.service", "m1", "active/running")
        };
        let file = Some(Arc::new(builders::unit_file("a.service", target)));
        Arc::new(Unit { file, ..builders::unit(state) })
    };
    let machine = Machine { ip: Some("10.0.0.2".into()), ..builders::machine("m2") };
    let units = [
        on(Some("m1"), Some("10.0.0.1"), None),
        on(Some("m2"), None, None),
        on(Some("m3"), None, None),
        on(None, None, Some("m2")),
        on(None, None, None),
    ];
    let page = page(&units, &[Arc::new(builders::member(machine))], &[]);

    let shown = cells(&page, "machine");
    assert_eq!(shown, ["10.0.0.1", "10.0.0.2", "m3", "target 10.0.0.2", UNKNOWN]);
}

#[test]
fn only_the_latest_events_are_shown() {
    let newest_first: Vec<_> = (0..80)
        .rev()
        .map(|number| joined(number, &format!("m{number}")))
        .collect();
    let page = page(&[], &[], &newest_first);

    let events = cells(&page, "event");
    assert_eq!(events.len(), MAX_EVENTS);
    assert!(events[0].contains("m79") && events[49].contains("m30"), "{events:?}");
}

#[test]
fn nothing_that_fleet_says_is_markup() {
    let hostile = || Some(HOSTILE.into());
    let state = UnitState {
        unit: HOSTILE.into(),
        machine: Some(HOSTILE.into()),
        ip: hostile(),
        load: hostile(),
        active: hostile(),
        sub: hostile(),
        hash: hostile(),
    };
    let unit = Unit {
        verdict: Verdict::Failed,
        reason: HOSTILE.into(),
        ..builders::unit(state)
    };
    let machine = Machine {
        id: HOSTILE.into(),
        ip: hostile(),
        metadata: hostile(),
        version: hostile(),
    };
    let member = Member { lost_since: Some(UNIX_EPOCH), ..builders::member(machine) };
    let place = Place {
        unit: HOSTILE.into(),
        machine: Some(HOSTILE.into()),
        ip: hostile(),
    };
    let event = Transition {
        number: 1,
        time: UNIX_EPOCH,
        event: Event::Changed { place, from: HOSTILE.into(), to: HOSTILE.into() },
    };
    let page = page(&[Arc::new(unit)], &[Arc::new(member)], &[Arc::new(event)]);

    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("alert('"), "{page}");
    assert!(page.matches("&lt;script&gt;").count() >= 15, "{page}");
}

#[test]
fn a_state_is_as_precise_as_what_is_known_of_it() {
    let known = |load: Option<&str>, active: Option<&str>, sub: Option<&str>| {
        let state = UnitState {
            load: load.map(Into::into),
            active: active.map(Into::into),
            sub: sub.map(Into::into),
            ..builders::unit_state("a.service", "m1", "active/running")
        };
        state_of_unit(&builders::unit(state))
    };

    assert_eq!(known(Some("loaded"), Some("active"), Some("running")), "active/running");
    assert_eq!(
        known(Some("not-found"), Some("inactive"), Some("dead")),
        "not-found, inactive/dead"
    );
    assert_eq!(known(Some("loaded"), Some("active"), None), "active");
    assert_eq!(known(None, None, None), UNKNOWN);
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01 00:00:00"),
        (68_169_599, "1972-02-28 23:59:59"),
        (68_169_600, "1972-02-29 00:00:00"),
        (951_782_400, "2000-02-29 00:00:00"),
        (951_868_800, "2000-03-01 00:00:00"),
        (1_700_000_000, "2023-11-14 22:13:20"),
        (1_735_689_599, "2024-12-31 23:59:59"),
        (4_107_542_399, "2100-02-28 23:59:59"),
        (4_107_542_400, "2100-03-01 00:00:00"),
        (13_574_563_200, "2400-02-29 00:00:00"),
    ] {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
    }
}
