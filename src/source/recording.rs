//! The format of a recording, and the writer of one.
//!
//! A recording is JSON lines. A line with `recording` begins one and names the source; then there
//! is one line for each poll, with `t`, the seconds since the beginning at which its answer was
//! complete, and `took`, how long it took:
//!
//! ```json
//! {"recording":1,"source":"fleetctl v1.0.0"}
//! {"t":0.049,"took":0.048,"topic":"machines","machines":[{"id":"3f1a…","ip":"172.17.8.101"}]}
//! {"t":2.061,"took":0.049,"topic":"units","same":true}
//! {"t":4.062,"took":0.051,"topic":"units","error":"…"}
//! ```
//!
//! `same` stands for the rows of the last good poll of that topic. Where a source tells all topics
//! at one moment, the topic is `registry`, and each list that is not there is the same as before;
//! what has changed since then follows in lines of the topic `changes`. Lines of other keys, such
//! as the `event` notes in the built-in recording, are passed over.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, warn};

use super::SourceReport;
use crate::cluster::{
    FleetList, Lease, Machine, MachineId, Moment, Observation, Reading, RegistrySnapshot, Text,
    UnitFile, UnitState,
};
use crate::write_queue::{WriteQueue, WriteTask};

/// The version of the format that this program writes. It reads all from 1 on; `changes` are there
/// since 2.
const VERSION: u32 = 2;

/// One line, as written and read.
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
    topic: Option<RecordedList>,
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
    /// With seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overdue: Vec<(Lease, f64)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Observation>,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedList {
    Units,
    Machines,
    UnitFiles,
    Registry,
    Changes,
}

impl RecordedList {
    fn lists(self) -> &'static [FleetList] {
        match self {
            RecordedList::Units => FleetList::Units.alone(),
            RecordedList::Machines => FleetList::Machines.alone(),
            RecordedList::UnitFiles => FleetList::UnitFiles.alone(),
            RecordedList::Registry | RecordedList::Changes => &FleetList::ALL,
        }
    }

    fn of(report: &SourceReport) -> Self {
        match report.lists {
            _ if matches!(report.outcome, Ok(Reading::Changes { .. })) => RecordedList::Changes,
            [FleetList::Units] | [FleetList::Units, FleetList::UnitFiles] => RecordedList::Units,
            [FleetList::Machines] => RecordedList::Machines,
            [FleetList::UnitFiles] => RecordedList::UnitFiles,
            _ => RecordedList::Registry,
        }
    }
}

/// What one line says.
#[derive(Debug, PartialEq)]
pub enum RecordingEntry {
    /// A recording begins.
    Begin {
        /// What was recorded.
        source: Option<Text>,
    },
    /// A poll.
    Poll(RecordedPoll),
}

/// One poll of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedPoll {
    /// When its answer was complete, since the beginning.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// What was asked for.
    pub lists: &'static [FleetList],
    /// What came of it.
    pub outcome: Result<Reading, String>,
}

/// Reads a recording, line by line.
#[derive(Debug, Default)]
pub struct RecordingReader {
    last: [Option<Reading>; 5],
}

impl RecordingReader {
    /// What the next line says; `None` if it says nothing of a poll.
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
            Some(1..=VERSION) => {
                *self = Self::default();
                return Ok(Some(RecordingEntry::Begin { source: line.source }));
            }
            Some(version) => {
                return Err(format!(
                    "it is of version {version}, and only versions up to {VERSION} are known"
                ));
            }
            None => {}
        }
        let Some(told) = line.topic else {
            return Ok(None);
        };
        let seconds = |key, value| {
            Duration::try_from_secs_f64(value)
                .map_err(|error| format!("`{key}` is {value}: {error}"))
        };
        let at = seconds("t", line.t.ok_or("`t` is missing")?)?;
        let took = seconds("took", line.took.unwrap_or_default())?;
        let outcome = match line.error {
            Some(error) => Err(error),
            None => {
                let same = line.same;
                let reading = self.reading(told, RecordingLine { error: None, ..line })?;
                if !same && told != RecordedList::Changes {
                    self.last[told as usize] = Some(reading.clone());
                }
                Ok(reading)
            }
        };
        Ok(Some(RecordingEntry::Poll(RecordedPoll {
            at,
            took,
            lists: told.lists(),
            outcome,
        })))
    }

    fn reading(&self, told: RecordedList, line: RecordingLine) -> Result<Reading, String> {
        let last = self.last[told as usize].as_ref();
        if line.same {
            return last
                .cloned()
                .ok_or_else(|| "it says `same`, but there was nothing before".to_owned());
        }
        match (told, line.states, line.machines, line.files) {
            (RecordedList::Changes, ..) => Ok(Reading::Changes {
                index: line.index.unwrap_or_default(),
                changes: line.changes,
            }),
            (RecordedList::Units, Some(states), _, files) => Ok(Reading::Units { states, files }),
            (RecordedList::Machines, _, Some(machines), _) => Ok(Reading::Machines { machines }),
            (RecordedList::UnitFiles, _, _, Some(files)) => Ok(Reading::UnitFiles { files }),
            (RecordedList::Registry, states, machines, files) => {
                let last = match last {
                    Some(Reading::Registry(last)) => last.clone(),
                    _ => RegistrySnapshot::default(),
                };
                let overdue = line.overdue.into_iter().map(|(heartbeat, age)| {
                    let age = Duration::try_from_secs_f64(age)
                        .map_err(|error| format!("`overdue` has {age}: {error}"))?;
                    Ok((heartbeat, age))
                });
                Ok(Reading::Registry(RegistrySnapshot {
                    index: line.index.unwrap_or_default(),
                    states: states.map_or(last.states, Into::into),
                    machines: machines.map_or(last.machines, Into::into),
                    files: files.map_or(last.files, Into::into),
                    leader: line.leader,
                    expired: line.expired,
                    overdue: overdue.collect::<Result<_, String>>()?,
                }))
            }
            _ => {
                Err(format!("it has no rows of the {}, no `same` and no `error`", told.lists()[0]))
            }
        }
    }
}

/// How much of a recording may wait to be written, in bytes: many lists of a large cluster.
const LIMIT: usize = 16 * 1024 * 1024;

/// How long a file may take to be opened before everything else goes on without it.
const OPEN: Duration = Duration::from_secs(1);

/// Writes a recording. A thread of its own waits for the disk.
#[derive(Debug)]
pub struct Recorder {
    lines: WriteQueue<Vec<u8>>,
    begun: Option<Moment>,
    last: [Option<Reading>; 5],
    /// Whether a poll was dropped since the last whole registry was written: changes do not follow
    /// on what is written.
    has_gap: bool,
}

impl Recorder {
    /// Opens a file to append to, creating it if it is not there.
    pub async fn open(path: &Path) -> io::Result<Self> {
        let lines = WriteQueue::new(LIMIT);
        let (opened, is_open) = oneshot::channel();
        let file = RecordingFile { path: path.to_owned(), lines: lines.clone() };
        thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || file.write(opened))?;

        match timeout(OPEN, is_open).await {
            Ok(opened) => {
                opened.unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))?;
            }
            Err(_) => warn!(
                "the recording {} is not open after {OPEN:?}: its disk hangs, or it is a pipe that nobody reads",
                path.display()
            ),
        }
        Ok(Self {
            lines,
            begun: None,
            last: [const { None }; 5],
            has_gap: false,
        })
    }

    /// Waits until all is written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        self.lines.flush(patience);
    }

    /// Appends what came of one poll. `source` names the source where a recording begins. Returns
    /// false if the poll was dropped, as the disk is too slow; a recording that has ended in an
    /// error takes no more, and drops none.
    ///
    /// Changes follow on a whole registry: a recording does not begin with them, and after a gap
    /// they are dropped.
    pub fn write(&mut self, report: &SourceReport, source: &Text) -> bool {
        let is_change = matches!(report.outcome, Ok(Reading::Changes { .. }));
        if is_change && self.has_gap {
            return false;
        }
        if is_change && self.begun.is_none() {
            return true;
        }

        let begun = match self.begun {
            Some(begun) => begun,
            None => {
                self.append(&RecordingLine {
                    recording: Some(VERSION),
                    source: Some(source.clone()),
                    ..RecordingLine::default()
                });
                // The first poll was under way when the recording began.
                let begun = Moment { instant: report.at.instant - report.took, ..report.at };
                *self.begun.insert(begun)
            }
        };
        let told = RecordedList::of(report);
        let mut line = RecordingLine {
            t: Some(rounded(report.at.since(begun))),
            took: Some(rounded(report.took)),
            topic: Some(told),
            ..RecordingLine::default()
        };
        let last = &mut self.last[told as usize];
        match &report.outcome {
            Ok(Reading::Registry(registry)) => {
                let before = match last.replace(Reading::Registry(registry.clone())) {
                    Some(Reading::Registry(before)) => Some(before),
                    _ => None,
                };
                let differs = |is_same: fn(&RegistrySnapshot, &RegistrySnapshot) -> bool| {
                    !before.as_ref().is_some_and(|before| is_same(before, registry))
                };
                line.index = Some(registry.index);
                line.states =
                    differs(|a, b| a.states == b.states).then(|| registry.states.to_vec());
                line.machines =
                    differs(|a, b| a.machines == b.machines).then(|| registry.machines.to_vec());
                line.files = differs(|a, b| a.files == b.files).then(|| registry.files.to_vec());
                line.leader.clone_from(&registry.leader);
                line.expired.clone_from(&registry.expired);
                let overdue = registry.overdue.iter();
                line.overdue = overdue
                    .map(|(heartbeat, age)| (heartbeat.clone(), rounded(*age)))
                    .collect();
            }
            Ok(Reading::Changes { index, changes }) => {
                line.index = Some(*index);
                line.changes.clone_from(changes);
            }
            Ok(reading) if last.as_ref() == Some(reading) => line.same = true,
            Ok(reading) => {
                *last = Some(reading.clone());
                match reading.clone() {
                    Reading::Units { states, files } => {
                        (line.states, line.files) = (Some(states), files);
                    }
                    Reading::Machines { machines } => line.machines = Some(machines),
                    Reading::UnitFiles { files } => line.files = Some(files),
                    Reading::Registry(_) | Reading::Changes { .. } => {}
                }
            }
            Err(error) => line.error = Some(error.to_string()),
        }
        let fits = self.append(&line);
        if !fits {
            // The next lines must not refer to one that was not written.
            self.last = [const { None }; 5];
            self.has_gap = true;
        } else if matches!(report.outcome, Ok(Reading::Registry(_))) {
            self.has_gap = false;
        }
        fits
    }

    fn append(&mut self, line: &RecordingLine) -> bool {
        // A line is made of text and numbers under names, which JSON has for all.
        let Ok(mut text) = serde_json::to_vec(line) else {
            return false;
        };
        text.push(b'\n');
        let size = text.len();
        self.lines.push(text, size) || self.lines.is_closed()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.lines.close();
    }
}

/// The file of a recording, for the thread that waits for it.
struct RecordingFile {
    path: PathBuf,
    lines: WriteQueue<Vec<u8>>,
}

impl RecordingFile {
    fn write(&self, opened: oneshot::Sender<io::Result<()>>) {
        let result = self.write_until_closed(opened);
        self.lines.abandon();
        if let Err(error) = result {
            error!("the recording {} ends here, all else goes on: {error}", self.path.display());
        }
    }

    fn write_until_closed(&self, opened: oneshot::Sender<io::Result<()>>) -> io::Result<()> {
        let mut file = match OpenOptions::new().create(true).append(true).open(&self.path) {
            Ok(file) => file,
            // Without anybody who waits for it, the error is this thread's to tell.
            Err(error) => return opened.send(Err(error)).or_else(|error| error),
        };
        let _ = opened.send(Ok(()));

        while let Some(work) = self.lines.next() {
            match work {
                WriteTask::Write(line) => file.write_all(&line)?,
                WriteTask::ReportDropped(polls) => {
                    warn!(
                        "the recording {} lacks {polls} polls: it could not be written for a while",
                        self.path.display()
                    );
                }
            }
        }
        Ok(())
    }
}

fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders;
    use crate::source::SourceError;

    fn report(list: FleetList, at: Moment, outcome: Result<Reading, SourceError>) -> SourceReport {
        SourceReport {
            lists: list.alone(),
            at,
            took: Duration::from_millis(50),
            outcome,
            expected: None,
        }
    }

    #[tokio::test]
    async fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let start = Moment::now();
        let machine = Machine { ip: Some("10.0.0.1".into()), ..builders::machine("3f1a") };
        let reading = Reading::Machines { machines: vec![machine] };
        let later = |seconds| start + Duration::from_secs(seconds);
        let reports = [
            report(FleetList::Machines, later(0), Ok(reading.clone())),
            report(FleetList::Machines, later(2), Ok(reading.clone())),
            report(FleetList::Machines, later(4), Err(SourceError::Recorded("no route".into()))),
            report(FleetList::Machines, later(6), Ok(reading.clone())),
        ];
        let mut recorder = Recorder::open(&path).await.unwrap();
        for report in &reports {
            assert!(recorder.write(report, &"fleetctl v1.0.0".into()));
        }
        recorder.flush(Duration::from_secs(60));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut reader = RecordingReader::default();
        let entries: Vec<RecordingEntry> =
            text.lines().filter_map(|line| reader.read(line).unwrap()).collect();
        let poll = |at, outcome| {
            let took = Duration::from_millis(50);
            RecordingEntry::Poll(RecordedPoll {
                at: Duration::from_secs(at) + took,
                took,
                lists: FleetList::Machines.alone(),
                outcome,
            })
        };
        assert_eq!(
            entries,
            [
                RecordingEntry::Begin { source: Some("fleetctl v1.0.0".into()) },
                poll(0, Ok(reading.clone())),
                poll(2, Ok(reading.clone())),
                poll(4, Err("no route".to_owned())),
                poll(6, Ok(reading)),
            ]
        );
        assert_eq!(
            text.matches("\"machines\":[").count(),
            1,
            "what is the same is not written again"
        );
    }

    #[tokio::test]
    async fn the_registry_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let machine = |id: &str| Machine { version: Some("1.0.0".into()), ..builders::machine(id) };
        let first = RegistrySnapshot {
            index: 7,
            machines: [machine("1")].into(),
            leader: Some("1".into()),
            ..RegistrySnapshot::default()
        };
        let unit = || Lease::Unit("a.service".into(), "1".into());
        let second = RegistrySnapshot {
            index: 9,
            expired: vec![unit(), Lease::Machine("2".into())],
            overdue: vec![(unit(), Duration::from_millis(26_500))],
            leader: None,
            ..first.clone()
        };
        let third = RegistrySnapshot { machines: [].into(), ..second.clone() };
        let mut recorder = Recorder::open(&path).await.unwrap();
        for registry in [&first, &second, &third] {
            let (lists, outcome) = (&FleetList::ALL, Ok(Reading::Registry(registry.clone())));
            let report = SourceReport {
                lists,
                at: Moment::now(),
                took: Duration::ZERO,
                outcome,
                expected: None,
            };
            assert!(recorder.write(&report, &"etcd".into()));
        }
        recorder.flush(Duration::from_secs(60));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut reader = RecordingReader::default();
        let readings = text.lines().filter_map(|line| match reader.read(line).unwrap() {
            Some(RecordingEntry::Poll(poll)) => Some((poll.lists, poll.outcome)),
            _ => None,
        });
        let expected =
            [first, second, third].map(|it| (&FleetList::ALL[..], Ok(Reading::Registry(it))));
        assert_eq!(readings.collect::<Vec<_>>(), expected);
        assert_eq!(
            text.matches("\"machines\":[").count(),
            2,
            "what is the same is not written again: {text}"
        );
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, culprit) in [
            ("{", "column"),
            (r#"{"recording":3}"#, "3"),
            (r#"{"topic":"units","same":true}"#, "`t`"),
            (r#"{"t":-1,"topic":"units","same":true}"#, "`t`"),
            (r#"{"t":1,"topic":"units"}"#, "units"),
            (r#"{"t":1,"topic":"units","same":true}"#, "`same`"),
            (r#"{"t":1,"topic":"bogus"}"#, "bogus"),
        ] {
            let error = RecordingReader::default().read(line).unwrap_err();
            assert!(error.contains(culprit), "{line}: {error}");
        }
        assert_eq!(RecordingReader::default().read("").unwrap(), None);
        assert_eq!(
            RecordingReader::default()
                .read(r#"{"t":2,"event":"a machine loses power"}"#)
                .unwrap(),
            None
        );
    }
}
