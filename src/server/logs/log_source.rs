//! One machine that a reader of a log reads: what has been sent of it, and what has not.
//!
//! This module must not know how events are sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::log_event::{LogEvent, MachineLogState};
use crate::feed::UnitMachine;
use crate::logs::{LogEntry, Tail, TailState, UnitLogs};

/// The log on one machine, for one reader.
#[derive(Debug)]
pub(super) struct LogSource {
    pub(super) machine: UnitMachine,
    tail: Result<OpenTail, ClosedReason>,
    /// The state that the reader knows.
    announced: Option<AnnouncedState>,
    /// Which lines the reader wants of those that were written before he reads.
    backlog: Option<Backlog>,
    /// Lines up to this time are not sent, until the reader has caught up.
    skipped_until: Option<Duration>,
    /// What the reader has read.
    position: u64,
    /// The time of the last line that the reader has read.
    last_time: Duration,
}

#[derive(Debug)]
struct OpenTail {
    tail: Arc<Tail>,
    state: watch::Receiver<TailState>,
}

/// Why a machine is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosedReason {
    /// It is not in the cluster any more.
    Left,
    /// fleet publishes no IP address of it.
    NoAddress,
    /// As many logs are read as may be.
    TooManyLogs,
    /// The reader reads as many machines as may be.
    TooManyMachines,
}

impl ClosedReason {
    fn text(self) -> &'static str {
        match self {
            Self::Left => "it has left the cluster",
            Self::NoAddress => "fleet publishes no IP address of it",
            Self::TooManyLogs => "too many logs are read already; it is tried again",
            Self::TooManyMachines => {
                "too many machines have this unit; their logs can be read one by one"
            }
        }
    }
}

/// Which lines a reader wants of those that were written before he reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backlog {
    /// The last ones, so many.
    Last(usize),
    /// Those after this time.
    After(Duration),
}

/// A state, as the reader was told.
type AnnouncedState = (MachineLogState, Option<Arc<str>>);

/// What is next for a reader.
#[derive(Debug, Default)]
pub(super) struct NextEntries {
    /// How many lines the reader misses before these.
    pub(super) missed: u64,
    /// Each with its time. Lines that were skipped have that of the line before them.
    pub(super) entries: Vec<(Duration, Arc<LogEntry>)>,
}

impl LogSource {
    /// Begins to read, unless the machine cannot be asked.
    pub(super) fn open(
        machine: UnitMachine,
        backlog: Backlog,
        port: u16,
        unit: &str,
        logs: &UnitLogs,
    ) -> Self {
        let mut source = Self {
            machine,
            tail: Err(ClosedReason::Left),
            announced: None,
            backlog: Some(backlog),
            skipped_until: None,
            position: 0,
            last_time: Duration::ZERO,
        };

        source.try_to_open(port, unit, logs);
        source
    }

    /// A machine that is not asked.
    pub(super) fn closed(machine: UnitMachine, reason: ClosedReason) -> Self {
        Self {
            machine,
            tail: Err(reason),
            announced: None,
            backlog: None,
            skipped_until: None,
            position: 0,
            last_time: Duration::ZERO,
        }
    }

    /// Stops reading: the machine has left the cluster.
    pub(super) fn close(&mut self) {
        self.tail = Err(ClosedReason::Left);
    }

    /// Takes over what is known of the machine now. If it is back, or has another address, it is
    /// read from there, after the last line that the reader has.
    pub(super) fn update(&mut self, machine: UnitMachine, port: u16, unit: &str, logs: &UnitLogs) {
        let has_moved = machine.ip != self.machine.ip;
        self.machine = machine;

        let is_to_be_opened = match &self.tail {
            Ok(_) => has_moved,
            Err(ClosedReason::TooManyMachines) => false,
            Err(_) => self.machine.is_present,
        };
        if is_to_be_opened {
            if self.last_time > Duration::ZERO {
                self.backlog = Some(Backlog::After(self.last_time));
            }
            self.try_to_open(port, unit, logs);
        }
    }

    fn try_to_open(&mut self, port: u16, unit: &str, logs: &UnitLogs) {
        let ip = self.machine.ip.as_deref().and_then(|ip| ip.parse().ok());

        self.tail = match ip {
            _ if !self.machine.is_present => Err(ClosedReason::Left),
            None => Err(ClosedReason::NoAddress),
            Some(ip) => logs
                .tail(SocketAddr::new(ip, port), unit)
                .map(|tail| OpenTail { state: tail.subscribe(), tail })
                .map_err(|_| ClosedReason::TooManyLogs),
        };
    }

    pub(super) fn is_open(&self) -> bool {
        self.tail.is_ok()
    }

    /// Waits until the state changes, or there are entries. Never returns without a tail.
    pub(super) async fn changed(&mut self) {
        match &mut self.tail {
            Ok(open) => {
                // The sender lives as long as the tail, so there is no error.
                let _ = open.state.changed().await;
            }
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether the first answer, or an error, has arrived.
    pub(super) fn is_settled(&self) -> bool {
        let is_connecting = |open: &OpenTail| *open.state.borrow() == TailState::Connecting;
        !self.tail.as_ref().is_ok_and(is_connecting)
    }

    /// The tail, once the lines that were there at the beginning have been read.
    fn readable(&self) -> Option<Arc<Tail>> {
        let open = self.tail.as_ref().ok()?;
        // A tail that has failed for now may have read lines before.
        let has_read = *open.state.borrow() == TailState::Connected || open.tail.has_unread(0);
        has_read.then(|| open.tail.clone())
    }

    /// Decides where the reader begins, once there are lines. What is written from then on is not
    /// a part of the backlog.
    fn find_beginning(&mut self) {
        let Some(tail) = self.readable() else { return };

        match self.backlog.take() {
            Some(Backlog::Last(lines)) => self.position = tail.position_of_last(lines),
            Some(Backlog::After(time)) => {
                self.position = tail.position_of_last(usize::MAX);
                self.skipped_until = Some(time);
            }
            None => {}
        }
    }

    /// Whether there are entries that the reader has not read.
    pub(super) fn has_unread(&self) -> bool {
        self.readable().is_some_and(|tail| tail.has_unread(self.position))
    }

    /// The entries that the reader has not read, as far as they have `max_bytes`. The first ones
    /// are those of the backlog.
    pub(super) fn next(&mut self, max_bytes: usize) -> NextEntries {
        self.find_beginning();
        let Some(tail) = self.readable() else {
            return NextEntries::default();
        };
        let unread = tail.read(&mut self.position, max_bytes);

        let mut entries = Vec::with_capacity(unread.entries.len());
        for entry in unread.entries {
            let time = match &*entry {
                LogEntry::Line(line) => line.time,
                LogEntry::Skipped(_) => self.last_time,
            };
            if self.skipped_until.is_none_or(|until| time > until) {
                self.last_time = time;
                entries.push((time, entry));
            }
        }
        if !tail.has_unread(self.position) {
            self.skipped_until = None;
        }
        NextEntries { missed: unread.missed, entries }
    }

    /// The event that says in which state the log of this machine is; none if the reader knows.
    pub(super) fn announce(&mut self, send: impl FnOnce(LogEvent<'_>)) {
        self.find_beginning();

        let (state, reason) = match &mut self.tail {
            Ok(open) => match &*open.state.borrow_and_update() {
                TailState::Connecting => (MachineLogState::Connecting, None),
                TailState::Connected => (MachineLogState::Connected, None),
                TailState::Failed(reason) => (MachineLogState::Failed, Some(reason.clone())),
            },
            Err(reason @ ClosedReason::Left) => {
                (MachineLogState::Ended, Some(Arc::from(reason.text())))
            }
            Err(reason) => (MachineLogState::Failed, Some(Arc::from(reason.text()))),
        };

        let announced = (state, reason);
        if self.announced.as_ref() == Some(&announced) {
            return;
        }
        let UnitMachine { machine, ip, role, .. } = &self.machine;
        send(LogEvent::Machine {
            machine,
            ip: ip.as_deref(),
            state,
            role: *role,
            reason: announced.1.as_deref(),
        });
        self.announced = Some(announced);
    }
}
