//! The latest events of one unit on one machine, or of one machine.
//!
//! It does not know the other rings.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::SystemTime;

use crate::cluster::{Event, Transition};

/// By how many events a ring grows.
const GROWTH: usize = 5;

/// Events, oldest first.
#[derive(Debug)]
pub(super) struct EventRing {
    events: VecDeque<Transition>,
    /// What the events take besides their places here, in bytes. Texts that are shared with other
    /// rings are not included.
    own_bytes: usize,
    /// The time of the newest event that is missing; `None` if none is.
    dropped: Option<SystemTime>,
}

impl EventRing {
    /// A ring without events. Events until `dropped` may be missing.
    pub(super) fn new(dropped: Option<SystemTime>) -> Self {
        Self { events: VecDeque::new(), own_bytes: 0, dropped }
    }

    /// Oldest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Transition> {
        self.events.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn dropped(&self) -> Option<SystemTime> {
        self.dropped
    }

    /// When the oldest of its events happened.
    pub(super) fn first(&self) -> Option<SystemTime> {
        self.events.front().map(|transition| transition.time)
    }

    /// When something last happened.
    pub(super) fn last(&self) -> SystemTime {
        let newest = self.events.back().map(|transition| transition.time);
        newest.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.events.capacity() * size_of::<Transition>() + self.own_bytes
    }

    /// Adds an event, and drops the oldest ones so that there are at most `capacity`.
    pub(super) fn push(&mut self, transition: Transition, capacity: usize) {
        self.drop_oldest(capacity.saturating_sub(1));

        if self.events.len() == self.events.capacity() {
            self.events.reserve_exact(GROWTH);
        }
        self.own_bytes += own_bytes(&transition.event);
        self.events.push_back(transition);
    }

    /// Adds events of any time, and drops the oldest ones so that there are at most `capacity`.
    /// Events until `dropped` may be missing.
    pub(super) fn insert(
        &mut self,
        transitions: Vec<Transition>,
        dropped: Option<SystemTime>,
        capacity: usize,
    ) {
        let mut events: Vec<Transition> = self.events.drain(..).chain(transitions).collect();
        events.sort_by_key(|transition| (transition.time, transition.number));

        self.own_bytes = events.iter().map(|transition| own_bytes(&transition.event)).sum();
        self.events = events.into();
        self.dropped = dropped;
        self.shorten(capacity);
    }

    /// Drops the oldest events so that there are at most `capacity`, and frees their memory.
    pub(super) fn shorten(&mut self, capacity: usize) {
        self.drop_oldest(capacity);
        self.events.shrink_to_fit();
    }

    /// Notes that an event of this time is missing.
    pub(super) fn mark_dropped(&mut self, time: SystemTime) {
        self.dropped = self.dropped.max(Some(time));
    }

    fn drop_oldest(&mut self, left: usize) {
        while self.events.len() > left {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.own_bytes -= own_bytes(&oldest.event);
            self.mark_dropped(oldest.time);
        }
    }
}

/// The bytes of the texts that an event does not share.
fn own_bytes(event: &Event) -> usize {
    match event {
        Event::CrashLoop { reason, .. } | Event::CrashLoopOver { reason, .. } => reason.len(),
        // Most reasons are in the program. One that was saved is not.
        Event::Gone { reason: Cow::Owned(reason), .. } => reason.len(),
        _ => 0,
    }
}
