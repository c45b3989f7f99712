//! Searches a recording for events, so that a viewer can go from one to the next.
//!
//! It must not know what a viewer does. It plays the whole recording to a cluster of its own, at
//! once and in a thread of its own, and keeps the positions at which something happened.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::entries::EntryReader;
use super::index::{RecordingFiles, RecordingIndex};
use crate::cluster::{Cluster, Moment, Retention};
use crate::playback::{MAX_MARKS, PlaybackControl};
use crate::source::recording::RecordingEntry;

/// Starts the search. It ends when the recording is not played any more.
pub(super) fn search(
    files: &RecordingFiles,
    index: &Arc<RecordingIndex>,
    retention: Retention,
    control: PlaybackControl,
) {
    let entries = EntryReader::new(files, index, 0);
    let index = index.clone();
    let started = thread::Builder::new()
        .name("search-events".to_owned())
        .spawn(move || run(entries, &index, retention, &control));

    if let Err(error) = started {
        warn!("the recording is not searched for events: {error}");
    }
}

fn run(
    mut entries: EntryReader,
    index: &RecordingIndex,
    retention: Retention,
    control: &PlaybackControl,
) {
    let start = Moment::now();
    let mut cluster = Cluster::new(retention);

    while let Some(((run, entry), _)) = entries.next_entry() {
        if control.is_closed() {
            return;
        }

        match entry {
            RecordingEntry::Begin { .. } => cluster.reset(),
            RecordingEntry::Poll(report) => {
                let position = index.runs[run].position_of(report.at);
                let at = start + position;
                let transitions = match report.outcome {
                    Ok(reading) => cluster.apply(reading, at, report.took),
                    Err(error) => cluster.record_failure(report.lists, &error, at),
                };
                if !transitions.is_empty() && !add(control, position) {
                    return;
                }
            }
        }
    }
    control.marks().is_complete = true;
}

/// Returns false if there are too many.
fn add(control: &PlaybackControl, position: Duration) -> bool {
    let mut marks = control.marks();
    if marks.positions.last() != Some(&position) {
        marks.positions.push(position);
    }
    marks.positions.len() < MAX_MARKS
}
