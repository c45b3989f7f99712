//! What is heard of one member of etcd from an index on: a watch, and beside it a look now and then at whether the
//! watch can be believed.
//!
//! A plain watch (`wait=true`) answers with one event, and the next one is asked for with the next index: what happened in
//! between, etcd remembers, as far as its last 1,000 events go. With 5,000 units fleet writes some 600 times a second, so
//! as soon as a watch has caught up it goes on as a stream (`stream=true`), one answer without an end. A stream that begins
//! behind gives the first event that it missed and then none at all (etcd 2.x and 3.x, `store/watcher_hub.go`): that event
//! is not newer than the index in its head, and so it is left again.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};

use super::error::EtcdError;
use super::keys::{self, Event, Events, Node, Refusal};
use super::line::Line;

/// How often etcd is asked for a sign of life.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long a watch that ended without an event is left alone.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one event. A value in etcd has a MiB at most.
const MAX_EVENT: usize = 16 << 20;

/// Something that was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// What happened, in order.
    Events(Vec<Event>),
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

/// Watches what happens below a key after an index.
pub(super) async fn watch(mut line: Line, key: &str, mut after: u64, heard: Sender<Heard>) -> End {
    let mut caught_up = false;
    loop {
        match answer(&mut line, key, &mut after, caught_up, &heard).await {
            Ok(is_caught_up) => caught_up = is_caught_up,
            Err(end) => return end,
        }
    }
}

/// Takes one answer, and returns whether there was nothing more to tell when it began.
async fn answer(line: &mut Line, key: &str, after: &mut u64, stream: bool, heard: &Sender<Heard>) -> Result<bool, End> {
    let stream_option = if stream { "&stream=true" } else { "" };
    let path = format!("/v2/keys{key}?wait=true&recursive=true{stream_option}&waitIndex={}", *after + 1);
    let response = line.send(&path).await?;
    let late = |_| EtcdError::Timeout(line.endpoint().clone(), line.timeout());
    if response.status() != StatusCode::OK {
        return Err(match timeout(line.timeout(), line.refusal(key, response)).await.map_err(late)?? {
            (Some(Refusal { error_code: Refusal::INDEX_CLEARED, .. }), _) => End::Cleared,
            (_, error) => error.into(),
        });
    }
    let index = line.head(&response)?.index;
    if index < *after {
        return Err(End::Anew);
    }
    let (mut body, mut events) = (response.into_body(), Events::default());
    // Whether the first event had happened before; none as long as there was none.
    let mut is_behind = None;
    let mut due: Option<Instant> = None;
    loop {
        let frame = match due {
            None => body.frame().await,
            // What has begun must end.
            Some(due) => timeout_at(due, body.frame()).await.map_err(late)?,
        };
        let has_ended = frame.is_none();
        let data = match frame {
            Some(frame) => frame.map_err(|error| line.broken_off(error))?.into_data().unwrap_or_default(),
            // The last event need not end its line.
            None => Bytes::from_static(b"\n"),
        };
        let happened = events.take(&data).map_err(|error| line.nonsense(&error))?;
        if events.pending() > MAX_EVENT {
            return Err(EtcdError::TooLarge(line.endpoint().clone(), MAX_EVENT >> 20, key.to_owned()).into());
        }
        due = match events.pending() {
            0 => None,
            _ => due.filter(|_| happened.is_empty()).or_else(|| Some(Instant::now() + line.timeout())),
        };
        if let (Some(first), Some(last)) = (happened.first(), happened.last()) {
            if happened.iter().any(|event| !is_below(key, &event.node.key)) {
                return Err(End::Replaced);
            }
            is_behind = is_behind.or(Some(first.node.modified_index <= index));
            *after = last.node.modified_index.max(*after);
            if heard.send(Heard::Events(happened)).await.is_err() {
                return std::future::pending().await;
            }
            if stream && is_behind == Some(true) {
                return Ok(false);
            }
        }
        if has_ended {
            break;
        }
    }
    if is_behind.is_none() {
        sleep(PAUSE).await;
    }
    Ok(is_behind != Some(true))
}

fn is_below(directory: &str, key: &str) -> bool {
    key.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Looks at etcd now and then: whether it lives, and, each `check_interval`, what it has.
pub(super) async fn look(mut line: Line, key: &str, check_interval: Duration, heard: Sender<Heard>) -> EtcdError {
    let mut ticks = interval(LOOK);
    let mut checked = Instant::now();
    loop {
        ticks.tick().await;
        let seen = if checked.elapsed() < check_interval {
            is_alive(&mut line, key).await.map(Heard::Alive)
        } else {
            checked = Instant::now();
            // Nobody hears it who is gone: then this is dropped at its next step.
            let _ = heard.send(Heard::CheckBegins).await;
            tree(&mut line, key).await.map(|(node, index, _)| Heard::Tree(node, index))
        };
        match seen {
            Ok(seen) => drop(heard.send(seen).await),
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
