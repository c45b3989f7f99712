//! What is heard of one member of etcd from an index on: a watch, and beside it a look now and then at whether the
//! watch can be believed.
//!
//! A plain watch (`wait=true`) answers with one event, and the next one is asked for with the next index: what happened in
//! between, etcd remembers, as far as its last 1,000 events go. With 5,000 units fleet writes some 600 times a second, so
//! as soon as a watch has caught up it goes on as a stream (`stream=true`), one answer without an end. A stream that begins
//! behind gives the first event that it missed and then none at all (etcd 2.x and 3.x, `store/watcher_hub.go`): that can
//! be seen from the index in its head, and it is left again.

use std::time::Duration;

use futures_util::stream::{self, Stream};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, interval, sleep, timeout};

use super::error::EtcdError;
use super::keys::{self, Event, Events, Node, Refusal};
use super::line::Line;

/// How often etcd is asked for a sign of life.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long a watch that ended without an event is left alone.
const PAUSE: Duration = Duration::from_millis(100);
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
    /// etcd's index is lower than one that it had, or the watch turned out to be wrong.
    Anew,
    /// etcd cannot be read.
    Failed(EtcdError),
}

impl From<EtcdError> for End {
    fn from(error: EtcdError) -> Self {
        End::Failed(error)
    }
}

/// What happens below a key after an index, as it is heard, until there is an end. It is polled by who listens, with no
/// channel between: to wake somebody for each of hundreds of events a second costs more than to read them.
pub(super) fn watch(line: Line, key: &str, after: u64) -> impl Stream<Item = Result<Vec<Event>, End>> {
    let watch = Watch { line, key, after, has_caught_up: false, answer: None };
    stream::try_unfold(watch, async |mut watch| Ok(Some((watch.next().await?, watch))))
}

struct Watch<'a> {
    line: Line,
    key: &'a str,
    after: u64,
    /// Whether there was nothing more to tell when the last answer began.
    has_caught_up: bool,
    answer: Option<Answer>,
}

/// An answer that is under way.
struct Answer {
    body: Incoming,
    events: Events,
    is_stream: bool,
    /// Whether there was something to tell when it began.
    is_behind: bool,
    any: bool,
}

impl Watch<'_> {
    /// What happened next, at least one event.
    async fn next(&mut self) -> Result<Vec<Event>, End> {
        loop {
            let mut answer = match self.answer.take() {
                Some(answer) => answer,
                None => self.ask().await?,
            };
            self.has_caught_up = !answer.is_behind;
            let Some(happened) = self.hear(&mut answer).await? else {
                if !answer.any {
                    sleep(PAUSE).await;
                }
                continue;
            };
            let Some(last) = happened.last() else {
                self.answer = Some(answer);
                continue;
            };
            self.after = last.node.modified_index.max(self.after);
            answer.any = true;
            if !(answer.is_stream && answer.is_behind) {
                self.answer = Some(answer);
            }
            return Ok(happened);
        }
    }

    /// Asks for what comes next, as a stream if it has caught up.
    async fn ask(&mut self) -> Result<Answer, End> {
        let (line, key, is_stream) = (&mut self.line, self.key, self.has_caught_up);
        let stream_option = if is_stream { "&stream=true" } else { "" };
        let path = format!("/v2/keys{key}?wait=true&recursive=true{stream_option}&waitIndex={}", self.after + 1);
        let response = line.send(&path).await?;
        if response.status() != StatusCode::OK {
            return Err(match line.refusal(key, response).await? {
                (Some(Refusal { error_code: Refusal::INDEX_CLEARED, .. }), _) => End::Cleared,
                (_, error) => error.into(),
            });
        }
        let index = line.head(&response)?.index;
        if index < self.after {
            return Err(End::Anew);
        }
        let is_behind = index > self.after;
        Ok(Answer { body: response.into_body(), events: Events::default(), is_stream, is_behind, any: false })
    }

    /// What the next piece of an answer says, which may be none yet; nothing if the answer is over.
    async fn hear(&self, Answer { body, events, .. }: &mut Answer) -> Result<Option<Vec<Event>>, End> {
        let line = &self.line;
        let frame = match events.pending() {
            0 => body.frame().await,
            // What has begun must end.
            _ => timeout(line.timeout(), body.frame())
                .await
                .map_err(|_| EtcdError::Timeout(line.endpoint().clone(), line.timeout()))?,
        };
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|error| line.broken_off(error))?;
        let Some(data) = frame.data_ref() else { return Ok(Some(Vec::new())) };
        let happened = events.take(data).map_err(|error| line.nonsense(&error))?;
        if events.pending() > MAX_EVENT {
            return Err(EtcdError::TooLarge(line.endpoint().clone(), MAX_EVENT >> 20, self.key.to_owned()).into());
        }
        Ok(Some(happened))
    }
}

/// Looks at etcd now and then: whether it lives, and, each `check_interval`, what it has.
pub(super) async fn look(mut line: Line, key: &str, check_interval: Duration, sender: Sender<Seen>) -> EtcdError {
    let mut ticks = interval(LOOK);
    let mut checked = Instant::now();
    loop {
        ticks.tick().await;
        let seen = if checked.elapsed() < check_interval {
            is_alive(&mut line, key).await.map(Seen::Alive)
        } else {
            checked = Instant::now();
            // Nobody hears it who is gone: then this is dropped at its next step.
            let _ = sender.send(Seen::CheckBegins).await;
            tree(&mut line, key).await.map(|(node, index, _)| Seen::Tree(node, index))
        };
        match seen {
            Ok(seen) => drop(sender.send(seen).await),
            Err(error) => return error,
        }
    }
}

/// Asks for the one key that fleet writes every 2 seconds; a fleet without a leader has none.
async fn is_alive(line: &mut Line, key: &str) -> Result<u64, EtcdError> {
    match line.get(&format!("{key}/lease/engine-leader"), "").await {
        Ok(answer) => keys::node(&answer.body).map(|node| node.modified_index).map_err(|error| line.nonsense(&error)),
        Err(EtcdError::NoFleet(..)) => Ok(0),
        Err(error) => Err(error),
    }
}

/// The whole tree, its index, and etcd's cluster. By a quorum: a member that lags behind does not answer from its past.
pub(super) async fn tree(line: &mut Line, key: &str) -> Result<(Node, u64, Option<String>), EtcdError> {
    let answer = line.get(key, "?recursive=true&quorum=true").await?;
    let node = keys::node(&answer.body).map_err(|error| line.nonsense(&error))?;
    Ok((node, answer.head.index, answer.head.cluster))
}
