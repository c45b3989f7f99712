//! Reads the lines of a recording.
//!
//! It must not know where the lines come from, or when their reports are played.

use std::time::{Duration, SystemTime};

use super::rows::{KeyedRow, RowChanges};
use super::{FORMAT_VERSION, RecordedReport, RecordedTopic, RecordingEntry, RecordingLine};
use crate::cluster::{Lease, ReadSchedule, Reading, RegistrySnapshot, Text};
use crate::utc;

/// Reads a recording, line by line.
#[derive(Debug, Default)]
pub struct RecordingReader {
    /// The run that the last line belonged to; `None` before the first line, and if it has none.
    run: Option<Text>,
    /// How many chapters have begun.
    chapters: usize,
    /// Whether the lines of the current chapter that repeat an earlier one are to be skipped.
    skips_restated: bool,
    /// The last successful reading of each [`RecordedTopic`], to which later lines refer.
    previous: [Option<Reading>; RecordedTopic::COUNT],
    /// The last schedule of each [`RecordedTopic`].
    schedules: [Option<ReadSchedule>; RecordedTopic::COUNT],
}

impl RecordingReader {
    /// Decodes the next line; `None` if it holds no poll.
    ///
    /// # Errors
    ///
    /// What is wrong with the line.
    pub fn read(&mut self, line: &str) -> Result<Option<RecordingEntry>, String> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let line: RecordingLine = serde_json::from_str(line).map_err(|error| error.to_string())?;

        match line.recording {
            Some(1..=FORMAT_VERSION) => return self.begin(line),
            Some(version) => {
                return Err(format!(
                    "the recording has format version {version}, \
                     but only versions up to {FORMAT_VERSION} are supported"
                ));
            }
            None => {}
        }

        let Some(topic) = line.topic else {
            return Ok(None);
        };
        let at = seconds("t", line.t.ok_or("`t` is missing")?)?;
        let took = seconds("took", line.took.unwrap_or_default())?;
        let time = line.time.as_deref().map(wall_clock).transpose()?;
        let is_skipped = line.restated && self.skips_restated;

        if let (Some(every), Some(within)) = (line.every, line.within) {
            let every = seconds("every", every)?;
            let within = seconds("within", within)?;
            self.schedules[topic as usize] = Some(ReadSchedule::new(every, within));
        }
        let outcome = match line.error {
            Some(error) => Err(error),
            None => Ok(self.reading(topic, RecordingLine { error: None, ..line })?),
        };
        if is_skipped {
            return Ok(None);
        }

        Ok(Some(RecordingEntry::Poll(RecordedReport {
            at,
            time,
            took,
            lists: topic.lists(),
            schedule: self.schedules[topic as usize],
            outcome,
        })))
    }

    /// How many chapters have begun so far.
    pub(in crate::source) fn chapters(&self) -> usize {
        self.chapters
    }

    /// Begins a chapter. `None` if it goes on with the run of the one before.
    fn begin(&mut self, line: RecordingLine) -> Result<Option<RecordingEntry>, String> {
        let at = seconds("t", line.t.unwrap_or_default())?;
        let time = line.time.as_deref().map(wall_clock).transpose()?;
        let goes_on = line.run.is_some() && line.run == self.run;
        *self = Self {
            run: line.run,
            chapters: self.chapters + 1,
            skips_restated: goes_on,
            ..Self::default()
        };

        Ok((!goes_on).then_some(RecordingEntry::Begin { source: line.source, at, time }))
    }

    /// The reading of a line without an error. Later lines may refer to it.
    fn reading(&mut self, topic: RecordedTopic, line: RecordingLine) -> Result<Reading, String> {
        let previous = &mut self.previous[topic as usize];
        if line.same {
            return previous
                .clone()
                .ok_or_else(|| "`same` without a previous poll of this topic".to_owned());
        }

        let reading = if line.has_row_changes() {
            changed_reading(previous.as_ref(), line)?
        } else {
            match (topic, line.states, line.machines, line.files) {
                (RecordedTopic::Changes, ..) => {
                    return Ok(Reading::Changes {
                        index: line.index.unwrap_or_default(),
                        changes: line.changes,
                    });
                }
                (RecordedTopic::Units, Some(states), _, files) => Reading::Units { states, files },
                (RecordedTopic::Machines, _, Some(machines), _) => Reading::Machines { machines },
                (RecordedTopic::UnitFiles, _, _, Some(files)) => Reading::UnitFiles { files },
                (RecordedTopic::Registry, states, machines, files) => {
                    let previous = match &*previous {
                        Some(Reading::Registry(previous)) => previous.clone(),
                        _ => RegistrySnapshot::default(),
                    };
                    Reading::Registry(RegistrySnapshot {
                        index: line.index.unwrap_or_default(),
                        states: states.map_or(previous.states, Into::into),
                        machines: machines.map_or(previous.machines, Into::into),
                        files: files.map_or(previous.files, Into::into),
                        leader: line.leader,
                        expired: line.expired,
                        overdue: overdue(line.overdue)?,
                    })
                }
                _ => {
                    let list = topic.lists()[0];
                    return Err(format!(
                        "there are no rows of the {list}, and neither `same` nor `error`"
                    ));
                }
            }
        };

        *previous = Some(reading.clone());
        Ok(reading)
    }
}

/// The previous reading with the changes of a line.
fn changed_reading(previous: Option<&Reading>, line: RecordingLine) -> Result<Reading, String> {
    let states = RowChanges { changed: line.changed_states, removed: line.removed_states };
    let machines = RowChanges {
        changed: line.changed_machines,
        removed: line.removed_machines,
    };
    let files = RowChanges { changed: line.changed_files, removed: line.removed_files };

    let mut reading = previous
        .cloned()
        .ok_or("changes of rows without a previous poll of this topic")?;
    match &mut reading {
        Reading::Units { states: rows, files: file_rows } => {
            states.apply(rows);
            apply_if_any(files, file_rows.as_mut())?;
        }
        Reading::Machines { machines: rows } => machines.apply(rows),
        Reading::UnitFiles { files: rows } => files.apply(rows),
        Reading::Registry(_) | Reading::Changes { .. } => {
            return Err("changes of rows in a topic that has none".to_owned());
        }
    }
    Ok(reading)
}

fn apply_if_any<R: KeyedRow>(
    changes: RowChanges<R>,
    rows: Option<&mut Vec<R>>,
) -> Result<(), String> {
    match rows {
        Some(rows) => changes.apply(rows),
        None if changes.is_empty() => {}
        None => return Err("changes of rows that the previous poll did not have".to_owned()),
    }
    Ok(())
}

fn overdue(leases: Vec<(Lease, f64)>) -> Result<Vec<(Lease, Duration)>, String> {
    let leases = leases.into_iter();
    leases
        .map(|(lease, age)| Ok((lease, seconds("overdue", age)?)))
        .collect()
}

/// The value of `key` as a duration.
fn seconds(key: &str, value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value).map_err(|error| format!("`{key}` is {value}: {error}"))
}

fn wall_clock(text: &str) -> Result<SystemTime, String> {
    utc::parse_rfc3339(text).ok_or_else(|| format!("`time` is {text:?}, expected RFC 3339"))
}
