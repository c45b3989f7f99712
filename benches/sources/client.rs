//! A WebSocket client that notes when each message came.

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

/// No client waits longer for a change.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    come: mpsc::UnboundedReceiver<(Instant, Utf8Bytes)>,
    _reader: JoinSet<()>,
}

impl Client {
    /// Its subprotocol; the first protocol has none.
    pub const SECOND_PROTOCOL: Option<&'static str> = Some("fleet-monitor.v2");

    pub async fn connect(server: SocketAddr, subprotocol: Option<&'static str>) -> Self {
        let mut request = format!("ws://{server}/").into_client_request().expect("a request");
        if let Some(subprotocol) = subprotocol {
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol));
        }
        let (mut socket, _) = connect_async(request).await.expect("a WebSocket");
        let (sender, come) = mpsc::unbounded_channel();
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    let _ = sender.send((Instant::now(), text));
                }
            }
        });
        Self { come, _reader: reader }
    }

    /// Waits for a message with this text in it, and tells when it came.
    pub async fn until(&mut self, awaited: &str) -> Instant {
        let message = async {
            loop {
                let (at, text) = self.come.recv().await.expect("the server is there");
                if text.contains(awaited) {
                    return at;
                }
            }
        };
        timeout(PATIENCE, message)
            .await
            .unwrap_or_else(|_| panic!("{awaited} does not come"))
    }
}
