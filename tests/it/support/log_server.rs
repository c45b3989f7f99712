//! A double of a monitor that serves logs of units: a test decides what each viewer gets. A real
//! monitor behind it answers everything else.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use super::message_log::within_timeout;

/// A running double. Dropping it closes its socket and the connections to the monitor.
pub struct LogServer {
    pub address: SocketAddr,
    viewers: UnboundedReceiver<LogViewer>,
    _server: JoinSet<()>,
}

/// A request for a log. Dropping it closes the connection.
pub struct LogViewer {
    /// The request line and the headers.
    pub request: String,
    stream: TcpStream,
}

impl LogServer {
    /// One without a monitor behind it: it closes the connection of any other request.
    pub async fn alone() -> Self {
        Self::start(None, true).await
    }

    /// One in front of this monitor. `/v2/actions` says whether logs are turned on.
    pub async fn before(monitor: SocketAddr, has_logs: bool) -> Self {
        Self::start(Some(monitor), has_logs).await
    }

    async fn start(monitor: Option<SocketAddr>, has_logs: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, viewers) = mpsc::unbounded_channel();

        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, monitor, has_logs, sender.clone()));
            }
        });
        Self { address, viewers, _server: server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request for a log.
    pub async fn viewer(&mut self) -> LogViewer {
        let viewer = within_timeout("a request for a log", self.viewers.recv()).await;
        viewer.expect("the double runs")
    }
}

impl LogViewer {
    /// The keys and values of the query.
    pub fn query(&self) -> BTreeMap<String, String> {
        let target = self.request.split(' ').nth(1).unwrap();
        let (_, query) = target.split_once('?').unwrap();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Begins the stream, and sends these messages.
    pub async fn begin(&mut self, messages: &[Value]) {
        self.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
        )
        .await;
        self.send(messages).await;
    }

    /// Sends messages.
    pub async fn send(&mut self, messages: &[Value]) {
        let events: String = messages
            .iter()
            .map(|message| format!("data: {message}\n\n"))
            .collect();
        self.write(&events).await;
    }

    /// Sends this text as it is.
    pub async fn write(&mut self, text: &str) {
        within_timeout("a viewer that reads", self.stream.write_all(text.as_bytes()))
            .await
            .unwrap();
    }

    /// Answers with an error.
    pub async fn refuse(mut self, status: u16, message: &str) {
        let body = json!({"error": {"code": status, "message": message}});
        self.write(&response(status, &body)).await;
    }

    /// Waits until the viewer closes the connection.
    pub async fn until_closed(mut self) {
        // An error is the end, too: the viewer may have closed it with data that it had not read.
        let _ = within_timeout("the end of a stream", self.stream.read(&mut [0])).await;
    }
}

/// A line of a log.
pub fn log_line(machine: &str, number: u64, priority: u8, message: &str) -> Value {
    json!({
        "type": "line",
        "machine": machine,
        "time": 1_700_000_000_000 + number,
        "priority": priority,
        "pid": 4711,
        "identifier": "docker",
        "message": message,
        "truncated": false,
        "binary": false,
        "cursor": format!("s={number}"),
    })
}

/// A machine that runs the unit, in this state.
pub fn log_machine(machine: &str, ip: &str, state: &str) -> Value {
    let reason = (state == "failed").then_some("connection refused");
    json!({
        "type": "machine",
        "machine": machine,
        "ip": ip,
        "state": state,
        "role": "current",
        "reason": reason,
    })
}

async fn serve(
    mut stream: TcpStream,
    monitor: Option<SocketAddr>,
    has_logs: bool,
    viewers: UnboundedSender<LogViewer>,
) {
    let Some(request) = receive(&mut stream).await else {
        return;
    };
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();

    match (path, monitor) {
        ("/v2/logs", _) => {
            let _ = viewers.send(LogViewer { request, stream });
        }
        ("/v2/actions", _) => {
            let body = json!({
                "commands": {"unit": [], "machine": []},
                "links": [],
                "logs": has_logs,
                "unit_files": null,
            });
            let _ = stream.write_all(response(200, &body).as_bytes()).await;
        }
        (_, Some(monitor)) => forward(stream, &request, monitor).await,
        (_, None) => {}
    }
}

/// Sends a request on, and all that follows. Each connection has one request, unless it becomes a
/// WebSocket.
async fn forward(mut client: TcpStream, request: &str, monitor: SocketAddr) {
    let is_upgrade = request.to_ascii_lowercase().contains("\r\nupgrade:");
    let request = if is_upgrade {
        request.to_owned()
    } else {
        let lines = request.trim_end().split("\r\n");
        let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        kept.chain(["Connection: close", "", ""])
            .collect::<Vec<_>>()
            .join("\r\n")
    };

    let Ok(mut monitor) = TcpStream::connect(monitor).await else {
        return;
    };
    if monitor.write_all(request.as_bytes()).await.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut monitor).await;
    }
}

/// The head of a request; `None` if the connection ends before.
async fn receive(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(request).ok()
}

fn response(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
