//! A real Alertmanager that a test can stop and start.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::cannot_run;
use super::etcd::free_port;

/// How long any test waits for an Alertmanager.
const PATIENCE: Duration = Duration::from_secs(30);

/// An Alertmanager on the loopback address. Dropping it kills the process.
pub struct Alertmanager {
    process: Option<AlertmanagerProcess>,
    port: u16,
    directory: TempDir,
}

struct AlertmanagerProcess(Child);

impl Alertmanager {
    /// Starts one that posts each alert to this URL. `None` where it is not installed; under CI
    /// that is a failure.
    pub async fn start(receiver: &str) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let config = format!(
            "{{route: {{receiver: test, group_by: ['...'], group_wait: 50ms, \
             group_interval: 100ms, repeat_interval: 1h}}, \
             receivers: [{{name: test, webhook_configs: [{{url: '{receiver}'}}]}}]}}"
        );
        fs::write(directory.path().join("config.yml"), config).unwrap();

        let mut alertmanager = Self { process: None, port: free_port(), directory };
        match alertmanager.run() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                cannot_run(
                    "Alertmanager is not there; it is in Debian's package prometheus-alertmanager",
                );
                return None;
            }
            Err(error) => panic!("Alertmanager: {error}"),
        }
        alertmanager.wait().await;
        Some(alertmanager)
    }

    /// Kills it. It has forgotten everything when it is started again.
    pub fn stop(&mut self) {
        self.process = None;
        let _ = fs::remove_dir_all(self.directory.path().join("data"));
    }

    pub async fn start_again(&mut self) {
        self.run().unwrap();
        self.wait().await;
    }

    pub fn url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The alerts that have not ended.
    pub async fn alerts(&self) -> Vec<Value> {
        let alerts = self.get("/api/v2/alerts").await.expect("a response");
        alerts.as_array().expect("a list").clone()
    }

    /// Waits until these alerts, and no others, have not ended.
    pub async fn until(&self, is_expected: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let alerts = self.alerts().await;
            if is_expected(&alerts) {
                return alerts;
            }
            assert!(Instant::now() < deadline, "{alerts:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn run(&mut self) -> std::io::Result<()> {
        let directory = self.directory.path();
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))?;

        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", directory.join("config.yml").display()))
            .arg(format!("--storage.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(AlertmanagerProcess(child));
        Ok(())
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/api/v2/status").await.is_none() {
            let process = self.process.as_mut().expect("it was started");
            let has_ended = process.0.try_wait().unwrap().is_some();
            assert!(!has_ended && Instant::now() < deadline, "{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.ok()?;
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);

        let request = Request::get(path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = requests.send_request(request).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    }
}

impl Drop for AlertmanagerProcess {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
