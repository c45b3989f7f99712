//! The process and its service manager: signals in, notifications out.
//!
//! It knows systemd's protocols and nothing of fleet.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tracing::debug;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To end: SIGTERM or SIGINT.
    Stop(&'static str),
    /// To read the configuration again: SIGHUP.
    Reload,
    /// To reap who has ended: SIGCHLD, which PID 1 alone listens to.
    Reap,
}

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    /// As PID 1 this process becomes the parent of whoever has lost his own.
    child: Option<Stream>,
}

impl Signals {
    /// Begins to listen; from now on they do not end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child: if std::process::id() == 1 { Some(signal(SignalKind::child())?) } else { None },
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hangup.recv() => Signal::Reload,
            Some(_) = received(&mut self.child) => Signal::Reap,
        }
    }
}

async fn received(stream: &mut Option<Stream>) -> Option<()> {
    stream.as_mut()?.recv().await
}

/// The service manager, if there is one (`sd_notify(3)`).
#[derive(Debug)]
pub struct ServiceManager {
    status: String,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// What the environment tells of it.
    pub fn from_environment() -> Self {
        let watchdog = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero());
        Self { status: String::new(), watchdog }
    }

    /// How often it wants to hear [`ServiceManager::alive`], if at all: twice in the time after which it would act.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// The sockets are bound.
    pub fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// The one line that `systemctl status` shows; sent when it is another one.
    pub fn status(&mut self, status: &str) {
        // A line break would begin another assignment (`sd_notify(3)`).
        let status = status.replace(char::is_control, " ");
        if self.status != status {
            send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// All parts move.
    pub fn alive(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// The configuration is being read again. To be followed by [`ServiceManager::ready`].
    pub fn reloading(&self) {
        // MONOTONIC_USEC= lets systemd 253 and later tell this reload from an older one.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    /// The end has begun.
    pub fn stopping(&mut self) {
        send(&[NotifyState::Stopping]);
        self.status("stopping");
    }
}

fn send(state: &[NotifyState]) {
    // Without a service manager, or with one that has gone, there is nobody to tell.
    if let Err(error) = sd_notify::notify(state) {
        debug!("the service manager cannot be told {state:?}: {error}");
    }
}
