//! The events of a queue, with their numbers and their limits. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many events may wait.
const MAX_EVENTS: usize = 10_000;
/// How many bytes they may have together.
const MAX_BYTES: usize = 16 << 20;
/// How many events a batch has, and how many bytes if it has more than one: less than the 1 MiB
/// that many servers accept.
const MAX_BATCH_EVENTS: usize = 100;
const MAX_BATCH_BYTES: usize = 512 << 10;

/// An event with its number in the queue. Numbers grow by 1, and go on after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueuedEvent {
    pub(super) number: u64,
    pub(super) json: Arc<str>,
}

/// The events that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitingEvents {
    next_number: u64,
    /// The last event of the batch that may have been sent already; 0 if there is none. A batch
    /// keeps its events when it is sent again.
    batch_end: u64,
    events: VecDeque<QueuedEvent>,
    bytes: usize,
}

/// Events that were dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DroppedEvents {
    pub(super) count: usize,
    /// The number of the last one.
    pub(super) last: Option<u64>,
}

impl Default for WaitingEvents {
    fn default() -> Self {
        Self {
            next_number: 1,
            batch_end: 0,
            events: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl WaitingEvents {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEvent> {
        self.events.iter()
    }

    /// How many bytes the events have together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(super) fn batch_end(&self) -> u64 {
        self.batch_end
    }

    /// Appends an event, and gives it a number.
    pub(super) fn push(&mut self, json: Arc<str>) -> QueuedEvent {
        let event = QueuedEvent { number: self.next_number, json };
        self.insert(event.clone());
        event
    }

    /// Appends an event that has a number already. One that is not after all others is ignored.
    pub(super) fn insert(&mut self, event: QueuedEvent) {
        if event.number < self.next_number {
            return;
        }
        self.skip_to(event.number + 1);
        self.bytes += event.json.len();
        self.events.push_back(event);
    }

    /// Gives no number before this one any more.
    pub(super) fn skip_to(&mut self, next_number: u64) {
        self.next_number = self.next_number.max(next_number);
    }

    /// Drops the oldest events beyond the limits.
    pub(super) fn drop_oldest(&mut self) -> DroppedEvents {
        let mut dropped = DroppedEvents::default();
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.pop() else { break };
            dropped.count += 1;
            dropped.last = Some(oldest.number);
        }
        dropped
    }

    /// Determines the next batch, unless there is one. Returns whether it is new.
    pub(super) fn begin_batch(&mut self) -> bool {
        let has_batch = self.events.front().is_none_or(|event| event.number <= self.batch_end);
        if has_batch {
            return false;
        }

        let mut bytes = 0;
        let fitting = self.events.iter().enumerate().take_while(|(index, event)| {
            bytes += event.json.len();
            *index == 0 || *index < MAX_BATCH_EVENTS && bytes <= MAX_BATCH_BYTES
        });
        self.batch_end = fitting.last().map_or(0, |(_, event)| event.number);
        true
    }

    pub(super) fn set_batch_end(&mut self, batch_end: u64) {
        self.batch_end = batch_end;
    }

    /// The events of the batch.
    pub(super) fn batch(&self) -> Vec<QueuedEvent> {
        let batch = self.events.iter().take_while(|event| event.number <= self.batch_end);
        batch.cloned().collect()
    }

    /// Removes all events up to this number.
    pub(super) fn remove_through(&mut self, number: u64) {
        while self.events.front().is_some_and(|event| event.number <= number) {
            self.pop();
        }
        self.skip_to(number.saturating_add(1));
    }

    fn pop(&mut self) -> Option<QueuedEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= event.json.len();
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: u64) -> WaitingEvents {
        let mut waiting = WaitingEvents::default();
        for number in 1..=count {
            assert_eq!(waiting.push("{}".into()).number, number);
        }
        waiting
    }

    fn numbers(waiting: &WaitingEvents) -> Vec<u64> {
        waiting.batch().iter().map(|event| event.number).collect()
    }

    #[test]
    fn a_batch_stays_the_same_until_it_is_removed() {
        let mut waiting = with(2);
        assert!(waiting.begin_batch());
        waiting.push("{}".into());
        assert!(!waiting.begin_batch());
        assert_eq!(numbers(&waiting), [1, 2]);

        waiting.remove_through(2);
        assert!(waiting.begin_batch());
        assert_eq!(numbers(&waiting), [3]);

        waiting.remove_through(3);
        assert!(!waiting.begin_batch());
        assert!(numbers(&waiting).is_empty());
    }

    #[test]
    fn a_batch_has_a_limited_size() {
        let mut waiting = with(250);
        waiting.begin_batch();
        assert_eq!(waiting.batch().len(), MAX_BATCH_EVENTS);

        let mut waiting = WaitingEvents::default();
        for size in [MAX_BATCH_BYTES + 1, MAX_BATCH_BYTES - 2, 2, 1] {
            waiting.push("x".repeat(size).into());
        }
        waiting.begin_batch();
        assert_eq!(numbers(&waiting), [1], "one event is always sent");
        waiting.remove_through(1);
        waiting.begin_batch();
        assert_eq!(numbers(&waiting), [2, 3]);
    }

    #[test]
    fn the_oldest_events_are_dropped_beyond_the_limits() {
        let mut waiting = with(MAX_EVENTS as u64);
        assert_eq!(waiting.drop_oldest(), DroppedEvents::default());
        waiting.push("{}".into());
        waiting.push("{}".into());
        assert_eq!(waiting.drop_oldest(), DroppedEvents { count: 2, last: Some(2) });

        let mut waiting = with(3);
        waiting.push("x".repeat(MAX_BYTES).into());
        assert_eq!(waiting.drop_oldest(), DroppedEvents { count: 3, last: Some(3) });
        assert_eq!((waiting.len(), waiting.bytes()), (1, MAX_BYTES));
    }

    #[test]
    fn numbers_are_not_used_twice() {
        let mut waiting = with(1);
        waiting.remove_through(7);
        assert_eq!(waiting.push("{}".into()).number, 8);

        let again = QueuedEvent { number: 8, json: "{}".into() };
        waiting.insert(again);
        assert_eq!(waiting.len(), 1);
    }
}
