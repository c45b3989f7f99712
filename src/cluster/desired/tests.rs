//! Where fleet wants a unit, and which lists of unit files are complete.

use std::time::Duration;

use super::*;
use crate::builders;

fn machine(metadata: &str) -> Machine {
    Machine { metadata: Some(metadata.into()), ..builders::machine("m1") }
}

fn file(target: Option<&str>, desired: &str) -> UnitFile {
    UnitFile {
        desired: Some(desired.into()),
        ..builders::unit_file("a.service", target)
    }
}

fn global_file(requirement: &str) -> UnitFile {
    UnitFile {
        global: true,
        requirements: vec![requirement.into()],
        ..builders::unit_file("a.service", None)
    }
}

/// A reading that took no time, at some seconds after the start.
fn read_at(start: Moment, second: u64) -> ReadSpan {
    let at = start + Duration::from_secs(second);
    ReadSpan { begun: at, ended: at }
}

/// Whether fleet wants `a.service` on m1, by a list that was read a second after its row appeared,
/// or before that.
fn placement(files: Vec<UnitFile>, read_later: bool) -> DesiredPlacement {
    let start = Moment::now();
    let mut desired = Desired::default();
    desired.apply_list(files, read_at(start, 1), true);

    let appeared = if read_later {
        start
    } else {
        start + Duration::from_secs(2)
    };
    desired.placement(&"a.service".into(), &machine("role=web"), appeared)
}

#[test]
fn a_unit_is_wanted_where_its_file_says() {
    let here = DesiredPlacement::Here { global: false };
    let unloaded = DesiredPlacement::NotWanted(NotWanted::Unloaded);
    let no_file = DesiredPlacement::NotWanted(NotWanted::NoFile);

    assert_eq!(placement(vec![file(Some("m1"), "launched")], true), here);
    assert_eq!(placement(vec![file(Some("m2"), "launched")], true), DesiredPlacement::Elsewhere);
    assert_eq!(placement(vec![file(None, "launched")], true), DesiredPlacement::Unassigned);
    assert_eq!(placement(vec![file(None, "inactive")], true), unloaded);
    assert_eq!(placement(vec![], true), no_file);
}

#[test]
fn a_list_that_is_older_than_a_row_can_only_tell_that_it_is_wanted_there() {
    let here = DesiredPlacement::Here { global: false };
    assert_eq!(placement(vec![file(Some("m1"), "launched")], false), here);

    for files in [
        vec![file(Some("m2"), "launched")],
        vec![file(None, "launched")],
        vec![file(None, "inactive")],
        vec![],
    ] {
        assert_eq!(placement(files.clone(), false), DesiredPlacement::Unknown, "{files:?}");
    }
}

#[test]
fn a_unit_whose_target_the_source_does_not_tell_is_wanted_wherever_it_is() {
    let without_target = UnitFile { target_known: false, ..file(None, "launched") };
    assert_eq!(placement(vec![without_target], true), DesiredPlacement::Here { global: false });
}

#[test]
fn a_global_unit_is_wanted_where_its_requirements_may_be_met() {
    let here = DesiredPlacement::Here { global: true };
    let placement = |requirement| placement(vec![global_file(requirement)], true);

    assert_eq!(placement("MachineMetadata=role=web"), here);
    assert_eq!(placement("MachineMetadata=role=db"), DesiredPlacement::Elsewhere);
    assert_eq!(placement("Conflicts=b.service"), here, "that cannot be decided");
}

#[test]
fn an_incomplete_list_removes_no_file() {
    let start = Moment::now();
    let mut desired = Desired::default();
    let files = vec![file(None, "launched")];

    assert_eq!(desired.apply_list(files, read_at(start, 0), true), ["a.service".into()]);
    assert_eq!(desired.apply_list(vec![], read_at(start, 1), false), []);
    assert_eq!(desired.apply_list(vec![], read_at(start, 2), true), ["a.service".into()]);
    assert!(desired.get(&"a.service".into()).is_none());
}

#[test]
fn an_empty_list_is_accepted_when_machines_were_read_after_the_first_one() {
    let start = Moment::now();
    let mut desired = Desired::default();
    let files = vec![file(None, "launched")];
    desired.apply_list(files.clone(), read_at(start, 0), true);

    let is_plausible = desired.is_plausible(&[], read_at(start, 10), Some(read_at(start, 5)));
    assert!(!is_plausible);
    assert_eq!(desired.empty_list_confirmed_by(read_at(start, 9)), None);
    assert_eq!(
        desired.empty_list_confirmed_by(read_at(start, 11)),
        Some(read_at(start, 0)),
        "when the machines are read"
    );
    let is_plausible = desired.is_plausible(&[], read_at(start, 20), Some(read_at(start, 11)));
    assert!(is_plausible, "when the next empty list is read");

    assert!(desired.is_plausible(&files, read_at(start, 30), None));
    let is_plausible = desired.is_plausible(&[], read_at(start, 40), Some(read_at(start, 31)));
    assert!(!is_plausible, "machines must be read again after a list with files");
}
