//! A fake fleetd: an HTTP server on a real socket, whose replies a test decides. It can misbehave
//! in each way that a server can.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The reply to a request.
pub enum Reply {
    /// Sends this status and JSON, and keeps the connection.
    Json(u16, Value),
    /// Sends these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and keeps the connection.
    Whole(Vec<u8>),
    /// Sends these bytes, and then nothing until the client closes the connection.
    Stall(Vec<u8>),
    /// Waits until a reply that stalls was sent, then sends these bytes, and keeps the connection.
    AfterStall(Vec<u8>),
    /// Sends these bytes one by one, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Closes the connection without a reply.
    Close,
    /// Sends nothing until the client closes the connection.
    Hang,
}

/// Decides on the reply to a request for a path, with its query.
pub trait Respond: FnMut(&str) -> Reply + Send + 'static {}
impl<F: FnMut(&str) -> Reply + Send + 'static> Respond for F {}

/// The requests and connections so far.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The request line and the headers of each request.
    pub requests: Vec<String>,
    /// Connections that were accepted.
    pub opened: usize,
    /// Replies that were sent and then stalled.
    pub stalled: usize,
    /// Connections that have ended.
    pub closed: usize,
}

/// A running fake fleetd. Dropping it closes its socket and all connections.
pub struct Fleetd {
    address: String,
    traffic: watch::Receiver<Traffic>,
    _server: JoinSet<()>,
    _dir: Option<TempDir>,
}

impl Fleetd {
    /// Listens on a unix socket of its own.
    pub fn unix(respond: impl Respond) -> Self {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("fleet.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        Self {
            _dir: Some(dir),
            ..Self::start(listener, format!("unix://{}", path.display()), respond)
        }
    }

    /// Listens on a free TCP port of the loopback address.
    pub async fn tcp(respond: impl Respond) -> Self {
        Self::tcp_at(([127, 0, 0, 1], 0).into(), respond).await
    }

    /// Listens on this address.
    pub async fn tcp_at(address: SocketAddr, respond: impl Respond) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("its address"));
        Self::start(listener, address, respond)
    }

    fn start(listener: impl Accept, address: String, respond: impl Respond) -> Self {
        let (traffic, receiver) = watch::channel(Traffic::default());
        let respond: SharedResponder = Arc::new(Mutex::new(respond));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok(stream) = listener.accept().await {
                connections.spawn(serve(stream, respond.clone(), traffic.clone()));
            }
        });
        Self { address, traffic: receiver, _server: server, _dir: None }
    }

    /// Its address, as `--api` takes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests and connections so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.borrow().clone()
    }

    /// The paths that were requested, with their queries.
    pub fn paths(&self) -> Vec<String> {
        self.traffic()
            .requests
            .iter()
            .map(|request| target(request).to_owned())
            .collect()
    }

    /// Waits until the traffic fulfils a condition.
    pub async fn until(&self, condition: impl FnMut(&Traffic) -> bool) {
        self.traffic.clone().wait_for(condition).await.expect("it runs");
    }
}

trait Accept: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

type SharedResponder = Arc<Mutex<dyn FnMut(&str) -> Reply + Send>>;

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    respond: SharedResponder,
    traffic: watch::Sender<Traffic>,
) {
    traffic.send_modify(|traffic| traffic.opened += 1);
    while let Some(request) = receive(&mut stream).await {
        traffic.send_modify(|traffic| traffic.requests.push(request.clone()));
        let reply = respond.lock().expect("no test panicked")(target(&request));

        let (bytes, end) = match reply {
            Reply::Json(status, body) => (http(status, &body.to_string()), AfterReply::Keep),
            Reply::Raw(bytes) => (bytes, AfterReply::Close),
            Reply::Whole(bytes) => (bytes, AfterReply::Keep),
            Reply::Close => break,
            Reply::Hang => (Vec::new(), AfterReply::Stall),
            Reply::Stall(bytes) => (bytes, AfterReply::Stall),
            Reply::AfterStall(bytes) => {
                traffic
                    .subscribe()
                    .wait_for(|traffic| traffic.stalled > 0)
                    .await
                    .expect("it runs");
                (bytes, AfterReply::Keep)
            }
            Reply::Drip(bytes, pause) => {
                if drip(&mut stream, &bytes, pause).await.is_err() {
                    break;
                }
                (Vec::new(), AfterReply::Keep)
            }
        };
        if stream.write_all(&bytes).await.is_err() {
            break;
        }
        match end {
            AfterReply::Keep => {}
            AfterReply::Close => break,
            AfterReply::Stall => {
                traffic.send_modify(|traffic| traffic.stalled += 1);
                // The client sends nothing more, so this read ends with the connection.
                let _ = stream.read(&mut [0]).await;
                break;
            }
        }
    }
    drop(stream);
    traffic.send_modify(|traffic| traffic.closed += 1);
}

/// What happens to the connection after a reply.
enum AfterReply {
    Keep,
    Close,
    Stall,
}

async fn drip(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    pause: Duration,
) -> io::Result<()> {
    for byte in bytes {
        stream.write_u8(*byte).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(request).ok()
}

fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

/// A whole response in the format of fleetd v1.0.0.
pub fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n\
         Server: fleetd/v1.0.0\r\nContent-Length: {length}\r\n\r\n{body}",
    )
    .into_bytes()
}

/// An error in the format of fleet.
pub fn error(status: u16, message: &str) -> Reply {
    Reply::Json(status, json!({"error": {"code": status, "message": message}}))
}

/// A line of a recording: the API's response for a path, or the output of fleetctl for the same
/// cluster.
#[derive(Deserialize)]
#[serde(untagged)]
enum RecordedLine {
    Response { path: String, response: String },
    Output { fleetctl: String, stdout: String },
}

/// The recorded API of a real cluster.
pub struct ApiRecording(Vec<RecordedLine>);

impl ApiRecording {
    /// Reads `tests/fixtures/api/NAME.jsonl`.
    pub fn load(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/fixtures/api/{name}.jsonl"));
        let text = std::fs::read_to_string(&path).expect("the recording");
        Self(
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a line of a recording"))
                .collect(),
        )
    }

    /// The cells of each line that `fleetctl COMMAND --full --no-legend` printed with all fields.
    pub fn fleetctl(&self, command: &str) -> Vec<Vec<&str>> {
        let stdout = self.0.iter().find_map(|line| match line {
            RecordedLine::Output { fleetctl, stdout } if fleetctl == command => Some(stdout),
            _ => None,
        });
        let lines = stdout.expect("the command's output").lines();
        lines
            .map(|line| line.split('\t').filter(|cell| !cell.is_empty()).collect())
            .collect()
    }

    /// Replies as the recorded fleetd did, byte for byte.
    pub fn respond(self) -> impl Respond {
        move |requested: &str| {
            let requested = requested.replace("%3D", "=");
            let recorded = self.0.iter().find_map(|line| match line {
                RecordedLine::Response { path, response } if *path == requested => Some(response),
                _ => None,
            });
            recorded.map_or_else(
                || error(404, ""),
                |response| Reply::Raw(response.clone().into_bytes()),
            )
        }
    }
}

/// A registry of fleet, from which each page is computed anew.
#[derive(Clone, Default)]
pub struct Registry {
    /// The entries of `/state`, in order.
    pub states: Vec<Value>,
    /// The entries of `/machines`, in order.
    pub machines: Vec<Value>,
    /// The entries of `/units`, in order.
    pub units: Vec<Value>,
}

impl Registry {
    /// The reply to a request for a path, with 100 entries a page.
    pub fn reply(&self, requested: &str) -> Reply {
        let (path, query) = requested.split_once('?').unwrap_or((requested, ""));
        if let Some(name) = path.strip_prefix("/fleet/v1/units/") {
            let unit = self.units.iter().find(|unit| unit["name"] == name);
            return unit.map_or_else(
                || error(404, "unit does not exist"),
                |unit| Reply::Json(200, unit.clone()),
            );
        }
        let (key, entries) = match path {
            "/fleet/v1/state" => ("states", &self.states),
            "/fleet/v1/machines" => ("machines", &self.machines),
            "/fleet/v1/units" => ("units", &self.units),
            _ => return error(404, ""),
        };
        // A real token is opaque. Like real ones, this one has a character that must be encoded.
        let page = match query.strip_prefix("nextPageToken=") {
            None => 0,
            Some(token) => token
                .strip_suffix("%3D")
                .and_then(|page| page.parse().ok())
                .expect("an encoded token"),
        };

        let start = entries.len().min(page * 100);
        let end = entries.len().min(start + 100);
        let mut body = json!({});
        if start < end {
            body[key] = json!(entries[start..end]);
        }
        if end == start + 100 {
            body["nextPageToken"] = json!(format!("{}=", page + 1));
        }
        Reply::Json(200, body)
    }
}
