//! The server: accepts connections, starts a task for each, and waits for them at the end.
//!
//! This file must not know what a connection is used for. The modules below it only read
//! publications, so nothing that a client sends makes the program ask fleet or a machine. Nothing
//! but an admitted request for a unit file (`unit_file`) or for a log (`logs`) does; these are
//! bounded, counted, and off by default. `recording` reads what is recorded, from the disk.
//!
//! Each limit on what a client may send, hold or wait for is in [`Timing`], in [`ServerSettings`],
//! or a constant of the module that enforces it.
//!
//! The path of a request: `connection` serves it with hyper, `http` applies the access rules
//! (`access`) and finds the route (`routes`), `content` encodes the response. A *client* is a
//! connection that stays open to get updates. It gets a task of its own: `upgrade` and `session`
//! for a WebSocket, `events` for an event stream, `logs` for the log of a unit, `recording` for a
//! download.

mod accept_errors;
pub mod access;
mod archive;
mod connection;
mod content;
mod context;
mod deadline;
mod error;
mod error_page;
mod events;
mod gzip;
mod headers;
mod http;
pub mod listen;
mod logs;
pub mod open_files;
mod opening;
mod overview;
mod page;
mod query;
mod rate_limit;
mod readiness;
mod recording;
mod replay;
mod response_cache;
mod routes;
mod session;
mod settings;
mod socket_file;
pub mod stream;
mod tls;
mod unit_file;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actions::CommandTemplates;
use crate::feed::Subscriber;
use crate::metrics::{DropReason, Metrics};
use crate::playback::PlaybackControl;
use crate::unit_files::UnitFiles;
use accept_errors::{AcceptErrors, concerns_one_connection};
pub use archive::{RecordingArchive, RecordingDownload};
use context::ServerContext;
pub use settings::{ServerSettings, Timing};
use stream::{ClientSocket, ServerListener};
pub use tls::{CertificateFiles, ServerTls};

/// The server. Clones share its state.
#[derive(Clone, Debug)]
pub struct Server(Arc<ServerContext>);

impl Server {
    /// A server that publishes `feed` until `stop` is cancelled. Requests for unit files go to
    /// `unit_files`.
    pub fn new(
        settings: ServerSettings,
        timing: Timing,
        feed: Subscriber,
        metrics: Arc<Metrics>,
        unit_files: UnitFiles,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(ServerContext::new(settings, timing, feed, metrics, unit_files, stop)))
    }

    /// Applies other settings. Clients that are connected stay connected.
    pub fn set_settings(&self, settings: ServerSettings) {
        self.0.set_settings(settings);
    }

    /// Replaces the commands for units and machines, which depend on the source and on the version
    /// of fleet.
    pub fn set_commands(&self, commands: CommandTemplates) {
        self.0.set_commands(commands);
    }

    /// Replaces what is recorded; `None`: nothing is.
    pub fn set_recording(&self, recording: Option<Arc<dyn RecordingArchive>>) {
        self.0.set_recording(recording);
    }

    /// Replaces what changes how a recording is played; `None`: none is played.
    pub(crate) fn set_playback(&self, control: Option<PlaybackControl>) {
        self.0.set_playback(control);
    }

    /// The number of connected clients: WebSockets and event streams.
    pub fn clients(&self) -> usize {
        self.0.clients()
    }

    /// Whether there are clients, and all of them use the first protocol.
    pub fn has_only_first_protocol_clients(&self) -> bool {
        let first = self.0.first_protocol_clients();
        first > 0 && first == self.0.clients()
    }

    /// Accepts connections until the server is stopped. After an error, such as too many open
    /// files, it pauses and tries again. Several listeners may be served at the same time.
    pub async fn serve(&self, listener: impl Into<ServerListener>) {
        let listener = listener.into();
        let mut errors = AcceptErrors::default();

        loop {
            let accepted = tokio::select! {
                biased;
                () = self.0.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };

            match accepted {
                Ok(socket) => self.start_connection(socket),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    let pause = errors.record(&error, Instant::now());
                    tokio::select! {
                        () = self.0.stop.cancelled() => return,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn start_connection(&self, socket: ClientSocket) {
        let context = &self.0;

        if context.has_room_for_connection() {
            context.tasks.spawn(connection::serve(context.clone(), socket));
        } else {
            context.metrics.client_dropped(DropReason::OverBudget);
        }
    }

    /// Reads the certificate again when its files have changed, until the server is stopped. As
    /// long as they cannot be used, the current one is kept: they may not be written completely
    /// yet.
    pub async fn follow_certificate(&self) {
        let mut last_problem = None;

        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = sleep(self.0.timing.certificate) => {}
            }
            let Some(tls) = self.0.settings().tls.clone() else {
                continue;
            };
            let Ok(read) = spawn_blocking(move || tls.read_again()).await else {
                continue;
            };

            match read {
                Some(Ok(tls)) => {
                    self.0.set_tls(tls);
                    last_problem = None;
                    info!("the certificate was read again: new connections get it");
                }
                Some(Err(error)) => {
                    let problem = error.to_string();
                    if last_problem.as_ref() != Some(&problem) {
                        warn!(
                            "the new certificate is rejected, keeping the current one: {problem}"
                        );
                    }
                    last_problem = Some(problem);
                }
                None => last_problem = None,
            }
        }
    }

    /// Waits until all connections are closed, but not longer than `deadline`. Returns how many are
    /// left. Call it after `stop` was cancelled.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.0.tasks.close();
        // If the deadline passes, the number of connections that are left shows it.
        let _ = timeout(deadline, self.0.tasks.wait()).await;
        self.0.tasks.len()
    }
}
