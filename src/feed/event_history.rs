//! The latest events of each unit on each machine, and of each machine.
//!
//! The newest events of the whole cluster are in each publication. On a busy cluster they reach
//! back for less than a minute, so one unit that keeps changing would displace all others. Here
//! each has a ring of its own, and texts that occur in many events are stored once.
//!
//! Memory is bounded in total ([`MAX_BYTES`]). If it is short, each ring becomes shorter. For each
//! ring it is known from when on it is complete.
//!
//! What another monitor has seen is merged into it, like what the program that ran before has
//! saved.
//!
//! It does not know who asks, and time is passed in.

mod coverage;
mod event_ring;
mod same_events;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::cluster::{
    Event, MachineId, Moment, PeerEvent, Place, Text, Transition, UnitName, View,
};
use crate::interner::Interner;
use coverage::Coverage;
use event_ring::EventRing;
use same_events::unknown;

/// How many events of each unit and machine are kept.
pub const MAX_EVENTS: usize = 50;
/// How many bytes all of them may take together.
pub const MAX_BYTES: usize = 48 * 1024 * 1024;
/// How long the events of what is not in the cluster any more are kept by default.
const DEFAULT_KEEP: Duration = Duration::from_secs(24 * 3600);
/// How many events one answer has at most.
const MAX_FOUND: usize = 1000;
/// How many events another monitor gets at most: about 16 MiB of JSON.
const MAX_SHARED: usize = 50_000;
/// How often events are removed whose keep time is over.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// What a ring takes besides its events: a place in a map whose nodes are at least half full.
const BYTES_PER_RING: usize = 2 * (size_of::<EventSubject>() + size_of::<EventRing>());

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EventSubject {
    /// A unit on a machine, or on none.
    Unit(UnitName, Option<MachineId>),
    Machine(MachineId),
}

impl EventSubject {
    /// `None` for an event of the source.
    fn of(event: &Event) -> Option<Self> {
        match event.place() {
            Some(Place { unit, machine, .. }) => Some(Self::Unit(unit.clone(), machine.clone())),
            None => event.machine().cloned().map(Self::Machine),
        }
    }

    /// Whether the cluster has it.
    fn is_in(&self, view: &View) -> bool {
        match self {
            Self::Unit(unit, machine) => view.units.get(&(unit.clone(), machine.clone())).is_some(),
            Self::Machine(id) => view.machine(id).is_some(),
        }
    }
}

/// Whose events are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryQuery {
    /// Those of a unit, on all machines and on none.
    Unit(UnitName),
    /// Those of a unit on this machine and on none.
    UnitOn(UnitName, MachineId),
    /// Those of a machine, without those of its units.
    Machine(MachineId),
}

impl HistoryQuery {
    fn selects(&self, subject: &EventSubject) -> bool {
        match (self, subject) {
            (Self::Unit(wanted), EventSubject::Unit(unit, _)) => unit == wanted,
            (Self::UnitOn(wanted, on), EventSubject::Unit(unit, machine)) => {
                unit == wanted && machine.as_ref().is_none_or(|machine| machine == on)
            }
            (Self::Machine(wanted), EventSubject::Machine(id)) => id == wanted,
            _ => false,
        }
    }

    /// The first subject, in order, that it may select.
    fn first(&self) -> EventSubject {
        match self {
            Self::Unit(unit) | Self::UnitOn(unit, _) => EventSubject::Unit(unit.clone(), None),
            Self::Machine(id) => EventSubject::Machine(id.clone()),
        }
    }

    /// Whether it selects neither this subject nor any after it, in order.
    fn ends_before(&self, subject: &EventSubject) -> bool {
        match (self, subject) {
            (Self::Unit(wanted) | Self::UnitOn(wanted, _), EventSubject::Unit(unit, _)) => {
                unit != wanted
            }
            _ => !self.selects(subject),
        }
    }

    /// Whether the cluster has what it selects.
    pub(super) fn is_in(&self, view: &View) -> bool {
        match self {
            Self::Machine(id) => EventSubject::Machine(id.clone()).is_in(view),
            Self::Unit(unit) | Self::UnitOn(unit, _) => view.units.of_unit(unit).any(|row| {
                let (unit, machine) = row.key();
                self.selects(&EventSubject::Unit(unit, machine))
            }),
        }
    }
}

/// For people.
impl fmt::Display for HistoryQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => write!(f, "the unit {unit}"),
            Self::UnitOn(unit, machine) => write!(f, "the unit {unit} on {machine}"),
            Self::Machine(machine) => write!(f, "the machine {machine}"),
        }
    }
}

/// The events that a query selects.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FoundEvents {
    /// Oldest first, at most [`MAX_FOUND`].
    pub(super) events: Vec<Transition>,
    /// Whether there ever was one, as far as is known.
    pub(super) is_known: bool,
    /// The time of the newest event that is missing; `None` if none is. Others of the same moment
    /// may be missing too.
    pub(super) dropped: Option<SystemTime>,
}

/// All events that are kept, for another monitor.
#[derive(Debug, PartialEq)]
pub(super) struct SharedEvents {
    /// Oldest first, at most [`MAX_SHARED`].
    pub(super) events: Vec<Transition>,
    /// Since when they are complete, except for those in `incomplete`.
    pub(super) complete_since: SystemTime,
    /// Of what events are missing, and until when.
    pub(super) incomplete: Vec<(EventSubject, SystemTime)>,
}

/// The events that another monitor has seen.
#[derive(Clone, Debug)]
pub(crate) struct PeerEvents {
    /// Oldest first.
    pub(crate) events: Vec<PeerEvent>,
    /// Since when and until when they are complete, except for those in `incomplete`.
    pub(crate) complete: (SystemTime, SystemTime),
    /// The units and machines of which events are missing, and until when. A machine without a unit
    /// is one itself.
    pub(crate) incomplete: Vec<(Option<UnitName>, Option<MachineId>, SystemTime)>,
    /// How far two events may be apart that are the same.
    pub(crate) tolerance: Duration,
}

impl PeerEvents {
    /// Until when events of each unit and machine are missing.
    fn missing_until(&self) -> BTreeMap<EventSubject, SystemTime> {
        let subject = |unit: &Option<UnitName>, machine: &Option<MachineId>| match (unit, machine) {
            (Some(unit), machine) => Some(EventSubject::Unit(unit.clone(), machine.clone())),
            (None, machine) => machine.clone().map(EventSubject::Machine),
        };
        self.incomplete
            .iter()
            .filter_map(|(unit, machine, until)| Some((subject(unit, machine)?, *until)))
            .collect()
    }
}

/// The latest events of each unit and machine that is in the cluster, or was there within the keep
/// time.
#[derive(Debug)]
pub(super) struct EventHistory {
    /// Zero: nothing is kept.
    keep: Duration,
    max_bytes: usize,
    rings: BTreeMap<EventSubject, EventRing>,
    texts: Interner,
    /// What the rings take, in bytes, without the texts that they share.
    ring_bytes: usize,
    /// How many events each ring may have: fewer than [`MAX_EVENTS`] while memory is short.
    capacity: usize,
    /// When all events were noticed before this run.
    coverage: Coverage,
    /// The time of the newest event of all rings that were removed as a whole.
    forgotten: Option<SystemTime>,
    /// When to look again for what can be removed.
    next_prune: Option<Instant>,
}

impl Default for EventHistory {
    fn default() -> Self {
        Self::with_limit(MAX_BYTES)
    }
}

impl EventHistory {
    fn with_limit(max_bytes: usize) -> Self {
        Self {
            keep: DEFAULT_KEEP,
            max_bytes,
            rings: BTreeMap::new(),
            texts: Interner::default(),
            ring_bytes: 0,
            capacity: MAX_EVENTS,
            coverage: Coverage::default(),
            forgotten: None,
            next_prune: None,
        }
    }

    /// Sets for how long the events of what is not in the cluster any more are kept. Zero: no
    /// events are kept at all.
    pub(super) fn set_keep(&mut self, keep: Duration, now: Moment) {
        if keep.is_zero() {
            *self = Self { keep, ..Self::with_limit(self.max_bytes) };
        } else if self.keep.is_zero() {
            // Nothing is known of what happened until now.
            self.forgotten = Some(now.wall);
        }
        self.keep = keep;
    }

    /// Forgets all events.
    pub(super) fn clear(&mut self) {
        *self = Self { keep: self.keep, ..Self::with_limit(self.max_bytes) };
    }

    /// Whether events are kept.
    pub(super) fn is_on(&self) -> bool {
        !self.keep.is_zero()
    }

    /// How many bytes all events take.
    pub(super) fn bytes(&self) -> usize {
        self.ring_bytes + self.texts.bytes()
    }

    /// The number of events.
    pub(super) fn len(&self) -> usize {
        self.rings.values().map(EventRing::len).sum()
    }

    /// Adds what has happened, oldest first. `view` is what is in the cluster now.
    pub(super) fn record(
        &mut self,
        transitions: &[impl AsRef<Transition>],
        view: &View,
        now: Moment,
    ) {
        if !self.is_on() {
            return;
        }

        for transition in transitions {
            self.push(transition.as_ref());
        }
        self.keep_within_limit();
        if self.next_prune.is_none_or(|next| now.instant >= next) {
            self.next_prune = Some(now.instant + PRUNE_INTERVAL);
            self.prune(view, now.wall);
        }
    }

    /// Adds the events of the program that ran before, oldest first. `complete` is since when and
    /// until when it has noticed all of them.
    pub(super) fn restore(
        &mut self,
        transitions: &[impl AsRef<Transition>],
        complete: Option<(SystemTime, SystemTime)>,
        now: SystemTime,
    ) {
        if !self.is_on() {
            return;
        }

        if let Some((since, until)) = complete {
            self.coverage.add(since, until);
            // What was gone for longer than that was not kept.
            let kept_since = now.checked_sub(self.keep);
            self.forgotten = self.forgotten.max(kept_since.filter(|kept| *kept > since));
        }
        for transition in transitions {
            self.push(transition.as_ref());
        }
        // It kept no more than these, and maybe had more.
        for ring in self.rings.values_mut().filter(|ring| ring.len() >= self.capacity) {
            ring.first().into_iter().for_each(|first| ring.mark_dropped(first));
        }
        self.keep_within_limit();
    }

    /// Since when all events have been noticed. This run has noticed all since `start`.
    pub(super) fn noticed_since(&self, start: SystemTime) -> SystemTime {
        self.coverage.beginning(start)
    }

    /// The events of another monitor that are not known here, oldest first.
    pub(super) fn unknown_of(&self, peer: &PeerEvents, now: SystemTime) -> Vec<PeerEvent> {
        let kept: Vec<PeerEvent> = peer
            .events
            .iter()
            .filter(|event| now.duration_since(event.time).is_ok_and(|age| age <= self.keep))
            .cloned()
            .collect();

        let own = self.rings.values().flat_map(EventRing::events);
        unknown(own, &kept, peer.tolerance)
    }

    /// Merges what another monitor has seen: `transitions` are those of its events that are not
    /// known here. This run has noticed all events since `start`.
    pub(super) fn merge(
        &mut self,
        peer: &PeerEvents,
        transitions: &[impl AsRef<Transition>],
        start: SystemTime,
    ) {
        if !self.is_on() {
            return;
        }

        let mut learned: BTreeMap<EventSubject, Vec<Transition>> = BTreeMap::new();
        for transition in transitions {
            let transition = transition.as_ref();
            let event = with_shared_texts(&transition.event, &mut self.texts);
            if let Some(subject) = EventSubject::of(&event) {
                let events = learned.entry(subject).or_default();
                events.push(Transition { event, ..*transition });
            }
        }

        let (peer_since, peer_until) = peer.complete;
        let missing_until = peer.missing_until();
        let before = self.coverage.clone();
        self.coverage.add(peer_since, peer_until);
        let noticed_since = self.coverage.beginning(start);
        for subject in learned.keys() {
            if !self.rings.contains_key(subject) {
                self.rings.insert(subject.clone(), EventRing::new(self.forgotten));
            }
        }

        for (subject, ring) in &mut self.rings {
            let mut coverage = before.without(ring.dropped());
            let missing = missing_until.get(subject).copied();
            coverage.add(missing.map_or(peer_since, |until| until.max(peer_since)), peer_until);
            let own_start = ring.dropped().map_or(start, |dropped| dropped.max(start));

            let complete_since = coverage.beginning(own_start);
            let dropped = (complete_since > noticed_since).then_some(complete_since);
            let events = learned.remove(subject).unwrap_or_default();
            ring.insert(events, dropped, self.capacity);
        }
        self.count_bytes();
        self.keep_within_limit();
    }

    /// All events, for another monitor. This run has noticed all since `start`.
    pub(super) fn share(&self, start: SystemTime) -> SharedEvents {
        let mut events: Vec<&Transition> =
            self.rings.values().flat_map(EventRing::events).collect();
        events.sort_unstable_by_key(|transition| (transition.time, transition.number));

        let excess = events.len().saturating_sub(MAX_SHARED);
        let cut = excess.checked_sub(1).map(|last| events[last].time);
        let noticed_since = self.noticed_since(start);
        let complete_since = noticed_since.max(self.forgotten.max(cut).unwrap_or(noticed_since));
        let missing = |(subject, ring): (&EventSubject, &EventRing)| {
            let dropped = ring.dropped().filter(|dropped| *dropped > complete_since)?;
            Some((subject.clone(), dropped))
        };

        SharedEvents {
            events: events.into_iter().skip(excess).cloned().collect(),
            complete_since,
            incomplete: self.rings.iter().filter_map(missing).collect(),
        }
    }

    /// The events that a query selects.
    pub(super) fn find(&self, query: &HistoryQuery) -> FoundEvents {
        let rings: Vec<&EventRing> = self
            .rings
            .range(query.first()..)
            .take_while(|(subject, _)| !query.ends_before(subject))
            .filter(|(subject, _)| query.selects(subject))
            .map(|(_, ring)| ring)
            .collect();
        if rings.is_empty() {
            return FoundEvents { dropped: self.forgotten, ..FoundEvents::default() };
        }

        let mut events: Vec<&Transition> = rings.iter().flat_map(|ring| ring.events()).collect();
        events.sort_unstable_by_key(|transition| (transition.time, transition.number));
        let excess = events.len().saturating_sub(MAX_FOUND);
        let cut = excess.checked_sub(1).map(|last| events[last].time);
        let dropped = rings.iter().filter_map(|ring| ring.dropped()).chain(cut).max();

        FoundEvents {
            events: events.into_iter().skip(excess).cloned().collect(),
            is_known: true,
            dropped,
        }
    }

    fn push(&mut self, transition: &Transition) {
        let event = with_shared_texts(&transition.event, &mut self.texts);
        let Some(subject) = EventSubject::of(&event) else {
            return;
        };

        let ring_bytes = &mut self.ring_bytes;
        let ring = self.rings.entry(subject).or_insert_with(|| {
            *ring_bytes += BYTES_PER_RING;
            EventRing::new(self.forgotten)
        });
        let before = ring.bytes();
        ring.push(Transition { event, ..*transition }, self.capacity);
        *ring_bytes = *ring_bytes + ring.bytes() - before;
    }

    /// Frees memory if there is too little: each ring gets fewer events. If that does not suffice,
    /// whole rings are removed.
    fn keep_within_limit(&mut self) {
        if self.bytes() <= self.max_bytes {
            return;
        }

        // Less than what is allowed, so that this is not needed again at once.
        let target = self.max_bytes / 8 * 7;

        self.texts.drop_unused();
        while self.bytes() > target && self.capacity > 1 {
            self.capacity -= (self.capacity / 8).max(1);
            for ring in self.rings.values_mut() {
                ring.shorten(self.capacity);
            }
            self.count_bytes();
        }
        if self.bytes() > target {
            self.remove_oldest(target);
        }
    }

    /// Removes the rings in which nothing happened for longest.
    fn remove_oldest(&mut self, target: usize) {
        let mut oldest_first: Vec<(SystemTime, EventSubject)> = self
            .rings
            .iter()
            .map(|(subject, ring)| (ring.last(), subject.clone()))
            .collect();
        oldest_first.sort_unstable();

        for (_, subject) in oldest_first {
            // The texts take about as much as the rings, and are only freed below.
            if self.ring_bytes <= target / 2 {
                break;
            }
            self.remove(&subject);
        }
        self.texts.drop_unused();
    }

    /// Removes what is not in the cluster any more and whose keep time is over.
    fn prune(&mut self, view: &View, now: SystemTime) {
        let is_over =
            |ring: &EventRing| now.duration_since(ring.last()).is_ok_and(|age| age > self.keep);
        let over: Vec<EventSubject> = self
            .rings
            .iter()
            .filter(|(subject, ring)| is_over(ring) && !subject.is_in(view))
            .map(|(subject, _)| subject.clone())
            .collect();

        if !over.is_empty() {
            over.into_iter().for_each(|subject| self.remove(&subject));
            self.texts.drop_unused();
        }
        if self.bytes() < self.max_bytes / 2 {
            self.capacity = (self.capacity * 2).min(MAX_EVENTS);
        }
    }

    fn remove(&mut self, subject: &EventSubject) {
        let Some(ring) = self.rings.remove(subject) else {
            return;
        };
        self.ring_bytes -= ring.bytes() + BYTES_PER_RING;
        self.forgotten = self.forgotten.max(Some(ring.last()));

        // The other rings of the unit would claim to be all of its history.
        if let EventSubject::Unit(unit, _) = subject {
            let query = HistoryQuery::Unit(unit.clone());
            self.rings
                .range_mut(query.first()..)
                .take_while(|(other, _)| !query.ends_before(other))
                .for_each(|(_, other)| other.mark_dropped(ring.last()));
        }
    }

    fn count_bytes(&mut self) {
        let bytes = self.rings.values().map(|ring| ring.bytes() + BYTES_PER_RING);
        self.ring_bytes = bytes.sum();
    }
}

/// A copy of an event whose texts are shared with other events.
fn with_shared_texts(event: &Event, texts: &mut Interner) -> Event {
    let mut event = event.clone();
    let mut share = |text: &mut Text| *text = texts.share(text);

    match &mut event {
        Event::Appeared { place, to }
        | Event::Back { place, to }
        | Event::CrashLoop { place, to, .. } => {
            share(to);
            share_place(place, texts);
        }
        Event::Changed { place, from, to } => {
            share(from);
            share(to);
            share_place(place, texts);
        }
        Event::Stale { place, from } | Event::Gone { place, from, .. } => {
            share(from);
            share_place(place, texts);
        }
        Event::CrashLoopOver { place, to, .. } => {
            to.iter_mut().for_each(share);
            share_place(place, texts);
        }
        Event::MachineJoined { machine, ip }
        | Event::MachineSilent { machine, ip }
        | Event::MachineHeard { machine, ip }
        | Event::MachineLost { machine, ip } => {
            ip.iter_mut().for_each(share);
            *machine = texts.share(machine).into();
        }
        Event::SourceDown { .. } | Event::SourceBack { .. } | Event::SourceSuspect { .. } => {}
    }
    event
}

fn share_place(place: &mut Place, texts: &mut Interner) {
    let Place { unit, machine, ip } = place;

    *unit = texts.share(unit).into();
    if let Some(machine) = machine {
        *machine = texts.share(machine).into();
    }
    if let Some(ip) = ip {
        *ip = texts.share(ip);
    }
}
