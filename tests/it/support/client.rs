//! A WebSocket client of the program.

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::endpoint::{Connection, Endpoint};
use super::message_log::within_timeout;

/// The client; it answers pings while it waits for a message.
pub struct Client(WebSocketStream<Connection>);

impl Client {
    /// Connects, and sends this request.
    pub async fn connect(endpoint: &Endpoint, request: Request) -> Self {
        let stream = endpoint.connect().await.unwrap();
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = within_timeout("the handshake", handshake).await.unwrap();
        Self(socket)
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).unwrap()
    }

    /// The text of the next message.
    pub async fn next_text(&mut self) -> String {
        loop {
            match within_timeout("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// The next message of this type.
    pub async fn next_of(&mut self, r#type: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == r#type {
                return message;
            }
        }
    }

    /// Waits for the close frame, and ignores all messages before it.
    pub async fn close(mut self) -> CloseFrame {
        loop {
            match within_timeout("a close frame", self.0.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.unwrap(),
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }
}
