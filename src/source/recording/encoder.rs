//! Encodes reports as the lines of a recording.
//!
//! It must not know where the lines are written, or when a chapter is long enough.

use std::time::Duration;

use super::rows::{KeyedRow, RowChanges};
use super::{FORMAT_VERSION, RecordedTopic, RecordingLine};
use crate::cluster::{Moment, ReadSchedule, Reading, RegistrySnapshot, Text};
use crate::source::SourceReport;
use crate::utc;

/// Encodes the reports of one run of the program.
#[derive(Debug)]
pub struct LineEncoder {
    run: Text,
    /// When the run began; `None` until the first report.
    start: Option<Moment>,
    /// The last reading of each [`RecordedTopic`], to which later lines refer.
    previous: [Option<RecordedReading>; RecordedTopic::COUNT],
    /// The last schedule of each [`RecordedTopic`] in this chapter.
    schedules: [Option<ReadSchedule>; RecordedTopic::COUNT],
}

/// A reading that was recorded.
#[derive(Debug)]
struct RecordedReading {
    reading: Reading,
    at: Moment,
    schedule: Option<ReadSchedule>,
    /// Whether the current chapter has it. If not, no line of the chapter may refer to it.
    is_in_chapter: bool,
}

impl Default for LineEncoder {
    fn default() -> Self {
        Self {
            run: format!("{:016x}", fastrand::u64(..)).as_str().into(),
            start: None,
            previous: [const { None }; RecordedTopic::COUNT],
            schedules: [const { None }; RecordedTopic::COUNT],
        }
    }
}

impl LineEncoder {
    /// Whether a chapter can begin with this report. Changes refer to a whole registry, so they
    /// cannot be first.
    pub(super) fn can_begin_with(report: &SourceReport) -> bool {
        RecordedTopic::from_report(report) != RecordedTopic::Changes
    }

    /// The lines with which a chapter begins whose first report is this one. They repeat the last
    /// reading of each other list.
    pub fn begin_chapter(&mut self, first: &SourceReport, source: &Text) -> Vec<u8> {
        // The run begins when the first poll begins, not when its answer is complete.
        let begun = Moment {
            instant: first.at.instant.checked_sub(first.took).unwrap_or(first.at.instant),
            wall: first.at.wall.checked_sub(first.took).unwrap_or(first.at.wall),
        };
        let start = *self.start.get_or_insert(begun);
        self.schedules = [const { None }; RecordedTopic::COUNT];

        let mut lines = Vec::new();
        append(
            &mut lines,
            &RecordingLine {
                recording: Some(FORMAT_VERSION),
                run: Some(self.run.clone()),
                source: Some(source.clone()),
                t: Some(rounded_seconds(begun.since(start))),
                time: Some(utc::rfc3339(begun.wall)),
                ..RecordingLine::default()
            },
        );

        let topic = RecordedTopic::from_report(first);
        for previous in self.previous.iter_mut().flatten() {
            previous.is_in_chapter = false;
        }

        // In the order of their times.
        let mut restated: Vec<&mut RecordedReading> = self.previous.iter_mut().flatten().collect();
        restated.retain(|previous| {
            let own = topic_of_list(&previous.reading);
            own != topic && own != RecordedTopic::Registry
        });
        restated.sort_by_key(|previous| previous.at.instant);
        for previous in restated {
            let mut line = RecordingLine {
                t: Some(rounded_seconds(previous.at.since(start))),
                time: Some(utc::rfc3339(previous.at.wall)),
                topic: Some(topic_of_list(&previous.reading)),
                restated: true,
                ..RecordingLine::default()
            };
            line.set_schedule(previous.schedule);
            line.set_rows(&previous.reading);
            append(&mut lines, &line);
            previous.is_in_chapter = true;
            self.schedules[topic_of_list(&previous.reading) as usize] = previous.schedule;
        }
        lines
    }

    /// The line of a report.
    pub fn line(&mut self, report: &SourceReport) -> Vec<u8> {
        let topic = RecordedTopic::from_report(report);
        let start = *self.start.get_or_insert(report.at);
        let mut line = RecordingLine {
            t: Some(rounded_seconds(report.at.since(start))),
            time: Some(utc::rfc3339(report.at.wall)),
            took: Some(rounded_seconds(report.took)),
            topic: Some(topic),
            ..RecordingLine::default()
        };

        let last_schedule = &mut self.schedules[topic as usize];
        if report.schedule.is_some() && *last_schedule != report.schedule {
            line.set_schedule(report.schedule);
            *last_schedule = report.schedule;
        }

        let slot = &mut self.previous[topic as usize];
        let previous = slot
            .as_ref()
            .filter(|previous| previous.is_in_chapter)
            .map(|previous| &previous.reading);
        match &report.outcome {
            Ok(Reading::Changes { index, changes }) => {
                line.index = Some(*index);
                line.changes.clone_from(changes);
            }
            Ok(reading) => {
                line.set_reading(reading, previous);
                *slot = Some(RecordedReading {
                    reading: reading.clone(),
                    at: report.at,
                    schedule: report.schedule,
                    is_in_chapter: true,
                });
            }
            Err(error) => line.error = Some(error.to_string()),
        }

        let mut text = Vec::new();
        append(&mut text, &line);
        text
    }
}

fn topic_of_list(reading: &Reading) -> RecordedTopic {
    match reading {
        Reading::Units { .. } => RecordedTopic::Units,
        Reading::Machines { .. } => RecordedTopic::Machines,
        Reading::UnitFiles { .. } => RecordedTopic::UnitFiles,
        Reading::Registry(_) => RecordedTopic::Registry,
        Reading::Changes { .. } => RecordedTopic::Changes,
    }
}

/// Appends a line as JSON.
fn append(lines: &mut Vec<u8>, line: &RecordingLine) {
    let length = lines.len();

    // This cannot fail: a line has no maps, and all its values can be written as JSON.
    if serde_json::to_writer(&mut *lines, line).is_err() {
        return lines.truncate(length);
    }
    lines.push(b'\n');
}

impl RecordingLine {
    fn set_schedule(&mut self, schedule: Option<ReadSchedule>) {
        self.every = schedule.map(|schedule| rounded_seconds(schedule.every));
        self.within = schedule.map(|schedule| rounded_seconds(schedule.within));
    }

    /// Sets what differs from the previous reading; all of it if there is none in this chapter.
    fn set_reading(&mut self, reading: &Reading, previous: Option<&Reading>) {
        let is_set = match (reading, previous) {
            (Reading::Registry(registry), previous) => {
                let previous = match previous {
                    Some(Reading::Registry(previous)) => Some(previous),
                    _ => None,
                };
                self.set_registry(registry, previous);
                true
            }
            (reading, Some(previous)) => self.set_changes(reading, previous).is_some(),
            (_, None) => false,
        };

        if !is_set {
            self.set_rows(reading);
        }
    }

    /// Sets the rows that have changed. `None` if the reading can only be recorded as a whole.
    fn set_changes(&mut self, reading: &Reading, previous: &Reading) -> Option<()> {
        match (previous, reading) {
            (
                Reading::Units { states: old_states, files: old_files },
                Reading::Units { states, files },
            ) => {
                let states = RowChanges::between(old_states, states)?;
                let files = match (old_files, files) {
                    (Some(old_files), Some(files)) => Some(RowChanges::between(old_files, files)?),
                    (None, None) => None,
                    _ => return None,
                };
                take(states, &mut self.changed_states, &mut self.removed_states);
                if let Some(files) = files {
                    take(files, &mut self.changed_files, &mut self.removed_files);
                }
            }
            (Reading::Machines { machines: old }, Reading::Machines { machines }) => {
                let machines = RowChanges::between(old, machines)?;
                take(machines, &mut self.changed_machines, &mut self.removed_machines);
            }
            (Reading::UnitFiles { files: old }, Reading::UnitFiles { files }) => {
                let files = RowChanges::between(old, files)?;
                take(files, &mut self.changed_files, &mut self.removed_files);
            }
            _ => return None,
        }

        self.same = !self.has_row_changes();
        Some(())
    }

    fn set_rows(&mut self, reading: &Reading) {
        match reading {
            Reading::Units { states, files } => {
                self.states = Some(states.clone());
                self.files.clone_from(files);
            }
            Reading::Machines { machines } => self.machines = Some(machines.clone()),
            Reading::UnitFiles { files } => self.files = Some(files.clone()),
            Reading::Registry(_) | Reading::Changes { .. } => {}
        }
    }

    /// Sets the lists that differ from the previous registry, and everything else.
    fn set_registry(&mut self, registry: &RegistrySnapshot, previous: Option<&RegistrySnapshot>) {
        let differs = |is_same: fn(&RegistrySnapshot, &RegistrySnapshot) -> bool| {
            !previous.is_some_and(|previous| is_same(previous, registry))
        };

        self.index = Some(registry.index);
        self.states = differs(|a, b| a.states == b.states).then(|| registry.states.to_vec());
        self.machines =
            differs(|a, b| a.machines == b.machines).then(|| registry.machines.to_vec());
        self.files = differs(|a, b| a.files == b.files).then(|| registry.files.to_vec());

        self.leader.clone_from(&registry.leader);
        self.expired.clone_from(&registry.expired);
        self.overdue = registry
            .overdue
            .iter()
            .map(|(lease, age)| (lease.clone(), rounded_seconds(*age)))
            .collect();
    }
}

fn take<R: KeyedRow>(changes: RowChanges<R>, changed: &mut Vec<R>, removed: &mut Vec<R::OwnedKey>) {
    *changed = changes.changed;
    *removed = changes.removed;
}

/// Seconds, to the millisecond.
fn rounded_seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
