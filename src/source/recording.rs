//! The format of a recording: its lines, and what they stand for.
//!
//! It must not know which source is recorded, or how a recording is played.
//!
//! A recording is a file of JSON lines, either as they are or compressed with zstd (RFC 8878); its
//! first bytes tell which. It consists of *chapters*, and each can be played without those before
//! it. A line with `recording` begins a chapter, and holds the version of the format, the `run` of
//! the program that the chapter belongs to, the source, and the time. Each further line is one
//! report, of a poll or of a watch: `t` is when the answer was complete, in seconds since the
//! beginning of the run; `time` is the same by the wall clock; `took` is how many seconds it took.
//! `topic` is the list that was read.
//!
//! ```json
//! {"recording":3,"run":"5f0c…","source":"fleetctl v1.0.0","t":0,"time":"2026-11-27T21:15:30Z"}
//! {"t":0.049,"time":"…","took":0.048,"topic":"machines","machines":[{"id":"3f1a…","ip":"…"}]}
//! {"t":2.061,"time":"…","took":0.049,"topic":"units","same":true}
//! {"t":4.062,"time":"…","took":0.051,"topic":"units","error":"…"}
//! {"t":6.060,"time":"…","took":0.050,"topic":"units","changed_states":[{"unit":"a.service",…}]}
//! ```
//!
//! - `same` stands for the rows of the last successful poll of that topic.
//! - `changed_…` and `removed_…` are the rows that differ from it. The order of rows has no
//!   meaning.
//! - `restated` marks a line at the beginning of a chapter that repeats what an earlier chapter
//!   has. Who plays the recording from there needs it; others skip it.
//! - `every` and `within` are the schedule of the source, where it differs from the line before.
//!
//! A source that reads all lists at once has the topic `registry`. A list that is missing in such a
//! line is the same as in the previous line of that topic. The lines of the topic `changes` that
//! follow hold what a watch has delivered since. Lines without a topic, such as the `event` notes
//! in the built-in recording, are ignored.
//!
//! In versions 1 and 2 a line with `recording` begins a new run, of which it says only the source,
//! and no line has a wall clock time or differences of rows. (`changes` exist since version 2.)

mod anonymizer;
mod chapters;
mod encoder;
mod excerpt;
mod file;
mod frames;
mod reader;
mod recorder;
mod rows;
mod segments;
#[cfg(test)]
mod tests;
mod writer;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::SourceReport;
use crate::cluster::{
    FleetList, Lease, Machine, MachineId, Observation, ReadSchedule, Reading, Text, UnitFile,
    UnitName, UnitState,
};

pub(super) use chapters::{ChapterHead, ChapterLines, chapters};
pub use encoder::LineEncoder;
pub(crate) use excerpt::RecordingExcerpt;
pub use file::RecordingFile;
pub use reader::RecordingReader;
pub(crate) use recorder::Recorder;
pub(crate) use segments::RecordKeep;
pub(super) use segments::older_files;
pub(crate) use writer::RecordingRules;

/// The version of the format that this program writes. It reads all versions from 1 on.
const FORMAT_VERSION: u32 = 3;

/// One line, as it is written and read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct RecordingLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<f64>,
    /// RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<RecordedTopic>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restated: bool,
    /// Both in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<f64>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_states: Vec<UnitState>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed_states: Vec<(UnitName, Option<MachineId>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_machines: Vec<Machine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed_machines: Vec<MachineId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_files: Vec<UnitFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed_files: Vec<UnitName>,
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

impl RecordingLine {
    /// Whether it has rows that differ from those of the line before.
    fn has_row_changes(&self) -> bool {
        !(self.changed_states.is_empty()
            && self.removed_states.is_empty()
            && self.changed_machines.is_empty()
            && self.removed_machines.is_empty()
            && self.changed_files.is_empty()
            && self.removed_files.is_empty())
    }
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
    const COUNT: usize = 5;

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
    /// The first line of a run of the program, or of the chapter with which reading begins.
    Begin {
        /// The name of the source that was recorded; `None` if the line has none.
        source: Option<Text>,
        /// When it began, measured from the beginning of the run.
        at: Duration,
        /// The same by the wall clock; `None` before version 3 of the format.
        time: Option<SystemTime>,
    },
    /// One poll, or one report of a watch.
    Poll(RecordedReport),
}

/// One poll of a recording, or one report of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedReport {
    /// When its answer was complete, measured from the beginning of this run.
    pub at: Duration,
    /// The same by the wall clock; `None` before version 3 of the format.
    pub time: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// The lists that were read.
    pub lists: &'static [FleetList],
    /// How soon the source had to report these lists again, if the recording has that.
    pub schedule: Option<ReadSchedule>,
    /// The reading, or the text of the error.
    pub outcome: Result<Reading, String>,
}
