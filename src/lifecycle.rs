//! The process and its service manager: signals in, notifications out.
//!
//! It knows systemd's protocols and nothing of fleet. Nothing here waits for systemd, and nothing
//! that hangs keeps the process from ending when it is told to.

use std::time::Duration;
use std::{io, mem, process, thread};

use sd_notify::NotifyState;
use tokio::runtime;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::sleep;
use tracing::debug;

use crate::write_queue::{WriteQueue, WriteTask};

/// How long the process may take to end after a signal, if something hangs for which it would wait:
/// less than the 5 s that are promised.
const TIME_TO_STOP: Duration = Duration::from_millis(4750);

/// How long the last notifications are waited for at the end.
const FLUSH: Duration = Duration::from_millis(250);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessSignal {
    /// To end: SIGTERM or SIGINT.
    Stop(&'static str),
    /// To read the configuration again: SIGHUP.
    Reload,
    /// To reap who has ended: SIGCHLD, which PID 1 alone listens to.
    ReapOrphans,
}

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    terminate: SignalStream,
    interrupt: SignalStream,
    hangup: SignalStream,
    /// As PID 1 this process becomes the parent of whoever has lost his own.
    child: Option<SignalStream>,
}

impl Signals {
    /// Begins to listen; from now on they do not end the process by themselves.
    ///
    /// Where what has to be done at the end takes too long, as with a disk that hangs, the process
    /// ends without it.
    pub fn listen() -> io::Result<Self> {
        end_in_time()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child: if std::process::id() == 1 {
                Some(signal(SignalKind::child())?)
            } else {
                None
            },
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> ProcessSignal {
        tokio::select! {
            _ = self.terminate.recv() => ProcessSignal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => ProcessSignal::Stop("SIGINT"),
            _ = self.hangup.recv() => ProcessSignal::Reload,
            Some(_) = received(&mut self.child) => ProcessSignal::ReapOrphans,
        }
    }
}

/// Starts a thread that ends the process when its time to stop is over. It shares nothing with the
/// rest of the program that could hang: it has a runtime of its own.
fn end_in_time() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _guard = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };

    let thread = thread::Builder::new().name("time-to-stop".to_owned());
    thread.spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sleep(TIME_TO_STOP).await;
        });
        process::exit(0);
    })?;
    Ok(())
}

async fn received(stream: &mut Option<SignalStream>) -> Option<()> {
    stream.as_mut()?.recv().await
}

/// The service manager, if there is one (`sd_notify(3)`).
///
/// Notifications are sent by a thread of their own, since the service manager may not read them.
/// While one waits, a newer one of its kind takes its place.
#[derive(Debug)]
pub struct ServiceManager {
    status: String,
    watchdog: Option<Duration>,
    notifications: Option<WriteQueue<SystemdNotification>>,
}

/// What the service manager is told.
#[derive(Debug)]
enum SystemdNotification {
    Ready,
    /// With `MONOTONIC_USEC=`, as of when it began.
    Reloading(Option<NotifyState<'static>>),
    Stopping,
    Status(String),
    Alive,
}

impl ServiceManager {
    /// What the environment tells of it.
    ///
    /// # Errors
    ///
    /// When the thread that sends notifications cannot be started.
    pub fn from_environment() -> io::Result<Self> {
        let watchdog = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero());
        let notifications = if std::env::var_os("NOTIFY_SOCKET").is_some() {
            Some(start_sending()?)
        } else {
            None
        };
        Ok(Self { status: String::new(), watchdog, notifications })
    }

    /// How often it wants to hear [`ServiceManager::alive`], if at all: twice in the time after
    /// which it would act.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// The sockets are bound.
    pub fn ready(&self) {
        self.notify(SystemdNotification::Ready);
    }

    /// The one line that `systemctl status` shows; sent when it is another one.
    pub fn status(&mut self, status: &str) {
        // A line break would begin another assignment (`sd_notify(3)`).
        let status = status.replace(char::is_control, " ");
        if self.status != status {
            self.notify(SystemdNotification::Status(status.clone()));
            self.status = status;
        }
    }

    /// All parts move.
    pub fn alive(&self) {
        self.notify(SystemdNotification::Alive);
    }

    /// The configuration is being read again. To be followed by [`ServiceManager::ready`].
    pub fn reloading(&self) {
        // MONOTONIC_USEC= lets systemd 253 and later tell this reload from an older one.
        self.notify(SystemdNotification::Reloading(NotifyState::monotonic_usec_now().ok()));
    }

    /// The end has begun.
    pub fn stopping(&mut self) {
        self.notify(SystemdNotification::Stopping);
        self.status("stopping");
    }

    fn notify(&self, notification: SystemdNotification) {
        if let Some(notifications) = &self.notifications {
            let kind = mem::discriminant(&notification);
            notifications.supersede(notification, |waiting| mem::discriminant(waiting) == kind);
        }
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        if let Some(notifications) = &self.notifications {
            notifications.flush(FLUSH);
            notifications.close();
        }
    }
}

fn start_sending() -> io::Result<WriteQueue<SystemdNotification>> {
    // Nothing is ever dropped from it, so that its limit does not count.
    let notifications: WriteQueue<SystemdNotification> = WriteQueue::new(0);
    let queue = notifications.clone();
    let thread = thread::Builder::new().name("sd-notify".to_owned());
    thread.spawn(move || {
        while let Some(WriteTask::Write(notification)) = queue.next() {
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
            SystemdNotification::Alive => vec![NotifyState::Watchdog],
        };
        // With a service manager that has gone, there is nobody to tell.
        if let Err(error) = sd_notify::notify(&state) {
            debug!("the service manager cannot be told {state:?}: {error}");
        }
    }
}
