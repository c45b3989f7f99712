//! A journal for one program: a socket that receives systemd's "Journal Native Protocol".

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::{Daemon, Program, cannot_run};

/// How long a test waits for an entry.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The fields of an entry.
pub type Entry = BTreeMap<String, String>;

pub struct Journal {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Journal {
    /// `None` if the test does not run as root.
    pub fn new() -> Option<Self> {
        if !geteuid().is_root() {
            cannot_run("a journal for one program needs root");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
        Some(Self { socket, directory })
    }

    /// Starts the program, which logs to this journal.
    pub fn start(&self, arguments: &[&str]) -> Daemon {
        let socket = self.directory.path().join("socket");
        let arguments = [arguments, &["--log-to", "journal"]].concat();
        Program::under(&launcher(&socket), &arguments).launch()
    }

    pub async fn next(&self) -> Entry {
        let mut datagram = [0; 4096];
        let length = timeout(TIMEOUT, self.socket.recv(&mut datagram))
            .await
            .expect("an entry of the journal")
            .unwrap();

        entry(&datagram[..length])
    }

    /// The next entry whose field has this value. Other entries are ignored.
    pub async fn next_with(&self, field: &str, value: &str) -> Entry {
        loop {
            let entry = self.next().await;
            if entry.get(field).is_some_and(|actual| actual == value) {
                return entry;
            }
        }
    }
}

/// The wrapper that starts a program whose journal is this socket. It needs root.
pub fn launcher(socket: &Path) -> [&str; 6] {
    let mount = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                 ln -s \"$0\" /run/systemd/journal/socket && exec \"$@\"";
    ["unshare", "--mount", "sh", "-c", mount, socket.to_str().unwrap()]
}

/// Decodes an entry. A field is either a line `NAME=VALUE`, or a line `NAME` followed by the length
/// of the value and the value.
pub fn entry(mut encoded: &[u8]) -> Entry {
    let mut fields = Entry::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();

    while let Some(end) = encoded.iter().position(|byte| *byte == b'\n') {
        let line = &encoded[..end];
        let rest = &encoded[end + 1..];

        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            encoded = rest;
        } else if let Some((length, rest)) = rest.split_first_chunk() {
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            encoded = &rest[length + 1..];
        } else {
            break;
        }
    }

    fields
}
