//! Other monitors of the same cluster: each is asked for its history once, at the start, so that
//! the history outlives the machine of a monitor.
//!
//! It does not know what becomes of an answer. One task asks each of them, and tries again until
//! there is an answer. So a monitor that hangs delays nothing: what it knows is merged when it
//! comes. An answer is input of a stranger: its size and the time for it are bounded, and
//! [`history`] checks what is in it.

mod history;

use std::future::pending;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::net::backoff::Backoff;
use crate::net::http::{FetchFailure, FetchLimits, PostTarget, fetch};
use crate::net::tls::{NoHostRoots, TlsClient};
use history::SharedHistory;
pub(crate) use history::{OwnKnowledge, PeerHistory, UnusableHistory, UsableHistory};

/// The path of a monitor's history.
const PATH: &str = "/v2/history";
/// The bounds on one answer. 50,000 events and 5,000 units are about 20 MiB.
const LIMITS: FetchLimits = FetchLimits { bytes: 64 << 20, time: Duration::from_secs(30) };
/// The wait after the first attempt that failed, and the longest one.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a monitor is asked. One that starts later asks by itself, and knows no more than this
/// one.
const GIVE_UP: Duration = Duration::from_secs(600);

/// Which other monitors are asked, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerSettings {
    /// Where they listen.
    pub(crate) targets: Vec<PostTarget>,
    /// The header `Authorization`; `None`: they need no token.
    pub(crate) authorization: Option<HeaderValue>,
}

/// Asks the other monitors. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Closed when none of them may answer any more.
    answers: mpsc::Receiver<PeerHistory>,
    _tasks: JoinSet<()>,
}

impl PeerSettings {
    /// Finds the errors of [`Peers::ask`] without asking.
    ///
    /// # Errors
    ///
    /// One of them has `https://`, and this host has no CA certificates.
    pub(crate) fn check(&self) -> Result<(), NoHostRoots> {
        self.tls_client().map(|_| ())
    }

    fn tls_client(&self) -> Result<Option<TlsClient>, NoHostRoots> {
        let has_tls = self.targets.iter().any(PostTarget::is_tls);
        has_tls.then(TlsClient::of_host).transpose()
    }
}

impl Peers {
    /// Asks each of them, in a task of its own.
    ///
    /// # Errors
    ///
    /// One of them has `https://`, and this host has no CA certificates.
    pub(crate) fn ask(settings: PeerSettings) -> Result<Self, NoHostRoots> {
        let tls = settings.tls_client()?;
        let (sender, answers) = mpsc::channel(1);
        let mut tasks = JoinSet::new();

        let PeerSettings { targets, authorization } = settings;
        for target in targets {
            let peer = Peer {
                target: target.below(PATH),
                tls: tls.clone(),
                authorization: authorization.clone(),
            };
            let sender = sender.clone();
            tasks.spawn(async move {
                if let Some(history) = peer.history().await {
                    // It is closed at the end of the program only.
                    let _ = sender.send(history).await;
                }
            });
        }
        Ok(Self { answers, _tasks: tasks })
    }

    /// Asks none.
    pub(crate) fn none() -> Self {
        let (_, answers) = mpsc::channel(1);
        Self { answers, _tasks: JoinSet::new() }
    }

    /// Waits for the next answer. After the last one it never returns.
    pub(crate) async fn next(&mut self) -> PeerHistory {
        match self.answers.recv().await {
            Some(history) => history,
            None => pending().await,
        }
    }
}

/// One of them.
struct Peer {
    target: PostTarget,
    tls: Option<TlsClient>,
    authorization: Option<HeaderValue>,
}

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error(transparent)]
    Fetch(#[from] FetchFailure),
    #[error("its answer is not the history of a fleet-monitor of this version: {0}")]
    Invalid(#[from] serde_json::Error),
    #[error("the program stops")]
    Stopping,
}

impl PeerError {
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool {
        match self {
            PeerError::Fetch(FetchFailure::Status { status, .. }) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            PeerError::Fetch(FetchFailure::TooLarge(_))
            | PeerError::Invalid(_)
            | PeerError::Stopping => false,
            PeerError::Fetch(_) => true,
        }
    }

    /// What failed, in one sentence. Of a refusal by a fleet-monitor, its own words.
    fn reason(&self) -> String {
        #[derive(Deserialize)]
        struct PeerRefusal {
            error: PeerRefusalText,
        }
        #[derive(Deserialize)]
        struct PeerRefusalText {
            message: String,
        }

        if let PeerError::Fetch(FetchFailure::Status { status, message }) = self
            && let Ok(refusal) = serde_json::from_str::<PeerRefusal>(message)
        {
            return format!("answered {status}: {}", refusal.error.message);
        }
        self.to_string()
    }

    /// What to do about it, as the end of a sentence.
    fn advice(&self) -> &'static str {
        match self {
            PeerError::Fetch(FetchFailure::Status { status, .. }) => match status.as_u16() {
                401 => "; set its token with --history-token-file",
                403 => "; its --allowed-hosts has to contain this name",
                404 => "; does it keep a history (--history), and is it of this version?",
                300..=399 => "; redirects are not followed",
                _ => "",
            },
            _ => "",
        }
    }
}

impl Peer {
    /// Asks until there is an answer, or none is to be expected.
    async fn history(&self) -> Option<PeerHistory> {
        let give_up = Instant::now() + GIVE_UP;
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);

        loop {
            let error = match self.fetch().await {
                Ok(shared) => {
                    return Some(PeerHistory { from: self.target.clone(), shared });
                }
                Err(error) => error,
            };

            let target = &self.target;
            let advice = error.advice();
            let may_pass = error.may_pass();
            let error = error.reason();
            if !may_pass {
                warn!("no history from {target}: {error}{advice}; it is not asked again");
                return None;
            }
            if !backoff.is_active() {
                info!("no history from {target} yet: {error}{advice}");
            }
            let wait = backoff.wait(fastrand::f64());
            if Instant::now() + wait >= give_up {
                warn!("no history from {target}: {error}{advice}; it is not asked again");
                return None;
            }
            sleep(wait).await;
        }
    }

    async fn fetch(&self) -> Result<SharedHistory, PeerError> {
        let Self { target, tls, authorization } = self;
        let body = fetch(target, tls.as_ref(), authorization.as_ref(), LIMITS).await?;

        // A large one would keep the other tasks waiting.
        let parsed = spawn_blocking(move || SharedHistory::parse(&body)).await;
        Ok(parsed.map_err(|_| PeerError::Stopping)??)
    }
}
