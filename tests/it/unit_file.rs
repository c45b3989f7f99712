//! What is installed: units, configuration, the installer for CoreOS machines, and the samples.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
            ("EnvironmentFile", &["-/etc/fleet-monitor.env"]),
            ("WatchdogSec", &["30"]),
            ("Restart", &["always"]),
            ("RestartPreventExitStatus", &["2 78"]),
            // An older systemd takes the last value that it knows.
            ("ProtectSystem", &["full", "strict"]),
        ] {
            assert_eq!(values(unit, "Service", key), expected, "{key} of {unit}");
        }
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
        // `ExecStopPost` is for the socket of the host's unit, which the units for fleet do not
        // have.
        let own = ["ExecStart", "ExecStopPost", "User"];
        all.retain(|(section, key, _)| section == "Service" && !own.contains(&&**key));
        all
    };

    for unit in [SINGLE, INSTANCE, GLOBAL] {
        assert_eq!(service(unit), service(HOST), "{unit}");
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
        let Some(output) = analyze(&["verify"], &files) else {
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
fn the_units_of_the_monitor_have_a_low_exposure() {
    let (_root, files) = units();

    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "service"))
    {
        if file.to_string_lossy().contains("discovery") {
            continue;
        }
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
fn script(key: &str) -> String {
    let line = values(DISCOVERY, "Service", key).remove(0);
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

#[test]
fn the_sidekick_announces_an_instance_for_as_long_as_it_answers() {
    let directory = TempDir::new().unwrap();
    let double = |name: &str, script: &str| {
        let file = directory.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = directory.path();
    let log = path.join("log");
    // The instance answers twice.
    double(
        "curl",
        "for url; do :; done; echo $url >>$LOG; [ $(grep -c healthz $LOG) -le 2 ]",
    );
    double("etcdctl", "printf '%s\\n' \"$*\" >>$LOG");
    double("sleep", ":");
    let run = |key: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script(key)]).env_clear().env("LOG", &log);
        shell.env("PATH", format!("{}:/usr/bin:/bin", path.display()));
        shell
    };
    let announced = |log: &str| -> Vec<Value> {
        let values = log
            .lines()
            .filter_map(|line| line.strip_prefix("set --ttl 60 /services/fleet-monitor/1 "));
        values.map(|value| serde_json::from_str(value).unwrap()).collect()
    };
    let ended = run("ExecStart")
        .env("COREOS_PRIVATE_IPV4", "172.17.8.101")
        .env("FLEET_MONITOR_PORT", "8990")
        .output();
    assert_eq!(ended.unwrap().status.code(), Some(1), "systemd restarts it");
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(
        announced(&text),
        vec![serde_json::json!({"host": "172.17.8.101", "port": 8990}); 2],
        "{text}"
    );
    assert_eq!(text.matches("http://127.0.0.1:8990/healthz").count(), 3, "{text}");

    fs::remove_file(&log).unwrap();
    run("ExecStart").output().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(
        announced(&text)[0],
        serde_json::json!({"host": "core-01", "port": 8989}),
        "{text}"
    );

    assert!(run("ExecStop").output().unwrap().status.success());
    assert!(
        fs::read_to_string(&log)
            .unwrap()
            .ends_with("rm /services/fleet-monitor/1\n")
    );
}

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
fn outputs(output: &Output) -> (String, String) {
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
fn settings_on_coreos() -> Vec<Setting> {
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

/// Parses a YAML document with Python. `None` if that has no PyYAML; with `CI=true` that is a
/// failure.
fn yaml(path: &str) -> Option<Value> {
    let program =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(repository(path))
        .output();
    let missing = match &output {
        Ok(output) => String::from_utf8_lossy(&output.stderr).contains("No module named 'yaml'"),
        Err(_) => true,
    };

    if missing && std::env::var_os("CI").is_none_or(|ci| ci != "true") {
        eprintln!("not checked: no PyYAML; it is in Debian's package python3-yaml");
        return None;
    }

    let output = output.unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn entry_named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let mut found = list.as_array().unwrap().iter().filter(|entry| entry[key] == name);
    found.next().unwrap_or_else(|| panic!("no {name} in {list:#}"))
}

#[test]
fn the_cloud_config_downloads_the_program_by_its_hash_and_starts_the_unit_of_the_host() {
    let path = "packaging/samples/cloud-config.yaml";
    assert!(
        read(path).starts_with("#cloud-config\n"),
        "CoreOS recognizes the format by the first line"
    );
    let Some(config) = yaml(path) else { return };
    let units = &config["coreos"]["units"];
    let service = entry_named(units, "name", "fleet-monitor.service");
    assert_eq!(settings(service["content"].as_str().unwrap()), settings_on_coreos());
    assert_eq!(
        (&service["enable"], &service["command"]),
        (&Value::Bool(true), &Value::from("start"))
    );
    let needs = entry_named(&service["drop-ins"], "name", "10-download.conf")["content"]
        .as_str()
        .unwrap();
    let download = entry_named(units, "name", "fleet-monitor-download.service");
    assert!(
        settings(needs)
            .iter()
            .all(|(_, _, value)| download["name"] == **value),
        "{needs}"
    );
    let written = &config["write_files"];
    let options = entry_named(written, "path", "/etc/fleet-monitor.toml");
    assert!(options["content"].as_str().unwrap().starts_with("allowed_hosts = "));

    // The download with a wrong and with the right hash.
    let directory = TempDir::new().unwrap();
    let at = |path: &str| directory.path().join(path);
    let script = entry_named(written, "path", "/opt/bin/fleet-monitor-download");
    assert_eq!(script["permissions"], "0755");
    let exec = settings(download["content"].as_str().unwrap())
        .into_iter()
        .find(|(_, key, _)| key == "ExecStart");
    assert_eq!(script["path"], exec.unwrap().2);
    fs::write(
        at("curl"),
        "#!/bin/sh\nwhile [ $1 != --output ]; do shift; done; echo program >$2; echo $3 >url\n",
    )
    .unwrap();
    fs::set_permissions(at("curl"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |hash: &str| {
        let text = script["content"].as_str().unwrap();
        let zeros = "0".repeat(64);
        assert!(text.contains(&zeros));
        fs::write(at("download"), text.replace(&zeros, hash)).unwrap();
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        Command::new("/bin/sh")
            .arg(at("download"))
            .env("PATH", path)
            .output()
            .unwrap()
    };
    let output = run(&"1".repeat(64));
    assert_eq!(
        (output.status.code(), at("fleet-monitor").exists()),
        (Some(1), false),
        "{output:?}"
    );
    assert!(
        outputs(&output)
            .1
            .contains("https://example.com/fleet-monitor has another hash than 1")
    );
    let right = "fba13a37a73d657dc0f1e671f0dc714f9891dd4da15ec45bd2a6f83e0434648e";
    assert!(run(right).status.success());
    assert_eq!(fs::metadata(at("fleet-monitor")).unwrap().permissions().mode() & 0o777, 0o755);
    fs::remove_file(at("url")).unwrap();
    assert!(
        run(right).status.success() && !at("url").exists(),
        "an existing file is not downloaded again"
    );
}

#[test]
fn the_ignition_sample_verifies_the_download_and_enables_the_unit_of_the_host() {
    let config: Value = serde_json::from_str(&read("packaging/samples/ignition.json")).unwrap();
    assert_eq!(config["ignition"]["version"], "2.0.0");

    let files = &config["storage"]["files"];
    for (path, mode) in [("/opt/bin/fleet-monitor", 0o755), ("/etc/fleet-monitor.toml", 0o644)] {
        let file = entry_named(files, "path", path);
        assert_eq!(
            (&file["filesystem"], &file["mode"]),
            (&Value::from("root"), &Value::from(mode)),
            "{path}"
        );
    }

    let contents = &entry_named(files, "path", "/opt/bin/fleet-monitor")["contents"];
    assert!(contents["source"].as_str().unwrap().starts_with("https://"));

    // Version 2 of the specification supports no other hash function.
    let hash = contents["verification"]["hash"]
        .as_str()
        .unwrap()
        .strip_prefix("sha512-")
        .unwrap();
    assert!(hash.len() == 128 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));

    let service = entry_named(&config["systemd"]["units"], "name", "fleet-monitor.service");
    assert_eq!(service["enable"], true);
    assert_eq!(settings(service["contents"].as_str().unwrap()), settings_on_coreos());

    let group = entry_named(&service["dropins"], "name", "10-group-fleet.conf")["contents"]
        .as_str()
        .unwrap();
    assert_eq!(
        settings(group),
        [("Service".to_owned(), "SupplementaryGroups".to_owned(), "fleet".to_owned())]
    );
}
