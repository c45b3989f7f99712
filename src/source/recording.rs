//! The format of a recording, and the writer of one.
//!
//! A recording is JSON lines. A line with `recording` begins one and names the source; then there is one line for each
//! poll, with `t`, the seconds since the beginning at which its answer was complete, and `took`, how long it took:
//!
//! ```json
//! {"recording":1,"source":"fleetctl v1.0.0"}
//! {"t":0.049,"took":0.048,"topic":"machines","machines":[{"id":"3f1a…","ip":"172.17.8.101"}]}
//! {"t":2.061,"took":0.049,"topic":"units","same":true}
//! {"t":4.062,"took":0.051,"topic":"units","error":"…"}
//! ```
//!
//! `same` stands for the rows of the last good poll of that topic. Lines of other keys, such as the `event` notes in
//! the built-in recording, are passed over.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::cluster::{Machine, Moment, Reading, Text, Topic, UnitFile, UnitState};

/// The version of the format that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// One line, as written and read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Topic>,
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
}

/// What one line says.
#[derive(Debug, PartialEq)]
pub enum Entry {
    /// A recording begins.
    Begin {
        /// What was recorded.
        source: Option<Text>,
    },
    /// A poll.
    Poll(Poll),
}

/// One poll of a recording.
#[derive(Debug, PartialEq)]
pub struct Poll {
    /// When its answer was complete, since the beginning.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// What was asked for.
    pub topic: Topic,
    /// What came of it; `None` stands for the same rows as the last time.
    pub outcome: Result<Option<Reading>, String>,
}

/// Reads one line; `None` if it says nothing of a poll.
pub fn parse(line: &str) -> Result<Option<Entry>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match line {
        Line { recording: Some(VERSION), source, .. } => Ok(Some(Entry::Begin { source })),
        Line { recording: Some(version), .. } => {
            Err(format!("it is of version {version}, and only version {VERSION} is known"))
        }
        Line { topic: None, .. } => Ok(None),
        Line { t: None, .. } => Err("`t` is missing".to_owned()),
        Line { t: Some(t), took, topic: Some(topic), same, error, states, machines, files, .. } => {
            let seconds =
                |key, value| Duration::try_from_secs_f64(value).map_err(|error| format!("`{key}` is {value}: {error}"));
            let outcome = match (error, same, topic, states, machines, files) {
                (Some(error), ..) => Err(error),
                (None, true, ..) => Ok(None),
                (_, _, Topic::Units, Some(states), _, files) => Ok(Some(Reading::Units { states, files })),
                (_, _, Topic::Machines, _, Some(machines), _) => Ok(Some(Reading::Machines { machines })),
                (_, _, Topic::UnitFiles, _, _, Some(files)) => Ok(Some(Reading::UnitFiles { files })),
                _ => return Err(format!("it has no rows of the {topic}, no `same` and no `error`")),
            };
            let (at, took) = (seconds("t", t)?, seconds("took", took.unwrap_or_default())?);
            Ok(Some(Entry::Poll(Poll { at, took, topic, outcome })))
        }
    }
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    begun: Option<Moment>,
    last: [Option<Reading>; 3],
}

impl Recorder {
    /// Opens a file to append to, creating it if it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file, begun: None, last: [const { None }; 3] })
    }

    /// Appends what came of one poll. `source` names the source where a recording begins.
    pub fn write(&mut self, report: &Report, source: &Text) -> io::Result<()> {
        let begun = match self.begun {
            Some(begun) => begun,
            None => {
                self.append(&Line { recording: Some(VERSION), source: Some(source.clone()), ..Line::default() })?;
                // The first poll was under way when the recording began.
                let begun = Moment { instant: report.at.instant - report.took, ..report.at };
                *self.begun.insert(begun)
            }
        };
        let mut line = Line {
            t: Some(rounded(report.at.since(begun))),
            took: Some(rounded(report.took)),
            topic: Some(report.topic),
            ..Line::default()
        };
        let last = &mut self.last[report.topic as usize];
        match &report.outcome {
            Ok(reading) if last.as_ref() == Some(reading) => line.same = true,
            Ok(reading) => {
                *last = Some(reading.clone());
                match reading.clone() {
                    Reading::Units { states, files } => (line.states, line.files) = (Some(states), files),
                    Reading::Machines { machines } => line.machines = Some(machines),
                    Reading::UnitFiles { files } => line.files = Some(files),
                }
            }
            Err(error) => line.error = Some(error.to_string()),
        }
        self.append(&line)
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }
}

fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceError;

    fn report(topic: Topic, at: Moment, outcome: Result<Reading, SourceError>) -> Report {
        Report { topic, at, took: Duration::from_millis(50), outcome }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let start = Moment::now();
        let machine = Machine { id: "3f1a".into(), ip: Some("10.0.0.1".into()), metadata: None };
        let reading = Reading::Machines { machines: vec![machine] };
        let later = |seconds| start + Duration::from_secs(seconds);
        let reports = [
            report(Topic::Machines, later(0), Ok(reading.clone())),
            report(Topic::Machines, later(2), Ok(reading.clone())),
            report(Topic::Machines, later(4), Err(SourceError::Recorded("no route".into()))),
            report(Topic::Machines, later(6), Ok(reading.clone())),
        ];
        let mut recorder = Recorder::open(&path).unwrap();
        for report in &reports {
            recorder.write(report, &"fleetctl v1.0.0".into()).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let entries: Vec<Entry> = text.lines().filter_map(|line| parse(line).unwrap()).collect();
        let poll = |at, outcome| {
            let took = Duration::from_millis(50);
            Entry::Poll(Poll { at: Duration::from_secs(at) + took, took, topic: Topic::Machines, outcome })
        };
        assert_eq!(
            entries,
            [
                Entry::Begin { source: Some("fleetctl v1.0.0".into()) },
                poll(0, Ok(Some(reading))),
                poll(2, Ok(None)),
                poll(4, Err("no route".to_owned())),
                poll(6, Ok(None)),
            ]
        );
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, problem) in [
            ("{", "EOF"),
            (r#"{"recording":2}"#, "version 2"),
            (r#"{"topic":"units","same":true}"#, "`t`"),
            (r#"{"t":-1,"topic":"units","same":true}"#, "`t` is -1"),
            (r#"{"t":1,"topic":"units"}"#, "no rows of the units"),
            (r#"{"t":1,"topic":"bogus"}"#, "bogus"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(problem), "{line}: {error}");
        }
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse(r#"{"t":2,"event":"a machine loses power"}"#).unwrap(), None);
    }
}
