//! The options of the real binary: its output and its exit status.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::snapshots::assert_text;

/// The binary with its own configuration file, and without the environment of the tests.
struct Program {
    command: Command,
    directory: TempDir,
}

impl Program {
    /// With a fleetctl in `$PATH`, so that `auto` finds a source.
    fn new(file: &str) -> Self {
        let program = Self::without_source(file);
        write_fleetctl(program.directory.path());
        program
    }

    /// With a `$PATH` in which nothing is.
    fn without_source(file: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("fleet-monitor.toml");
        fs::write(&path, file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
        command
            .env_clear()
            .env("PATH", directory.path())
            .env("FLEET_MONITOR_CONFIG", path);
        Self { command, directory }
    }

    /// A file in its directory.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in its directory, and returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&mut self, arguments: &[&str]) -> Output {
        self.command.args(arguments).output().unwrap()
    }

    /// The output, with the path of the file as `FILE`, and that of the directory as `DIR`.
    fn text(&self, bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec())
            .unwrap()
            .replace(self.path("fleet-monitor.toml").to_str().unwrap(), "FILE")
            .replace(self.directory.path().to_str().unwrap(), "DIR")
    }
}

/// Writes an executable file, which is never run.
fn write_fleetctl(directory: &Path) {
    let path = directory.join("fleetctl");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The output of `--check-config`, with each run of blanks as one.
fn squeezed(report: &str) -> Vec<String> {
    report
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn check_config_prints_each_value_and_where_it_comes_from() {
    let mut program = Program::new("machine_freq = 5\nunit_freq = 5\nport = 5\n");
    program
        .command
        .env("FLEET_MONITOR_UNIT_FREQ", "0.5")
        .env("FLEET_MONITOR_PORT", "6");
    let output = program.run(&["--check-config", "--port", "7"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let report = squeezed(&program.text(&output.stdout));
    for expected in [
        "machine_freq = 5 # FILE:1",
        "unit_freq = 0.5 # FLEET_MONITOR_UNIT_FREQ",
        "port = 7 # --port",
        "grace = 30 # default",
    ] {
        assert!(report.iter().any(|line| line == expected), "no {expected} in {report:#?}");
    }
}

#[test]
fn check_config_reads_like_this() {
    let output = Program::new("").run(&["--check-config"]);
    assert_text("check-config-of-defaults", &String::from_utf8(output.stdout).unwrap());

    let mut program = Program::new(
        "etcd = ['https://10.0.0.1:2379', 'https://10.0.0.2:2379']\nmachine_freq = 5\n",
    );
    program
        .command
        .env("FLEET_MONITOR_UNIT_FREQ", "0.5")
        .env("FLEET_MONITOR_PROBLEM_AFTER", "30,stale=300")
        .envs(OF_KUBERNETES);
    let output = program.run(&["--check-config", "--etcd-prefix", "/registry"]);
    assert_text("check-config-of-all-places", &program.text(&output.stdout));
}

#[test]
fn the_version_reads_like_this() {
    let output = Program::new("").run(&["--version"]);
    let version = String::from_utf8(output.stdout).unwrap();
    assert_text("version", &version.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn a_wrong_configuration_ends_with_78_and_all_that_is_wrong_on_stderr() {
    let mut program = Program::new("colour = 'red'\n");
    program.command.env("FLEET_MONITOR_UNIT_FREQ", "fast");
    let output = program.run(&["--port", "http"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = program.text(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    for (line, origin) in
        lines
            .iter()
            .zip(["colour (FILE:1)", "(FLEET_MONITOR_UNIT_FREQ)", "(--port)"])
    {
        assert!(line.starts_with("fleet-monitor: ") && line.contains(origin), "{said}");
    }
    assert_eq!(lines.len(), 3, "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn check_config_refuses_what_a_start_would_refuse() {
    let output = Program::new("endpoint = 'etcd'").run(&["--check-config", "-t", "ssh"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let output = Program::new("").run(&["--check-config", "--api", "http://10.0.0.1"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("fleet-monitor: api = \"http://10.0.0.1\" (--api): "), "{said}");
}

/// The lines of standard error that are not of the log, which begin with a time.
fn errors(output: &Output) -> Vec<String> {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    errors
        .lines()
        .filter(|line| line.starts_with("fleet-monitor: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn check_config_ends_as_a_start_would_that_finds_something_wrong() {
    let program = Program::without_source("");
    let text = program.write("text", "two words");
    let recording = program.path("absent/recording");
    let recording = recording.to_str().unwrap();

    for arguments in [
        &[] as &[&str],
        &["-c", "/nowhere/fleetctl"],
        &["--source", "fleetctl", "-e", "etcd"],
        &["--demo", "--token-file", "/nowhere/token"],
        &["--demo", "--token-file", &text],
        &["--replay", "/nowhere/recording"],
        &["--replay", &text],
        &["--source", "api", "--record", recording],
        &["--source", "api", "--record", "/"],
        &["--etcd", "https://127.0.0.1:1", "--etcd-ca", "/nowhere/ca.pem"],
        &["--etcd", "https://127.0.0.1:1", "--etcd-cert", &text, "--etcd-key", &text],
        &[
            "--etcd",
            "http://127.0.0.1:1",
            "--etcd-user",
            "monitor",
            "--etcd-password-file",
            "/nowhere",
        ],
    ] {
        let run = |more: &[&str]| {
            let mut program = Program::without_source("");
            program.command.env("PATH", "/nowhere");
            program.run(&[arguments, more].concat())
        };
        let start = run(&["--bind", "127.0.0.1", "--port", "0"]);
        let check = run(&["--check-config"]);
        assert_eq!(start.status.code(), Some(78), "{arguments:?}: {start:?}");
        assert_eq!(check.status.code(), Some(78), "{arguments:?}: {check:?}");
        assert_eq!(errors(&check), errors(&start), "{arguments:?}");
        assert_eq!(errors(&check).len(), 1, "{arguments:?}: {check:?}");

        let report = String::from_utf8(check.stdout).unwrap();
        assert!(report.contains("unit_freq"), "the values are printed all the same: {report}");
        assert!(!report.contains("selected source"), "{report}");
    }
}

#[test]
fn check_config_names_the_source_that_a_start_would_select() {
    let selected = |arguments: &[&str]| {
        let mut program = Program::new("");
        let output = program.run(&[&["--check-config"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report = program.text(&output.stdout);
        let line = report.lines().find(|line| line.starts_with("# selected source: "));
        line.unwrap_or_else(|| panic!("{report}")).to_owned()
    };

    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port().to_string();
    drop(closed);
    for (arguments, name) in [
        (&[] as &[&str], "fleetctl"),
        (&["--demo"], "--demo"),
        (&["--api", "http://127.0.0.1:1"], "http://127.0.0.1:1"),
        (&["-e", "127.0.0.1", "--endpoint-port", &port], "etcd"),
    ] {
        assert!(selected(arguments).contains(name), "{arguments:?}: {}", selected(arguments));
    }
}

#[test]
fn check_config_binds_no_port_and_records_nothing() {
    let mut program = Program::new("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let old = program.write("old", "recorded before\n");
    let new = program.path("new");

    let check = ["--check-config", "--bind", "127.0.0.1", "--port", &port, "--record"];
    let output = program.run(&[&check as &[&str], &[&old]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(old).unwrap(), "recorded before\n");

    let output = Program::new("").run(&[&check as &[&str], &[new.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!new.exists());

    // Opening a pipe to write would wait for a reader.
    assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
    let output = Program::new("").run(&[&check as &[&str], &[new.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn check_config_reads_an_env_file_as_the_service_would() {
    let mut program = Program::without_source("grace = 7\n");
    let tools = program.path("tools");
    fs::create_dir(&tools).unwrap();
    write_fleetctl(&tools);
    let env = program.write(
        "env",
        &format!(
            "# of the service\nFLEET_MONITOR_PORT=\"8990\"\nPATH={}\nFLEET_MONITOR_LOG=info,\\\n\
             fleet_monitor=debug\nexport FLEET_MONITOR_GRACE=5\n",
            tools.display()
        ),
    );
    program.command.env("FLEET_MONITOR_PORT", "1");

    let output = program.run(&["--check-config", "--env-file", &env]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = squeezed(&program.text(&output.stdout));
    for expected in [
        "port = 8990 # DIR/env:2",
        "log = \"info,fleet_monitor=debug\" # DIR/env:4",
        "grace = 7 # FILE:1",
    ] {
        assert!(report.iter().any(|line| line == expected), "no {expected} in {report:#?}");
    }
    assert!(report.iter().any(|line| line.starts_with("# DIR/env:6: ")), "{report:#?}");
}

#[test]
fn an_error_in_an_env_file_names_the_line_and_an_absent_one_is_none() {
    let mut program = Program::new("");
    let env = program.write("env", "\nFLEET_MONITOR_UNIT_FREQ=fast\n");
    let output = program.run(&["--check-config", "--env-file", &env]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(program.text(&output.stderr).contains("(DIR/env:2)"), "{output:?}");

    let mut program = Program::new("");
    let absent = program.path("absent");
    let output = program.run(&["--check-config", "--env-file", absent.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(program.text(&output.stdout).contains("\n# DIR/absent: "), "{output:?}");
}

#[test]
fn a_log_filter_that_would_silence_everything_by_mistake_ends_with_78() {
    for filter in ["warning", "inof", "fleet_monitr=debug"] {
        let mut program = Program::new("");
        let output = program.run(&["--check-config", "--log", filter]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = program.text(&output.stderr);
        assert!(said.contains(&format!("log = \"{filter}\" (--log): ")), "{said}");
        assert!(said.contains("did you mean"), "{said}");
    }
}

#[test]
fn a_negative_number_is_a_wrong_value_and_not_wrong_usage() {
    for (option, key) in [("-u", "unit_freq"), ("-p", "port"), ("--grace", "grace")] {
        let mut program = Program::new("");
        let output = program.run(&["--check-config", option, "-1"]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = program.text(&output.stderr);
        assert!(said.starts_with(&format!("fleet-monitor: {key} = -1 (--")), "{said}");
    }
}

#[test]
fn check_config_prints_the_options_of_etcd() {
    let mut program = Program::new("etcd = ['https://10.0.0.1:2379', 'https://10.0.0.2:2379']\n");
    program.command.env("FLEET_MONITOR_ETCD_CA", "/nowhere/ca.pem");
    let output = program.run(&["--check-config", "--etcd-prefix", "/registry"]);
    assert_eq!(output.status.code(), Some(78), "that file does not exist: {output:?}");
    let report = squeezed(&program.text(&output.stdout));
    for expected in [
        r#"etcd = ["https://10.0.0.1:2379", "https://10.0.0.2:2379"] # FILE:1"#,
        r#"etcd_prefix = "/registry" # --etcd-prefix"#,
        r#"etcd_ca = "/nowhere/ca.pem" # FLEET_MONITOR_ETCD_CA"#,
    ] {
        assert!(report.iter().any(|line| line == expected), "no {expected} in {report:#?}");
    }
}

#[test]
fn a_named_file_that_is_absent_ends_with_78() {
    let output =
        Program::new("").run(&["--check-config", "--config", "/nowhere/fleet-monitor.toml"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("/nowhere/fleet-monitor.toml") && error.contains("--config"),
        "{error}"
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["--colour"] as &[&str],
        &["-e", "etcd", "-t", "ssh"],
        &["--port"],
        &["--env-file", "f"],
    ] {
        let output = Program::new("").run(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn help_and_version_end_with_0_whatever_the_configuration() {
    for argument in ["-h", "--help", "-V", "--version"] {
        let output = Program::new("colour = 'red'").run(&[argument]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!output.stdout.is_empty());
    }
}

/// What Kubernetes sets in each pod of a namespace that has a service `fleet-monitor` and one
/// `fleet-monitor-canary`.
const OF_KUBERNETES: [(&str, &str); 8] = [
    ("FLEET_MONITOR_SERVICE_HOST", "10.96.0.7"),
    ("FLEET_MONITOR_SERVICE_PORT", "8989"),
    ("FLEET_MONITOR_SERVICE_PORT_HTTP", "8989"),
    ("FLEET_MONITOR_PORT", "tcp://10.96.0.7:8989"),
    ("FLEET_MONITOR_PORT_8989_TCP", "tcp://10.96.0.7:8989"),
    ("FLEET_MONITOR_PORT_8989_TCP_ADDR", "10.96.0.7"),
    ("FLEET_MONITOR_CANARY_SERVICE_HOST", "10.96.0.8"),
    ("FLEET_MONITOR_CANARY_PORT", "tcp://10.96.0.8:8989"),
];

#[test]
fn variables_of_kubernetes_are_ignored_and_check_config_names_them() {
    let mut program = Program::new("");
    program.command.envs(OF_KUBERNETES);
    let output = program.run(&["--check-config"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let report = program.text(&output.stdout);
    let port = report.lines().find(|line| line.starts_with("port ")).unwrap();
    assert_eq!(
        port.split_whitespace().collect::<Vec<_>>(),
        ["port", "=", "8989", "#", "default"]
    );
    for (name, _) in OF_KUBERNETES {
        let is_listed = report
            .lines()
            .filter(|line| line.starts_with("# ignored"))
            .any(|line| line.split([' ', ',']).any(|word| word == name));
        assert!(is_listed, "{name}: {report}");
    }
}

#[test]
fn variables_of_kubernetes_excuse_no_other_unknown_one() {
    let mut program = Program::new("");
    program
        .command
        .envs(OF_KUBERNETES)
        .env("FLEET_MONITOR_PROT", "8989")
        .env("FLEET_MONITOR_UNIT_FREQ", "\"5\"");
    let output = program.run(&["--port", "8990"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = program.text(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].contains("(FLEET_MONITOR_PROT)") && lines[1].contains("(FLEET_MONITOR_UNIT_FREQ)"),
        "{said}"
    );
    assert_eq!(lines.len(), 2, "{said}");
}

const PRINTING: [&str; 3] = ["--check-config", "--help", "--version"];

#[test]
fn what_cannot_be_printed_for_want_of_space_is_one_sentence_and_status_1() {
    for option in PRINTING {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut program = Program::new("");
        let output = program.command.arg(option).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{option}: {said}");
        assert_eq!(said.lines().count(), 1, "{option}: {said}");
        assert!(said.contains("No space left on device"), "{option}: {said}");
    }
}

#[test]
fn a_closed_pipe_ends_what_is_printed_without_a_word() {
    for option in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Program::new("").command.arg(option).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*said), (Some(1), ""), "{option}");
    }
}

#[test]
fn an_error_that_cannot_be_written_does_not_change_the_exit_status() {
    for (arguments, status) in [(["--no-such-option"], 2), (["--unit-freq=fast"], 78)] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = Program::new("")
            .command
            .args(arguments)
            .stderr(full)
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(status), "{arguments:?}");
    }
}
