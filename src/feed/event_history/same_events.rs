//! Which events of another monitor are known here already. Pure.
//!
//! Two monitors see the same change at different moments: each of them by its own polls. So two
//! events are the same if they are of the same kind, about the same unit and machine, with the same
//! states before and after, and not further apart than both monitors need to notice it. Each event
//! of one side is the same as one of the other side at most: if a unit has failed twice within that
//! time, both failures stay.
//!
//! It does not know where the events are kept.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::cluster::{Event, PeerEvent, Transition};

/// What two events have in common if they may be the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EventIdentity<'a> {
    kind: &'static str,
    unit: Option<&'a str>,
    machine: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

impl<'a> EventIdentity<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            kind: event.name(),
            unit: event.place().map(|place| &*place.unit),
            machine: event.machine().map(|machine| &**machine),
            from: event.from(),
            to: event.to(),
        }
    }
}

/// The times of events that may be the same, on both sides.
#[derive(Debug, Default)]
struct Candidates {
    own: Vec<SystemTime>,
    /// With the position among all events of the other side.
    peer: Vec<(SystemTime, usize)>,
}

/// The events of the other side that are not known here, oldest first. Two events that are not
/// further apart than `tolerance` may be the same.
pub(super) fn unknown<'a>(
    own: impl IntoIterator<Item = &'a Transition>,
    peer: &'a [PeerEvent],
    tolerance: Duration,
) -> Vec<PeerEvent> {
    let mut candidates: BTreeMap<EventIdentity, Candidates> = BTreeMap::new();
    for (position, PeerEvent { time, event }) in peer.iter().enumerate() {
        let same = candidates.entry(EventIdentity::of(event)).or_default();
        same.peer.push((*time, position));
    }
    for Transition { time, event, .. } in own {
        if let Some(same) = candidates.get_mut(&EventIdentity::of(event)) {
            same.own.push(*time);
        }
    }

    let mut unknown: Vec<(SystemTime, usize)> = candidates
        .into_values()
        .flat_map(|candidates| candidates.unmatched(tolerance))
        .collect();
    unknown.sort_unstable();
    unknown
        .into_iter()
        .map(|(_, position)| peer[position].clone())
        .collect()
}

impl Candidates {
    /// Those of the other side that are the same as none of this side. The earliest of both sides
    /// are compared first, so that as many as possible are the same.
    fn unmatched(mut self, tolerance: Duration) -> Vec<(SystemTime, usize)> {
        self.own.sort_unstable();
        self.peer.sort_unstable();
        let mut own = self.own.into_iter().peekable();
        let mut unmatched = Vec::new();

        for (time, position) in self.peer {
            while own.next_if(|own| *own + tolerance < time).is_some() {}
            if own.next_if(|own| *own <= time + tolerance).is_none() {
                unmatched.push((time, position));
            }
        }
        unmatched
    }
}

#[cfg(test)]
mod tests;
