//! The whole program with a wrapper for `--fleetctl` that runs ssh. Client and server are a real
//! OpenSSH.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{Daemon, Double, Process, Program, cannot_run};

/// An absolute path, without which sshd refuses to start.
const SSHD: &str = "/usr/sbin/sshd";

/// An sshd with its own keys, port and configuration, and the ssh command that connects to it.
struct Ssh {
    directory: TempDir,
    /// The ssh command with its options, for a shell.
    command: String,
    /// How many connections there have been.
    connections: Arc<AtomicUsize>,
}

impl Ssh {
    /// `None` if sshd is not installed or cannot run. In CI that is a failure.
    async fn start() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            cannot_run("sshd is not there; it is in Debian's package openssh-server");
            return None;
        }
        if !geteuid().is_root() {
            cannot_run("sshd needs a directory below /run that only root can create");
            return None;
        }

        let directory = TempDir::new().unwrap();
        let path = directory.path().display();
        let key = directory.path().join("key");
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(status.unwrap().success());

        let configuration = format!(
            "HostKey {path}/key\n\
             AuthorizedKeysFile {path}/key.pub\n\
             PermitRootLogin yes\n\
             StrictModes no\n\
             UsePAM no\n"
        );
        fs::write(directory.path().join("sshd_config"), configuration).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let command = format!(
            "ssh -F none -i {path}/key -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null \
             -o ControlMaster=auto -o ControlPath={path}/master -o ControlPersist=60 -p {port}"
        );
        let connections = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(listener, directory.path().join("sshd_config"), connections.clone()));

        Some(Self { directory, command, connections })
    }

    /// A script that runs this fleetctl on the server.
    fn wrapper_for(&self, fleetctl: &Double, options: &str) -> PathBuf {
        let wrapper = self.directory.path().join("fleetctl");
        let command = fleetctl.command();
        let script = format!(
            "#!/bin/sh\nexec {} {options} 127.0.0.1 {} \"$@\"\n",
            self.command,
            command.display()
        );

        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        wrapper
    }

    /// Sends a control command (`-O`) to the master.
    fn control_master(&self, command: &str) -> Output {
        Command::new("sh")
            .args(["-c", &format!("{} -O {command} 127.0.0.1", self.command)])
            .output()
            .unwrap()
    }
}

/// Starts an sshd for each connection, as inetd does.
async fn serve(listener: TcpListener, configuration: PathBuf, connections: Arc<AtomicUsize>) {
    let mut servers = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let stream = OwnedFd::from(stream);

        // sshd needs this directory, which its service would create.
        let script = "mount -t tmpfs none /run && mkdir /run/sshd && exec \"$@\"";
        let mut sshd = tokio::process::Command::new("unshare");
        sshd.args(["--mount", "sh", "-c", script, "sh", SSHD, "-i", "-f"])
            .arg(&configuration);
        sshd.stdin(stream.try_clone().unwrap())
            .stdout(stream)
            .kill_on_drop(true);
        servers.push(sshd.spawn().unwrap());
    }
}

/// The master stays behind, in a session of its own. With `-v`, and always in old versions, it
/// keeps the standard error of the ssh that started it.
#[tokio::test]
async fn polls_through_an_ssh_master_that_stays_behind_are_complete() {
    let Some(ssh) = Ssh::start().await else {
        return;
    };
    let fleetctl = Double::new("v1.0.0");
    let wrapper = ssh.wrapper_for(&fleetctl, "-v");
    let arguments = ["--fleetctl", wrapper.to_str().unwrap(), "--poll-timeout", "60"];
    let mut daemon = Program::new(&arguments).start().await;
    let direct = Daemon::asking(&fleetctl, &[]).await;

    // The first call, for the version, starts the master. All lists use the same connection.
    let mut messages = Vec::new();
    for monitor in [&daemon, &direct] {
        monitor.log.first("first reading: ").await;
        let mut client = monitor.connect().await;
        messages.push([client.next().await, client.next().await]);
    }
    assert_eq!(messages[0], messages[1]);
    assert_eq!(daemon.failed_polls().await, 0);

    let answer = String::from_utf8(ssh.control_master("check").stderr).unwrap();
    let (_, master) = answer.split_once("(pid=").expect(&answer);
    let master: u32 = master.split_once(')').unwrap().0.parse().unwrap();
    let stderr = fs::read_link(format!("/proc/{master}/fd/2")).unwrap();
    assert!(
        stderr.to_str().unwrap().starts_with("pipe:"),
        "the master does not keep the pipe: {stderr:?}"
    );

    // The program ends without killing the master, which was the only one.
    let master = Process::new(master);
    assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
    assert_eq!(ssh.connections.load(Ordering::Relaxed), 1);
    assert!(ssh.control_master("exit").status.success());
    master.ended().await;
}
