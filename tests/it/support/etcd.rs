//! A real etcd that a test can fill, drive, stop and kill.

mod double;
mod recording;

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
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::cannot_run;
pub use double::{EtcdDouble, EtcdReply};
pub use recording::{EtcdRecording, RecordedEvent, RecordedNode, TimedEvent, registry};

/// Where fleet keeps its registry.
pub const PREFIX: &str = "/_coreos.com/fleet";

/// How long any test waits for a response.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many writes are under way at a time.
const MAX_WRITES: usize = 32;

/// An etcd of one member with its v2 keys API, on the loopback address. Dropping it kills the
/// process and deletes the data.
pub struct Etcd {
    process: Option<EtcdProcess>,
    port: u16,
    directory: TempDir,
    client: Client<HttpConnector, Full<Bytes>>,
    tls: Option<TlsListener>,
    has_v2: bool,
}

/// A second listener of an etcd, with TLS.
#[derive(Clone)]
pub struct TlsListener {
    pub port: u16,
    /// The PEM file with etcd's certificate.
    pub certificate: PathBuf,
    /// The PEM file with the key of that.
    pub key: PathBuf,
    /// The CA of client certificates; `None` if clients need no certificate.
    pub authority: Option<PathBuf>,
}

impl Etcd {
    /// Starts an etcd, and waits until it responds. `None` where etcd is not installed; under CI
    /// that is a failure.
    pub async fn start() -> Option<Self> {
        Self::start_as(None, true).await
    }

    /// Starts an etcd that also listens for TLS.
    pub async fn start_with_tls(tls: TlsListener) -> Option<Self> {
        Self::start_as(Some(tls), true).await
    }

    /// Starts an etcd without the v2 keys API, which is the default of later versions.
    pub async fn start_without_v2() -> Option<Self> {
        Self::start_as(None, false).await
    }

    async fn start_as(tls: Option<TlsListener>, has_v2: bool) -> Option<Self> {
        loop {
            let mut etcd = Self {
                process: None,
                port: free_port(),
                directory: TempDir::new().unwrap(),
                client: client(),
                tls: tls.clone(),
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

            if etcd.is_up().await {
                return Some(etcd);
            }
            // Somebody else was given the port meanwhile: try another one.
            assert!(
                etcd.log().contains("address already in use"),
                "etcd has ended: {}",
                etcd.log()
            );
        }
    }

    fn run(&self) -> std::io::Result<EtcdProcess> {
        EtcdProcess::start(self.port, self.directory.path(), self.tls.as_ref(), self.has_v2)
    }

    /// Its address, as `--etcd` takes it.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The ID of its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process.as_ref().expect("it runs").0)
    }

    /// Kills it, like a loss of power. What it has acknowledged is on disk.
    pub fn stop_hard(&mut self) {
        self.process = None;
    }

    /// Kills it if it runs, starts it with the same port and data, and waits until it responds.
    pub async fn restart(&mut self) {
        self.stop_hard();
        self.client = client();
        self.process = Some(self.run().unwrap());
        assert!(self.is_up().await, "etcd has ended: {}", self.log());
    }

    /// Suspends its process: connections stay open, and it does not respond.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        // Wait until the last of its threads has stopped.
        waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
    }

    /// Resumes its process.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Writes all keys of a tree to it: each value with the TTL that it had left, and each empty
    /// directory.
    pub async fn fill(&self, tree: &RecordedNode) {
        let mut writes = Vec::new();
        for node in tree.flat().into_values() {
            writes.push(self.put(node));
        }

        stream::iter(writes)
            .buffer_unordered(MAX_WRITES)
            .collect::<Vec<_>>()
            .await;
    }

    async fn put(&self, node: &RecordedNode) -> u64 {
        match &node.value {
            Some(value) => self.set(&node.key, value, node.ttl).await,
            None => self
                .send(Method::PUT, &node.key, &[("dir", "true")])
                .await
                .modified_index(),
        }
    }

    /// Sets a key, maybe with a TTL in seconds, and returns etcd's index after that.
    pub async fn set(&self, key: &str, value: &str, ttl: Option<u64>) -> u64 {
        let ttl = ttl.map(|ttl| ttl.to_string());
        let mut form = vec![("value", value)];
        form.extend(ttl.as_deref().map(|ttl| ("ttl", ttl)));
        self.send(Method::PUT, key, &form).await.modified_index()
    }

    /// Deletes a key, or a directory with all its keys, and returns etcd's index after that.
    pub async fn delete(&self, key: &str) -> u64 {
        self.send(Method::DELETE, key, &[("recursive", "true")])
            .await
            .modified_index()
    }

    /// Repeats a recorded event, and returns etcd's index after that. A key that expired then
    /// expires now.
    pub async fn apply(&self, event: &RecordedEvent) -> u64 {
        let RecordedEvent { action, node, previous } = event;
        let ttl = node.ttl.map(|ttl| ttl.to_string());
        let previous_value = || {
            previous
                .as_ref()
                .and_then(|node| node.value.as_deref())
                .expect("a previous value")
        };

        let mut form = Vec::new();
        form.extend(node.value.as_deref().map(|value| ("value", value)));
        form.extend(ttl.as_deref().map(|ttl| ("ttl", ttl)));
        match action.as_str() {
            "set" => {}
            "create" => form.push(("prevExist", "false")),
            "update" => form.push(("prevExist", "true")),
            "compareAndSwap" => form.push(("prevValue", previous_value())),
            "delete" => return self.delete(&node.key).await,
            "compareAndDelete" => {
                return self
                    .send(Method::DELETE, &node.key, &[("prevValue", previous_value())])
                    .await
                    .modified_index();
            }
            "expire" => return self.expire(&[&node.key]).await[0],
            other => panic!("{other} is no action"),
        }
        self.send(Method::PUT, &node.key, &form).await.modified_index()
    }

    /// Repeats one of [`EtcdRecording::steps`], and returns etcd's index after each event.
    pub async fn apply_step(&self, step: &[TimedEvent]) -> Vec<u64> {
        match step {
            [recorded] => vec![self.apply(&recorded.event).await],
            expired => {
                let keys: Vec<&str> =
                    expired.iter().map(|timed| timed.event.node.key.as_str()).collect();
                self.expire(&keys).await
            }
        }
    }

    /// Makes keys expire, in this order, and returns etcd's index after each. etcd removes expired
    /// keys every 0.5 s.
    pub async fn expire(&self, keys: &[&str]) -> Vec<u64> {
        // A watch does not deliver a refreshed TTL.
        let form = [("ttl", "0"), ("refresh", "true"), ("prevExist", "true")];
        let mut refreshed = Vec::new();
        for key in keys {
            refreshed.push(self.send(Method::PUT, key, &form).await.modified_index());
        }

        let mut expired = Vec::new();
        for (key, index) in keys.iter().zip(refreshed) {
            let event = self.event(key, index + 1).await;
            assert_eq!(event.action, "expire", "{key}");
            expired.push(event.node.modified);
        }
        expired
    }

    /// Writes this many times, in turn to an unknown key in fleet's directory, and to one
    /// elsewhere. etcd's history has 1,000 events, of all keys.
    pub async fn churn(&self, writes: usize) {
        let keys = [format!("{PREFIX}/churn"), "/churn".to_owned()];
        let mut pending = Vec::new();
        for key in keys.iter().cycle().take(writes) {
            pending.push(self.set(key, "x", None));
        }

        stream::iter(pending)
            .buffer_unordered(MAX_WRITES)
            .collect::<Vec<_>>()
            .await;
    }

    /// The tree below a key, and etcd's index.
    pub async fn tree(&self, key: &str) -> (RecordedNode, u64) {
        let query = [("recursive", "true"), ("sorted", "true")];
        let response = self.send(Method::GET, key, &query).await;
        assert_eq!(response.status, 200, "{key}: {}", response.body);
        (RecordedNode::deserialize(&response.body["node"]).unwrap(), response.index)
    }

    /// Waits for the first event below a key from an index on.
    pub async fn event(&self, key: &str, from: u64) -> RecordedEvent {
        let query = [("wait", "true"), ("recursive", "true"), ("waitIndex", &from.to_string())];
        let response = self.send(Method::GET, key, &query).await;
        assert_eq!(response.status, 200, "{key}: {}", response.body);
        RecordedEvent::deserialize(response.body).unwrap()
    }

    /// Sends a request for a key with these parameters.
    pub async fn send(
        &self,
        method: Method,
        key: &str,
        parameters: &[(&str, &str)],
    ) -> EtcdResponse {
        let parameters = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let path = format!("{}/v2/keys{}", self.url(), utf8_percent_encode(key, RESERVED));
        let (url, form) = if method == Method::PUT {
            (path, parameters)
        } else {
            (format!("{path}?{parameters}"), String::new())
        };

        timeout(PATIENCE, self.request(method, &url, form))
            .await
            .unwrap_or_else(|_| panic!("no response for {key}"))
            .unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    async fn request(
        &self,
        method: Method,
        url: &str,
        form: String,
    ) -> Result<EtcdResponse, hyper_util::client::legacy::Error> {
        let request = Request::builder()
            .method(method)
            .uri(url)
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

    /// Waits until it responds as a leader. Returns false if its process has ended.
    async fn is_up(&mut self) -> bool {
        let url = format!("{}/v2/stats/self", self.url());
        let deadline = Instant::now() + PATIENCE;
        let name = name(self.directory.path());
        loop {
            // Another etcd at this port has another name. Without the v2 API, there is no name.
            if let Ok(response) = self.request(Method::GET, &url, String::new()).await {
                let is_leader =
                    response.body["name"] == name && response.body["state"] == "StateLeader";
                if is_leader || !self.has_v2 {
                    return true;
                }
            }

            let process = self.process.as_mut().expect("it was started");
            if process.0.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "etcd does not respond: {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default()
    }
}

const LOG: &str = "log";

/// The characters of a key that are escaped in a path.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// The child process. Dropping it kills it, and reaps it.
struct EtcdProcess(Child);

impl EtcdProcess {
    fn start(
        port: u16,
        directory: &Path,
        tls: Option<&TlsListener>,
        has_v2: bool,
    ) -> std::io::Result<Self> {
        let mut client = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        // No peer ever connects, so any port will do for that.
        let peer = format!("http://{}:0", Ipv4Addr::LOCALHOST);
        let announced = "http://127.0.0.1:1";
        let name = name(directory);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(LOG))?;

        let mut command = Command::new("etcd");
        if let Some(TlsListener { port, certificate, key, authority }) = tls {
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
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command
            .args(["--logger", "zap", "--log-level", "error"])
            .arg(format!("--enable-v2={has_v2}"))
            .arg("--enable-grpc-gateway=false")
            .args(["--name", &name, "--data-dir"])
            .arg(directory.join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", announced]);
        command.args(["--initial-cluster", &format!("{name}={announced}")]);
        // A single member need not wait long for votes.
        command.args(["--heartbeat-interval", "10", "--election-timeout", "50"]);
        command.spawn().map(Self)
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        // An error means that it has ended already.
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

/// A port that is free now. It is below the ephemeral ports of Linux, so that nobody is given it
/// while etcd starts or restarts.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(15_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A response of etcd.
#[derive(Debug)]
pub struct EtcdResponse {
    pub status: u16,
    /// The header `X-Etcd-Index`; 0 without it.
    pub index: u64,
    /// Null if the body is not JSON.
    pub body: Value,
}

impl EtcdResponse {
    /// etcd's index after a write.
    fn modified_index(self) -> u64 {
        assert!(self.status == 200 || self.status == 201, "{}", self.body);
        self.body["node"]["modifiedIndex"].as_u64().expect("an index")
    }
}
