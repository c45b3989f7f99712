//! A WebSocket client that records when each message arrives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The longest wait for one change.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct TimingClient {
    received: mpsc::UnboundedReceiver<(Instant, Utf8Bytes)>,
    _reader: JoinSet<()>,
}

impl TimingClient {
    /// The subprotocol of the second protocol. The first one has none.
    pub const SECOND_PROTOCOL: Option<&'static str> = Some("fleet-monitor.v2");

    pub async fn connect(server: SocketAddr, subprotocol: Option<&'static str>) -> Self {
        let mut request = format!("ws://{server}/").into_client_request().expect("a request");
        if let Some(subprotocol) = subprotocol {
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol));
        }

        let (mut socket, _) = connect_async(request).await.expect("a WebSocket");
        let (sender, received) = mpsc::unbounded_channel();
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    let _ = sender.send((Instant::now(), text));
                }
            }
        });

        Self { received, _reader: reader }
    }

    /// Waits for a message that contains this text. Returns when it arrived.
    pub async fn wait_for(&mut self, text: &str) -> Instant {
        let message = async {
            loop {
                let (arrived, message) = self.received.recv().await.expect("the server is running");
                if message.contains(text) {
                    return arrived;
                }
            }
        };

        timeout(TIMEOUT, message)
            .await
            .unwrap_or_else(|_| panic!("no message with {text}"))
    }
}
