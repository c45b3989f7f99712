//! The file: what is written is read again, whatever has become of it meanwhile.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::writer::StateFile;
use super::{RunStart, SavedState, StateChanges};
use crate::builders;
use crate::cluster::{
    Cluster, Event, Moment, Place, Reading, RegistrySnapshot, SavedTime, Transition, UnitFile,
};

/// A cluster with these units on m1.
fn cluster(units: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(Duration::from_secs(30));
    let state = |unit: &&str| builders::unit_state(unit, "m1", "active/running");
    let registry = RegistrySnapshot {
        states: units.iter().map(state).collect(),
        machines: [builders::machine("m1")].into(),
        files: units
            .iter()
            .map(|unit| builders::unit_file(unit, Some("m1")))
            .collect(),
        ..RegistrySnapshot::default()
    };

    cluster.apply(Reading::Registry(registry), Moment::now(), Duration::ZERO);
    cluster
}

/// Changes with this revision: these units are there, as they are in the cluster, and the others
/// are gone.
fn changes(cluster: &Cluster, revision: u64, there: &[&str], gone: &[&str]) -> StateChanges {
    let mut changes = StateChanges {
        revision,
        saved: Some(SavedTime(UNIX_EPOCH + Duration::from_secs(revision))),
        transitions: revision,
        ..StateChanges::default()
    };

    for unit in there {
        let key = ((*unit).into(), Some("m1".into()));
        let row = cluster.saved_row(&key).unwrap();
        let shown = cluster.view().units.get(&key).unwrap().clone();
        changes.rows.insert(key, (revision, Some((row, shown))));
        let file: &Arc<UnitFile> = cluster.unit_file(&(*unit).into()).unwrap();
        changes.files.insert((*unit).into(), Some(file.clone()));
    }
    for unit in gone {
        changes
            .rows
            .insert(((*unit).into(), Some("m1".into())), (revision, None));
        changes.files.insert((*unit).into(), None);
    }
    changes
}

fn event(number: u64, unit: &str) -> (u64, Arc<Transition>) {
    let place = Place { unit: unit.into(), machine: None, ip: None };
    let event = Event::Appeared { place, to: "active/running".into() };
    (number, Arc::new(Transition { number, time: UNIX_EPOCH, event }))
}

/// The same changes as the first of a run.
fn first(changes: StateChanges, epoch: &str, discards: bool) -> StateChanges {
    StateChanges {
        start: Some(RunStart { epoch: epoch.into(), discards }),
        complete_since: Some(changes.revision),
        ..changes
    }
}

/// A child process that another test starts has the lock too, until it runs its program.
fn open(directory: &Path) -> (StateFile, SavedState) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match StateFile::open(directory) {
            Ok(opened) => return opened,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// The units of the rows, with the revisions of their last changes.
fn units(saved: &SavedState) -> Vec<(String, u64)> {
    let mut units: Vec<(String, u64)> = saved
        .rows
        .iter()
        .map(|row| (row.value.key().0.to_string(), row.revision))
        .collect();
    units.sort();
    units
}

fn owned(units: &[(&str, u64)]) -> Vec<(String, u64)> {
    units
        .iter()
        .map(|(unit, revision)| ((*unit).to_owned(), *revision))
        .collect()
}

/// A directory with three writes, and the length of the file after each.
fn with_three_writes() -> (tempfile::TempDir, Vec<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = cluster(&["a.service", "b.service"]);
    let (mut file, saved) = open(directory.path());
    assert!(saved.epoch.is_none() && saved.rows.is_empty());

    let mut begun = first(changes(&cluster, 5, &["a.service"], &[]), "one", true);
    begun.events.push_back(event(1, "a.service"));
    let second = changes(&cluster, 6, &["b.service"], &[]);
    let third = changes(&cluster, 7, &[], &["a.service"]);

    let ends = [begun, second, third].map(|changes| {
        file.write(&changes).unwrap();
        fs::metadata(directory.path().join("state")).unwrap().len()
    });
    (directory, ends.to_vec())
}

#[test]
fn what_was_written_is_read_again() {
    let (directory, _) = with_three_writes();
    let (_, saved) = open(directory.path());

    assert_eq!(saved.epoch.as_deref(), Some("one"));
    assert_eq!((saved.revision, saved.complete_since, saved.transitions), (7, 5, 7));
    assert_eq!(units(&saved), owned(&[("b.service", 6)]));
    assert_eq!(saved.removed_rows, [(("a.service".into(), Some("m1".into())), 7)]);
    assert_eq!(saved.events.len(), 1);
    let files: Vec<&str> = saved.files.iter().map(|file| &*file.unit).collect();
    assert_eq!(files, ["b.service"]);
}

#[test]
fn a_file_that_is_cut_anywhere_has_what_was_written_before_as_a_whole() {
    let (directory, ends) = with_three_writes();
    let contents = fs::read(directory.path().join("state")).unwrap();
    let cluster = cluster(&["c.service"]);
    let expected = [
        owned(&[]),
        owned(&[("a.service", 5)]),
        owned(&[("a.service", 5), ("b.service", 6)]),
        owned(&[("b.service", 6)]),
    ];

    for cut in 0..=contents.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("state"), &contents[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut as u64).count();

        let (mut file, saved) = open(directory.path());
        assert_eq!(units(&saved), expected[whole], "cut at {cut}");
        assert_eq!(saved.revision, [0, 5, 6, 7][whole], "cut at {cut}");

        // It is written on from there.
        let next = first(changes(&cluster, 2, &["c.service"], &[]), "two", false);
        file.write(&next).unwrap();
        drop(file);
        let (_, saved) = open(directory.path());
        let mut all: Vec<(String, u64)> =
            expected[whole].iter().map(|(unit, _)| (unit.clone(), 0)).collect();
        all.push(("c.service".to_owned(), 2));
        assert_eq!(units(&saved), all, "cut at {cut}");
    }
}

#[test]
fn a_file_with_a_damaged_byte_is_used_up_to_there() {
    let (directory, ends) = with_three_writes();
    let contents = fs::read(directory.path().join("state")).unwrap();

    for index in (0..contents.len()).step_by(7) {
        let directory = tempfile::tempdir().unwrap();
        let mut damaged = contents.clone();
        damaged[index] ^= 0x10;
        fs::write(directory.path().join("state"), damaged).unwrap();

        let (_, saved) = open(directory.path());
        let whole = ends.iter().filter(|end| **end <= index as u64).count();
        assert_eq!(saved.revision, [0, 5, 6, 7][whole], "at {index}");
    }
}

#[test]
fn a_write_that_failed_at_any_byte_is_made_up_for_by_the_next() {
    let (directory, ends) = with_three_writes();
    let contents = fs::read(directory.path().join("state")).unwrap();
    let whole = usize::try_from(ends[1]).unwrap();
    let cluster = cluster(&["a.service", "b.service"]);

    for written in whole..contents.len() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::write(&path, &contents[..whole]).unwrap();
        let (mut file, _) = open(directory.path());

        // As if the disk had become full.
        let mut disk = OpenOptions::new().append(true).open(&path).unwrap();
        disk.write_all(&contents[whole..written]).unwrap();
        file.mark_torn();
        file.write(&changes(&cluster, 7, &[], &["a.service"])).unwrap();

        drop(file);
        let (_, saved) = open(directory.path());
        assert_eq!(units(&saved), owned(&[("b.service", 6)]), "{written} bytes were written");
    }
}

#[test]
fn the_revisions_of_another_run_say_nothing() {
    let (directory, _) = with_three_writes();
    let (mut file, _) = open(directory.path());
    let cluster = cluster(&["c.service"]);
    let next = first(changes(&cluster, 3, &["c.service"], &[]), "two", false);
    file.write(&next).unwrap();
    drop(file);

    let (_, saved) = open(directory.path());
    assert_eq!(saved.epoch.as_deref(), Some("two"));
    assert_eq!(saved.complete_since, 3);
    assert_eq!(units(&saved), owned(&[("b.service", 0), ("c.service", 3)]));
    assert_eq!(saved.removed_rows, []);
}

#[test]
fn nobody_resumes_from_before_what_was_not_saved() {
    let (directory, _) = with_three_writes();
    let (mut file, _) = open(directory.path());
    let cluster = cluster(&["b.service", "c.service"]);
    file.write(&first(changes(&cluster, 3, &["b.service"], &[]), "two", false))
        .unwrap();

    let mut interrupted = changes(&cluster, 8, &[], &[]);
    interrupted.complete_since = Some(8);
    let mut merged = changes(&cluster, 4, &["c.service"], &[]);
    merged.merge(interrupted);
    merged.merge(changes(&cluster, 9, &[], &["b.service"]));
    file.write(&merged).unwrap();
    file.write(&changes(&cluster, 10, &["c.service"], &[])).unwrap();
    drop(file);

    let (_, saved) = open(directory.path());
    assert_eq!((saved.complete_since, saved.revision), (8, 10));
}

#[test]
fn what_was_discarded_is_not_there_any_more() {
    let (directory, _) = with_three_writes();
    let (mut file, _) = open(directory.path());
    let cluster = cluster(&["c.service"]);
    let next = first(changes(&cluster, 3, &["c.service"], &[]), "two", true);
    file.write(&next).unwrap();
    drop(file);

    let (_, saved) = open(directory.path());
    assert_eq!(units(&saved), owned(&[("c.service", 3)]));
    assert_eq!(saved.events.len(), 0);
}

#[test]
fn a_file_that_has_grown_is_written_anew_with_all_that_is_needed() {
    let (directory, _) = with_three_writes();
    let (mut file, _) = open(directory.path());
    let cluster = cluster(&["b.service", "c.service"]);
    let mut largest = 0;

    for revision in 1..=4_000 {
        let mut next = changes(&cluster, revision, &["c.service"], &[]);
        if revision == 1 {
            next = first(next, "two", false);
        }
        next.events.push_back(event(revision, "c.service"));
        file.write(&next).unwrap();
        largest = largest.max(fs::metadata(directory.path().join("state")).unwrap().len());
    }
    drop(file);

    assert!(largest < 3 << 20, "{largest} bytes");
    let (_, saved) = open(directory.path());
    assert_eq!(units(&saved), owned(&[("b.service", 0), ("c.service", 4_000)]));
    assert_eq!((saved.revision, saved.complete_since), (4_000, 1));
    assert_eq!(saved.epoch.as_deref(), Some("two"));
    let numbers: Vec<u64> = saved.events.iter().map(|event| event.value.number).collect();
    assert_eq!(numbers, (3_951..=4_000).collect::<Vec<_>>());
}

#[test]
fn a_directory_is_used_by_one_program() {
    let (directory, _) = with_three_writes();
    let (_file, _) = open(directory.path());
    assert!(StateFile::open(directory.path()).is_err());
}

#[test]
fn a_file_of_a_later_version_is_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut later = String::new();
    crate::append_log::put_record(&mut later, r#"{"format":2}"#);
    fs::write(&path, &later).unwrap();

    let (mut file, saved) = open(directory.path());
    assert!(saved.epoch.is_none());
    let next = first(changes(&cluster(&["a.service"]), 1, &["a.service"], &[]), "one", true);
    file.write(&next).unwrap();

    assert_eq!(fs::read_to_string(directory.path().join("state.later")).unwrap(), later);
}
