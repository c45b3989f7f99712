//! What is heard of one member of etcd from an index on: a watch, and beside it a look now and then
//! at whether the watch can be believed.
//!
//! A plain watch (`wait=true`) answers with one event, and the next one is asked for with the next
//! index: what happened in between, etcd remembers, as far as its last 1,000 events go. With 5,000
//! units fleet writes some 600 times a second, so as soon as a watch has caught up it goes on as a
//! stream (`stream=true`), one answer without an end. A stream that begins behind gives the first
//! event that it missed and then none at all (etcd 2.x and 3.x, `store/watcher_hub.go`): that event
//! is not newer than the index in its head, and so it is left again. Where catching up is hopeless,
//! since each event takes a round trip, a stream is opened before the tree is read ([`Beginning`]),
//! and read meanwhile; what it tells again is passed over.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, Stream};
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::mpsc::Sender;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::EtcdError;
use super::keys::{self, EventDecoder, KeyEvent, Node, Refusal};
use super::member_client::{Answer as Answered, MemberClient};

/// How often etcd is asked for a sign of life.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long a watch that ended without an event is left alone.
const PAUSE: Duration = Duration::from_millis(100);
/// How many events a stream may have while the tree is read: those of 20,000 units in half a
/// minute.
const MAX_EVENTS: usize = 100_000;
/// Bytes of one event. A value in etcd has a MiB at most.
const MAX_EVENT: usize = 16 << 20;

/// What a look has seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// etcd lives. The newest thing that it is known to have, by its index.
    Alive(u64),
    /// The whole tree is about to be asked for, to compare.
    CheckBegins,
    /// The whole tree as it was at an index.
    Tree(Node, u64),
}

/// Why a watch is over.
#[derive(Debug)]
pub(super) enum End {
    /// etcd has forgotten what came next.
    Cleared,
    /// etcd's index is lower than one that it had.
    Anew,
    /// The directory that is watched was itself taken away, or made anew.
    Replaced,
    /// etcd cannot be read.
    Failed(EtcdError),
}

impl From<EtcdError> for End {
    fn from(error: EtcdError) -> Self {
        End::Failed(error)
    }
}

/// A watch of what happens below a key after an index.
pub(super) struct Watch<'a> {
    pub(super) client: MemberClient,
    pub(super) key: &'a str,
    pub(super) after: u64,
    /// From when on it may go on as a stream.
    pub(super) streams_from: Instant,
    /// The answer that is under way.
    pub(super) answer: Option<Answer>,
    /// The events that it has had already.
    pub(super) events: Vec<KeyEvent>,
}

/// Where a watch begins: with a stream that was opened before the tree is read, or with none.
pub(super) struct Beginning {
    pub(super) client: MemberClient,
    pub(super) answer: Option<Answer>,
    /// What the stream has had until now.
    pub(super) events: Vec<KeyEvent>,
}

impl Beginning {
    pub(super) fn without_stream(client: MemberClient) -> Self {
        Self { client, answer: None, events: Vec::new() }
    }

    /// Opens a stream, if its head comes in time.
    pub(super) async fn with_stream(
        mut client: MemberClient,
        key: &str,
        time: Duration,
    ) -> Result<Self, EtcdError> {
        let answer = timeout(time, open(&mut client, key)).await.ok().transpose()?;
        Ok(Self { client, answer, events: Vec::new() })
    }

    /// Reads the whole tree, and meanwhile what the stream has: etcd drops a watcher that is 100
    /// events behind (2.x and 3.x, `store/watcher_hub.go`).
    pub(super) async fn tree(
        &mut self,
        client: &mut MemberClient,
        key: &str,
    ) -> Result<(Node, u64, Option<String>), EtcdError> {
        tokio::select! {
            tree = tree(client, key) => tree,
            never = self.keep_up(key) => match never {},
        }
    }

    /// May be given up at any time. That the stream is over is seen again when it is watched.
    async fn keep_up(&mut self, key: &str) -> Infallible {
        while let Some(answer) = &mut self.answer
            && self.events.len() < MAX_EVENTS
        {
            match hear(&mut self.client, key, answer).await {
                Ok((mut events, false)) => self.events.append(&mut events),
                Ok((_, true)) | Err(_) => break,
            }
        }
        pending().await
    }
}

/// An answer that is under way.
pub(super) struct Answer {
    body: Incoming,
    events: EventDecoder,
    is_stream: bool,
    /// etcd's index when it began.
    index: u64,
    /// Whether its first event had happened before it began; none as long as there was none.
    is_behind: Option<bool>,
    /// When an event that has begun must be complete.
    due: Option<Instant>,
}

/// Opens a stream of what happens from now on.
async fn open(client: &mut MemberClient, key: &str) -> Result<Answer, EtcdError> {
    let response = client
        .send(&format!("/v2/keys{key}?wait=true&recursive=true&stream=true"))
        .await?;
    if response.status() != StatusCode::OK {
        return Err(client
            .in_time(async |client: &mut MemberClient| client.refusal(key, response).await)
            .await?
            .1);
    }
    let index = client.head(&response)?.index;
    client.gather();
    Ok(Answer::new(response.into_body(), index, true))
}

/// What happens, as it is heard, until there is an end. It is polled by who listens, with no
/// channel between: to wake somebody for each of hundreds of events a second costs more than to
/// read them.
pub(super) fn watch(watch: Watch<'_>) -> impl Stream<Item = Result<Vec<KeyEvent>, End>> {
    // A stream only follows on an answer that began with nothing to tell.
    stream::try_unfold((watch, false), async |(mut watch, mut has_caught_up)| {
        let happened = watch.next(&mut has_caught_up).await?;
        Ok(Some((happened, (watch, has_caught_up))))
    })
}

impl Watch<'_> {
    /// What happened next, at least one event.
    async fn next(&mut self, has_caught_up: &mut bool) -> Result<Vec<KeyEvent>, End> {
        loop {
            let mut answer = match self.answer.take() {
                Some(answer) => answer,
                None => {
                    self.ask(*has_caught_up && Instant::now() >= self.streams_from)
                        .await?
                }
            };
            let (mut happened, has_ended) = match std::mem::take(&mut self.events) {
                events if events.is_empty() => {
                    hear(&mut self.client, self.key, &mut answer).await?
                }
                events => (events, false),
            };
            if happened.iter().any(|event| !is_below(self.key, &event.node.key)) {
                return Err(End::Replaced);
            }
            if let Some(first) = happened.first() {
                answer
                    .is_behind
                    .get_or_insert(first.node.modified_index <= answer.index);
            }
            *has_caught_up = answer.is_behind != Some(true);
            if has_ended && answer.is_behind.is_none() {
                sleep(PAUSE).await;
            }
            let stalls = answer.is_stream && answer.is_behind == Some(true);
            if !has_ended && !stalls {
                self.answer = Some(answer);
            }
            happened.retain(|event| event.node.modified_index > self.after);
            if let Some(last) = happened.last() {
                self.after = last.node.modified_index;
                return Ok(happened);
            }
        }
    }

    /// Asks for what comes next.
    async fn ask(&mut self, is_stream: bool) -> Result<Answer, End> {
        let (client, key) = (&mut self.client, self.key);
        let stream_option = if is_stream { "&stream=true" } else { "" };
        let path = format!(
            "/v2/keys{key}?wait=true&recursive=true{stream_option}&waitIndex={}",
            self.after + 1
        );
        let response = client.send(&path).await?;
        if response.status() != StatusCode::OK {
            return Err(
                match client
                    .in_time(async |client: &mut MemberClient| client.refusal(key, response).await)
                    .await?
                {
                    (Some(Refusal { error_code: Refusal::INDEX_CLEARED, .. }), _) => End::Cleared,
                    (_, error) => error.into(),
                },
            );
        }
        let index = client.head(&response)?.index;
        if index < self.after {
            return Err(End::Anew);
        }
        if is_stream {
            client.gather();
        }
        Ok(Answer::new(response.into_body(), index, is_stream))
    }
}

/// What an answer says next, as far as it has come, which may be nothing yet; and whether the
/// answer is over.
async fn hear(
    client: &mut MemberClient,
    key: &str,
    answer: &mut Answer,
) -> Result<(Vec<KeyEvent>, bool), End> {
    let mut frame = match answer.due {
        None => client.frame(&mut answer.body).await,
        Some(due) => timeout_at(due, client.frame(&mut answer.body))
            .await
            .map_err(|_| late(client))?,
    };
    let mut happened = Vec::new();
    let has_ended = loop {
        let has_ended = frame.is_none();
        let data = match frame {
            Some(frame) => frame
                .map_err(|error| client.broken_off(error))?
                .into_data()
                .unwrap_or_default(),
            // The last event need not end its line.
            None => Bytes::from_static(b"\n"),
        };
        happened.append(&mut answer.events.take(&data).map_err(|error| client.nonsense(&error))?);
        let pending = answer.events.pending();
        if pending > MAX_EVENT {
            return Err(EtcdError::TooLarge(
                client.endpoint().clone(),
                MAX_EVENT >> 20,
                key.to_owned(),
            )
            .into());
        }
        if has_ended && pending > 0 {
            let problem = "it ends in the middle of an event".to_owned();
            return Err(EtcdError::NotEtcd(client.endpoint().clone(), problem).into());
        }
        if has_ended {
            break true;
        }
        let Some(next) = client.frame(&mut answer.body).now_or_never() else {
            break false;
        };
        frame = next;
    };
    answer.due = match answer.events.pending() {
        0 => None,
        _ => answer
            .due
            .filter(|_| happened.is_empty())
            .or_else(|| Some(Instant::now() + client.timeout())),
    };
    Ok((happened, has_ended))
}

impl Answer {
    fn new(body: Incoming, index: u64, is_stream: bool) -> Self {
        Self {
            body,
            events: EventDecoder::default(),
            is_stream,
            index,
            is_behind: None,
            due: None,
        }
    }
}

fn late(client: &MemberClient) -> EtcdError {
    EtcdError::Timeout(client.endpoint().clone(), client.timeout())
}

fn is_below(directory: &str, key: &str) -> bool {
    key.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Looks at etcd now and then: whether it lives, and, each `check_interval`, what it has.
pub(super) async fn look(
    mut client: MemberClient,
    key: &str,
    check_interval: Duration,
    sender: Sender<Seen>,
) -> EtcdError {
    let mut checked = Instant::now();
    loop {
        // Not by an interval: after a standstill of this program that would ask twice at once, and
        // what the first answer tells could not have been watched by the second.
        sleep(LOOK).await;
        let seen = if checked.elapsed() < check_interval {
            is_alive(&mut client, key).await.map(Seen::Alive)
        } else {
            checked = Instant::now();
            // Nobody hears it who is gone: then this is dropped at its next step.
            let _ = sender.send(Seen::CheckBegins).await;
            tree(&mut client, key)
                .await
                .map(|(node, index, _)| Seen::Tree(node, index))
        };
        match seen {
            Ok(seen) => drop(sender.send(seen).await),
            Err(error) => return error,
        }
    }
}

/// Asks for the one key that fleet writes every 2 seconds; a fleet without a leader has none. By a
/// quorum: a member that is cut off from the others lives, but hears of nothing.
async fn is_alive(client: &mut MemberClient, key: &str) -> Result<u64, EtcdError> {
    match client
        .get(&format!("{key}/lease/engine-leader"), "?quorum=true")
        .await
    {
        Ok(answer) => keys::node(&answer.body)
            .map(|node| node.modified_index)
            .map_err(|error| client.nonsense(&error)),
        Err(EtcdError::NoFleet(..)) => Ok(0),
        Err(error) => Err(error),
    }
}

/// The whole tree, its index, and etcd's cluster. By a quorum: a member that lags behind does not
/// answer from its past.
pub(super) async fn tree(
    client: &mut MemberClient,
    key: &str,
) -> Result<(Node, u64, Option<String>), EtcdError> {
    let Answered { head, body } = client.get(key, "?recursive=true&quorum=true").await?;
    // That takes half a second for 20,000 units.
    let node = spawn_blocking(move || keys::node(&body)).await;
    let node =
        node.map_err(|error| EtcdError::NotEtcd(client.endpoint().clone(), error.to_string()))?;
    let node = node.map_err(|error| client.nonsense(&error))?;
    Ok((node, head.index, head.cluster))
}
