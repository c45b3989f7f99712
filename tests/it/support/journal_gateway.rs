//! A double of systemd-journal-gatewayd, with a journal that the test fills, on a real socket.
//!
//! It has what fleet-monitor uses of `/entries`: matches, `follow`, and the header `Range`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// As systemd-journal-gatewayd does.
    #[default]
    Works,
    /// It accepts connections, and never answers.
    Hangs,
    /// It sends something else than entries.
    SendsGarbage,
    /// It sends one byte at a time.
    SendsBytes,
    /// It closes a connection in the middle of the last entry.
    CutsEntries,
    /// It answers with status 500.
    Fails,
    /// It answers with status 500 if it is asked what systemd says about a unit.
    FailsAboutUnit,
}

/// A request, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRequest {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct GatewayState {
    mode: GatewayMode,
    entries: Vec<Value>,
    requests: Vec<GatewayRequest>,
    open: usize,
    /// Connections that were accepted before this number was reached are closed.
    closed_before: usize,
    accepted: usize,
}

/// A running double.
#[derive(Clone)]
pub struct JournalGateway {
    pub address: SocketAddr,
    state: Arc<watch::Sender<Mutex<GatewayState>>>,
}

impl JournalGateway {
    /// Starts one at a loopback address. Port 0 is any free port.
    pub async fn start(ip: &str, port: u16) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let gateway = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(watch::Sender::new(Mutex::default())),
        };

        let accepting = gateway.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = accepting.change(|state| {
                    state.open += 1;
                    state.accepted += 1;
                    state.accepted
                });
                let gateway = accepting.clone();
                tokio::spawn(async move {
                    gateway.serve(stream, number).await;
                    gateway.change(|state| state.open -= 1);
                });
            }
        });
        gateway
    }

    pub fn set_mode(&self, mode: GatewayMode) {
        self.change(|state| state.mode = mode);
    }

    /// Writes what a process of a unit writes.
    pub fn write(&self, unit: &str, message: &str) {
        self.write_all(unit, [json!(message)]);
    }

    /// The same, but at the present. The other entries are from the year 2023.
    pub fn write_now(&self, unit: &str, message: &str) {
        self.write(unit, message);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.change(|state| {
            let entry = state.entries.last_mut().unwrap();
            entry["__REALTIME_TIMESTAMP"] = json!(now.as_micros().to_string());
        });
    }

    /// Writes many messages at once, in any form that a field of an entry has.
    pub fn write_all(&self, unit: &str, messages: impl IntoIterator<Item = Value>) {
        let field = json!({
            "_SYSTEMD_UNIT": unit, "_PID": "4711", "SYSLOG_IDENTIFIER": "web", "PRIORITY": "6",
        });
        self.append(messages.into_iter().map(|message| (field.clone(), message)));
    }

    /// Writes what systemd says about a unit.
    pub fn write_about(&self, unit: &str, message: &str) {
        let field = json!({
            "UNIT": unit, "_PID": "1", "SYSLOG_IDENTIFIER": "systemd", "PRIORITY": "3",
            "_SYSTEMD_UNIT": "init.scope",
        });
        self.append([(field, json!(message))]);
    }

    /// An entry one second after the one before it, with the address in its cursor.
    fn append(&self, entries: impl IntoIterator<Item = (Value, Value)>) {
        let address = self.address.ip();
        self.change(|state| {
            for (mut entry, message) in entries {
                let number = state.entries.len() as u64;
                entry["MESSAGE"] = message;
                entry["__CURSOR"] = json!(format!("s={address};i={number}"));
                let time = 1_700_000_000_000_000 + number * 1_000_000;
                entry["__REALTIME_TIMESTAMP"] = json!(time.to_string());
                state.entries.push(entry);
            }
        });
    }

    /// Closes all connections that are open now.
    pub fn close_connections(&self) {
        self.change(|state| state.closed_before = state.accepted + 1);
    }

    /// The requests until now.
    pub fn requests(&self) -> Vec<GatewayRequest> {
        self.state.borrow().lock().unwrap().requests.clone()
    }

    /// Waits until there are so many open connections.
    pub async fn until_open(&self, count: usize) {
        let mut state = self.state.subscribe();
        state
            .wait_for(|state| state.lock().unwrap().open == count)
            .await
            .unwrap();
    }

    /// Waits until so many requests have arrived.
    pub async fn until_requests(&self, count: usize) {
        let mut state = self.state.subscribe();
        let has_them = |state: &Mutex<GatewayState>| state.lock().unwrap().requests.len() >= count;
        timeout(PATIENCE, state.wait_for(has_them))
            .await
            .expect("in time")
            .unwrap();
    }

    fn change<T>(&self, change: impl FnOnce(&mut GatewayState) -> T) -> T {
        let mut result = None;
        self.state
            .send_modify(|state| result = Some(change(state.get_mut().unwrap())));
        result.unwrap()
    }

    fn mode(&self) -> GatewayMode {
        self.state.borrow().lock().unwrap().mode
    }

    /// Answers one request, and closes the connection. An error means that the client has gone.
    async fn serve(&self, mut stream: TcpStream, number: usize) {
        let mut state = self.state.subscribe();
        let is_closed = |state: &Mutex<GatewayState>| state.lock().unwrap().closed_before > number;
        tokio::select! {
            _ = self.answer(&mut stream) => {}
            _ = state.wait_for(is_closed) => {}
        }
    }

    async fn answer(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let request = read_request(stream).await?;
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let query: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let follows = query.iter().any(|(key, _)| key == "follow");
        let range = request.headers.get("range").cloned().unwrap_or_default();
        assert_eq!((path, &*request.method), ("/entries", "GET"));
        self.change(|state| state.requests.push(request.clone()));

        match self.mode() {
            GatewayMode::Hangs => {
                std::future::pending::<()>().await;
            }
            mode @ (GatewayMode::Fails | GatewayMode::FailsAboutUnit)
                if mode == GatewayMode::Fails || query.iter().any(|(key, _)| key == "UNIT") =>
            {
                let answer = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(answer.as_bytes()).await;
            }
            GatewayMode::SendsGarbage => {
                let answer =
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>\nnothing\n</html>\n";
                return stream.write_all(answer.as_bytes()).await;
            }
            _ => {}
        }

        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;

        let matches = |entry: &Value| {
            query
                .iter()
                .filter(|(key, _)| key != "follow")
                .all(|(key, value)| entry[key] == *value)
        };
        let mut next = self.first_of(&range, &matches);
        loop {
            let entries: Vec<Value> = {
                let state = self.state.borrow();
                let state = state.lock().unwrap();
                let new = state.entries[next..].to_vec();
                next = state.entries.len();
                new.into_iter().filter(&matches).collect()
            };
            let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
            self.send(stream, text.as_bytes()).await?;
            if !follows {
                return Ok(());
            }

            let mut state = self.state.subscribe();
            let has_more = |state: &Mutex<GatewayState>| state.lock().unwrap().entries.len() > next;
            tokio::select! {
                _ = state.wait_for(has_more) => {}
                // The client has closed the connection.
                _ = stream.read_u8() => return Ok(()),
            }
        }
    }

    /// The index of the first entry of `entries=CURSOR:SKIP:COUNT`.
    fn first_of(&self, range: &str, matches: &impl Fn(&Value) -> bool) -> usize {
        let state = self.state.borrow();
        let state = state.lock().unwrap();
        let range = range.strip_prefix("entries=").expect("a range of entries");
        let mut parts = range.split(':');
        let cursor = parts.next().unwrap();

        if !cursor.is_empty() {
            let index = state.entries.iter().position(|entry| entry["__CURSOR"] == cursor);
            return index.expect("a known cursor");
        }
        let count = parts.next().and_then(|skip| skip.strip_prefix('-')).expect("a skip");
        let count: usize = count.parse().unwrap();
        let matching = state.entries.iter().enumerate().filter(|(_, entry)| matches(entry));
        let indexes: Vec<usize> = matching.map(|(index, _)| index).collect();
        let first = indexes.len().saturating_sub(count);
        indexes.get(first).copied().unwrap_or(state.entries.len())
    }

    async fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        match self.mode() {
            GatewayMode::SendsBytes => {
                stream.set_nodelay(true)?;
                for byte in bytes {
                    stream.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            GatewayMode::CutsEntries => {
                stream.write_all(&bytes[..bytes.len().saturating_sub(20)]).await?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            _ => stream.write_all(bytes).await,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<GatewayRequest> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap().split(' ');

    Ok(GatewayRequest {
        method: words.next().unwrap().into(),
        path: words.next().unwrap().into(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
    })
}
