//! The messages of a program, as far as they were received: its log lines, or its notifications to
//! systemd.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a test waits for anything that has to happen.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The messages so far, each with the time at which it was received.
#[derive(Clone)]
pub struct MessageLog(watch::Receiver<Vec<(Instant, Arc<str>)>>);

impl MessageLog {
    /// Receives the lines of a pipe.
    pub fn of_lines(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());

        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|messages| messages.push((Instant::now(), line.into())));
            }
        });
        Self(receiver)
    }

    /// Receives the datagrams of a socket.
    pub fn of_datagrams(socket: UnixDatagram) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());

        tokio::spawn(async move {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram).await {
                let text = String::from_utf8_lossy(&datagram[..length]);
                let message = (Instant::now(), text.trim_end().into());
                sender.send_modify(|messages| messages.push(message));
            }
        });
        Self(receiver)
    }

    pub fn all(&self) -> Vec<String> {
        self.0
            .borrow()
            .iter()
            .map(|(_, message)| message.to_string())
            .collect()
    }

    /// How many messages so far contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.times(text).len()
    }

    /// When the messages that contain `text` were received.
    pub fn times(&self, text: &str) -> Vec<Instant> {
        self.0
            .borrow()
            .iter()
            .filter(|(_, message)| message.contains(text))
            .map(|(at, _)| *at)
            .collect()
    }

    /// Waits for the first message that contains `text`.
    pub async fn first(&self, text: &str) -> String {
        self.nth(1, text).await
    }

    /// Waits until `n` messages contain `text`, and returns the last of these.
    pub async fn nth(&self, n: usize, text: &str) -> String {
        let nth = |messages: &Vec<(Instant, Arc<str>)>| {
            messages
                .iter()
                .filter(|(_, message)| message.contains(text))
                .nth(n - 1)
                .map(|(_, message)| message.to_string())
        };

        let mut receiver = self.0.clone();
        match timeout(TIMEOUT, receiver.wait_for(|messages| nth(messages).is_some())).await {
            Ok(Ok(messages)) => nth(&messages).unwrap(),
            _ => panic!("fewer than {n} messages contain {text:?}: {:#?}", self.all()),
        }
    }

    /// Waits for the first message in which `find` finds something.
    pub async fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let first = |messages: &Vec<(Instant, Arc<str>)>| {
            messages.iter().find_map(|(_, message)| find(message))
        };

        let mut receiver = self.0.clone();
        match timeout(TIMEOUT, receiver.wait_for(|messages| first(messages).is_some())).await {
            Ok(Ok(messages)) => first(&messages).unwrap(),
            _ => panic!("no such message: {:#?}", self.all()),
        }
    }

    /// Waits until no further message can be received.
    pub async fn end(&self) {
        let mut receiver = self.0.clone();
        within_timeout("the last message", async { while receiver.changed().await.is_ok() {} })
            .await;
    }
}

/// Waits for a future, and fails the test if it takes too long.
pub async fn within_timeout<T>(what: impl Debug, future: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what:?}"))
}
