//! The options of the real binary: its output and its exit status.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::snapshots::assert_text;

/// The binary with its own configuration file, and without the environment of the tests.
struct Program {
    command: Command,
    directory: TempDir,
}

impl Program {
    fn new(file: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("fleet-monitor.toml");
        fs::write(&path, file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
        command.env_clear().env("FLEET_MONITOR_CONFIG", path);
        Self { command, directory }
    }

    fn run(&mut self, arguments: &[&str]) -> Output {
        self.command.args(arguments).output().unwrap()
    }

    /// The output, with the path of the file as `FILE`.
    fn text(&self, bytes: &[u8]) -> String {
        let path = self.directory.path().join("fleet-monitor.toml");
        String::from_utf8(bytes.to_vec())
            .unwrap()
            .replace(path.to_str().unwrap(), "FILE")
    }
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

#[test]
fn check_config_prints_the_options_of_etcd() {
    let mut program = Program::new("etcd = ['https://10.0.0.1:2379', 'https://10.0.0.2:2379']\n");
    program.command.env("FLEET_MONITOR_ETCD_CA", "/etc/ca.pem");
    let output = program.run(&["--check-config", "--etcd-prefix", "/registry"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = squeezed(&program.text(&output.stdout));
    for expected in [
        r#"etcd = ["https://10.0.0.1:2379", "https://10.0.0.2:2379"] # FILE:1"#,
        r#"etcd_prefix = "/registry" # --etcd-prefix"#,
        r#"etcd_ca = "/etc/ca.pem" # FLEET_MONITOR_ETCD_CA"#,
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
    for arguments in [&["--colour"] as &[&str], &["-e", "etcd", "-t", "ssh"], &["--port"]] {
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
    let last = report.lines().last().unwrap();
    for (name, _) in OF_KUBERNETES {
        assert!(
            last.starts_with("# ") && last.split([' ', ',']).any(|word| word == name),
            "{last}"
        );
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
