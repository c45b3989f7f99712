//! The format of a recording, and the reader of one; `recorder` writes it.
//!
//! It must not know which source is recorded, or how a recording is played.
//!
//! A recording is a file of JSON lines. A line with `recording` begins a part of it, and names the
//! source; a program that opens an existing file appends a part. Each further line is one report,
//! of a poll or of a watch: `t` is when the answer was complete, in seconds since the beginning of
//! the part, and `took` is how many seconds it took. `topic` is the list that was read.
//!
//! ```json
//! {"recording":1,"source":"fleetctl v1.0.0"}
//! {"t":0.049,"took":0.048,"topic":"machines","machines":[{"id":"3f1a…","ip":"172.17.8.101"}]}
//! {"t":2.061,"took":0.049,"topic":"units","same":true}
//! {"t":4.062,"took":0.051,"topic":"units","error":"…"}
//! ```
//!
//! `same` stands for the rows of the last successful poll of that topic. A source that reads all
//! lists at once has the topic `registry`. A list that is missing in such a line is the same as in
//! the previous line of that topic. The lines of the topic `changes` that follow hold what a watch
//! has delivered since. Lines without a topic, such as the `event` notes in the built-in recording,
//! are ignored.

mod recorder;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SourceReport;
use crate::cluster::{
    FleetList, Lease, Machine, MachineId, Observation, Reading, RegistrySnapshot, Text, UnitFile,
    UnitState,
};

pub(crate) use recorder::Recorder;

/// The version of the format that this program writes. It reads all versions from 1 on; `changes`
/// exist since version 2.
const FORMAT_VERSION: u32 = 2;

/// One line, as it is written and read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct RecordingLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<RecordedTopic>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<Vec<UnitState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machines: Option<Vec<Machine>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<UnitFile>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<MachineId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expired: Vec<Lease>,
    /// Each with the seconds since its last renewal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overdue: Vec<(Lease, f64)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Observation>,
}

/// The key `topic` of a line: which lists were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedTopic {
    Units,
    Machines,
    UnitFiles,
    Registry,
    Changes,
}

impl RecordedTopic {
    fn from_report(report: &SourceReport) -> Self {
        match report.lists {
            _ if matches!(report.outcome, Ok(Reading::Changes { .. })) => RecordedTopic::Changes,
            [FleetList::Units] | [FleetList::Units, FleetList::UnitFiles] => RecordedTopic::Units,
            [FleetList::Machines] => RecordedTopic::Machines,
            [FleetList::UnitFiles] => RecordedTopic::UnitFiles,
            _ => RecordedTopic::Registry,
        }
    }

    fn lists(self) -> &'static [FleetList] {
        match self {
            RecordedTopic::Units => FleetList::Units.alone(),
            RecordedTopic::Machines => FleetList::Machines.alone(),
            RecordedTopic::UnitFiles => FleetList::UnitFiles.alone(),
            RecordedTopic::Registry | RecordedTopic::Changes => &FleetList::ALL,
        }
    }
}

/// The content of one line.
#[derive(Debug, PartialEq)]
pub enum RecordingEntry {
    /// The first line of a part of a recording.
    Begin {
        /// The name of the source that was recorded; `None` if the line has none.
        source: Option<Text>,
    },
    /// One poll, or one report of a watch.
    Poll(RecordedReport),
}

/// One poll of a recording, or one report of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedReport {
    /// When its answer was complete, measured from the beginning of this part of the recording.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// The lists that were read.
    pub lists: &'static [FleetList],
    /// The reading, or the text of the error.
    pub outcome: Result<Reading, String>,
}

/// Reads a recording, line by line.
#[derive(Debug, Default)]
pub struct RecordingReader {
    /// The last successful reading of each [`RecordedTopic`], to which later lines refer.
    previous: [Option<Reading>; 5],
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
            Some(1..=FORMAT_VERSION) => {
                *self = Self::default();
                return Ok(Some(RecordingEntry::Begin { source: line.source }));
            }
            Some(version) => {
                return Err(format!(
                    "the recording has format version {version}, \
                     but only versions up to {FORMAT_VERSION} are supported"
                ));
            }
            None => {}
        }

        let Some(recorded_list) = line.topic else {
            return Ok(None);
        };
        let at = seconds("t", line.t.ok_or("`t` is missing")?)?;
        let took = seconds("took", line.took.unwrap_or_default())?;
        let outcome = match line.error {
            Some(error) => Err(error),
            None => Ok(self.reading(recorded_list, RecordingLine { error: None, ..line })?),
        };

        let lists = recorded_list.lists();
        Ok(Some(RecordingEntry::Poll(RecordedReport { at, took, lists, outcome })))
    }

    /// The reading of a line without an error. Later lines may refer to it.
    fn reading(
        &mut self,
        recorded_list: RecordedTopic,
        line: RecordingLine,
    ) -> Result<Reading, String> {
        let previous = &mut self.previous[recorded_list as usize];
        if line.same {
            return previous
                .clone()
                .ok_or_else(|| "`same` without a previous poll of this topic".to_owned());
        }

        let reading = match (recorded_list, line.states, line.machines, line.files) {
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
                let list = recorded_list.lists()[0];
                return Err(format!(
                    "there are no rows of the {list}, and neither `same` nor `error`"
                ));
            }
        };

        *previous = Some(reading.clone());
        Ok(reading)
    }
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
