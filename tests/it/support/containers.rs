//! Containers without an engine: processes with root directories of their own, in one network that
//! nothing else uses, so that they may have fixed ports and names.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{Daemon, cannot_run};

/// How long a test waits for anything that containers have to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// The pause between two looks at a container.
const PAUSE: Duration = Duration::from_millis(200);

/// `unshare(1)` with these options. `None` if this user is not allowed to do that here.
pub fn unshare<'a>(options: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut wrapper = vec!["unshare"];
    if !rustix::process::geteuid().is_root() {
        wrapper.push("--map-root-user");
    }
    wrapper.extend(options);

    let trial = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if trial.is_ok_and(|output| output.status.success()) {
        return Some(wrapper);
    }

    cannot_run(&format!("{wrapper:?} is not allowed"));
    None
}

/// A network with its containers. Dropping it ends all their processes.
pub struct Containers {
    first: FirstProcess,
    /// What was started since then.
    children: RefCell<Vec<Child>>,
    /// `nsenter`, with arguments that lead to that child.
    enter: Vec<String>,
    directory: TempDir,
}

/// `unshare`, whose child is the first process in the namespaces. It ends with the pipe to it.
struct FirstProcess(Child);

impl Containers {
    /// `None` if this user may not create namespaces, or a program for that is not installed.
    pub fn new() -> Option<Self> {
        let options = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let unshare = unshare(&options)?;
        let script = "ip link set lo up && echo up && exec cat";
        let mut first = FirstProcess(
            Command::new(unshare[0])
                .args(&unshare[1..])
                .args(["sh", "-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );

        let mut line = String::new();
        let output = first.0.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        if line != "up\n" {
            cannot_run("no network: is ip there, which is in Debian's package iproute2?");
            return None;
        }

        let target = ["sh", "cat"]
            .iter()
            .find_map(|name| Daemon::children_of(first.0.id(), name).first().copied())
            .expect("a child of unshare");
        let target = target.to_string();
        let mut enter = vec!["nsenter", "--target", &target, "--net", "--mount", "--pid"];
        if unshare.contains(&"--map-root-user") {
            enter.extend(["--user", "--preserve-credentials"]);
        }
        let enter = enter.into_iter().map(ToOwned::to_owned).collect();
        Some(Self {
            first,
            children: RefCell::default(),
            enter,
            directory: TempDir::new().unwrap(),
        })
    }

    /// The root directory of a container. It is empty, but for what the test puts there.
    pub fn root(&self, name: &str) -> PathBuf {
        let root = self.directory.path().join(name);
        fs::create_dir_all(&root).unwrap();
        root
    }

    /// Writes a file of a container.
    pub fn write(&self, name: &str, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root(name).join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Lets a container have the programs of this host.
    pub fn add_programs(&self, name: &str) {
        let script = "
            set -e
            cd $0
            mkdir -p usr dev tmp
            for directory in usr dev; do mount --rbind /$directory $directory; done
            for directory in bin sbin lib lib64; do
                if [ -L /$directory ]; then cp -P /$directory .
                elif [ -d /$directory ]; then mkdir $directory; mount --bind /$directory $directory
                fi
            done";
        self.run("sh", &["-c".as_ref(), script.as_ref(), self.root(name).as_os_str()]);
    }

    /// Copies a program with its libraries to the same paths, or to another path.
    pub fn add_program(&self, name: &str, program: &Path, path: &str) {
        let libraries = Command::new("ldd").arg(program).output().expect("ldd");
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            self.write(name, library, fs::read(library).unwrap());
            self.make_executable(name, library);
        }
        self.write(name, path, fs::read(program).unwrap());
        self.make_executable(name, path);
    }

    fn make_executable(&self, name: &str, path: &str) {
        let path = self.root(name).join(path.trim_start_matches('/'));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts a command in a container, with these variables alone, as a user and group of which
    /// the numbers are known. What it prints is in its log.
    pub fn start(&self, name: &str, user: &str, command: &[&str], environment: &[(&str, &str)]) {
        let proc = self.root(name).join("proc");
        fs::create_dir_all(&proc).unwrap();
        let arguments = ["-t", "proc", "proc"].map(OsStr::new);
        self.run("mount", &[&arguments[..], &[proc.as_os_str()]].concat());

        let mut chroot = self.entered("chroot");
        chroot
            .arg(format!("--userspec={user}"))
            .arg(self.root(name))
            .args(command)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().copied());
        self.spawn(name, chroot);
    }

    /// Starts a program of this host in the network, outside of all containers.
    pub fn start_outside(&self, name: &str, program: &str, arguments: &[&str]) {
        let mut command = self.entered(program);
        command.args(arguments);
        self.spawn(name, command);
    }

    fn spawn(&self, name: &str, mut command: Command) {
        let log = self.directory.path().join(format!("{name}.log"));
        let log = File::create(log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.children.borrow_mut().push(command.spawn().unwrap());
    }

    /// Whether a command succeeds in a container.
    pub fn runs(&self, name: &str, command: &[&str]) -> bool {
        let mut entered = self.entered("chroot");
        entered.arg(self.root(name)).args(command);
        entered.output().unwrap().status.success()
    }

    /// The JSON at a URL; `None` while there is no answer, or another status than 200.
    pub fn get(&self, url: &str) -> Option<Value> {
        let mut curl = self.entered("curl");
        let output = curl.args(["--silent", "--fail", "--max-time", "10", url]).output();
        serde_json::from_slice(&output.unwrap().stdout).ok()
    }

    /// Waits until there is something.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}: {}", self.logs());
            sleep(PAUSE).await;
        }
    }

    /// The ends of all logs.
    fn logs(&self) -> String {
        let mut logs = String::new();
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                logs += &format!("\n{}:\n{end}\n", path.display());
            }
        }
        logs
    }

    /// A command in the namespaces, outside of all containers.
    fn entered(&self, program: &str) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).arg(program);
        command
    }

    /// Runs a command in the namespaces, which has to succeed.
    fn run(&self, program: &str, arguments: &[&OsStr]) {
        let output = self.entered(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for FirstProcess {
    fn drop(&mut self) {
        // With its child, all processes in that namespace are killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let _ = self.first.0.kill();
        for child in self.children.get_mut() {
            let _ = child.wait();
        }
    }
}
