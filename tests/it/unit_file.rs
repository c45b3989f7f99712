//! What is installed: the units; `unit_file/installer.rs`: the installer for CoreOS machines;
//! `unit_file/samples.rs`: the samples.

mod installer;
mod samples;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The options that `[X-Fleet]` may contain since fleet v0.8, by the documentation and the
/// behaviour of v0.8.3 to v1.0.0.
const X_FLEET: [&str; 5] = ["MachineID", "MachineOf", "MachineMetadata", "Conflicts", "Global"];

const HOST: &str = "packaging/lib/systemd/system/fleet-monitor.service";
const SOCKET: &str = "packaging/lib/systemd/system/fleet-monitor.socket";
const SINGLE: &str = "fleet-monitor.service";
const INSTANCE: &str = "packaging/fleet/fleet-monitor@.service";
const GLOBAL: &str = "packaging/fleet/fleet-monitor-global.service";
const DISCOVERY: &str = "packaging/fleet/fleet-monitor-discovery@.service";
/// The file with the other monitors of an instance.
const PEERS: &str = "/run/fleet-monitor.%i.peers";
/// The units that run the program.
const MONITORS: [&str; 4] = [HOST, SINGLE, INSTANCE, GLOBAL];
const OF_FLEET: [&str; 4] = [SINGLE, INSTANCE, GLOBAL, DISCOVERY];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// The section, key and value of a line.
type Setting = (String, String, String);

/// The settings of a unit, as fleet and systemd read them.
fn settings(unit: &str) -> Vec<Setting> {
    let mut section = "";
    let mut settings = Vec::new();
    let unit = unit.replace("\\\n", " ");

    for line in unit
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => section = name,
            None => {
                let (key, value) =
                    line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
                settings.push((section.to_owned(), key.to_owned(), value.to_owned()));
            }
        }
    }
    settings
}

fn values(unit: &str, section: &str, key: &str) -> Vec<String> {
    let all = settings(&read(unit));
    all.into_iter()
        .filter(|(s, k, _)| (&**s, &**k) == (section, key))
        .map(|(_, _, value)| value)
        .collect()
}

/// Copies of all units in one directory, instantiated if they are templates, with a program that
/// exists.
fn units() -> (TempDir, Vec<PathBuf>) {
    let root = TempDir::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_fleet-monitor");
    let mut files = Vec::new();

    for path in [HOST, SOCKET].into_iter().chain(OF_FLEET) {
        // The host's unit and fleet's single one have the same name.
        let directory = root.path().join(if [HOST, SOCKET].contains(&path) {
            "host"
        } else {
            "fleet"
        });
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(file_name(path).replace('@', "@1"));
        let run = |prefix: &str| format!("ExecStart={prefix}/bin/fleet-monitor\n");
        let text = read(path).replace(&run("/opt"), &format!("ExecStart={binary}\n"));
        fs::write(&file, text.replace(&run("/usr"), &format!("ExecStart={binary}\n"))).unwrap();
        files.push(file);
    }
    (root, files)
}

/// Runs `systemd-analyze`. `None` if it cannot be run; with `CI=true` that is a failure.
fn analyze(arguments: &[&str], files: &[&Path]) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).args(files).output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            eprintln!(
                "not checked: systemd-analyze cannot be run ({error}); \
                 it is in Debian's package systemd"
            );
            None
        }
        Err(error) => {
            panic!("systemd-analyze cannot be run: {error}; it is in Debian's package systemd")
        }
    }
}

/// Matches a name as fleet does in `Conflicts=`: `*` stands for any characters.
fn matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            assert!(!tail.contains('*'), "{glob}");
            rest.ends_with(tail)
        }),
    }
}

#[test]
fn every_unit_of_the_monitor_is_a_notifying_watched_and_restarted_service() {
    for unit in MONITORS {
        let binary = if unit == HOST {
            "/usr/bin/fleet-monitor"
        } else {
            "/opt/bin/fleet-monitor"
        };
        for (key, expected) in [
            ("Type", &["notify"][..]),
            ("ExecStart", &[binary]),
            ("ExecReload", &["/bin/kill -HUP $MAINPID"]),
            ("WatchdogSec", &["30"]),
            ("Restart", &["always"]),
            ("RestartPreventExitStatus", &["2 78"]),
            // An older systemd takes the last value that it knows.
            ("ProtectSystem", &["full", "strict"]),
        ] {
            assert_eq!(values(unit, "Service", key), expected, "{key} of {unit}");
        }

        // What the operator sets overrides what an instance finds out.
        let files = values(unit, "Service", "EnvironmentFile");
        assert_eq!(files.last().unwrap(), "-/etc/fleet-monitor.env", "{unit}");

        let environment = values(unit, "Service", "Environment");
        let path = environment
            .iter()
            .find_map(|value| value.strip_prefix("PATH="))
            .unwrap();
        assert!(
            path.split(':').any(|directory| directory == "/usr/bin"),
            "CoreOS has fleetctl in /usr/bin: {path}"
        );

        // Longer than the program takes to stop (5 s); and with pauses that are long enough for
        // systemd to restart it any number of times.
        assert!(values(unit, "Service", "TimeoutStopSec")[0].parse::<u32>().unwrap() > 5);
        assert!(values(unit, "Service", "RestartSec")[0].parse::<u32>().unwrap() > 2);

        // systemd 219 does not know the groups of system calls: with a list of allowed ones it
        // would let nothing run.
        let filters = values(unit, "Service", "SystemCallFilter");
        assert!(
            !filters.is_empty() && filters.iter().all(|filter| filter.starts_with("~@")),
            "{filters:?}"
        );
    }
}

#[test]
fn the_units_for_fleet_run_the_program_like_the_unit_of_the_host() {
    let service = |unit: &str| -> Vec<Setting> {
        let mut all = settings(&read(unit));
        // `ExecStopPost` is a pause after a failure for the socket of the host's unit, which the
        // units for fleet do not have.
        let own = ["ExecStart", "ExecStopPost", "User"];
        all.retain(|(section, key, _)| section == "Service" && !own.contains(&&**key));
        all
    };

    for unit in [SINGLE, INSTANCE, GLOBAL] {
        let mut service_of_fleet = service(unit);
        // Only an instance looks for the others.
        service_of_fleet.retain(|(_, _, value)| unit != INSTANCE || !value.contains(PEERS));
        assert_eq!(service_of_fleet, service(HOST), "{unit}");
        assert_eq!(values(unit, "Unit", "After"), values(HOST, "Unit", "After"), "{unit}");
        assert_eq!(
            values(unit, "Service", "User"),
            ["daemon"],
            "{unit}: every CoreOS has this user"
        );
    }

    let user = read("packaging/lib/sysusers.d/fleet-monitor.conf");
    assert!(
        user.lines()
            .any(|line| line.starts_with(&format!("u {} ", values(HOST, "Service", "User")[0])))
    );
}

#[test]
fn the_sidekick_is_as_hardened_as_the_monitor() {
    let hardening = |unit: &str| -> Vec<Setting> {
        let all = settings(&read(unit));
        all.into_iter().skip_while(|(_, key, _)| key != "User").collect()
    };
    let is_hardening = |(section, _, _): &Setting| section == "Service";

    let mut expected = hardening(INSTANCE);
    let mut actual = hardening(DISCOVERY);
    expected.retain(is_hardening);
    actual.retain(is_hardening);
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(actual, expected);
}

#[test]
fn every_unit_names_the_manual_page_that_is_packaged() {
    let page = "packaging/man/fleet-monitor.1";
    assert!(read(page).contains("\n.TH fleet-monitor 1 "), "its section is 1");
    assert!(read("Cargo.toml").contains(&format!("[\"{page}\", \"usr/share/man/man1/\"")));

    for unit in [HOST, SOCKET].into_iter().chain(OF_FLEET) {
        assert_eq!(values(unit, "Unit", "Documentation"), ["man:fleet-monitor(1)"], "{unit}");
    }
}

#[test]
fn fleet_accepts_its_units() {
    for unit in OF_FLEET {
        let text = read(unit);
        let mut requirements: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (section, key, value) in settings(&text) {
            if section == "X-Fleet" {
                assert!(X_FLEET.contains(&&*key), "{unit}: fleet does not know {key}");
                requirements.entry(key).or_default().push(value);
            }
        }
        assert!(!requirements.is_empty(), "{unit}");

        let has = |key: &str| requirements.contains_key(key);
        let refused = [
            ("MachineID", "MachineOf"),
            ("MachineID", "Conflicts"),
            ("MachineID", "Global"),
            ("Global", "MachineOf"),
        ];
        assert!(
            refused.iter().all(|(one, other)| !(has(one) && has(other))),
            "{unit}: {requirements:?}"
        );

        let of = requirements.get("MachineOf").into_iter().flatten();
        let conflicts = requirements.get("Conflicts").cloned().unwrap_or_default();
        assert!(
            of.clone().all(|of| !conflicts.iter().any(|glob| matches(glob, of))),
            "{unit}: {requirements:?}"
        );

        assert!(
            text.lines().all(|line| line.len() <= 2048),
            "{unit}: fleet refuses lines of more than 2048 bytes"
        );
        let plain =
            |character: char| character.is_ascii_alphanumeric() || "-@.".contains(character);
        assert!(file_name(unit).chars().all(plain), "fleet refuses the name {unit}");
    }
    assert_eq!(values(GLOBAL, "X-Fleet", "Global"), ["true"]);
}

#[test]
fn fleet_never_runs_two_monitors_on_a_machine() {
    let names = |unit: &str| file_name(unit).replace('@', "@1");
    let conflict = |unit: &str, with: &str| {
        values(unit, "X-Fleet", "Conflicts")
            .iter()
            .any(|glob| matches(glob, with))
    };

    for unit in [SINGLE, INSTANCE, GLOBAL] {
        for other in [SINGLE, INSTANCE, GLOBAL] {
            assert!(unit == other || conflict(unit, &names(other)), "{unit} and {other}");
        }
        assert!(!conflict(unit, &names(DISCOVERY)), "{unit} and its sidekick");
    }
    assert!(conflict(INSTANCE, "fleet-monitor@2.service"));
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let (root, files) = units();

    for directory in ["host", "fleet"] {
        let directory = root.path().join(directory);
        let files: Vec<&Path> = files
            .iter()
            .map(PathBuf::as_path)
            .filter(|file| file.starts_with(&directory))
            .collect();
        // The manual page may not be installed here.
        let Some(output) = analyze(&["verify", "--man=no"], &files) else {
            return;
        };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr),
            ""
        );
    }
}

/// An exposure of 1.5 at most, where 10 is no protection at all. About 1 is for the network, which
/// the program needs.
#[test]
fn the_services_have_a_low_exposure() {
    let (_root, files) = units();

    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "service"))
    {
        let Some(output) = analyze(&["security", "--offline=yes", "--threshold=15"], &[file])
        else {
            return;
        };
        assert!(
            output.status.success(),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// The script of a setting such as `ExecStart=/bin/sh -c '…'`, as systemd would run it.
fn script(unit: &str, key: &str) -> String {
    let line = values(unit, "Service", key).remove(0);
    let script = line
        .trim_start_matches('-')
        .strip_prefix("/bin/sh -c '")
        .and_then(|line| line.strip_suffix('\''));
    let script = script.unwrap_or_else(|| panic!("{key}={line}"));

    script
        .replace("$$", "$")
        .replace("%i", "1")
        .replace("%H", "core-01")
        .replace("\\\\", "\\")
}

/// A run of the sidekick with doubles of `curl`, `etcdctl` and `sleep`.
struct Sidekick {
    directory: TempDir,
}

impl Sidekick {
    /// The instance answers twice.
    fn new() -> Self {
        let sidekick = Self { directory: TempDir::new().unwrap() };

        sidekick.double(
            "curl",
            "for url; do :; done; echo $url >>$LOG; [ $(grep -c healthz $LOG) -le 2 ]",
        );
        sidekick.double("etcdctl", "printf '%s\n' \"$*\" >>$LOG");
        sidekick.double("sleep", ":");
        sidekick
    }

    fn double(&self, name: &str, script: &str) {
        let file = self.directory.path().join(name);
        fs::write(
            &file,
            format!(
                "#!/bin/sh
{script}
"
            ),
        )
        .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The script of this setting, ready to run.
    fn command(&self, key: &str) -> Command {
        self.shell(&script(DISCOVERY, key))
    }

    /// A script with the doubles.
    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        let path = format!("{}:/usr/bin:/bin", self.directory.path().display());

        shell.args(["-c", script]).env_clear();
        shell.env("LOG", self.log_file()).env("PATH", path);
        shell
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The calls of the doubles so far.
    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    /// The values that were announced in etcd so far.
    fn announced(&self) -> Vec<Value> {
        self.log()
            .lines()
            .filter_map(|line| line.strip_prefix("set --ttl 60 /services/fleet-monitor/1 "))
            .map(|value| serde_json::from_str(value).unwrap())
            .collect()
    }
}

#[test]
fn the_sidekick_announces_an_instance_while_it_answers() {
    let sidekick = Sidekick::new();
    let output = sidekick
        .command("ExecStart")
        .env("COREOS_PRIVATE_IPV4", "172.17.8.101")
        .env("FLEET_MONITOR_PORT", "8990")
        .output();

    let value = serde_json::json!({"host": "172.17.8.101", "port": 8990});
    let log = sidekick.log();
    assert_eq!(output.unwrap().status.code(), Some(1), "systemd restarts it");
    assert_eq!(sidekick.announced(), vec![value; 2], "{log}");
    assert_eq!(log.matches("http://127.0.0.1:8990/healthz").count(), 3, "{log}");
}

#[test]
fn the_sidekick_announces_the_host_name_and_the_default_port_without_settings() {
    let sidekick = Sidekick::new();
    sidekick.command("ExecStart").output().unwrap();

    let value = serde_json::json!({"host": "core-01", "port": 8989});
    assert_eq!(sidekick.announced()[0], value, "{}", sidekick.log());
}

/// What an instance would get from its file of other monitors, if etcd has these values.
fn other_monitors(announced: &[&str]) -> Option<String> {
    let sidekick = Sidekick::new();
    let keys: String = (1..=announced.len())
        .map(|number| format!("/key/{number}\n"))
        .collect();
    let directory = sidekick.directory.path();
    fs::write(directory.join("keys"), keys).unwrap();
    for (number, value) in (1..).zip(announced) {
        fs::create_dir_all(directory.join("key")).unwrap();
        fs::write(directory.join(format!("key/{number}")), format!("{value}\n")).unwrap();
    }
    sidekick.double(
        "etcdctl",
        "cd ${0%/*}; case $1 in ls) cat keys;; get) cat .$2;; *) exit 1;; esac",
    );

    let script = script(INSTANCE, "ExecStartPre")
        .replace("/run/", &format!("{}/", directory.display()))
        .replace("/etc/fleet-monitor.toml", &directory.join("none").display().to_string());
    assert!(sidekick.shell(&script).status().unwrap().success());
    fs::read_to_string(directory.join("fleet-monitor.1.peers")).ok()
}

#[test]
fn an_instance_asks_those_that_are_announced() {
    let found = other_monitors(&[
        r#"{"host":"172.17.8.101","port":8989}"#,
        r#"{"host":"core-02","port":8990}"#,
    ]);
    let expected = "FLEET_MONITOR_HISTORY_FROM=http://172.17.8.101:8989,http://core-02:8990\n";
    assert_eq!(found.as_deref(), Some(expected));

    assert_eq!(other_monitors(&[]).unwrap().trim(), "");
    assert_eq!(other_monitors(&["something else"]).unwrap().trim(), "");
}

#[test]
fn a_sidekick_that_is_stopped_removes_the_instance() {
    let sidekick = Sidekick::new();

    assert!(sidekick.command("ExecStopPost").output().unwrap().status.success());
    assert!(sidekick.log().ends_with(
        "rm /services/fleet-monitor/1
"
    ));
}
