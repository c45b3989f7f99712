//! The signals that the process receives, and the notifications that it sends to systemd.
//!
//! It must not know fleet, or what the program does on a signal. No call waits for systemd, except
//! for a moment at the end. After SIGTERM or SIGINT the process ends within 5 s, even if a part of
//! it hangs.

use std::time::Duration;
use std::{io, mem, process, thread};

use sd_notify::NotifyState;
use tokio::runtime;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::sleep;
use tracing::debug;

use crate::write_queue::{WriteQueue, WriteTask};

/// How long after SIGTERM or SIGINT the process is ended by force, if a part of it hangs. The
/// documentation promises 5 s.
const FORCED_EXIT: Duration = Duration::from_millis(4750);

/// How long the program waits at its end until the queued notifications are sent.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// The request that a signal makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessSignal {
    /// End the program. Holds the signal's name, `SIGTERM` or `SIGINT`.
    Stop(&'static str),
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Reap the orphans that have ended (SIGCHLD). Only if this process is PID 1.
    ReapOrphans,
}

/// The signals that the process handles.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: SignalStream,
    interrupt: SignalStream,
    hangup: SignalStream,
    /// `Some` if this process is PID 1, which becomes the parent of all orphans.
    child: Option<SignalStream>,
}

impl Signals {
    /// Installs the handlers; from now on the signals no longer end the process by themselves.
    ///
    /// If stopping takes too long, for example because a disk hangs, a thread ends the process.
    pub(crate) fn listen() -> io::Result<Self> {
        start_forced_exit()?;

        let child = if process::id() == 1 {
            Some(signal(SignalKind::child())?)
        } else {
            None
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> ProcessSignal {
        tokio::select! {
            _ = self.terminate.recv() => ProcessSignal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => ProcessSignal::Stop("SIGINT"),
            _ = self.hangup.recv() => ProcessSignal::Reload,
            Some(_) = next_signal(&mut self.child) => ProcessSignal::ReapOrphans,
        }
    }
}

/// Starts a thread that ends the process [`FORCED_EXIT`] after SIGTERM or SIGINT. The thread has a
/// runtime of its own, so it works even if the rest of the program hangs.
fn start_forced_exit() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;

    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(guard);

    let thread = thread::Builder::new().name("time-to-stop".to_owned());
    thread.spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }

            sleep(FORCED_EXIT).await;
        });
        process::exit(0);
    })?;

    Ok(())
}

async fn next_signal(stream: &mut Option<SignalStream>) -> Option<()> {
    stream.as_mut()?.recv().await
}

/// The service manager, if there is one (`sd_notify(3)`).
///
/// A thread sends the notifications, because sending blocks while the service manager does not read
/// them. A new notification replaces a waiting one of the same kind.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    status: String,
    watchdog: Option<Duration>,
    notifications: Option<WriteQueue<SystemdNotification>>,
}

/// A message to the service manager.
#[derive(Debug)]
enum SystemdNotification {
    Ready,
    /// With `MONOTONIC_USEC=`, the time at which the reload began; `None` if the clock cannot be
    /// read.
    Reloading(Option<NotifyState<'static>>),
    Stopping,
    Status(String),
    Watchdog,
}

impl ServiceManager {
    /// Reads from the environment whether there is a service manager and a watchdog.
    ///
    /// # Errors
    ///
    /// When the thread that sends notifications cannot be started.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let watchdog = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero());

        let notifications = if std::env::var_os("NOTIFY_SOCKET").is_some() {
            Some(start_sending()?)
        } else {
            None
        };

        Ok(Self { status: String::new(), watchdog, notifications })
    }

    /// How often [`ServiceManager::notify_watchdog`] has to be called: twice per watchdog timeout.
    /// `None`: there is no watchdog.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// Reports that the sockets are bound, or that a reload is done.
    pub(crate) fn notify_ready(&self) {
        self.notify(SystemdNotification::Ready);
    }

    /// Sets the status line that `systemctl status` shows. It is sent only if it has changed.
    pub(crate) fn set_status(&mut self, status: &str) {
        // A line break would begin another assignment (`sd_notify(3)`).
        let status = status.replace(char::is_control, " ");
        if self.status != status {
            self.notify(SystemdNotification::Status(status.clone()));
            self.status = status;
        }
    }

    /// Reports that no part of the program is stuck.
    pub(crate) fn notify_watchdog(&self) {
        self.notify(SystemdNotification::Watchdog);
    }

    /// Reports that the configuration is being read again. [`ServiceManager::notify_ready`] has to
    /// follow.
    pub(crate) fn notify_reloading(&self) {
        // With MONOTONIC_USEC=, systemd 253 and later distinguish this reload from an earlier one.
        self.notify(SystemdNotification::Reloading(NotifyState::monotonic_usec_now().ok()));
    }

    /// Reports that the program is ending.
    pub(crate) fn notify_stopping(&mut self) {
        self.notify(SystemdNotification::Stopping);
        self.set_status("stopping");
    }

    fn notify(&self, notification: SystemdNotification) {
        if let Some(notifications) = &self.notifications {
            let kind = mem::discriminant(&notification);
            notifications.replace(notification, |waiting| mem::discriminant(waiting) == kind);
        }
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        if let Some(notifications) = &self.notifications {
            notifications.flush(FLUSH_TIMEOUT);
            notifications.close();
        }
    }
}

fn start_sending() -> io::Result<WriteQueue<SystemdNotification>> {
    // All entries are added by `replace`, to which the limit does not apply.
    let notifications: WriteQueue<SystemdNotification> = WriteQueue::new(0);

    let queue = notifications.clone();
    let thread = thread::Builder::new().name("sd-notify".to_owned());
    thread.spawn(move || {
        while let Some(WriteTask::Write(notification)) = queue.next_task() {
            notification.send();
        }
    })?;

    Ok(notifications)
}

impl SystemdNotification {
    fn send(&self) {
        let state = match self {
            SystemdNotification::Ready => vec![NotifyState::Ready],
            SystemdNotification::Reloading(Some(now)) => vec![NotifyState::Reloading, now.clone()],
            SystemdNotification::Reloading(None) => vec![NotifyState::Reloading],
            SystemdNotification::Stopping => vec![NotifyState::Stopping],
            SystemdNotification::Status(status) => vec![NotifyState::Status(status)],
            SystemdNotification::Watchdog => vec![NotifyState::Watchdog],
        };

        // A missing service manager is no reason for a warning.
        if let Err(error) = sd_notify::notify(&state) {
            debug!("cannot send {state:?} to the service manager: {error}");
        }
    }
}
