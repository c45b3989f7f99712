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

#[test]
fn the_installer_can_be_repeated_and_keeps_the_configuration() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let at = |path: &str| root.join(path);
    let binary = directory.path().join("built");
    fs::create_dir(&root).unwrap();
    fs::write(&binary, "1").unwrap();
    let install = |more: &[&str]| {
        let arguments = ["--root", root.to_str().unwrap(), "--binary", binary.to_str().unwrap()];
        let output = install(directory.path(), &[&arguments, more].concat());
        assert!(output.status.success(), "{output:?}");
        outputs(&output).0
    };
    install(&["--no-units"]);
    assert_eq!(
        fs::metadata(at("opt/bin/fleet-monitor"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    assert_eq!(
        fs::read_to_string(at("etc/fleet-monitor.toml")).unwrap(),
        read("packaging/etc/fleet-monitor.toml")
    );
    assert!(
        !at("etc/systemd").exists(),
        "fleet provides the units, and there is no group fleet"
    );

    fs::write(&binary, "2").unwrap();
    fs::write(at("etc/fleet-monitor.toml"), "port = 1\n").unwrap();
    fs::write(at("etc/group"), "root:x:0:\nfleet:x:253:\n").unwrap();
    let output = install(&[]);
    assert_eq!(fs::read_to_string(at("opt/bin/fleet-monitor")).unwrap(), "2");
    assert_eq!(fs::read_to_string(at("etc/fleet-monitor.toml")).unwrap(), "port = 1\n");
    assert!(
        output.contains("/opt/bin/fleet-monitor\n") && !output.contains("fleet-monitor.toml"),
        "{output}"
    );
    let units = at("etc/systemd/system");
    assert_eq!(fs::read_to_string(units.join("fleet-monitor.socket")).unwrap(), read(SOCKET));
    for unit in [
        "fleet-monitor.service",
        "fleet-monitor@.service",
        "fleet-monitor-global.service",
    ] {
        let drop_in = units.join(format!("{unit}.d/10-group-fleet.conf"));
        assert_eq!(fs::read_to_string(drop_in).unwrap(), "[Service]\nSupplementaryGroups=fleet\n");
    }

    let before = files(&root);
    assert_eq!(
        (install(&[]), files(&root)),
        (String::new(), before),
        "a second run changes nothing"
    );

    fs::write(at("etc/group"), "root:x:0:\n").unwrap();
    install(&[]);
    assert!(
        !units.join("fleet-monitor.service.d/10-group-fleet.conf").exists(),
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
