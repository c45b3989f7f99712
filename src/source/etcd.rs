//! Watches fleet's registry in etcd: each change as it happens, for the cost of the change.
//!
//! One whole reading for the start, and then a watch from its index on. Whatever interrupts the
//! watch (an index that etcd has forgotten, an etcd that restarts, a member that is lost) is
//! followed by a whole reading, of the next member if need be; nothing that is shown is given up
//! for that. Every few minutes a whole reading shows whether what the watch made of the registry is
//! right. It only reads: there is no request here but GET.
//!
//! This is the shell around connections and time. What keys mean is [`key_tree`]'s part.

mod certificate;
pub mod endpoint;
pub mod error;
mod gathering;
pub mod key_tree;
pub mod keys;
pub mod login;
mod member_client;
mod redirect;
mod silence;
mod tls;
mod value;
mod watch;
mod words;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::{Liveness, MARGIN, SourceEvent, SourceReport};
use crate::cluster::{Expected, FleetList, Moment, Reading, Text};
use endpoint::Endpoint;
use error::{EtcdError, EtcdErrors, FileError};
use key_tree::KeyTree;
use keys::{KeyEvent, Node};
use login::Login;
use member_client::{Access, MemberClient};
use silence::{Hearing, Silence};
use tls::Encryption;
use watch::{Beginning, End, Seen, Watch};

/// The least time between two readings that differ, which bounds what a storm of changes costs.
const GAP: Duration = Duration::from_millis(10);
/// A deletion is looked at again after this time though nothing else has changed: fleetd sets some
/// keys again at once.
pub const SETTLE: Duration = Duration::from_millis(600);
/// How often a reading is said though nothing has changed: what follows from time alone is judged
/// then.
const TICK: Duration = Duration::from_secs(1);
/// How often the whole registry is read to compare.
const CHECK: Duration = Duration::from_secs(300);
/// How long what a check has found is kept until the watch has come as far.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How long the head of a stream is waited for, before the tree is read without one.
const OPEN: Duration = Duration::from_secs(2);
/// How long etcd is asked event by event where a stream has fallen silent, before streams are tried
/// again.
const STREAM_RETRY: Duration = Duration::from_secs(300);
/// The first and the longest wait when no member can be read.
const BACKOFF: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The members of etcd; the next one is asked where one fails.
    pub endpoints: Vec<Endpoint>,
    /// Where fleet keeps its registry, such as `/_coreos.com/fleet`.
    pub prefix: String,
    /// For `https://`.
    pub tls: Tls,
    /// The user to ask as, where etcd has users.
    pub login: Option<Login>,
    /// How long an answer may take, or a member may say nothing.
    pub timeout: Duration,
}

/// Files in PEM for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificates of the authorities that etcd's are believed from; without, those of the
    /// host.
    pub ca: Option<PathBuf>,
    /// The certificate by which this client is known, with what leads to its authority.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// An etcd that can be watched.
#[derive(Debug)]
pub struct Etcd {
    settings: EtcdSettings,
    access: Arc<Access>,
    check_interval: Duration,
    stream_retry: Duration,
}

impl Etcd {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// Files that cannot be used.
    pub fn new(settings: EtcdSettings) -> Result<Self, FileError> {
        let is_encrypted = settings.endpoints.iter().any(|endpoint| endpoint.tls);
        let encryption = is_encrypted.then(|| Encryption::new(&settings.tls)).transpose()?;
        let authorization = settings.login.as_ref().map(Login::authorization).transpose()?;
        let members = settings.endpoints.clone();
        let access = Arc::new(Access {
            members,
            encryption,
            authorization,
            timeout: settings.timeout,
        });
        Ok(Self {
            settings,
            access,
            check_interval: CHECK,
            stream_retry: STREAM_RETRY,
        })
    }

    /// With another time between two whole readings that compare.
    #[must_use]
    pub fn checked_each(self, check_interval: Duration) -> Self {
        Self { check_interval, ..self }
    }

    /// With another time until streams are tried again where they did not come through.
    #[must_use]
    pub fn streams_again_after(self, stream_retry: Duration) -> Self {
        Self { stream_retry, ..self }
    }

    /// Whether it speaks as fleet needs it, by the first member that answers at all.
    ///
    /// # Errors
    ///
    /// Why each of them does not.
    pub async fn probe(&self) -> Result<(), EtcdErrors> {
        let mut errors = Vec::new();
        for endpoint in &self.settings.endpoints {
            match self.client(endpoint).get(&self.settings.prefix, "").await {
                // It speaks so as to say that there is no fleet.
                Ok(_) | Err(EtcdError::NoFleet(..)) => return Ok(()),
                Err(error) => errors.push(error),
            }
        }
        Err(EtcdErrors(errors))
    }

    /// Begins to watch. Dropping what is returned ends it.
    pub fn start(self) -> Watched {
        self.warn();
        let (sender, said) = mpsc::channel(1);
        let name = Arc::new(Mutex::new("etcd".into()));
        let liveness = Liveness::default();
        let tells_all = Arc::new(AtomicBool::new(true));
        let mut task = JoinSet::new();
        let watching = Watching {
            tree: KeyTree::new(&self.settings.prefix),
            tells_all: tells_all.clone(),
            etcd: self,
            cluster: None,
            cannot_catch_up: false,
            streams_from: Instant::now(),
            said: sender,
            name: name.clone(),
            liveness: liveness.clone(),
        };
        task.spawn(watching.run());
        Watched { said, name, liveness, tells_all, task }
    }

    /// What is to be known of the files and the options, though etcd can be watched with them.
    fn warn(&self) {
        for sentence in self.access.encryption.iter().flat_map(Encryption::left_out) {
            warn!("{sentence}");
        }
        if let (Some(login), Some(plain)) = (
            &self.settings.login,
            self.settings
                .endpoints
                .iter()
                .find(|endpoint| !endpoint.is_confidential()),
        ) {
            warn!(
                "the password of etcd_user = {:?} goes unencrypted to {plain}: use https://",
                login.user
            );
        }
    }

    fn client(&self, endpoint: &Endpoint) -> MemberClient {
        MemberClient::new(endpoint, self.access.clone())
    }
}

/// An etcd that is being watched.
#[derive(Debug)]
pub struct Watched {
    said: mpsc::Receiver<SourceEvent>,
    name: Arc<Mutex<Text>>,
    liveness: Liveness,
    tells_all: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl Watched {
    /// What is watched, for people: `etcd v3.4.23`.
    pub fn name(&self) -> Text {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When it will speak next.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// Has the next reading be of the whole registry, for who begins to follow it in between.
    pub fn tell_all(&self) {
        self.tells_all.store(true, Relaxed);
    }

    /// Waits for the next thing that it says.
    pub async fn next(&mut self) -> SourceEvent {
        tokio::select! {
            Some(said) = self.said.recv() => said,
            // Nobody cancels the task as long as this is there: it ends by a panic alone, which is
            // to be heard.
            Some(Err(error)) = self.task.join_next() => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Gives up what is under way, and returns when it is.
    pub async fn stop(&mut self) {
        self.task.shutdown().await;
    }
}

struct Watching {
    etcd: Etcd,
    tree: KeyTree,
    /// Whether the next reading is of the whole registry.
    tells_all: Arc<AtomicBool>,
    /// The cluster of etcd that was read last.
    cluster: Option<String>,
    /// Whether etcd forgot what came next before it was asked for.
    cannot_catch_up: bool,
    /// From when on a watch may go on as a stream.
    streams_from: Instant,
    said: mpsc::Sender<SourceEvent>,
    name: Arc<Mutex<Text>>,
    liveness: Liveness,
}

/// A whole reading that is to be compared when the watch has come as far.
struct Check {
    tree: Node,
    index: u64,
    until: Instant,
}

impl Watching {
    async fn run(mut self) {
        let members = self.etcd.settings.endpoints.clone();
        let (mut member, mut backoff, mut errors) = (0, BACKOFF[0], Vec::new());
        loop {
            self.liveness
                .set_deadline(Instant::now() + self.etcd.settings.timeout * 2);
            let (has_failed, waits) = match self.begin(&members[member]).await {
                Ok(beginning) => {
                    errors.clear();
                    let begun = Instant::now();
                    let has_failed = self.go_on(beginning).await;
                    if begun.elapsed() >= TICK {
                        backoff = BACKOFF[0];
                    }
                    (has_failed, begun.elapsed() < TICK)
                }
                Err(error) => {
                    debug!("{error}");
                    errors.push(error);
                    (true, errors.len() == members.len())
                }
            };
            if has_failed {
                member = (member + 1) % members.len();
            }
            if errors.len() == members.len() {
                let outcome = Err(EtcdErrors(std::mem::take(&mut errors)).into());
                let (topics, at, took) = (&FleetList::ALL, Moment::now(), Duration::ZERO);
                self.say(SourceEvent::Report(SourceReport {
                    lists: topics,
                    at,
                    took,
                    outcome,
                    expected: None,
                }))
                .await;
            }
            if waits {
                self.liveness
                    .set_deadline(Instant::now() + backoff + self.etcd.settings.timeout * 2);
                sleep(backoff.mul_f64(0.75 + fastrand::f64() / 4.0)).await;
                backoff = (backoff * 2).min(BACKOFF[1]);
            }
        }
    }

    /// Reads the whole registry from a member, and returns what is to be watched on.
    async fn begin(&mut self, endpoint: &Endpoint) -> Result<Beginning, EtcdError> {
        let begun = Instant::now();
        let prefix = self.etcd.settings.prefix.clone();
        let mut client = self.etcd.client(endpoint);
        let opens =
            std::mem::take(&mut self.cannot_catch_up) && Instant::now() >= self.streams_from;
        let mut beginning = if opens {
            Beginning::with_stream(self.etcd.client(endpoint), &prefix, OPEN).await?
        } else {
            Beginning::without_stream(self.etcd.client(endpoint))
        };

        let (tree, index, cluster) = beginning.tree(&mut client, &prefix).await?;
        if !key_tree::is_fleets(&tree) {
            return Err(EtcdError::NoFleet(
                endpoint.clone(),
                format!("{prefix}/machines or {prefix}/job"),
            ));
        }
        let version = client.version().await;
        let name = version.map_or("etcd".to_owned(), |version| format!("etcd v{version}"));
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name.as_str().into();
        let is_another = self.cluster.is_some() && self.cluster != cluster;
        if is_another || index < self.tree.index() {
            let before = self.tree.index();
            warn!(
                "etcd at {endpoint} is another cluster than before, or was put back (index {index}, it was {before}; \
                 cluster {}, it was {}): what was known is forgotten",
                cluster.as_deref().unwrap_or("unknown"),
                self.cluster.as_deref().unwrap_or("unknown"),
            );
            self.tree = KeyTree::new(&prefix);
            self.say(SourceEvent::Began).await;
        }
        self.cluster = cluster;
        // Leases are measured from when the response was complete, so that the time it took makes
        // no key overdue.
        self.tree.load(tree, index, Instant::now().into_std());
        info!(
            "watching fleet's registry in {name} at {endpoint}: {} keys at index {index}",
            self.tree.keys()
        );
        self.tells_all.store(true, Relaxed);
        let report =
            report(&mut self.tree, &self.tells_all, begun.elapsed(), self.etcd.settings.timeout);
        self.say(SourceEvent::Report(report)).await;
        if beginning.answer.is_none() {
            beginning.client = client;
        }
        Ok(beginning)
    }

    /// Watches until that is over, for whatever reason, and returns whether this member is to
    /// blame.
    async fn go_on(&mut self, beginning: Beginning) -> bool {
        let Beginning { client, answer, events } = beginning;
        let endpoint = client.endpoint().clone();
        let key = self.etcd.settings.prefix.clone();
        let timeout = self.etcd.settings.timeout;

        let (sender, mut seen) = mpsc::channel(1);
        let mut looking =
            pin!(watch::look(self.etcd.client(&endpoint), &key, self.etcd.check_interval, sender));
        let after = self.tree.index();
        let watch = Watch {
            client,
            key: &key,
            after,
            streams_from: self.streams_from,
            answer,
            events,
        };
        let mut watching = pin!(watch::watch(watch));
        let mut silence = Silence::new();
        let mut check = None;

        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let said = self.said.clone();
        // Whether anything was received since the last tick, and whether a reading is to be said.
        let mut lives = true;
        let mut is_due = false;
        // When the next reading may be said, if it differs.
        let mut earliest = Instant::now();
        // When what was deleted is looked at again.
        let mut settles: Option<Instant> = None;

        loop {
            tokio::select! {
                Some(heard) = watching.next() => match heard {
                    Ok(events) => {
                        self.apply(&events);
                        lives = true;
                        is_due |= self.tree.has_changed();
                    }
                    Err(end) => return self.end(end, &endpoint),
                },
                error = &mut looking => {
                    info!("{error}");
                    return true;
                }
                Some(seen) = seen.recv() => {
                    lives = true;
                    self.tree.receive(Instant::now().into_std());
                    match seen {
                        Seen::Alive(newest) => {
                            let hearing = silence.look(newest, self.tree.index());
                            if hearing != Hearing::Complete {
                                self.fall_silent(hearing, endpoint);
                                return false;
                            }
                        }
                        Seen::CheckBegins => self.tree.begin_check(),
                        Seen::Tree(tree, index) => {
                            check = Some(Check { tree, index, until: Instant::now() + CATCH_UP });
                        }
                    }
                }
                _ = ticks.tick() => {
                    silence.tick();
                    is_due |= std::mem::take(&mut lives);
                }
                () = sleep_until(settles.unwrap_or(earliest)), if settles.is_some() => {
                    settles = None;
                    is_due = true;
                }
                permit = async {
                    if self.tree.has_changed() {
                        sleep_until(earliest).await;
                    }
                    said.reserve().await
                }, if is_due => {
                    let Ok(permit) = permit else { return false };
                    let now = Instant::now();
                    if self.tree.has_changed() {
                        earliest = now + GAP;
                    }
                    let report = report(&mut self.tree, &self.tells_all, Duration::ZERO, timeout);
                    if report.outcome.as_ref().is_ok_and(Reading::ends_leases) {
                        settles = Some(now + SETTLE);
                    }
                    permit.send(SourceEvent::Report(report));
                    is_due = false;
                    self.liveness.set_deadline(now + watch::LOOK + timeout);
                }
            }

            let is_ripe = |check: &mut Check| {
                self.tree.index() >= check.index || Instant::now() >= check.until
            };
            if let Some(Check { tree, index, .. }) = check.take_if(is_ripe) {
                let count = self.tree.differences(tree, index);
                self.say(SourceEvent::Checked { differences: count }).await;
                if count > 0 {
                    warn!(
                        "{count} keys of etcd at {endpoint} are not as the watch of them said: reading all anew"
                    );
                    return false;
                }
            }
        }
    }

    fn apply(&mut self, events: &[KeyEvent]) {
        let now = Instant::now().into_std();
        self.tree.receive(now);
        for event in events {
            self.tree.apply(event, now);
        }
    }

    /// Notes why a watch is over, and returns whether the member is to blame.
    fn end(&mut self, end: End, endpoint: &Endpoint) -> bool {
        match end {
            End::Failed(error) => {
                info!("{error}");
                return true;
            }
            End::Cleared => {
                let index = self.tree.index();
                info!(
                    "etcd at {endpoint} has forgotten what came after index {index} (it keeps 1,000 events)"
                );
                // Event by event cannot keep up, whatever became of the last stream.
                self.cannot_catch_up = true;
                self.streams_from = Instant::now();
            }
            End::Anew => info!("etcd at {endpoint} has a lower index than it had"),
            End::Replaced => {
                let key = &self.etcd.settings.prefix;
                info!(
                    "the watched directory {key} of etcd at {endpoint} was deleted; reading the registry again"
                );
            }
        }
        false
    }

    /// The watch has not told what etcd has.
    fn fall_silent(&mut self, hearing: Hearing, endpoint: Endpoint) {
        info!("{}", EtcdError::Silent(endpoint));
        // What is between us and etcd may keep an answer until it is whole.
        if hearing == Hearing::Silent {
            self.streams_from = Instant::now() + self.etcd.stream_retry;
        }
    }

    async fn say(&self, said: SourceEvent) {
        // Nobody listens who has gone: this task goes with him.
        let _ = self.said.send(said).await;
    }
}

/// What is new: the whole registry if it is to be told, else what has changed.
fn report(
    tree: &mut KeyTree,
    tells_all: &AtomicBool,
    took: Duration,
    timeout: Duration,
) -> SourceReport {
    let at = Moment::now();
    let reading = if tells_all.swap(false, Relaxed) {
        Reading::Registry(tree.snapshot(at.instant))
    } else {
        let changes = tree.changes(at.instant);
        Reading::Changes { index: tree.index(), changes }
    };

    // A member that says nothing is given up after the timeout, and the next one has as long for a
    // whole reading.
    let within = watch::LOOK + 2 * timeout + MARGIN;
    let expected = Some(Expected { every: watch::LOOK, within });
    SourceReport {
        lists: &FleetList::ALL,
        at,
        took,
        outcome: Ok(reading),
        expected,
    }
}
