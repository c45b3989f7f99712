//! One reader of the log of a unit, as server-sent events.
//!
//! The first events are the last lines of all machines that have the log, in the order of their
//! times; then follows what is written. This module must not know how a journal is read: `logs`
//! does. The lines of a log are shared by all who read it. A reader that is slower than the unit
//! misses lines, and is told how many.

mod log_event;
mod log_source;
mod request;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use futures_util::future::select_all;
use hyper::header::RETRY_AFTER;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::content::HttpResponse;
use super::context::{ClientPermit, MAX_LOG_STREAMS, Protocol, ServerContext};
use super::error::HttpError;
use super::events::{self, check_read, encode_head};
use super::rate_limit::RateLimitedStream;
use super::stream::ClientStream;
use crate::feed::{MachineRole, Subscriber, UnitMachine};
use crate::logs::LogEntry;
use crate::metrics::DropReason;
use log_event::{LogEvent, MissedReason};
use log_source::{Backlog, ClosedReason, LogSource};
use request::LogRequest;

/// Machines whose logs one reader reads.
const MAX_MACHINES: usize = 16;
/// What a reader is sent in a second, in bytes.
const BYTES_PER_SECOND: u32 = 256 * 1024;
/// What is written at a time, in bytes, besides one line.
const BATCH: usize = 32 * 1024;
/// Lines that are written within this time are sent together.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// How long the first lines wait for a machine that does not answer, if others do.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the answer to a request that does not follow waits for a machine. A machine that hangs
/// has failed by then.
const ANSWER: Duration = Duration::from_secs(30);
/// How often it is checked where the unit is.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Of a machine to which a unit has moved, the lines of this time are sent: why it did not start is
/// written before anybody can know that it is there.
const BEFORE_MOVE: Duration = Duration::from_secs(60);

/// An accepted request for a log.
#[derive(Debug)]
pub(super) struct LogStreamUpgrade {
    request: LogRequest,
    machines: Vec<UnitMachine>,
    port: u16,
    permit: ClientPermit,
    place: OwnedSemaphorePermit,
}

impl LogStreamUpgrade {
    /// Accepts a request.
    ///
    /// # Errors
    ///
    /// 400 if the query is wrong, 404 if there is no such log, 503 if too many are read.
    pub(super) fn accept(context: &Arc<ServerContext>, query: &str) -> Result<Self, HttpError> {
        let port = check_enabled(context)?;
        let request = LogRequest::parse(query)?;
        let machines = machines(context, &request)?;

        let place = context.log_streams.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            let message =
                format!("{MAX_LOG_STREAMS} readers of logs are connected already; try again later");
            HttpError::unavailable(message).with_header(RETRY_AFTER, "10")
        })?;
        let permit = context.client_permit(Protocol::Log)?;
        Ok(Self { request, machines, port, permit, place })
    }
}

/// The port at which journals are read.
///
/// # Errors
///
/// 404 if the server reads none.
pub(super) fn check_enabled(context: &ServerContext) -> Result<u16, HttpError> {
    context.settings().journal_port.ok_or_else(|| {
        HttpError::not_found(
            "logs are turned off; turn them on with --journal-port PORT, the port of \
             systemd-journal-gatewayd.socket on the machines (19531)",
        )
    })
}

/// The machines that have the log.
fn machines(context: &ServerContext, request: &LogRequest) -> Result<Vec<UnitMachine>, HttpError> {
    let publication = context.feed.borrow().clone();
    let LogRequest { unit, .. } = request;
    if publication.is_recording() {
        return Err(HttpError::not_found(
            "the source is a recording: its machines cannot be asked for logs",
        ));
    }

    let machines = publication.unit_machines(unit);
    let machines =
        machines.ok_or_else(|| HttpError::not_found(format!("there is no unit {unit:?}")))?;
    let count = machines.len();
    let selected: Vec<_> = machines
        .into_iter()
        .filter(|machine| request.selects(machine))
        .collect();

    if selected.is_empty() && count > 0 {
        return Err(HttpError::not_found(format!("{unit:?} is not on this machine")));
    }
    if selected.is_empty() {
        return Err(HttpError::not_found(format!("{unit:?} is on no machine, so it has no log")));
    }
    if selected.len() > MAX_MACHINES {
        return Err(HttpError::bad_request(format!(
            "{unit:?} is on {} machines, more than the {MAX_MACHINES} whose logs can be read \
             together; select one with machine=ID or machine=ADDRESS",
            selected.len()
        )));
    }
    Ok(selected)
}

/// Serves one reader until one side closes the connection.
pub(super) async fn serve(stream: ClientStream, head: HttpResponse, upgrade: LogStreamUpgrade) {
    let LogStreamUpgrade { request, machines, port, permit, place } = upgrade;
    let mut session = LogSession {
        stream: RateLimitedStream::new(stream, permit.context().timing.rate_window),
        feed: permit.context().feed.clone(),
        request,
        port,
        sources: vec![],
        next_send: Instant::now(),
        last_sent: Instant::now(),
        permit,
    };
    let head = encode_head(&head);

    session.permit.context().metrics.log_streams().inc();
    let end = match session.write(&head).await {
        Ok(()) => session.run(machines).await,
        Err(reason) => Err(reason),
    };
    session.permit.context().metrics.log_streams().dec();
    drop(place);

    let reason = end.err().unwrap_or(DropReason::Closed);
    events::end(session.permit.context(), &mut session.stream, reason).await;
}

/// One reader of a log, until it is dropped.
struct LogSession {
    stream: RateLimitedStream,
    feed: Subscriber,
    request: LogRequest,
    port: u16,
    sources: Vec<LogSource>,
    /// Before that, no lines are sent: the reader has got as much as it may.
    next_send: Instant,
    last_sent: Instant,
    permit: ClientPermit,
}

/// An entry with its time, and the index of the machine that has it.
type UnreadEntry = (Duration, usize, Arc<LogEntry>);

/// Whether a session sends lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Not yet: it waits until machines have answered.
    Held,
    On,
}

/// What wakes a session.
enum Wake {
    /// A state, or new lines.
    Log,
    /// Lines may be sent again.
    MaySend,
    /// The cluster has changed.
    Cluster,
    /// The time is over.
    Timer,
}

impl LogSession {
    /// Sends the last lines, and what follows. Returns at the end of a log that is not followed.
    async fn run(&mut self, machines: Vec<UnitMachine>) -> Result<(), DropReason> {
        for machine in machines {
            self.add_source(machine, Backlog::Last(self.request.lines));
        }
        self.announce().await?;
        self.wait_for_first_answers().await?;
        self.send_backlog().await?;

        if self.request.follow {
            let Err(reason) = self.follow().await;
            return Err(reason);
        }
        self.send(&LogEvent::End).await
    }

    fn add_source(&mut self, machine: UnitMachine, backlog: Backlog) {
        let logs = &self.permit.context().unit_logs;
        let source = LogSource::open(machine, backlog, self.port, &self.request.unit, logs);
        self.sources.push(source);
    }

    /// Waits until each machine has answered, or failed, or has taken too long.
    async fn wait_for_first_answers(&mut self) -> Result<(), DropReason> {
        let patience = if self.request.follow { PATIENCE } else { ANSWER };
        let deadline = Instant::now() + patience;

        while !self.sources.iter().all(LogSource::is_settled) && Instant::now() < deadline {
            self.wait(deadline, Sending::Held).await?;
            self.announce().await?;
        }
        Ok(())
    }

    /// Sends the last lines of all machines together, no faster than any others.
    async fn send_backlog(&mut self) -> Result<(), DropReason> {
        let entries = self.unread(usize::MAX, &mut BytesMut::new());
        let first = entries.len().saturating_sub(self.request.lines);
        let mut buffer = BytesMut::new();

        for entry in &entries[first..] {
            self.encode_entry(entry, &mut buffer);
            if buffer.len() < BATCH {
                continue;
            }
            self.send_lines(&buffer).await?;
            buffer.clear();
            while Instant::now() < self.next_send {
                self.wait(self.next_send, Sending::Held).await?;
            }
        }
        self.send_lines(&buffer).await
    }

    async fn follow(&mut self) -> Result<Infallible, DropReason> {
        let heartbeat = self.permit.context().timing.heartbeat;
        let mut last_check = Instant::now();
        // What has changed until now may have been missed.
        let mut next_check = Some(last_check);

        loop {
            let heartbeat_at = self.last_sent + heartbeat;
            let timer = next_check.map_or(heartbeat_at, |check| heartbeat_at.min(check));

            match self.wait(timer, Sending::On).await? {
                Wake::Log => {
                    // The lines of a unit and what systemd says about it arrive over connections of
                    // their own. Those that belong together are sent in the order of their times.
                    self.next_send = self.next_send.max(Instant::now() + MIN_PAUSE);
                }
                Wake::MaySend => self.send_unread().await?,
                Wake::Cluster => next_check = Some(last_check + CHECK_INTERVAL),
                Wake::Timer => {}
            }
            self.announce().await?;

            let now = Instant::now();
            if self.permit.context().settings().journal_port != Some(self.port) {
                // Logs were turned off, or are at another port.
                return Err(DropReason::Closed);
            }
            if next_check.is_some_and(|check| check <= now) {
                self.follow_unit().await?;
                last_check = now;
                next_check = None;
            }
            if self.last_sent + heartbeat <= now {
                // A comment (HTML, section "Parsing an event stream").
                self.write(b":\n\n").await?;
            }
        }
    }

    /// Waits for something to do, until `timer` at most.
    async fn wait(&mut self, timer: Instant, sending: Sending) -> Result<Wake, DropReason> {
        let context = self.permit.context();
        let mut ignored = [0; 64];

        // While there is something to send, only the time until it may be sent matters.
        let may_send = sending == Sending::On && self.sources.iter().any(LogSource::has_unread);
        let logs = self.sources.iter_mut().filter(|source| source.is_open());
        let logs: Vec<_> = logs.map(|source| Box::pin(source.changed())).collect();
        let waits_for_logs = !logs.is_empty() && !may_send;
        let any_log = async {
            if waits_for_logs {
                select_all(logs).await;
            }
        };

        tokio::select! {
            biased;
            () = context.stop.cancelled() => Err(DropReason::Shutdown),
            read = self.stream.read(&mut ignored) => check_read(read).map(|()| Wake::Timer),
            () = sleep_until(self.next_send), if may_send => Ok(Wake::MaySend),
            () = any_log, if waits_for_logs => Ok(Wake::Log),
            changed = self.feed.changed() => match changed {
                Ok(()) => Ok(Wake::Cluster),
                Err(_) => Err(DropReason::Shutdown),
            },
            () = sleep_until(timer) => Ok(Wake::Timer),
        }
    }

    /// Sends what the reader has not read, as much as it may be sent now. Lines that the filter
    /// leaves out count nothing.
    async fn send_unread(&mut self) -> Result<(), DropReason> {
        let mut buffer = BytesMut::new();
        while buffer.len() < BATCH && self.sources.iter().any(LogSource::has_unread) {
            for entry in self.unread(BATCH, &mut buffer) {
                self.encode_entry(&entry, &mut buffer);
            }
        }
        self.send_lines(&buffer).await
    }

    /// What the reader has not read, of all machines in the order of time, `max_bytes` of each at
    /// most. What the reader misses goes into the buffer.
    fn unread(&mut self, max_bytes: usize, buffer: &mut BytesMut) -> Vec<UnreadEntry> {
        let mut entries = Vec::new();

        for index in 0..self.sources.len() {
            let next = self.sources[index].next(max_bytes);
            if next.missed > 0 {
                self.encode_missed(index, next.missed, MissedReason::Slow, buffer);
            }
            entries.extend(next.entries.into_iter().map(|(time, entry)| (time, index, entry)));
        }
        entries.sort_by_key(|(time, ..)| *time);
        entries
    }

    /// Appends an entry, if it passes the filter.
    fn encode_entry(&self, (_, index, entry): &UnreadEntry, buffer: &mut BytesMut) {
        let UnitMachine { machine, ip, .. } = &self.sources[*index].machine;
        let LogRequest { unit, filter, .. } = &self.request;

        match &**entry {
            LogEntry::Skipped(lines) => {
                self.encode_missed(*index, *lines, MissedReason::Rate, buffer);
            }
            LogEntry::Line(line) => {
                let texts = [&*line.message, line.identifier.as_deref().unwrap_or_default()];
                if filter.log_line(unit, machine, ip.as_ref(), texts) {
                    LogEvent::line(machine, line).encode(buffer);
                    self.permit.context().metrics.log_lines(1, 0);
                }
            }
        }
    }

    fn encode_missed(&self, index: usize, lines: u64, reason: MissedReason, buffer: &mut BytesMut) {
        let machine = &self.sources[index].machine.machine;
        self.permit.context().metrics.log_lines(0, lines);
        LogEvent::Missed { machine, lines, reason }.encode(buffer);
    }

    /// Says of each machine in which state its log is, if the reader does not know.
    async fn announce(&mut self) -> Result<(), DropReason> {
        let mut buffer = BytesMut::new();
        for source in &mut self.sources {
            source.announce(|event| event.encode(&mut buffer));
        }
        self.write(&buffer).await
    }

    /// Reads where the unit is now, and stops where a machine has left the cluster.
    async fn follow_unit(&mut self) -> Result<(), DropReason> {
        let publication = self.feed.borrow_and_update().clone();
        for source in &mut self.sources {
            if source.is_open() && !publication.has_machine(&source.machine.machine) {
                source.close();
            }
        }

        let machines = publication.unit_machines(&self.request.unit).unwrap_or_default();
        drop(publication);
        let is_current = |machine: &&UnitMachine| machine.role == MachineRole::Current;
        let is_single = machines.iter().filter(is_current).count() == 1;
        for machine in &machines {
            if !self.request.selects(machine) {
                continue;
            }
            let is_same = |source: &&mut LogSource| source.machine.machine == machine.machine;
            if let Some(source) = self.sources.iter_mut().find(is_same) {
                let logs = &self.permit.context().unit_logs;
                source.update(machine.clone(), self.port, &self.request.unit, logs);
            } else if machine.role == MachineRole::Current {
                if is_single {
                    self.send(&LogEvent::Moved { machine: &machine.machine }).await?;
                }
                self.add_later(machine.clone(), &machines);
            }
        }
        self.announce().await
    }

    /// Begins to read a machine that has not had the unit before. If there are too many, one that
    /// does not have it any more makes room.
    fn add_later(&mut self, machine: UnitMachine, machines: &[UnitMachine]) {
        let open = self.sources.iter().filter(|source| source.is_open()).count();
        if open >= MAX_MACHINES {
            let has_unit = |source: &LogSource| {
                machines
                    .iter()
                    .any(|machine| machine.machine == source.machine.machine)
            };
            let Some(former) = self.sources.iter().position(|source| !has_unit(source)) else {
                let source = LogSource::closed(machine, ClosedReason::TooManyMachines);
                return self.sources.push(source);
            };
            self.sources.remove(former);
        }

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.add_source(machine, Backlog::After(now.saturating_sub(BEFORE_MOVE)));
    }

    /// Sends lines. The more bytes they have, the later the next ones are sent.
    async fn send_lines(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let pause = Duration::from_secs(1) * length / BYTES_PER_SECOND;
        self.next_send = Instant::now() + pause.max(MIN_PAUSE);
        self.write(bytes).await
    }

    async fn send(&mut self, event: &LogEvent<'_>) -> Result<(), DropReason> {
        let mut buffer = BytesMut::new();
        event.encode(&mut buffer);
        self.write(&buffer).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        if bytes.is_empty() {
            return Ok(());
        }

        events::write(self.permit.context(), &mut self.stream, bytes).await?;
        self.last_sent = Instant::now();
        Ok(())
    }
}
