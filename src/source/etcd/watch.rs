//! Watches a directory of one member of etcd from an index on. It does not know what fleet keeps
//! there.
//!
//! The response to a plain watch (`wait=true`) is one event, and the next event is requested with
//! the next index. etcd keeps its last 1,000 events, so those in between are not lost. With 5,000
//! units fleet writes some 600 times a second, so as soon as the watch has caught up, it goes on as
//! a stream (`stream=true`), one response without an end.
//!
//! A response starts behind if its first event had already happened when it was requested: that
//! event is not newer than the index in the response's headers. A stream that starts behind
//! delivers this one event, and then none at all (etcd 2.x and 3.x, `store/watcher_hub.go`), so it
//! is dropped. Each event of a plain watch takes a round trip, so a plain watch may never catch up.
//! Then a stream is opened before the tree is read ([`WatchStart`]), and its events are buffered
//! meanwhile. Events that the tree already contains are ignored.

mod response;

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::Endpoint;
use super::error::EtcdError;
use super::keys::{EtcdErrorBody, KeyEvent};
use super::member_client::{MemberClient, TreeSnapshot};
use response::WatchResponse;

/// The wait before the next request after a response that ended without an event.
const EMPTY_RESPONSE_DELAY: Duration = Duration::from_millis(100);
/// How long the headers of a stream may take. After that, the tree is read without a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How many events a stream may deliver while the tree is read: those of 20,000 units in half a
/// minute.
const MAX_BUFFERED_EVENTS: usize = 100_000;

/// Why a watch has ended.
#[derive(Debug)]
pub(super) enum WatchEnd {
    /// The next event is no longer in etcd's history.
    EventsCleared,
    /// etcd's index is lower than it was.
    IndexReset,
    /// The watched directory was itself deleted or replaced.
    DirectoryReplaced,
    /// etcd could not be read.
    Failed(EtcdError),
}

impl From<EtcdError> for WatchEnd {
    fn from(error: EtcdError) -> Self {
        WatchEnd::Failed(error)
    }
}

/// What is prepared before the tree is read: a stream that buffers events, or nothing.
pub(super) struct WatchStart {
    client: MemberClient,
    /// The stream that is under way.
    response: Option<WatchResponse>,
    /// What the stream has delivered so far.
    events: Vec<KeyEvent>,
}

impl WatchStart {
    /// The watch will begin with the first event after the tree.
    pub(super) fn without_stream(client: MemberClient) -> Self {
        Self { client, response: None, events: Vec::new() }
    }

    /// Opens a stream, if its headers come in time.
    pub(super) async fn with_stream(
        mut client: MemberClient,
        key: &str,
    ) -> Result<Self, EtcdError> {
        let response = match timeout(OPEN_TIMEOUT, WatchResponse::stream(&mut client, key)).await {
            Ok(response) => Some(response?),
            Err(_) => None,
        };
        Ok(Self { client, response, events: Vec::new() })
    }

    /// Reads the whole tree with another client, and meanwhile buffers the events of the stream:
    /// etcd drops a watcher that is 100 events behind (2.x and 3.x, `store/watcher_hub.go`).
    pub(super) async fn read_tree(
        &mut self,
        client: &mut MemberClient,
        key: &str,
    ) -> Result<TreeSnapshot, EtcdError> {
        tokio::select! {
            tree = client.read_tree(key) => tree,
            never = self.buffer_events(key) => match never {},
        }
    }

    /// Buffers the events of the stream, if there is one. Cancel safe. If the stream ends, that is
    /// noticed when the watch reads from it.
    async fn buffer_events(&mut self, key: &str) -> Infallible {
        while let Some(response) = &mut self.response
            && self.events.len() < MAX_BUFFERED_EVENTS
        {
            match response.read(&mut self.client, key).await {
                Ok((mut events, false)) => self.events.append(&mut events),
                Ok((_, true)) | Err(_) => break,
            }
        }
        pending().await
    }

    /// Begins the watch with the first event after the tree, which was read with `client` at the
    /// index `after`. The watch may use streams from `streams_allowed_after` on.
    pub(super) fn into_watch(
        self,
        client: MemberClient,
        key: String,
        after: u64,
        streams_allowed_after: Instant,
    ) -> EventWatch {
        // Without a stream, the connection over which the tree was read is used again.
        let client = if self.response.is_some() { self.client } else { client };

        EventWatch {
            client,
            key,
            after,
            streams_allowed_after,
            has_caught_up: false,
            response: self.response,
            events: self.events,
        }
    }
}

/// A watch of a directory.
pub(super) struct EventWatch {
    client: MemberClient,
    key: String,
    /// The index of the last event.
    after: u64,
    /// The watch may go on as a stream from this moment on.
    streams_allowed_after: Instant,
    /// Whether the last response did not start behind. Only then a stream can follow it.
    has_caught_up: bool,
    /// The response that is under way.
    response: Option<WatchResponse>,
    /// Events that were received while the tree was read.
    events: Vec<KeyEvent>,
}

impl EventWatch {
    /// The member that is watched.
    pub(super) fn endpoint(&self) -> &Endpoint {
        self.client.endpoint()
    }

    /// The events as they come, until the watch ends.
    ///
    /// The receiver polls this directly, and not through a channel from another task: to wake a
    /// task for each of hundreds of events a second costs more than to read them.
    pub(super) fn events(self) -> impl Stream<Item = Result<Vec<KeyEvent>, WatchEnd>> {
        stream::try_unfold(self, async |mut watch| {
            let events = watch.next().await?;
            Ok(Some((events, watch)))
        })
    }

    /// The next events; at least one.
    async fn next(&mut self) -> Result<Vec<KeyEvent>, WatchEnd> {
        loop {
            let mut response = match self.response.take() {
                Some(response) => response,
                None => self.request_next().await?,
            };
            let (mut events, has_ended) = self.read(&mut response).await?;
            if events.iter().any(|event| !is_below(&self.key, &event.node.key)) {
                return Err(WatchEnd::DirectoryReplaced);
            }

            response.record_first_event(&events);
            self.has_caught_up = !response.started_behind();
            if has_ended && !response.has_delivered() {
                sleep(EMPTY_RESPONSE_DELAY).await;
            }
            // A stream that started behind delivers nothing more.
            let is_over = has_ended || response.is_stream() && response.started_behind();
            if !is_over {
                self.response = Some(response);
            }

            events.retain(|event| event.node.modified_index > self.after);
            if let Some(last) = events.last() {
                self.after = last.node.modified_index;
                return Ok(events);
            }
        }
    }

    /// The events that were buffered, or else those that a response delivers next; and whether the
    /// response has ended.
    async fn read(
        &mut self,
        response: &mut WatchResponse,
    ) -> Result<(Vec<KeyEvent>, bool), WatchEnd> {
        let buffered = std::mem::take(&mut self.events);
        if !buffered.is_empty() {
            return Ok((buffered, false));
        }
        Ok(response.read(&mut self.client, &self.key).await?)
    }

    /// Requests the next event, or a stream that begins with it.
    async fn request_next(&mut self) -> Result<WatchResponse, WatchEnd> {
        let is_stream = self.has_caught_up && Instant::now() >= self.streams_allowed_after;
        let response =
            WatchResponse::after(&mut self.client, &self.key, self.after, is_stream).await;
        let response = response.map_err(|(body, error)| match body {
            Some(body) if body.error_code == EtcdErrorBody::INDEX_CLEARED => {
                WatchEnd::EventsCleared
            }
            _ => error.into(),
        })?;

        if response.index() < self.after {
            return Err(WatchEnd::IndexReset);
        }
        Ok(response)
    }
}

fn is_below(directory: &str, key: &str) -> bool {
    key.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}
