//! Unit files, for clients that ask for one: requests to the source, a cache of its answers, and
//! the masking of secrets.
//!
//! This is the only way in which a client can make the program query fleet, together with logs. So
//! all of it is bounded: how many requests wait, how many are under way at the source, how long
//! each takes, and how much is cached. It must not know how a source reads a unit file, nor how a
//! request or its answer is encoded, and it never logs a content.
//!
//! - [`UnitFiles`] is what the server has: it admits a request, and waits for the answer.
//! - [`UnitFileService`] runs in a task of its own. It answers from its cache, or asks the source.
//! - [`UnitFileDocument`] is the answer for clients: the file, and what differs on machines that
//!   run another version of it.

mod cache;
mod diff;
mod document;
mod masking;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::cluster::{MachineId, Text, UnitName};
pub use document::UnitFileDocument;
pub use service::{UnitFileService, UnitFileSource};

/// How many requests may wait or be under way at the same time. More are refused.
pub const MAX_REQUESTS: usize = 64;

/// How long a client waits for an answer. It is shorter than the 10 s for which the page and the
/// commands wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// How many versions of a unit file, other than fleet's own, are read for one request: those that
/// most machines run.
const MAX_OLD_VERSIONS: usize = 4;

/// How much of unit files clients are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFileMode {
    /// Everything but values that look like secrets.
    Masked,
    /// Everything.
    Full,
}

impl UnitFileMode {
    /// The name in options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            UnitFileMode::Masked => "masked",
            UnitFileMode::Full => "full",
        }
    }
}

/// One version of a unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFileVersion {
    /// fleet's hash of the content: SHA-1, as 40 hexadecimal digits.
    pub hash: Text,
    /// The whole text.
    pub content: Text,
}

/// What a source has of a unit file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFileVersions {
    /// The file that fleet has. `None`: it has no unit of this name.
    pub current: Option<UnitFileVersion>,
    /// Those of the requested old versions that the source still has.
    pub old: Vec<UnitFileVersion>,
}

/// Which unit file is requested, and what is known of its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitFileQuery {
    /// The unit's full name.
    pub unit: String,
    /// The hash of the file that fleet has, as last listed. `None`: fleet lists no file.
    pub current: Option<Text>,
    /// The hashes of other versions that machines run.
    pub old: Vec<Text>,
}

impl UnitFileQuery {
    /// The query for a unit, of which each of these machines reports a version.
    pub fn new(unit: &UnitName, current: Option<Text>, running: &[(Text, MachineId)]) -> Self {
        let mut old: Vec<(usize, Text)> = Vec::new();
        for (hash, _) in running {
            match old.iter_mut().find(|(_, known)| known == hash) {
                Some((count, _)) => *count += 1,
                None if Some(hash) != current.as_ref() => old.push((1, hash.clone())),
                None => {}
            }
        }
        old.sort_by(|(count, hash), (other_count, other)| {
            other_count.cmp(count).then_with(|| hash.cmp(other))
        });
        old.truncate(MAX_OLD_VERSIONS);

        Self {
            unit: unit.to_string(),
            current,
            old: old.into_iter().map(|(_, hash)| hash).collect(),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFileAnswer {
    /// What was found.
    pub versions: UnitFileVersions,
    /// Whether the source was asked for this request. If not, the answer was cached, or another
    /// request for the same file was under way.
    pub is_fetched: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitFileError {
    /// There are [`MAX_REQUESTS`] others.
    #[error("{MAX_REQUESTS} requests for unit files are under way already; try again in a moment")]
    Busy,
    /// The source did not answer in time.
    #[error("the source has not answered within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The source is a recording, which has no unit files.
    #[error("a recording has no unit files")]
    Recording,
    /// The source cannot answer, for this reason.
    #[error("{0}")]
    Source(String),
}

/// A request on its way to the service.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    query: UnitFileQuery,
    reply: oneshot::Sender<Result<UnitFileAnswer, UnitFileError>>,
}

/// Requests unit files from a [`UnitFileService`]. Clones share the bound on requests.
#[derive(Clone, Debug)]
pub struct UnitFiles {
    requests: mpsc::Sender<PendingRequest>,
    slots: Arc<Semaphore>,
}

impl UnitFiles {
    /// Requests go to the returned receiver, which a service takes.
    pub fn channel() -> (Self, UnitFileRequests) {
        let (requests, receiver) = mpsc::channel(MAX_REQUESTS);
        let slots = Arc::new(Semaphore::new(MAX_REQUESTS));
        (Self { requests, slots }, UnitFileRequests(receiver))
    }

    /// Requests a unit file.
    ///
    /// # Errors
    ///
    /// There are too many requests, or the source cannot answer in time.
    pub async fn get(&self, query: UnitFileQuery) -> Result<UnitFileAnswer, UnitFileError> {
        let _slot = self.slots.try_acquire().map_err(|_| UnitFileError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let request = PendingRequest { query, reply };
        self.requests.try_send(request).map_err(|_| UnitFileError::Busy)?;

        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            // The service has stopped, as it does when the program ends.
            Ok(Err(_)) => Err(UnitFileError::Busy),
            Err(_) => Err(UnitFileError::Timeout(ANSWER_TIMEOUT)),
        }
    }
}

/// The requests of all clones of one [`UnitFiles`], in their order.
#[derive(Debug)]
pub struct UnitFileRequests(mpsc::Receiver<PendingRequest>);
