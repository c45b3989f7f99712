//! The state of the source as JSON.
//!
//! It does not know in which message the state is sent.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::to_json;
use crate::cluster::{FleetList, Health, ListHealth, Moment};
use crate::feed::{Publication, SourceInfo};
use crate::playback::Playback;

/// How many characters of a reason are kept in an HTTP header, which has up to four of them.
const SHORT_REASON: usize = 200;

#[derive(Serialize)]
pub(in crate::feed) struct HealthJson<'a> {
    source: &'a str,
    recording: bool,
    state: &'static str,
    #[serde(
        serialize_with = "super::some_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    since: Option<SystemTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(serialize_with = "super::milliseconds")]
    time: SystemTime,
    topics: AllListsHealthJson<'a>,
    #[serde(
        serialize_with = "super::some_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    events_since: Option<SystemTime>,
    held_back: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<ReplayJson>,
}

/// How a recording is played. Positions are in milliseconds since its beginning.
#[derive(Serialize)]
struct ReplayJson {
    begin: u64,
    end: u64,
    position: u64,
    paused: bool,
    /// How many milliseconds of the recording pass in one; 0 if none passes.
    rate: f64,
    speed: f64,
    /// Whether the recording has a wall clock, which is then that of all times.
    clock: bool,
}

impl ReplayJson {
    fn new(playback: &Playback, real: SystemTime) -> Self {
        Self {
            begin: whole_milliseconds(playback.begin),
            end: whole_milliseconds(playback.end),
            position: whole_milliseconds(playback.position_at(real)),
            paused: playback.is_paused,
            rate: if playback.is_running { playback.speed } else { 0.0 },
            speed: playback.speed,
            clock: playback.time.is_some(),
        }
    }
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct AllListsHealthJson<'a> {
    units: ListHealthJson<'a>,
    machines: ListHealthJson<'a>,
    unit_files: ListHealthJson<'a>,
}

#[derive(Serialize)]
struct ListHealthJson<'a> {
    /// Seconds since the list was last read with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<f64>,
    /// Seconds since the first of the failures that have not ended yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_for: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

/// The health alone, with short reasons.
pub(in crate::feed) fn short_health(
    publication: &Publication,
    clients: usize,
    now: Moment,
) -> Vec<u8> {
    let mut json = HealthJson::new(&publication.health, &publication.source, Some(clients), now);

    let AllListsHealthJson { units, machines, unit_files } = &mut json.topics;
    let reasons = [
        &mut json.reason,
        &mut units.reason,
        &mut machines.reason,
        &mut unit_files.reason,
    ];
    for reason in reasons.into_iter().flatten() {
        if let Some((end, _)) = reason.char_indices().nth(SHORT_REASON) {
            *reason = Cow::Owned(reason[..end].to_owned());
        }
    }

    to_json(&json)
}

impl<'a> HealthJson<'a> {
    /// `clients` is `None` in the second protocol, whose messages are the same for all clients and
    /// so do not have it.
    pub(in crate::feed) fn new(
        health: &'a Health,
        source: &'a SourceInfo,
        clients: Option<usize>,
        now: Moment,
    ) -> Self {
        let (state, since, reason) = state(health, source, now);
        let list = |list| ListHealthJson::new(health.list(list), now);

        Self {
            source: &source.name,
            recording: source.recording,
            state,
            since,
            reason,
            time: now.wall,
            topics: AllListsHealthJson {
                units: list(FleetList::Units),
                machines: list(FleetList::Machines),
                unit_files: list(FleetList::UnitFiles),
            },
            events_since: health.events_since,
            held_back: health.held_back,
            clients,
            replay: source
                .playback
                .as_ref()
                .map(|it| ReplayJson::new(it, SystemTime::now())),
        }
    }
}

impl<'a> ListHealthJson<'a> {
    fn new(list: &'a ListHealth, now: Moment) -> Self {
        let failure = list.failure.as_ref();

        Self {
            age: list.read.map(|read| seconds(read.age(now))),
            failing_for: failure.map(|failure| seconds(failure.since.age(now))),
            reason: failure.map(|failure| Cow::Borrowed(&*failure.reason)),
        }
    }
}

/// The name of the worst state that applies, when it began, and the reason for people.
fn state<'a>(
    health: &'a Health,
    source: &SourceInfo,
    now: Moment,
) -> (&'static str, Option<SystemTime>, Option<Cow<'a, str>>) {
    if let Some(failure) = health.failure() {
        ("failing", Some(failure.since.wall), Some(Cow::Borrowed(&*failure.reason)))
    } else if let Some(overdue) = health.overdue(now) {
        ("overdue", Some(overdue.since), Some(Cow::Owned(overdue.to_string())))
    } else if let Some(since) = health.suspect_since {
        ("suspect", Some(since), None)
    } else if !health.ready() {
        ("starting", None, None)
    } else if source.ended {
        ("ended", None, None)
    } else {
        ("ok", None, None)
    }
}

/// Seconds, rounded to milliseconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
