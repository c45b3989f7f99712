//! A real etcd that a test can fill, drive, stop and kill; what was recorded of others; and a
//! double that misbehaves.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::cannot_run;
use super::fleetd::Reply;

/// Where fleet keeps its registry.
pub const PREFIX: &str = "/_coreos.com/fleet";

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many writes may be under way at a time.
const AT_ONCE: usize = 32;

/// An etcd of one member with its v2 keys API, on the loopback address. When dropped, it is killed
/// and gone.
pub struct Etcd {
    process: Option<EtcdProcess>,
    port: u16,
    directory: TempDir,
    client: Client<HttpConnector, Full<Bytes>>,
    encrypted: Option<TlsListener>,
    has_v2: bool,
}

/// How an etcd is also spoken to over TLS.
#[derive(Clone)]
pub struct TlsListener {
    pub port: u16,
    /// Its own certificate and key, as files in PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authority of its clients, who then have to show a certificate.
    pub authority: Option<PathBuf>,
}

impl Etcd {
    /// Starts one and waits until it answers. None where etcd is not installed; under CI that is a
    /// failure.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// The same, which listens for TLS too.
    pub async fn start_with(encrypted: Option<TlsListener>) -> Option<Self> {
        Self::start_as(encrypted, true).await
    }

    /// One without the v2 keys API, as later ones are by default.
    pub async fn start_without_v2() -> Option<Self> {
        Self::start_as(None, false).await
    }

    async fn start_as(encrypted: Option<TlsListener>, has_v2: bool) -> Option<Self> {
        loop {
            let (directory, client) = (TempDir::new().unwrap(), client());
            let encrypted = encrypted.clone();
            let mut etcd = Self {
                process: None,
                port: free_port(),
                directory,
                client,
                encrypted,
                has_v2,
            };
            match etcd.run() {
                Ok(process) => etcd.process = Some(process),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    cannot_run("etcd is not there; it is in Debian's package etcd-server");
                    return None;
                }
                Err(error) => panic!("etcd: {error}"),
            }
            if etcd.answers().await {
                return Some(etcd);
            }
            assert!(
                etcd.log().contains("address already in use"),
                "etcd has ended: {}",
                etcd.log()
            );
        }
    }

    fn run(&self) -> std::io::Result<EtcdProcess> {
        EtcdProcess::start(self.port, self.directory.path(), self.encrypted.as_ref(), self.has_v2)
    }

    /// Where it listens, as `--etcd` takes it.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process.as_ref().expect("it runs").0)
    }

    /// Kills it, as a machine that loses power does. What it has acknowledged is on disk.
    pub fn stop_hard(&mut self) {
        self.process = None;
    }

    /// Kills it if it runs, starts it with the same port and data, and waits until it answers.
    pub async fn restart(&mut self) {
        self.stop_hard();
        self.client = client();
        self.process = Some(self.run().unwrap());
        assert!(self.answers().await, "etcd has ended: {}", self.log());
    }

    /// Stops it in its tracks: connections stay, and nothing is said on them.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        // The last of its threads may still be on its way to a stop.
        waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Puts what is in a tree of keys into it: each value, with the life that it had left, and each
    /// empty directory.
    pub async fn fill(&self, tree: &RecordedNode) {
        let mut writes = Vec::new();
        for node in tree.flat().into_values() {
            writes.push(self.put(node));
        }
        stream::iter(writes)
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
    }

    async fn put(&self, node: &RecordedNode) -> u64 {
        match &node.value {
            Some(value) => self.set(&node.key, value, node.ttl).await,
            None => self.send(Method::PUT, &node.key, &[("dir", "true")]).await.done(),
        }
    }

    /// Sets a key, with seconds to live if it is to expire, and tells the index of that.
    pub async fn set(&self, key: &str, value: &str, ttl: Option<u64>) -> u64 {
        let ttl = ttl.map(|ttl| ttl.to_string());
        let form = [("value", value)]
            .into_iter()
            .chain(ttl.as_deref().map(|ttl| ("ttl", ttl)));
        self.send(Method::PUT, key, &form.collect::<Vec<_>>()).await.done()
    }

    /// Takes away a key, or a directory with all that is in it, and tells the index of that.
    pub async fn delete(&self, key: &str) -> u64 {
        self.send(Method::DELETE, key, &[("recursive", "true")]).await.done()
    }

    /// Does what was done in a recorded event, and tells the index of that. What expired then
    /// expires now.
    pub async fn apply(&self, event: &RecordedEvent) -> u64 {
        let RecordedEvent { action, node, previous } = event;
        let ttl = node.ttl.map(|ttl| ttl.to_string());
        let before = || {
            previous
                .as_ref()
                .and_then(|node| node.value.as_deref())
                .expect("a value before")
        };
        let mut form = Vec::new();
        form.extend(node.value.as_deref().map(|value| ("value", value)));
        form.extend(ttl.as_deref().map(|ttl| ("ttl", ttl)));
        match action.as_str() {
            "set" => {}
            "create" => form.push(("prevExist", "false")),
            "update" => form.push(("prevExist", "true")),
            "compareAndSwap" => form.push(("prevValue", before())),
            "delete" => return self.delete(&node.key).await,
            "compareAndDelete" => {
                return self
                    .send(Method::DELETE, &node.key, &[("prevValue", before())])
                    .await
                    .done();
            }
            "expire" => return self.expire(&[&node.key]).await[0],
            other => panic!("{other} is no action"),
        }
        self.send(Method::PUT, &node.key, &form).await.done()
    }

    /// Does what was done in [`EtcdRecording::steps`], and tells the index of each event.
    pub async fn apply_step(&self, step: &[TimedEvent]) -> Vec<u64> {
        match step {
            [recorded] => vec![self.apply(&recorded.event).await],
            expired => {
                let keys = expired.iter().map(|recorded| recorded.event.node.key.as_str());
                self.expire(&keys.collect::<Vec<_>>()).await
            }
        }
    }

    /// Lets keys expire, in this order, and tells the index of each. etcd sees to that every 0.5 s.
    pub async fn expire(&self, keys: &[&str]) -> Vec<u64> {
        // No watch hears of a refreshed life.
        let form = [("ttl", "0"), ("refresh", "true"), ("prevExist", "true")];
        let mut refreshed = Vec::new();
        for key in keys {
            refreshed.push(self.send(Method::PUT, key, &form).await.done());
        }
        let mut expired = Vec::new();
        for (key, index) in keys.iter().zip(refreshed) {
            let event = self.event(key, index + 1).await;
            assert_eq!(event.action, "expire", "{key}");
            expired.push(event.node.modified);
        }
        expired
    }

    /// Writes so many times, in turn to a key below fleet's that fleet does not know, and to one
    /// elsewhere. etcd remembers 1,000 events, of all keys.
    pub async fn churn(&self, writes: usize) {
        let keys = [format!("{PREFIX}/churn"), "/churn".to_owned()];
        let mut under_way = Vec::new();
        for key in keys.iter().cycle().take(writes) {
            under_way.push(self.set(key, "x", None));
        }
        stream::iter(under_way)
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
    }

    /// What it has below a key, and its index.
    pub async fn tree(&self, key: &str) -> (RecordedNode, u64) {
        let answer = self
            .send(Method::GET, key, &[("recursive", "true"), ("sorted", "true")])
            .await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.body);
        (RecordedNode::deserialize(&answer.body["node"]).unwrap(), answer.index)
    }

    /// Waits for the first event below a key that is not before an index.
    pub async fn event(&self, key: &str, from: u64) -> RecordedEvent {
        let query = [("wait", "true"), ("recursive", "true"), ("waitIndex", &from.to_string())];
        let answer = self.send(Method::GET, key, &query).await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.body);
        RecordedEvent::deserialize(answer.body).unwrap()
    }

    /// Its answer to a request for a key with these parameters.
    pub async fn send(
        &self,
        method: Method,
        key: &str,
        parameters: &[(&str, &str)],
    ) -> EtcdResponse {
        let parameters = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let path = format!("{}/v2/keys{}", self.url(), utf8_percent_encode(key, PATH));
        let (url, form) = if method == Method::PUT {
            (path, parameters)
        } else {
            (format!("{path}?{parameters}"), String::new())
        };
        let answer = timeout(PATIENCE, self.ask(method, &url, form)).await;
        answer
            .unwrap_or_else(|_| panic!("no answer for {key}"))
            .unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        form: String,
    ) -> Result<EtcdResponse, hyper_util::client::legacy::Error> {
        let request = Request::builder().method(method).uri(url);
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.into())
            .unwrap();
        let response = self.client.request(request).await?;
        let status = response.status().as_u16();
        let index = response
            .headers()
            .get("x-etcd-index")
            .and_then(|index| index.to_str().ok()?.parse().ok());
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        Ok(EtcdResponse {
            status,
            index: index.unwrap_or_default(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    /// Waits until it answers; false if it has ended.
    async fn answers(&mut self) -> bool {
        let url = format!("{}/v2/stats/self", self.url());
        let patience = Instant::now() + PATIENCE;
        loop {
            // Whatever else listens there has another name; without the v2 API there is none to be
            // told.
            if let Ok(said) = self.ask(Method::GET, &url, String::new()).await
                && (said.body["name"] == name(self.directory.path()) || !self.has_v2)
                && (said.body["state"] == "StateLeader" || !self.has_v2)
            {
                return true;
            }
            if self
                .process
                .as_mut()
                .expect("it was started")
                .0
                .try_wait()
                .unwrap()
                .is_some()
            {
                return false;
            }
            assert!(Instant::now() < patience, "etcd does not answer: {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default()
    }
}

const LOG: &str = "log";

/// What of a key may be in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// The child process. Dropping it kills it, and takes note of its end.
struct EtcdProcess(Child);

impl EtcdProcess {
    fn start(
        port: u16,
        directory: &Path,
        encrypted: Option<&TlsListener>,
        has_v2: bool,
    ) -> std::io::Result<Self> {
        let mut client = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        // Nobody ever connects as a peer, so it may be any port; the announced one is a name.
        let (peer, announced) = (format!("http://{}:0", Ipv4Addr::LOCALHOST), "http://127.0.0.1:1");
        let name = name(directory);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(LOG))?;
        let mut command = Command::new("etcd");
        if let Some(TlsListener { port, certificate, key, authority }) = encrypted {
            client += &format!(",https://{}:{port}", Ipv4Addr::LOCALHOST);
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
            if let Some(authority) = authority {
                command
                    .arg("--client-cert-auth")
                    .arg("--trusted-ca-file")
                    .arg(authority);
            }
        }
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).args([
            "--logger",
            "zap",
            "--log-level",
            "error",
        ]);
        command
            .arg(format!("--enable-v2={has_v2}"))
            .arg("--enable-grpc-gateway=false");
        command
            .args(["--name", &name, "--data-dir"])
            .arg(directory.join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", announced]);
        command.args(["--initial-cluster", &format!("{name}={announced}")]);
        // Alone as it is, it need not wait long for votes.
        command.args(["--heartbeat-interval", "10", "--election-timeout", "50"]);
        command.spawn().map(Self)
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn name(directory: &Path) -> String {
    directory
        .file_name()
        .expect("a temporary directory")
        .to_string_lossy()
        .into_owned()
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// A port that is free now. It is below those that Linux gives away by itself, so nobody gets it by
/// chance while etcd starts, or is down for a restart.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(15_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// An answer of etcd.
#[derive(Debug)]
pub struct EtcdResponse {
    pub status: u16,
    /// `X-Etcd-Index`.
    pub index: u64,
    /// Null if it is no JSON.
    pub body: Value,
}

impl EtcdResponse {
    /// The index of what was done.
    fn done(self) -> u64 {
        assert!(self.status == 200 || self.status == 201, "{}", self.body);
        self.body["node"]["modifiedIndex"].as_u64().expect("an index")
    }
}

/// A key with its value, or a directory with what is in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedNode {
    pub key: String,
    pub value: Option<String>,
    /// Seconds that are left, rounded up; none if it stays.
    pub ttl: Option<u64>,
    #[serde(default)]
    pub dir: bool,
    #[serde(default)]
    pub nodes: Vec<RecordedNode>,
    #[serde(rename = "modifiedIndex")]
    pub modified: u64,
}

impl RecordedNode {
    /// The keys that have values and the empty directories, by name.
    pub fn flat(&self) -> BTreeMap<&str, &RecordedNode> {
        if self.nodes.is_empty() {
            return BTreeMap::from([(self.key.as_str(), self)]);
        }
        self.nodes.iter().flat_map(RecordedNode::flat).collect()
    }

    /// The keys with their values; none for an empty directory.
    pub fn values(&self) -> BTreeMap<&str, Option<&str>> {
        self.flat()
            .into_iter()
            .map(|(key, node)| (key, node.value.as_deref()))
            .collect()
    }
}

/// A change, as a watch tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedEvent {
    pub action: String,
    pub node: RecordedNode,
    #[serde(rename = "prevNode")]
    pub previous: Option<RecordedNode>,
}

/// What was recorded of a registry while something happened: `tests/fixtures/etcd/README.md`.
pub struct EtcdRecording {
    /// etcd's index before the first event.
    pub index: u64,
    /// The registry before the first event.
    pub start: RecordedNode,
    pub events: Vec<TimedEvent>,
}

/// A recorded event.
#[derive(Deserialize)]
pub struct TimedEvent {
    /// When it was heard, in seconds on the clock of the timeline of that name.
    pub t: f64,
    pub event: RecordedEvent,
}

impl EtcdRecording {
    /// Reads `tests/fixtures/etcd/NAME.start.json` and `NAME.watch.jsonl`.
    pub fn load(name: &str) -> Self {
        let start: Value = serde_json::from_str(&fixture(&format!("{name}.start.json"))).unwrap();
        let events = fixture(&format!("{name}.watch.jsonl"));
        Self {
            index: start["index"].as_u64().unwrap(),
            start: RecordedNode::deserialize(&start["tree"]["node"]).unwrap(),
            events: events
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }

    /// The events, in their order, one at a time, except that those which expired one after another
    /// are together: they have to expire together again, or what is renewed meanwhile would expire
    /// too.
    pub fn steps(&self) -> Vec<&[TimedEvent]> {
        let expired = |recorded: &TimedEvent| recorded.event.action == "expire";
        self.events
            .chunk_by(|one, next| expired(one) && expired(next))
            .collect()
    }
}

/// The registry of a cluster of that fleetd: `tests/fixtures/etcd/VERSION.tree.json`.
pub fn registry(version: &str) -> RecordedNode {
    let tree: Value = serde_json::from_str(&fixture(&format!("{version}.tree.json"))).unwrap();
    RecordedNode::deserialize(&tree["tree"]["node"]).unwrap()
}

fn fixture(name: &str) -> String {
    fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/etcd")
            .join(name),
    )
    .unwrap()
}

/// A server that answers as a test says. Nothing but the name of it is fleetd's.
pub use super::fleetd::Fleetd as EtcdDouble;

/// What an etcd says, for a [`EtcdDouble`] to say it in one way or another.
pub struct EtcdReply {
    pub status: u16,
    /// `X-Etcd-Cluster-Id` and `X-Etcd-Index`; none where no etcd speaks.
    pub head: Option<(&'static str, u64)>,
    pub body: String,
}

impl EtcdReply {
    /// A tree or an event, as JSON.
    pub fn of(cluster: &'static str, index: u64, body: &Value) -> Self {
        Self {
            status: 200,
            head: Some((cluster, index)),
            body: body.to_string(),
        }
    }

    /// An error of etcd's: 100, there is no such key; 401, the event is forgotten.
    pub fn error(cluster: &'static str, index: u64, code: u16) -> Self {
        let (status, message) = match code {
            100 => (404, "Key not found"),
            401 => (400, "The event in requested index is outdated and cleared"),
            _ => (500, "Raft Internal Error"),
        };
        let body = json!({"errorCode": code, "message": message, "cause": "", "index": index});
        Self { status, head: Some((cluster, index)), body: body.to_string() }
    }

    /// What an etcd without the v2 API says.
    pub fn without_v2() -> Self {
        Self {
            status: 404,
            head: None,
            body: "404 page not found\n".to_owned(),
        }
    }

    /// As it should be.
    pub fn whole(self) -> Reply {
        Reply::Whole(self.bytes())
    }

    /// The connection ends in the middle of the body.
    pub fn truncated(self) -> Reply {
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - self.body.len() / 2);
        Reply::Raw(bytes)
    }

    /// The body never comes.
    pub fn silent(self) -> Reply {
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - self.body.len());
        Reply::Stall(bytes)
    }

    /// Each byte comes a while after the one before.
    pub fn dripping(self, pause: Duration) -> Reply {
        Reply::Drip(self.bytes(), pause)
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, head, body } = self;
        let head = head.map(|(cluster, index)| {
            format!("X-Etcd-Cluster-Id: {cluster}\r\nX-Etcd-Index: {index}\r\n")
        });
        let (head, length) = (head.unwrap_or_default(), body.len());
        format!("HTTP/1.1 {status} Whatever\r\n{head}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }
}
