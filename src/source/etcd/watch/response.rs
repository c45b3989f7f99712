//! A response to a watch: one event, or a stream of them. It does not know what the watch does
//! after the response.

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::super::error::EtcdError;
use super::super::keys::{EtcdErrorBody, EventDecoder, KeyEvent};
use super::super::member_client::MemberClient;

/// The size of one event. A value in etcd has at most 1 MiB.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// What etcd says when it refuses a watch, and the error for the user.
type RefusedWatch = (Option<EtcdErrorBody>, EtcdError);

/// A response that is under way.
pub(super) struct WatchResponse {
    body: Incoming,
    decoder: EventDecoder,
    is_stream: bool,
    /// etcd's index when the response began.
    index: u64,
    /// Whether its first event is not newer than `index`. `None` before the first event.
    started_behind: Option<bool>,
    /// When an event of which a part has been received must be complete. `None` between events.
    deadline: Option<Instant>,
}

impl WatchResponse {
    /// Opens a stream that begins now.
    pub(super) async fn stream(client: &mut MemberClient, key: &str) -> Result<Self, EtcdError> {
        let opened = Self::open(client, key, "&stream=true", true).await;
        opened.map_err(|(_, error)| error)
    }

    /// Requests the first event after an index, or a stream that begins with it.
    pub(super) async fn after(
        client: &mut MemberClient,
        key: &str,
        index: u64,
        is_stream: bool,
    ) -> Result<Self, RefusedWatch> {
        let stream_option = if is_stream { "&stream=true" } else { "" };
        let options = format!("{stream_option}&waitIndex={}", index + 1);
        Self::open(client, key, &options, is_stream).await
    }

    async fn open(
        client: &mut MemberClient,
        key: &str,
        options: &str,
        is_stream: bool,
    ) -> Result<Self, RefusedWatch> {
        let path = format!("/v2/keys{key}?wait=true&recursive=true{options}");
        let response = client.send(&path).await.map_err(|error| (None, error))?;
        if response.status() != StatusCode::OK {
            let refused = client
                .within_timeout(async |client: &mut MemberClient| {
                    client.read_error(key, response).await
                })
                .await;
            return Err(refused.unwrap_or_else(|error| (None, error)));
        }

        let index = client.headers(&response).map_err(|error| (None, error))?.index;
        if is_stream {
            client.start_batching();
        }
        Ok(Self {
            body: response.into_body(),
            decoder: EventDecoder::default(),
            is_stream,
            index,
            started_behind: None,
            deadline: None,
        })
    }

    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// etcd's index when the response began.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Whether it has delivered an event.
    pub(super) fn has_delivered(&self) -> bool {
        self.started_behind.is_some()
    }

    /// Whether its first event had already happened when the response began.
    pub(super) fn started_behind(&self) -> bool {
        self.started_behind == Some(true)
    }

    /// Compares the index of its first event with the index at which the response began, unless
    /// this was done before.
    pub(super) fn record_first_event(&mut self, events: &[KeyEvent]) {
        if let Some(first) = events.first() {
            self.started_behind
                .get_or_insert(first.node.modified_index <= self.index);
        }
    }

    /// Waits for data, and decodes everything that has been received. Returns the complete events,
    /// of which there may be none, and whether the response has ended. Cancel safe.
    pub(super) async fn read(
        &mut self,
        client: &mut MemberClient,
        key: &str,
    ) -> Result<(Vec<KeyEvent>, bool), EtcdError> {
        let mut data = self.wait_for_data(client).await?;
        let mut events = Vec::new();
        let has_ended = loop {
            let has_ended = data.is_none();
            // The last event need not have a newline.
            let bytes = data.unwrap_or(Bytes::from_static(b"\n"));
            events.append(&mut self.decode(&bytes, client, key)?);
            if has_ended {
                break true;
            }

            match client.data(&mut self.body).now_or_never() {
                Some(next) => data = next.transpose()?,
                None => break false,
            }
        };

        let pending = self.decoder.pending_bytes();
        if has_ended && pending > 0 {
            let problem = "it ends in the middle of an event".to_owned();
            return Err(EtcdError::NotEtcd(client.endpoint().clone(), problem));
        }
        self.deadline = match self.deadline {
            _ if pending == 0 => None,
            Some(deadline) if events.is_empty() => Some(deadline),
            _ => Some(Instant::now() + client.timeout()),
        };
        Ok((events, has_ended))
    }

    /// The next data. `None` at the end of the response.
    async fn wait_for_data(
        &mut self,
        client: &mut MemberClient,
    ) -> Result<Option<Bytes>, EtcdError> {
        let Some(deadline) = self.deadline else {
            return client.data(&mut self.body).await.transpose();
        };
        match timeout_at(deadline, client.data(&mut self.body)).await {
            Ok(data) => data.transpose(),
            Err(_) => Err(EtcdError::Timeout(client.endpoint().clone(), client.timeout())),
        }
    }

    fn decode(
        &mut self,
        bytes: &[u8],
        client: &MemberClient,
        key: &str,
    ) -> Result<Vec<KeyEvent>, EtcdError> {
        let events = self
            .decoder
            .decode(bytes)
            .map_err(|error| client.invalid_body(&error))?;

        if self.decoder.pending_bytes() > MAX_EVENT_BYTES {
            return Err(EtcdError::TooLarge(
                client.endpoint().clone(),
                MAX_EVENT_BYTES >> 20,
                key.to_owned(),
            ));
        }
        Ok(events)
    }
}
