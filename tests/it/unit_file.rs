//! What is installed: the fleet unit, the socket, the configuration file and the script that puts them in place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What `[X-Fleet]` may hold since fleet v0.8, by the documentation and the behaviour of v0.8.3 to v1.0.0.
const X_FLEET: [&str; 5] = ["MachineID", "MachineOf", "MachineMetadata", "Conflicts", "Global"];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

/// The unit as fleet and systemd read it: section, key and value of each line.
fn settings(unit: &str) -> Vec<(String, String, String)> {
    let mut section = "";
    let mut settings = Vec::new();
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => section = name,
            None => {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
                settings.push((section.to_owned(), key.to_owned(), value.to_owned()));
            }
        }
    }
    settings
}

fn values(section: &str, key: &str) -> Vec<String> {
    let all = settings(&read("fleet-monitor.service"));
    all.into_iter().filter(|(s, k, _)| (&**s, &**k) == (section, key)).map(|(_, _, value)| value).collect()
}

fn install(root: &Path, arguments: &[&str]) -> Output {
    Command::new(repository("packaging/install")).arg("--root").arg(root).args(arguments).output().unwrap()
}

#[test]
fn the_unit_is_a_notifying_watched_and_restarted_service() {
    for (key, expected) in [
        ("Type", &["notify"][..]),
        ("ExecStart", &["/opt/bin/fleet-monitor"]),
        ("ExecReload", &["/bin/kill -HUP $MAINPID"]),
        ("EnvironmentFile", &["-/etc/fleet-monitor.env"]),
        ("WatchdogSec", &["30"]),
        ("Restart", &["always"]),
        ("RestartPreventExitStatus", &["2 78"]),
        // An older systemd takes the last value that it knows.
        ("ProtectSystem", &["full", "strict"]),
    ] {
        assert_eq!(values("Service", key), expected, "{key}");
    }
    let path =
        values("Service", "Environment").into_iter().find_map(|value| value.strip_prefix("PATH=").map(Vec::from));
    let path = String::from_utf8(path.unwrap()).unwrap();
    assert!(path.split(':').any(|directory| directory == "/usr/bin"), "CoreOS has fleetctl in /usr/bin: {path}");
    // Longer than the program takes (5 s), and with pauses that let systemd start it without an end.
    assert!(values("Service", "TimeoutStopSec")[0].parse::<u32>().unwrap() > 5);
    assert!(values("Service", "RestartSec")[0].parse::<u32>().unwrap() > 2);
}

#[test]
fn fleet_accepts_the_unit_and_starts_one_on_the_cluster() {
    let unit = read("fleet-monitor.service");
    let of_fleet: Vec<_> = settings(&unit).into_iter().filter(|(section, ..)| section == "X-Fleet").collect();
    assert!(!of_fleet.is_empty());
    for (_, key, _) in of_fleet {
        assert!(X_FLEET.contains(&&*key), "fleet does not know {key}");
        assert_ne!(key, "Global");
    }
    assert!(unit.lines().all(|line| line.len() <= 2048), "fleet refuses lines of more than 2048 bytes");
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    // It wants what is started to be there.
    let root = TempDir::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_fleet-monitor");
    let service = root.path().join("fleet-monitor.service");
    fs::write(&service, read("fleet-monitor.service").replace("/opt/bin/fleet-monitor", binary)).unwrap();
    let socket = root.path().join("fleet-monitor.socket");
    fs::copy(repository("packaging/etc/systemd/system/fleet-monitor.socket"), &socket).unwrap();
    let verify = Command::new("systemd-analyze").arg("verify").args([&service, &socket]).output();
    let output = match verify {
        Ok(output) => output,
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            eprintln!("not checked: systemd-analyze cannot be run ({error}); it is in Debian's package systemd");
            return;
        }
        Err(error) => panic!("systemd-analyze cannot be run: {error}; it is in Debian's package systemd"),
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_configuration_file_shows_every_option_as_it_is_by_default() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("fleet-monitor.toml");
    // The settings in force, without the column that says where they came from.
    let report = |text: &str| -> Vec<String> {
        fs::write(&file, text).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
        let output = program.env_clear().args(["--check-config", "--config"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| line.split("  # ").next().unwrap().trim_end().to_owned()).collect()
    };
    let whole = read("packaging/etc/fleet-monitor.toml");
    let shown: Vec<&str> = whole
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    let by_default = report(&whole);
    let key = |line: &str| line.trim_start_matches("# ").split([' ', '=']).next().unwrap().to_owned();
    let sorted = |lines: &mut dyn Iterator<Item = String>| {
        let mut keys: Vec<_> = lines.collect();
        keys.sort();
        keys
    };
    assert_eq!(
        sorted(&mut shown.iter().map(|line| key(line))),
        sorted(&mut by_default.iter().map(|line| key(line))),
        "each option once"
    );
    // What is shown is the default, or, for an option that is not set, an example that is in order.
    for line in &shown {
        let is_set = by_default.iter().any(|setting| !setting.starts_with('#') && key(setting) == key(line));
        assert_eq!(is_set, report(line) == by_default, "{line}");
    }
}

#[test]
fn the_script_installs_again_without_touching_what_was_configured() {
    let root = TempDir::new().unwrap();
    let at = |path: &str| root.path().join(path);
    let binary = at("built");
    fs::write(&binary, "1").unwrap();
    assert!(install(root.path(), &[binary.to_str().unwrap()]).status.success());
    assert_eq!(fs::metadata(at("opt/bin/fleet-monitor")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_to_string(at("etc/fleet-monitor.toml")).unwrap(), read("packaging/etc/fleet-monitor.toml"));
    assert!(!at("etc/systemd").exists(), "units are fleet's business, and there is no group fleet");

    fs::write(&binary, "2").unwrap();
    fs::write(at("etc/fleet-monitor.toml"), "port = 1\n").unwrap();
    fs::write(at("etc/group"), "root:x:0:\nfleet:x:253:\n").unwrap();
    assert!(install(root.path(), &["--service", binary.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_to_string(at("opt/bin/fleet-monitor")).unwrap(), "2");
    assert_eq!(fs::read_to_string(at("etc/fleet-monitor.toml")).unwrap(), "port = 1\n");
    let units = at("etc/systemd/system");
    assert_eq!(fs::read_to_string(units.join("fleet-monitor.service")).unwrap(), read("fleet-monitor.service"));
    assert!(units.join("fleet-monitor.socket").exists());
    let drop_in = units.join("fleet-monitor.service.d/10-group-fleet.conf");
    assert_eq!(fs::read_to_string(drop_in).unwrap(), "[Service]\nSupplementaryGroups=fleet\n");
}

#[test]
fn the_script_says_what_is_missing() {
    let root = TempDir::new().unwrap();
    let output = install(root.path(), &["/nowhere/fleet-monitor"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("there is no /nowhere/fleet-monitor") && message.contains("cargo build --release"));
    assert_eq!(install(root.path(), &["--colour"]).status.code(), Some(2));
    assert!(fs::read_dir(root.path()).unwrap().next().is_none());
}
