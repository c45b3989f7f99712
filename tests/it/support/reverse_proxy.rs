//! Real reverse proxies: nginx and HAProxy.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::cannot_run;

const DOCUMENTS: [&str; 2] = [
    include_str!("../../../docs/operations.md"),
    include_str!("../../../docs/security.md"),
];

/// The example with this name in `docs/operations.md` or `docs/security.md`.
pub fn documented(example: &str) -> &'static str {
    let mark = format!("<!-- example: {example} -->\n```");
    let (_, rest) = DOCUMENTS
        .into_iter()
        .find_map(|document| document.split_once(&mark))
        .expect("an example");

    let (_, text) = rest.split_once('\n').unwrap();
    text.split_once("```").unwrap().0
}

/// A running proxy. It is terminated when dropped.
pub struct ReverseProxy {
    pub address: SocketAddr,
    child: Child,
    _directory: TempDir,
}

impl ReverseProxy {
    /// An nginx with this content of its block `http`, in which `LISTEN` stands for its address.
    /// `None` if nginx is not installed. In CI that is a failure.
    pub fn nginx(http: &str) -> Option<Self> {
        let (listener, address) = listener();
        let directory = TempDir::new().unwrap();
        let path = directory.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};"))
            .join("\n");
        let http = http.replace("LISTEN", &address.to_string());

        let configuration = format!(
            "daemon off;\npid {path}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\nproxy_max_temp_file_size 0;\n{temporary}\n{http}\n}}\n"
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();

        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(directory.path())
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(&file);
        Self::start(&command, listener, address, directory, "nginx-light")
    }

    /// An HAProxy with this configuration, in which `LISTEN` stands for its address. `None` if
    /// HAProxy is not installed. In CI that is a failure.
    pub fn haproxy(configuration: &str) -> Option<Self> {
        let (listener, address) = listener();
        let directory = TempDir::new().unwrap();
        // The timeouts of the configuration that Debian's package installs.
        let defaults =
            "defaults\n    timeout connect 5s\n    timeout client 50s\n    timeout server 50s\n";
        let configuration = configuration.replace("LISTEN", "fd@3");
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, format!("{defaults}\n{configuration}")).unwrap();

        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        Self::start(&command, listener, address, directory, "haproxy")
    }

    /// Starts the proxy with its listening socket as file descriptor 3. A client can connect at
    /// once; it waits until the proxy accepts it.
    fn start(
        command: &Command,
        listener: OwnedFd,
        address: SocketAddr,
        directory: TempDir,
        package: &str,
    ) -> Option<Self> {
        let program = command.get_program().to_owned();

        // The directories in `sbin` are not in the PATH of a user who is not root.
        let path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
        let mut version = Command::new(&program);
        version
            .arg("-v")
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Err(error) = version.status() {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            cannot_run(&format!(
                "{} is not there; it is in Debian's package {package}",
                program.display()
            ));
            return None;
        }

        let child = Command::new("sh")
            .args(["-c", "exec 3<&0 </dev/null; exec \"$0\" \"$@\""])
            .arg(program)
            .args(command.get_args())
            .env_clear()
            .env("PATH", path)
            .env("NGINX", "3;")
            .stdin(Stdio::from(listener))
            .spawn()
            .unwrap();
        Some(Self { address, child, _directory: directory })
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // nginx stops its workers on SIGTERM. If it were killed, they would stay.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn listener() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}
