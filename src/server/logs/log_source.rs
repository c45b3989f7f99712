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
    tail: Option<OpenTail>,
    /// Why there is no tail.
    closed_reason: &'static str,
    /// The state that the reader knows.
    announced: Option<TailState>,
    /// Whether the reader still waits for the last lines.
    wants_backlog: bool,
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

/// What is next for a reader.
#[derive(Debug, Default)]
pub(super) struct NextEntries {
    /// How many lines the reader misses before these.
    pub(super) missed: u64,
    /// Each with its time. Lines that were skipped have that of the line before them.
    pub(super) entries: Vec<(Duration, Arc<LogEntry>)>,
}

impl LogSource {
    /// Begins to read. A machine that has left the cluster, or has no address, is not asked.
    pub(super) fn open(machine: UnitMachine, port: u16, unit: &str, logs: &UnitLogs) -> Self {
        let ip = machine.ip.as_deref().and_then(|ip| ip.parse().ok());

        let opened = match ip {
            _ if !machine.is_present => Err("it has left the cluster"),
            None => Err("fleet publishes no IP address of it"),
            Some(ip) => logs
                .tail(SocketAddr::new(ip, port), unit)
                .map_err(|_| "too many logs are read already; try again later"),
        };
        let (tail, closed_reason) = match opened {
            Ok(tail) => (Some(OpenTail { state: tail.subscribe(), tail }), ""),
            Err(reason) => (None, reason),
        };
        Self {
            machine,
            tail,
            closed_reason,
            announced: None,
            wants_backlog: true,
            position: 0,
            last_time: Duration::ZERO,
        }
    }

    /// Stops reading: the machine has left the cluster.
    pub(super) fn close(&mut self) {
        self.tail = None;
        self.closed_reason = "it has left the cluster";
        self.announced = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.tail.is_some()
    }

    /// Waits until the state changes, or there are entries. Never returns without a tail.
    pub(super) async fn changed(&mut self) {
        match &mut self.tail {
            Some(open) => {
                // The sender lives as long as the tail, so there is no error.
                let _ = open.state.changed().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Whether the first answer, or an error, has arrived.
    pub(super) fn is_settled(&self) -> bool {
        self.tail
            .as_ref()
            .is_none_or(|open| *open.state.borrow() != TailState::Connecting)
    }

    /// Whether there are entries that the reader has not read.
    pub(super) fn has_unread(&self) -> bool {
        self.tail.as_ref().is_some_and(|open| {
            let is_connecting = *open.state.borrow() == TailState::Connecting;
            !is_connecting && open.tail.has_unread(self.position)
        })
    }

    /// The entries that the reader has not read, as far as they have `max_bytes`. The first ones
    /// are the last `lines`. A machine that has not answered yet has none.
    pub(super) fn next(&mut self, lines: usize, max_bytes: usize) -> NextEntries {
        let is_settled = self.is_settled();
        let Some(OpenTail { tail, .. }) = self.tail.as_ref().filter(|_| is_settled) else {
            return NextEntries::default();
        };

        if std::mem::take(&mut self.wants_backlog) {
            self.position = tail.position_of_last(lines);
        }
        let unread = tail.read(&mut self.position, max_bytes);

        let with_time = |entry: Arc<LogEntry>| {
            if let LogEntry::Line(line) = &*entry {
                self.last_time = line.time;
            }
            (self.last_time, entry)
        };
        NextEntries {
            missed: unread.missed,
            entries: unread.entries.into_iter().map(with_time).collect(),
        }
    }

    /// The event that says in which state the log of this machine is; `None` if the reader knows.
    pub(super) fn announce(&mut self, send: impl FnOnce(LogEvent<'_>)) {
        let event = |machine: &UnitMachine, state, reason| {
            let UnitMachine { machine: id, ip, role, .. } = machine;
            send(LogEvent::Machine { machine: id, ip: ip.as_deref(), state, role: *role, reason });
        };

        let state = match &mut self.tail {
            Some(open) => open.state.borrow_and_update().clone(),
            None => TailState::Failed(self.closed_reason.into()),
        };
        if self.announced.as_ref() == Some(&state) {
            return;
        }

        match &state {
            TailState::Connecting => event(&self.machine, MachineLogState::Connecting, None),
            TailState::Connected => event(&self.machine, MachineLogState::Connected, None),
            TailState::Failed(reason) if self.tail.is_none() => {
                event(&self.machine, MachineLogState::Ended, Some(reason));
            }
            TailState::Failed(reason) => {
                event(&self.machine, MachineLogState::Failed, Some(reason));
            }
        }
        self.announced = Some(state);
    }
}
