//! What a filter selects. The cases of the language are those of the page, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::*;
use crate::builders;
use crate::cluster::{Machine, Place, UnitFile, UnitState};
use crate::problems::{MachineName, MachineTrouble, ProblemCause, SourceFault};

const CASES: &str = include_str!("../../../tests/fixtures/filter/cases.json");

#[derive(Deserialize)]
struct Cases {
    units: Vec<UnitRow>,
    machines: Vec<MachineRow>,
    events: Vec<EventRow>,
    cases: Vec<Case>,
    errors: Vec<ErrorCase>,
}

/// A unit. Address and metadata are those of its machine, or of its target.
#[derive(Deserialize)]
struct UnitRow {
    unit: String,
    description: Option<Text>,
    load: Option<Text>,
    active: Option<Text>,
    sub: Option<Text>,
    #[serde(default)]
    desired: Option<Text>,
    verdict: String,
    machine: Option<MachineId>,
    target: Option<String>,
    ip: Option<Text>,
    metadata: Option<Text>,
}

#[derive(Deserialize)]
struct MachineRow {
    machine: String,
    ip: Option<Text>,
    metadata: Option<Text>,
    version: Option<Text>,
}

#[derive(Deserialize)]
struct EventRow {
    event: String,
    unit: Option<String>,
    machine: Option<MachineId>,
    ip: Option<Text>,
    from: Option<String>,
    to: Option<String>,
    text: String,
}

/// A filter with the names of the units that it selects, and maybe of the machines (the beginnings
/// of their IDs) and of the events. `kept` are events that pass because a key does not apply to
/// them; the page does not show these.
#[derive(Deserialize)]
struct Case {
    filter: String,
    units: Vec<String>,
    machines: Option<Vec<String>>,
    events: Option<Vec<String>>,
    #[serde(default)]
    kept: Vec<String>,
}

/// A text that is not a filter, with the key that is unknown or has nothing behind it.
#[derive(Deserialize)]
struct ErrorCase {
    filter: String,
    unknown: Option<String>,
    empty: Option<String>,
}

fn cases() -> Cases {
    serde_json::from_str(CASES).unwrap()
}

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

impl UnitRow {
    fn unit(&self) -> Unit {
        let verdict = Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.name() == self.verdict)
            .expect("a verdict");
        let has_address = self.machine.is_some() && verdict != Verdict::MachineLost;
        let state = UnitState {
            machine: self.machine.clone(),
            ip: self.ip.clone().filter(|_| has_address),
            load: self.load.clone(),
            active: self.active.clone(),
            sub: self.sub.clone(),
            ..UnitState::unreported(self.unit.as_str().into())
        };
        let file = UnitFile {
            description: self.description.clone(),
            desired: self.desired.clone(),
            ..builders::unit_file(&self.unit, self.target.as_deref())
        };

        Unit {
            file: Some(Arc::new(file)),
            verdict,
            machine: MachineDetails { ip: self.ip.clone(), metadata: self.metadata.clone() },
            ..builders::unit(state)
        }
    }
}

impl MachineRow {
    fn member(&self) -> Member {
        builders::member(Machine {
            ip: self.ip.clone(),
            metadata: self.metadata.clone(),
            version: self.version.clone(),
            ..builders::machine(&self.machine)
        })
    }
}

impl EventRow {
    fn event(&self) -> Event {
        let place = || Place {
            unit: self.unit.as_deref().expect("a unit").into(),
            machine: self.machine.clone(),
            ip: self.ip.clone(),
        };

        let event = match self.event.as_str() {
            "changed" => Event::Changed {
                place: place(),
                from: self.from.as_deref().expect("a state").into(),
                to: self.to.as_deref().expect("a state").into(),
            },
            "machine_lost" => Event::MachineLost {
                machine: self.machine.clone().expect("a machine"),
                ip: self.ip.clone(),
            },
            "source_down" => Event::SourceDown { reason: "no answer".into() },
            other => panic!("the table has no {other} yet"),
        };
        assert_eq!(event.to_string(), self.text, "the table has the text of the event");
        event
    }
}

#[test]
fn a_filter_selects_what_the_table_of_cases_says() {
    let Cases { units, machines, events, cases, .. } = cases();
    assert!(cases.len() > 50, "there are more cases than that");

    for case in cases {
        let filter = filter(&case.filter);
        let text = &case.filter;

        let found = units.iter().filter(|row| filter.unit(&row.unit()));
        let names: Vec<&str> = found.map(|row| &*row.unit).collect();
        assert_eq!(names, case.units, "{text}");

        if let Some(expected) = &case.machines {
            let found = machines.iter().filter(|row| filter.machine(&row.member()));
            let ids: Vec<&str> = found.map(|row| &row.machine[..4]).collect();
            assert_eq!(ids, *expected, "{text}");
        }
        if let Some(expected) = &case.events {
            let found = events.iter().filter(|row| filter.event(&row.event()));
            let names: BTreeSet<&str> = found.map(|row| &*row.event).collect();
            let expected = expected.iter().chain(&case.kept).map(String::as_str).collect();
            assert_eq!(names, expected, "{text}");
        }
    }
}

fn problem(cause: ProblemCause, units: &[&str], machine: Option<&str>) -> Problem {
    let unit = |name: &&str| {
        let state = builders::unit_state(name, "aaaa1111", "failed/failed");
        Arc::new(Unit { verdict: Verdict::Failed, ..builders::unit(state) })
    };

    Problem {
        id: "1".into(),
        cause,
        since: UNIX_EPOCH,
        since_seen: true,
        opened: UNIX_EPOCH,
        units: units.iter().map(unit).collect(),
        machine: machine.map(|id| Arc::new(builders::member(builders::machine(id)))),
    }
}

#[test]
fn a_problem_passes_with_one_of_its_units_or_with_its_machine() {
    let name = |id: &str| MachineName { id: id.into(), ip: None };
    let of_units =
        ProblemCause::OnMachine { verdict: Verdict::Failed, machine: Some(name("aaaa1111")) };
    let of_units = problem(of_units, &["a.service", "b.service"], None);
    let of_machine =
        ProblemCause::Machine { trouble: MachineTrouble::Lost, machine: name("bbbb2222") };
    let of_machine = problem(of_machine, &[], Some("bbbb2222"));
    let of_source = problem(ProblemCause::Source(SourceFault::Failing), &[], None);

    for (text, expected) in [
        ("", [true, true, true]),
        ("unit:b.service", [true, true, true]),
        ("unit:c.service", [false, true, true]),
        ("-unit:a.service", [true, true, true]),
        ("machine:aaaa1111", [true, false, true]),
        ("machine:bbbb2222", [false, true, true]),
        ("state:failed verdict:failed", [true, true, true]),
        ("verdict:stale", [false, true, true]),
        ("nothing", [false, false, true]),
    ] {
        let filter = filter(text);
        let found = [&of_units, &of_machine, &of_source].map(|problem| filter.problem(problem));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn an_error_names_the_key_that_is_wrong() {
    for ErrorCase { filter, unknown, empty } in cases().errors {
        let error = filter.parse::<Filter>().expect_err(&filter);

        match error {
            FilterError::UnknownKey { key, .. } => assert_eq!(Some(key), unknown, "{filter}"),
            FilterError::NoPattern { key } => {
                assert_eq!(Some(key), empty.as_deref(), "{filter}");
            }
            FilterError::TooLong { .. } => panic!("{filter} is short"),
        }
    }
}

#[test]
fn an_error_for_an_unknown_key_has_the_valid_ones_and_the_one_that_was_meant() {
    for (text, meant) in [
        ("stat:failed", Some("state")),
        ("status:failed", Some("state")),
        ("units:web", Some("unit")),
        ("m:web", Some("machine")),
        ("metadata:role", Some("meta")),
        ("xyz:web", None),
    ] {
        let error = text.parse::<Filter>().expect_err(text);
        assert!(
            matches!(&error, FilterError::UnknownKey { similar, .. } if *similar == meant),
            "{text}: {error:?}"
        );
        let message = error.to_string();
        assert!(FilterKey::ALL.iter().all(|key| message.contains(key.name())), "{message}");
    }
}

#[test]
fn a_filter_has_256_bytes_at_most() {
    let longest = "x".repeat(256);
    assert!(longest.parse::<Filter>().is_ok());
    assert_eq!(format!("{longest}x").parse::<Filter>(), Err(FilterError::TooLong { most: 256 }));
}

#[test]
fn filters_with_the_same_terms_are_equal_and_have_the_same_text() {
    let messy =
        filter("state:Failed Web*   -machine:m1 web* VERDICT:crash-loop verdict:crash_loop");

    assert_eq!(messy, filter("web* verdict:crash_loop -machine:m1 state:failed"));
    assert_eq!(messy.to_string(), "-machine:m1 state:failed verdict:crash_loop web*");
    assert_eq!(filter(&messy.to_string()), messy);

    assert!(filter("  ").is_empty());
    assert!(!messy.is_empty());
}
