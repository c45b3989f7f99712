//! A host with a real systemd: a Debian booted by systemd-nspawn, as this machine's root.
//!
//! The root directory of a release of Debian is made once, by debootstrap, and kept in
//! `target/system-root-RELEASE`. Every boot has it as the lower layer of its own memory file
//! system, and a network of its own, so that hosts know nothing of each other.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::packages;

/// The interval for polling states that send no event to the outside of the host.
const PERIOD: Duration = Duration::from_millis(20);
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The Debian package, on a host that was booted for it.
pub const PACKAGE: &str =
    concat!("/mnt/packages/fleet-monitor_", env!("CARGO_PKG_VERSION"), "-1_amd64.deb");

/// The RPM package, on a host that was booted for packages.
pub const RPM_PACKAGE: &str =
    concat!("/mnt/packages/fleet-monitor-", env!("CARGO_PKG_VERSION"), "-1.x86_64.rpm");

/// What debootstrap installs besides the essential packages.
const PACKAGES: &str = "--include=systemd,systemd-sysv,systemd-journal-remote,dbus,procps,rpm";

/// A running host.
pub struct Host {
    nspawn: Child,
    name: String,
    /// The ID of its process 1 in this machine's namespace.
    init: String,
}

impl Host {
    /// A host on which fleet-monitor and its units are installed, and a `fleetctl` of v1.0.0 beside
    /// it.
    ///
    /// `None` if this machine cannot run one; with `CI` that is a failure.
    pub fn boot() -> Option<Self> {
        Self::boot_seeing(&[])
    }

    /// Such a host, on which also these programs of this machine can be run, from `/opt/bin`.
    pub fn boot_with_programs(programs: &[&str]) -> Option<Self> {
        let host = Self::boot_seeing(&["/usr:/mnt/usr".to_owned()])?;
        for program in programs {
            let script = "#!/bin/sh\n\
                          export LD_LIBRARY_PATH=/mnt/usr/lib/$(uname -m)-linux-gnu\n\
                          exec /mnt/usr/bin/";
            host.write(&format!("/opt/bin/{program}"), &format!("{script}{program} \"$@\"\n"));
            host.sh(&format!("chmod 755 /opt/bin/{program} && test -x /mnt/usr/bin/{program}"));
        }
        Some(host)
    }

    fn boot_seeing(files: &[String]) -> Option<Self> {
        let repository = env!("CARGO_MANIFEST_DIR");
        let own_files = [
            format!("{repository}/packaging:/mnt/packaging"),
            format!("{}:/mnt/fleet-monitor", env!("CARGO_BIN_EXE_fleet-monitor")),
        ];
        let host = Self::with(&this_release(), &[&own_files, files].concat())?;
        host.sh("chown daemon /opt/bin");
        host.sh("/mnt/packaging/install-coreos --binary /mnt/fleet-monitor");
        host.drop_in("fleetctl", "ReadWritePaths=/opt/bin");
        Some(host)
    }

    /// A host with such a `fleetctl`, on which the Debian package [`PACKAGE`] can be installed.
    pub fn boot_debian() -> Option<Self> {
        let host = Self::boot_release(&this_release())?;
        // The package creates the user as which fleetctl writes its files.
        host.sh("chmod 777 /opt/bin");
        host.drop_in("fleetctl", "ReadWritePaths=/opt/bin");
        Some(host)
    }

    /// A host of this release of Debian, on which the packages can be installed.
    pub fn boot_release(release: &str) -> Option<Self> {
        Self::with(release, &[format!("{}:/mnt/packages", packages()?.display())])
    }

    /// A host that sees these files of this machine, each as `FROM:TO`.
    fn with(release: &str, files: &[String]) -> Option<Self> {
        if let Err(reason) = preconditions() {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "no host with systemd: {reason}"
            );
            eprintln!("not checked, for want of a host with systemd: {reason}");
            return None;
        }
        let double = Path::new(env!("CARGO_BIN_EXE_fleet-monitor"))
            .with_file_name("examples/fleetctl-double");
        assert!(double.is_file(), "build it first: cargo build --example fleetctl-double");
        // The same hierarchy of control groups as on this machine.
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let name = format!("host-{}", fastrand::u32(..));
        let mut messages = tempfile::tempfile().unwrap();
        let mut nspawn = Command::new("systemd-nspawn")
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", if unified { "1" } else { "0" })
            // The root is read-only, so that several hosts can use it at a time.
            .env("SYSTEMD_NSPAWN_LOCK", "0")
            .args([
                "--quiet",
                "--boot",
                "--volatile=overlay",
                "--register=no",
                "--keep-unit",
                "--capability=all",
            ])
            .args([
                "--private-network",
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
                "--console=pipe",
            ])
            .arg(format!("--directory={}", root(release).display()))
            .arg(format!("--machine={name}"))
            .arg(format!("--bind-ro={}:/mnt/fleetctl", double.display()))
            .args(files.iter().map(|file| format!("--bind-ro={file}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages.try_clone().unwrap())
            .spawn()
            .unwrap();
        let init = wait(|| {
            let ended = nspawn.try_wait().unwrap();
            assert_eq!(ended, None, "systemd-nspawn ended: {}", text(&mut messages));
            let init = child_of(nspawn.id())?;
            let up = enter(&init, "systemctl is-system-running").output().unwrap();
            matches!(up.stdout.trim_ascii(), b"running" | b"degraded").then_some(init)
        });
        let Some(init) = init else {
            // Its process 1 dies with it.
            let _ = nspawn.kill();
            let _ = nspawn.wait();
            panic!("systemd is not up after {DEADLINE:?}: {}", text(&mut messages))
        };
        let host = Self { nspawn, name, init };
        // /opt/bin is in the unit's $PATH, and fleetctl writes its files there.
        host.sh("mkdir -p /opt/bin && ln -s /mnt/fleetctl /opt/bin/fleetctl && echo v1.0.0 > /opt/bin/version");
        Some(host)
    }

    /// A command of this machine in the host's network.
    pub fn in_network(&self, program: &Path) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.init, "--net", "--"]).arg(program);
        nsenter
    }

    /// Runs a command of the host's shell.
    pub fn try_sh(&self, command: &str) -> Output {
        enter(&self.init, command).output().unwrap()
    }

    /// The output of a command, which has to succeed.
    pub fn sh(&self, command: &str) -> String {
        let output = self.try_sh(command);
        assert!(output.status.success(), "{command}: {output:?}\n{}", self.journal());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Starts a command that runs beside the test.
    pub fn spawn(&self, command: &str) -> Child {
        enter(&self.init, command)
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Writes one of the host's files.
    pub fn write(&self, path: &str, text: &str) {
        let path = PathBuf::from(format!("/proc/{}/root{path}", self.init));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Adds a drop-in with these lines in `[Service]`.
    pub fn drop_in(&self, name: &str, lines: &str) {
        let file = format!("/etc/systemd/system/fleet-monitor.service.d/{name}.conf");
        self.write(&file, &format!("[Service]\n{lines}\n"));
        self.sh("systemctl daemon-reload");
    }

    /// A property of the service (`systemctl show`).
    pub fn show(&self, property: &str) -> String {
        self.sh(&format!("systemctl show --value --property={property} fleet-monitor.service"))
    }

    /// Waits until a condition is true.
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let so = wait(|| is_so().then_some(()));
        assert!(so.is_some(), "{what}: not after {DEADLINE:?}\n{}", self.journal());
    }

    /// Waits until a property of the service has an accepted value, and returns it.
    pub fn show_until(&self, property: &str, wanted: impl Fn(&str) -> bool) -> String {
        let value = || Some(self.show(property)).filter(|value| wanted(value));
        match wait(value) {
            Some(value) => value,
            None => {
                panic!("{property}={} for {DEADLINE:?}\n{}", self.show(property), self.journal())
            }
        }
    }

    /// Waits until the journal has an entry for these matches, and returns the first as JSON.
    pub fn entry(&self, matches: &str) -> serde_json::Value {
        let command = format!("journalctl --quiet --output=json --all {matches} | head --lines=1");
        let found = wait(|| serde_json::from_str(&self.sh(&command)).ok());
        found.unwrap_or_else(|| panic!("no entry for {matches} in:\n{}", self.journal()))
    }

    /// The journal of the service.
    pub fn journal(&self) -> String {
        let output = self.try_sh("journalctl --no-pager --unit=fleet-monitor.service");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The processes of a user.
    pub fn processes_of(&self, user: &str) -> Vec<String> {
        let found = self.sh(&format!("find /proc -maxdepth 1 -name '[0-9]*' -user {user}"));
        found.lines().map(str::to_owned).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // When process 1 exits, the kernel kills all others of the host, and nspawn cleans up.
        if let Some(init) = self.init.parse().ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(init, rustix::process::Signal::KILL);
        }
        let _ = self.nspawn.wait();
        // nspawn leaves this behind if /run is not a tmpfs.
        let _ = fs::remove_dir(format!("/run/systemd/nspawn/propagate/{}", self.name));
    }
}

/// The content of a file, for a message.
fn text(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    read.map_or_else(|error| error.to_string(), |_| text)
}

/// Retries until there is a result.
fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > end {
            return answer;
        }
        sleep(PERIOD);
    }
}

fn child_of(process: u32) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}

/// A command in all of the host's namespaces.
fn enter(init: &str, command: &str) -> Command {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", init, "--all", "--root", "--wd", "/bin/bash", "-c", command]);
    // Without this machine's $PATH and language.
    nsenter
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null());
    nsenter
}

fn preconditions() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("systemd-nspawn needs root".to_owned());
    }
    for (program, package) in [
        ("systemd-nspawn", "systemd-container"),
        ("debootstrap", "debootstrap"),
        ("nsenter", "util-linux"),
    ] {
        if Command::new(program).arg("--version").output().is_err() {
            return Err(format!("there is no {program}; it is in Debian's package {package}"));
        }
    }
    Ok(())
}

/// The release of Debian of this machine. What was built here runs there.
fn this_release() -> String {
    let file = fs::read_to_string("/etc/os-release").unwrap();
    file.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .expect("a Debian")
        .to_owned()
}

/// The root directory of all hosts of this release.
fn root(release: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let root =
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(format!("system-root-{release}"));
    if !root.exists() {
        let unfinished = root.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        let debootstrap = Command::new("debootstrap")
            .args(["--variant=minbase", PACKAGES, release])
            .arg(&unfinished)
            .output()
            .unwrap();
        assert!(debootstrap.status.success(), "{}", String::from_utf8_lossy(&debootstrap.stdout));
        fs::rename(unfinished, &root).unwrap();
    }
    root
}
