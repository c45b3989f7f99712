//! The installer for CoreOS machines, with doubles of `sudo` and `ssh`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{HOST, SINGLE, SOCKET, Setting, read, repository, settings, values};

/// Runs the installer with doubles of `sudo` and `ssh` in `$PATH`. For these, each machine is a
/// directory.
fn install(directory: &Path, arguments: &[&str]) -> Output {
    let doubles = directory.join("doubles");
    fs::create_dir_all(&doubles).unwrap();

    let double = |name: &str, script: &str| {
        let file = doubles.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    double("sudo", "[ $1 = -n ] && shift && exec \"$@\"");
    double(
        "ssh",
        "[ $1 = -- ] && cd \"$MACHINES/$2\" || exit 255; shift 2; exec sh -c \"$*\"",
    );

    let mut script = Command::new(repository("packaging/install-coreos"));
    script.args(arguments).env("MACHINES", directory);
    script.env("PATH", format!("{}:{}", doubles.display(), std::env::var("PATH").unwrap()));
    script.output().unwrap()
}

/// The files below a directory with their inodes. A file that was replaced has another inode.
fn files(below: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(below).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), entry.metadata().unwrap().ino());
        }
    }
    found
}

/// The standard output and the standard error of a program.
pub fn outputs(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// An installation below a directory of this machine.
struct Installation {
    directory: TempDir,
}

impl Installation {
    fn new() -> Self {
        let installation = Self { directory: TempDir::new().unwrap() };

        fs::create_dir(installation.root()).unwrap();
        installation.build("1");
        installation
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// Creates a new version of the program.
    fn build(&self, content: &str) {
        fs::write(self.directory.path().join("built"), content).unwrap();
    }

    /// Runs the installer, and returns what it prints.
    fn install(&self, more: &[&str]) -> String {
        let root = self.root();
        let binary = self.directory.path().join("built");
        let arguments = ["--root", root.to_str().unwrap(), "--binary", binary.to_str().unwrap()];

        let output = install(self.directory.path(), &[&arguments, more].concat());
        assert!(output.status.success(), "{output:?}");
        outputs(&output).0
    }
}

const DROP_IN: &str = "10-group-fleet.conf";

#[test]
fn the_installer_installs_the_program_and_its_configuration() {
    let installation = Installation::new();
    installation.install(&["--no-units"]);

    let program = fs::metadata(installation.at("opt/bin/fleet-monitor")).unwrap();
    assert_eq!(program.permissions().mode() & 0o777, 0o755);
    assert_eq!(
        installation.read("etc/fleet-monitor.toml"),
        read("packaging/etc/fleet-monitor.toml")
    );
    assert!(
        !installation.at("etc/systemd").exists(),
        "fleet provides the units, and there is no group fleet"
    );
}

#[test]
fn the_installer_can_be_repeated_and_keeps_the_configuration() {
    let installation = Installation::new();
    installation.install(&["--no-units"]);

    installation.build("2");
    fs::write(installation.at("etc/fleet-monitor.toml"), "port = 1\n").unwrap();
    fs::write(installation.at("etc/group"), "root:x:0:\nfleet:x:253:\n").unwrap();
    let output = installation.install(&[]);
    assert_eq!(installation.read("opt/bin/fleet-monitor"), "2");
    assert_eq!(installation.read("etc/fleet-monitor.toml"), "port = 1\n");
    assert!(
        output.contains("/opt/bin/fleet-monitor\n") && !output.contains("fleet-monitor.toml"),
        "{output}"
    );

    let before = files(&installation.root());
    assert_eq!(installation.install(&[]), "");
    assert_eq!(files(&installation.root()), before, "a second run changes nothing");
}

#[test]
fn the_units_are_in_the_group_fleet_if_it_exists() {
    let installation = Installation::new();
    fs::create_dir(installation.at("etc")).unwrap();
    fs::write(installation.at("etc/group"), "root:x:0:\nfleet:x:253:\n").unwrap();
    installation.install(&[]);

    assert_eq!(installation.read("etc/systemd/system/fleet-monitor.socket"), read(SOCKET));
    for unit in [
        "fleet-monitor.service",
        "fleet-monitor@.service",
        "fleet-monitor-global.service",
    ] {
        let drop_in = installation.read(&format!("etc/systemd/system/{unit}.d/{DROP_IN}"));
        assert_eq!(drop_in, "[Service]\nSupplementaryGroups=fleet\n");
    }

    fs::write(installation.at("etc/group"), "root:x:0:\n").unwrap();
    installation.install(&[]);
    assert!(
        !installation
            .at(&format!("etc/systemd/system/fleet-monitor.service.d/{DROP_IN}"))
            .exists(),
        "a service could not start with it"
    );
}

/// The settings of the host's unit as it is installed on CoreOS.
pub fn settings_on_coreos() -> Vec<Setting> {
    let directory = TempDir::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_fleet-monitor");
    let root = directory.path().join("root");
    let output = install(directory.path(), &["--root", root.to_str().unwrap(), "--binary", binary]);
    assert!(output.status.success(), "{output:?}");
    settings(&fs::read_to_string(root.join("etc/systemd/system/fleet-monitor.service")).unwrap())
}

#[test]
fn on_coreos_the_unit_of_the_host_runs_the_program_in_opt_as_an_existing_user() {
    let mut expected = settings(&read(HOST));

    for (_, key, value) in &mut expected {
        match &**key {
            "ExecStart" => *value = values(SINGLE, "Service", "ExecStart").remove(0),
            "User" => *value = values(SINGLE, "Service", "User").remove(0),
            _ => {}
        }
    }
    assert_eq!(settings_on_coreos(), expected);
}

#[test]
fn the_installer_installs_on_one_machine_after_the_other_until_one_fails() {
    let directory = TempDir::new().unwrap();
    let at = |path: &str| directory.path().join(path);
    for machine in ["core@core-01", "root@core-03"] {
        fs::create_dir_all(at(machine)).unwrap();
    }
    let binary = at("built");
    fs::write(&binary, "1").unwrap();
    // A root below the directory of the machine, with a name that a shell would split.
    let arguments = ["--root", "it's a root", "--binary", binary.to_str().unwrap()];
    let install = || {
        install(
            directory.path(),
            &[&arguments[..], &["core-01", "core-02", "root@core-03"]].concat(),
        )
    };
    let output = install();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        outputs(&output).1.lines().last(),
        Some(
            "install-coreos: core-02 failed. Done: core-01. Not tried: root@core-03. \
             It can be run again for all."
        )
    );
    assert!(at("core@core-01/it's a root/opt/bin/fleet-monitor").is_file());
    assert_eq!(files(&at("root@core-03")), BTreeMap::new());

    fs::create_dir(at("core@core-02")).unwrap();
    let first = files(&at("core@core-01"));
    let output = install();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(files(&at("core@core-01")), first, "a second run changes nothing");
    let installed = |machine: &str| -> Vec<PathBuf> {
        files(&at(machine))
            .into_keys()
            .map(|file| file.strip_prefix(at(machine)).unwrap().to_owned())
            .collect()
    };
    assert_eq!(installed("core@core-01").len(), 4);
    assert_eq!(installed("core@core-02"), installed("core@core-01"));
    assert_eq!(installed("root@core-03"), installed("core@core-01"));
}

#[test]
fn the_installer_reports_what_is_missing() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();

    let root = root.to_str().unwrap();
    let output = install(directory.path(), &["--root", root, "--binary", "/nowhere/fleet-monitor"]);
    assert_eq!(output.status.code(), Some(1));

    let (_, message) = outputs(&output);
    assert!(
        message.contains("there is no /nowhere/fleet-monitor")
            && message.contains("cargo build --release")
    );
    assert_eq!(install(directory.path(), &["--colour"]).status.code(), Some(2));
    assert!(fs::read_dir(root).unwrap().next().is_none());
}
