//! A journal of its own for one program: a socket at which it hears systemd's "Journal Native
//! Protocol".

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::{Daemon, Program, cannot_run};

/// No test waits longer for an entry.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fields of an entry.
pub type Entry = BTreeMap<String, String>;

pub struct Journal {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Journal {
    /// None where there can be none.
    pub fn new() -> Option<Self> {
        if !geteuid().is_root() {
            cannot_run("a journal of its own, for one program, takes root");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
        Some(Self { socket, directory })
    }

    /// Starts the program, which logs to this journal.
    pub fn of(&self, arguments: &[&str]) -> Daemon {
        let socket = self.directory.path().join("socket");
        let arguments = [arguments, &["--log-to", "journal"]].concat();
        Program::under(&launcher(&socket), &arguments).launch()
    }

    pub async fn next(&self) -> Entry {
        let mut datagram = [0; 4096];
        let length = timeout(PATIENCE, self.socket.recv(&mut datagram))
            .await
            .expect("an entry of the journal")
            .unwrap();
        entry(&datagram[..length])
    }

    /// The next entry that has a field with a value, after those that do not matter.
    pub async fn next_with(&self, field: &str, value: &str) -> Entry {
        loop {
            let entry = self.next().await;
            if entry.get(field).is_some_and(|it| it == value) {
                return entry;
            }
        }
    }
}

/// The command that starts a program whose journal is at this socket. It takes root.
pub fn launcher(socket: &Path) -> [&str; 6] {
    let mount = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                 ln -s \"$0\" /run/systemd/journal/socket && exec \"$@\"";
    ["unshare", "--mount", "sh", "-c", mount, socket.to_str().unwrap()]
}

/// The fields of an entry as it is sent: each has its length before its value, or ends with its
/// line.
pub fn entry(mut sent: &[u8]) -> Entry {
    let mut fields = Entry::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while let Some(end) = sent.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&sent[..end], &sent[end + 1..]);
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            sent = rest;
        } else if let Some((length, rest)) = rest.split_first_chunk() {
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            sent = &rest[length + 1..];
        } else {
            break;
        }
    }
    fields
}
