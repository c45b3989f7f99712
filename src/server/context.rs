//! What all connections share: settings, the feed, metrics, caches and the number of clients.
//!
//! This module must not know what is done with a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::RETRY_AFTER;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::archive::RecordingArchive;
use super::error::HttpError;
use super::response_cache::ResponseCaches;
use super::settings::{ServerSettings, Timing};
use super::tls::ServerTls;
use crate::actions::{Actions, CommandTemplates};
use crate::feed::Subscriber;
use crate::feed::channel::Channels;
use crate::logs::UnitLogs;
use crate::metrics::{DropReason, Metrics};
use crate::playback::PlaybackControl;
use crate::unit_files::UnitFiles;

/// The largest number of connections that are not clients: plain HTTP and handshakes. They may also
/// be at most half of all connections, so that clients have the other half.
const MAX_OTHER_CONNECTIONS: usize = 1024;

/// Readers of logs at a time.
pub(super) const MAX_LOG_STREAMS: usize = 64;

/// Downloads of what is recorded at a time.
pub(super) const MAX_DOWNLOADS: usize = 4;

/// What all connections share.
#[derive(Debug)]
pub(super) struct ServerContext {
    settings: watch::Sender<Arc<ServerSettings>>,
    commands: watch::Sender<Arc<CommandTemplates>>,
    clients: AtomicUsize,
    /// How many of the clients use the first protocol.
    first_protocol_clients: AtomicUsize,
    pub(super) timing: Timing,
    pub(super) feed: Subscriber,
    pub(super) metrics: Arc<Metrics>,
    /// Cancelled when the server is to stop.
    pub(super) stop: CancellationToken,
    /// The tasks of all connections.
    pub(super) tasks: TaskTracker,
    pub(super) caches: ResponseCaches,
    pub(super) channels: Channels,
    pub(super) unit_logs: UnitLogs,
    /// The places for readers of logs.
    pub(super) log_streams: Arc<Semaphore>,
    pub(super) unit_files: UnitFiles,
    /// What is recorded; `None`: nothing is.
    recording: watch::Sender<Option<Arc<dyn RecordingArchive>>>,
    /// What changes how a recording is played; `None`: none is played.
    playback: watch::Sender<Option<PlaybackControl>>,
    /// The places for downloads of it.
    pub(super) downloads: Arc<Semaphore>,
}

impl ServerContext {
    pub(super) fn new(
        settings: ServerSettings,
        timing: Timing,
        feed: Subscriber,
        metrics: Arc<Metrics>,
        unit_files: UnitFiles,
        stop: CancellationToken,
    ) -> Self {
        Self {
            settings: watch::Sender::new(Arc::new(settings)),
            commands: watch::Sender::default(),
            clients: AtomicUsize::new(0),
            first_protocol_clients: AtomicUsize::new(0),
            timing,
            feed,
            unit_logs: UnitLogs::new(metrics.clone()),
            metrics,
            stop,
            tasks: TaskTracker::new(),
            caches: ResponseCaches::default(),
            channels: Channels::default(),
            log_streams: Arc::new(Semaphore::new(MAX_LOG_STREAMS)),
            unit_files,
            recording: watch::Sender::default(),
            playback: watch::Sender::default(),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        }
    }

    pub(super) fn settings(&self) -> Arc<ServerSettings> {
        self.settings.borrow().clone()
    }

    pub(super) fn set_settings(&self, settings: ServerSettings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// Replaces the certificate by one of the same files. Does nothing if other settings came
    /// meanwhile.
    pub(super) fn set_tls(&self, tls: ServerTls) {
        self.settings.send_if_modified(|settings| {
            let is_same = settings.tls.as_ref().is_some_and(|it| it.has_same_files(&tls));
            if is_same {
                Arc::make_mut(settings).tls = Some(tls);
            }
            is_same
        });
    }

    /// Replaces the commands for units and machines.
    pub(super) fn set_commands(&self, commands: CommandTemplates) {
        self.commands.send_replace(Arc::new(commands));
    }

    /// Replaces what is recorded.
    pub(super) fn set_recording(&self, recording: Option<Arc<dyn RecordingArchive>>) {
        self.recording.send_replace(recording);
    }

    /// What is recorded; `None`: nothing is.
    pub(super) fn recording(&self) -> Option<Arc<dyn RecordingArchive>> {
        self.recording.borrow().clone()
    }

    /// Replaces what changes how a recording is played.
    pub(super) fn set_playback(&self, control: Option<PlaybackControl>) {
        self.playback.send_replace(control);
    }

    /// What changes how a recording is played; `None`: none is played.
    pub(super) fn playback(&self) -> Option<PlaybackControl> {
        self.playback.borrow().clone()
    }

    /// What an operator can do next.
    pub(super) fn actions(&self) -> Actions {
        let settings = self.settings();
        // Its machines and files may not exist.
        let is_live = !self.feed.borrow().is_recording();
        let unit_files = settings.unit_files.filter(|_| is_live);

        Actions {
            commands: CommandTemplates::clone(&self.commands.borrow()),
            links: settings.links.clone(),
            logs: settings.journal_port.is_some() && is_live,
            unit_files: unit_files.map(|mode| mode.name().to_owned()),
        }
    }

    /// The number of connected clients.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// The number of connected clients of the first protocol.
    pub(super) fn first_protocol_clients(&self) -> usize {
        self.first_protocol_clients.load(Ordering::Relaxed)
    }

    /// Whether one more connection may be accepted.
    pub(super) fn has_room_for_connection(&self) -> bool {
        // Each connection is one task, except for the moment in which it becomes a client.
        let connections = self.tasks.len();
        let others = connections.saturating_sub(self.clients());
        let max = self.settings.borrow().max_connections;

        connections < max && others < MAX_OTHER_CONNECTIONS.min(max / 2)
    }

    /// Reserves one of the places for clients, for a client of this protocol.
    ///
    /// # Errors
    ///
    /// 503 if there are as many clients as allowed.
    pub(super) fn client_permit(
        self: &Arc<Self>,
        protocol: Protocol,
    ) -> Result<ClientPermit, HttpError> {
        let max = self.settings.borrow().max_clients;
        let reserved = self
            .clients
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
                (clients < max).then_some(clients + 1)
            });

        match reserved {
            Ok(_) => {
                if protocol == Protocol::First {
                    self.first_protocol_clients.fetch_add(1, Ordering::Relaxed);
                }
                Ok(ClientPermit { context: self.clone(), protocol })
            }
            Err(clients) => {
                self.metrics.client_dropped(DropReason::Refused);
                let message = format!(
                    "there are {clients} clients already, as many as --max-clients allows; \
                     try again later"
                );
                Err(HttpError::unavailable(message).with_header(RETRY_AFTER, "10"))
            }
        }
    }
}

/// What a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The messages of the prototype.
    First,
    /// `fleet-monitor.v2`, over a WebSocket or as an event stream.
    Second,
    /// The log of a unit.
    Log,
}

/// The place of one client among [`ServerSettings::max_clients`]. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct ClientPermit {
    context: Arc<ServerContext>,
    protocol: Protocol,
}

impl ClientPermit {
    pub(super) fn context(&self) -> &ServerContext {
        &self.context
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.context.clients.fetch_sub(1, Ordering::Relaxed);
        if self.protocol == Protocol::First {
            self.context.first_protocol_clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
