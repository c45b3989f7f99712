//! Answers requests for unit files, from the cache or from the source.
//!
//! Requests for the same file share one query. Only a few queries are under way at a time, and each
//! has a time limit. This module must not know how the source reads a file.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cache::UnitFileCache;
use super::{
    PendingRequest, UnitFileAnswer, UnitFileError, UnitFileQuery, UnitFileRequests,
    UnitFileVersion, UnitFileVersions,
};
use crate::cluster::Text;

/// How many queries to the source may be under way at the same time. The source polls three lists
/// beside them.
const MAX_QUERIES: usize = 2;

/// How long a query to the source may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where unit files are read.
pub trait UnitFileSource: Clone + Send + Sync + 'static {
    /// Whether it has versions that fleet has replaced since.
    fn keeps_old_versions(&self) -> bool;

    /// Reads the file that fleet has, and of the old versions those that it keeps. Dropping the
    /// future must end everything that it has started.
    fn read(
        &self,
        query: UnitFileQuery,
    ) -> impl Future<Output = Result<UnitFileVersions, UnitFileError>> + Send;
}

/// Where an answer goes.
type ReplySender = oneshot::Sender<Result<UnitFileAnswer, UnitFileError>>;

/// The result of one query to the source.
type QueryResult = (UnitFileQuery, Result<UnitFileVersions, UnitFileError>);

/// Answers the requests of one [`UnitFiles`](super::UnitFiles).
#[derive(Debug)]
pub struct UnitFileService<S> {
    source: S,
    requests: UnitFileRequests,
    cache: UnitFileCache,
    /// Who waits for the result of each query that is queued or under way.
    waiting: BTreeMap<UnitFileQuery, Vec<ReplySender>>,
    /// Queries that have not begun.
    queued: VecDeque<UnitFileQuery>,
    running: JoinSet<QueryResult>,
}

impl<S: UnitFileSource> UnitFileService<S> {
    /// A service with an empty cache.
    pub fn new(source: S, requests: UnitFileRequests) -> Self {
        Self {
            source,
            requests,
            cache: UnitFileCache::default(),
            waiting: BTreeMap::new(),
            queued: VecDeque::new(),
            running: JoinSet::new(),
        }
    }

    /// Answers requests until nobody can send one. Dropping the future cancels all queries.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                request = self.requests.0.recv() => match request {
                    Some(request) => self.accept(request),
                    None => return,
                },
                Some(result) = self.running.join_next() => match result {
                    Ok(result) => self.finish(result),
                    // Nobody cancels a query, so it has panicked.
                    Err(error) => resume_unwind(error.into_panic()),
                },
            }
            self.drop_abandoned();
            self.start_queries();
        }
    }

    fn accept(&mut self, request: PendingRequest) {
        let PendingRequest { query, reply } = request;
        if let Some(versions) = self.cached(&query) {
            let answer = UnitFileAnswer { versions, is_fetched: false };
            // An error means that the client has gone.
            let _ = reply.send(Ok(answer));
            return;
        }

        match self.waiting.entry(query) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push(reply),
            Entry::Vacant(query) => {
                self.queued.push_back(query.key().clone());
                query.insert(vec![reply]);
            }
        }
    }

    /// Forgets clients that have gone, and the queries that only they waited for. What is left is
    /// bounded by the requests that are admitted.
    fn drop_abandoned(&mut self) {
        for replies in self.waiting.values_mut() {
            replies.retain(|reply| !reply.is_closed());
        }

        let waiting = &mut self.waiting;
        self.queued.retain(|query| {
            let is_wanted = waiting.get(query).is_some_and(|replies| !replies.is_empty());
            if !is_wanted {
                waiting.remove(query);
            }
            is_wanted
        });
    }

    /// The answer from the cache, if the source could not add anything to it.
    fn cached(&mut self, query: &UnitFileQuery) -> Option<UnitFileVersions> {
        let current = self.cache.get(query.current.as_ref()?)?;
        let old = self.cached_old(&query.old);
        let is_complete = old.len() == query.old.len() || !self.source.keeps_old_versions();

        is_complete.then_some(UnitFileVersions { current: Some(current), old })
    }

    fn cached_old(&mut self, old: &[Text]) -> Vec<UnitFileVersion> {
        old.iter().filter_map(|hash| self.cache.get(hash)).collect()
    }

    fn start_queries(&mut self) {
        while self.running.len() < MAX_QUERIES
            && let Some(query) = self.queued.pop_front()
        {
            let source = self.source.clone();
            self.running.spawn(async move {
                let result = timeout(QUERY_TIMEOUT, source.read(query.clone())).await;
                (query, result.unwrap_or(Err(UnitFileError::Timeout(QUERY_TIMEOUT))))
            });
        }
    }

    /// Caches what was read, and answers all who wait for it.
    fn finish(&mut self, (query, result): QueryResult) {
        let result = result.map(|versions| self.completed(&query, versions));

        let waiting = self.waiting.remove(&query).unwrap_or_default();
        let mut is_fetched = true;
        for reply in waiting {
            let answer = result.clone().map(|versions| UnitFileAnswer { versions, is_fetched });
            let _ = reply.send(answer);
            is_fetched = false;
        }
    }

    /// What was read, with the old versions that only the cache has.
    fn completed(
        &mut self,
        query: &UnitFileQuery,
        mut versions: UnitFileVersions,
    ) -> UnitFileVersions {
        for version in versions.current.iter().chain(&versions.old) {
            self.cache.insert(version);
        }

        versions.old = self.cached_old(&query.old);
        versions
    }
}
