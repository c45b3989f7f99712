//! The whole program where `--fleetctl` is a wrapper that runs ssh, with a real OpenSSH at both
//! ends.

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

/// It insists on being called by its path.
const SSHD: &str = "/usr/sbin/sshd";

/// An sshd that this user can log in to, with keys, a port and a file of configuration of its own;
/// and the ssh that does.
struct Ssh {
    directory: TempDir,
    ssh: String,
    connections: Arc<AtomicUsize>,
}

impl Ssh {
    /// None where there is no sshd, or where it cannot be run; under CI that is a failure.
    async fn start() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            cannot_run("sshd is not there; it is in Debian's package openssh-server");
            return None;
        }
        if !geteuid().is_root() {
            cannot_run("the directory below /run that sshd wants takes root");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let path = directory.path().display();
        let key = directory.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let configuration = format!(
            "HostKey {path}/key\nAuthorizedKeysFile {path}/key.pub\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n"
        );
        fs::write(directory.path().join("sshd_config"), configuration).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ssh = format!(
            "ssh -F none -i {path}/key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o ControlMaster=auto -o ControlPath={path}/master -o ControlPersist=60 -p {port}"
        );
        let connections = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(listener, directory.path().join("sshd_config"), connections.clone()));
        Some(Self { directory, ssh, connections })
    }

    /// A command that runs this fleetctl at the other end.
    fn wrapper_of(&self, fleetctl: &Double, options: &str) -> PathBuf {
        let wrapper = self.directory.path().join("fleetctl");
        let command = fleetctl.command();
        let script = format!(
            "#!/bin/sh\nexec {} {options} 127.0.0.1 {} \"$@\"\n",
            self.ssh,
            command.display()
        );
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        wrapper
    }

    /// What the master says to this command (`-O`).
    fn master(&self, command: &str) -> Output {
        Command::new("sh")
            .args(["-c", &format!("{} -O {command} 127.0.0.1", self.ssh)])
            .output()
            .unwrap()
    }
}

/// Gives each connection an sshd, as inetd does.
async fn serve(listener: TcpListener, configuration: PathBuf, connections: Arc<AtomicUsize>) {
    let mut servers = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let stream = OwnedFd::from(stream);
        // sshd wants this directory, which its service makes.
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

/// The master is in a session of its own. With `-v`, and in old versions always, it keeps the
/// standard error of the call that began it.
#[tokio::test]
async fn through_an_ssh_that_stays_as_a_master_each_poll_gets_the_whole_answer() {
    let Some(ssh) = Ssh::start().await else {
        return;
    };
    let fleetctl = Double::new("v1.0.0");
    let wrapper = ssh.wrapper_of(&fleetctl, "-v");
    let arguments = ["--fleetctl", wrapper.to_str().unwrap(), "--poll-timeout", "60"];
    let mut daemon = Program::new(&arguments).start().await;
    let direct = Daemon::asking(&fleetctl, &[]).await;

    // The master serves the call that asked for the version, which began it, and all lists.
    let mut messages = Vec::new();
    for monitor in [&daemon, &direct] {
        monitor.log.first("first reading: ").await;
        let mut client = monitor.connect().await;
        messages.push([client.next().await, client.next().await]);
    }
    assert_eq!(messages[0], messages[1]);
    assert_eq!(daemon.failed_polls().await, 0);

    let said = String::from_utf8(ssh.master("check").stderr).unwrap();
    let (_, master) = said.split_once("(pid=").expect(&said);
    let master: u32 = master.split_once(')').unwrap().0.parse().unwrap();
    let stderr = fs::read_link(format!("/proc/{master}/fd/2")).unwrap();
    assert!(
        stderr.to_str().unwrap().starts_with("pipe:"),
        "the master keeps nothing: {stderr:?}"
    );

    // Nothing of its own outlives the program; the master is left alone, and was the only one.
    let master = Process::new(master);
    assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
    assert_eq!(ssh.connections.load(Ordering::Relaxed), 1);
    assert!(ssh.master("exit").status.success());
    master.ended().await;
}
