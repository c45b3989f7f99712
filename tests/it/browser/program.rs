//! The program that serves the page.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

use super::chromium::PATIENCE;
use super::recording::Recording;
use crate::support::Double;

/// Everything that is wrong is a problem at once, unless a test sets another time.
const CONFIGURATION: &str = "problem_after = \"0\"\n";

/// A running fleet-monitor; killed when dropped.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) port: u16,
    arguments: Vec<String>,
    pub(super) directory: TempDir,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (child, port) = spawn(0, &arguments, &directory);
        Self { child, port, arguments, directory }
    }

    /// One that polls this fleetctl five times a second.
    pub(super) fn asking(fleetctl: &Double, arguments: &[&str]) -> Self {
        let command = fleetctl.command();
        let often = [
            "--fleetctl",
            command.to_str().unwrap(),
            "--unit-freq",
            "0.2",
            "--machine-freq",
            "0.2",
        ];
        Self::start(&[&often, arguments].concat())
    }

    pub(super) fn replay(recording: &Recording) -> Self {
        Self::replay_with(recording, &[])
    }

    pub(super) fn replay_with(recording: &Recording, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("recording.jsonl");
        std::fs::write(&path, &recording.0).unwrap();
        let mut all = vec!["--replay".to_owned(), path.to_str().unwrap().to_owned()];
        all.extend(arguments.iter().map(ToString::to_string));
        let (child, port) = spawn(0, &all, &directory);
        Self { child, port, arguments: all, directory }
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(super) fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}/{rest}", self.port)
    }

    /// Makes it take this configuration.
    pub(super) fn reload(&self, configuration: &str) {
        let configuration = format!("{CONFIGURATION}{configuration}");
        std::fs::write(self.directory.path().join("fleet-monitor.toml"), configuration).unwrap();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with the same arguments.
    pub(super) fn start_again(&mut self) {
        (self.child, _) = spawn(self.port, &self.arguments, &self.directory);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], directory: &TempDir) -> (Child, u16) {
    let configuration = directory.path().join("fleet-monitor.toml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"))
        .env_clear()
        .env("FLEET_MONITOR_CONFIG", configuration)
        .args(["--port", &port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let port = port_after(child.stderr.take().unwrap(), "listening on");
    let port = port.unwrap_or_else(|output| panic!("fleet-monitor does not listen:\n{output}"));
    (child, port)
}

/// The port of the first address after `words` in the output of a child, or, without one, all its
/// output. The rest of the output is read and dropped, so that the child does not block.
pub(super) fn port_after(
    output: impl Read + Send + 'static,
    words: &'static str,
) -> Result<u16, String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut read = String::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(words) {
                let word = rest
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches(|c: char| !c.is_ascii_digit());
                if let Some(port) = word.rsplit(':').next().and_then(|port| port.parse().ok()) {
                    let _ = sender.send(Ok(port));
                }
            }
            read.push_str(&line);
            read.push('\n');
        }
        let _ = sender.send(Err(read));
    });
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(format!("nothing with '{words}' in {PATIENCE:?}")))
}
