//! The fleetctl client, with real child processes that imitate all versions.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet_monitor::cluster::{FleetList, Machine, Reading, UnitFile, UnitState};
use fleet_monitor::source::fleetctl::{
    Fleetctl, FleetctlConnection, FleetctlError, FleetctlSettings,
};
use fleet_monitor::source::polled::{Polled, Schedule};
use fleet_monitor::source::table::TableError;
use fleet_monitor::source::{FleetClient, SourceError, SourceEvent};
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::support::{Double, VERSIONS, cannot_run, recorded};

/// A row as fleetctl prints it, by column.
type PrintedRow = BTreeMap<&'static str, String>;

fn etcd() -> FleetctlConnection {
    FleetctlConnection::Etcd { host: "127.0.0.1".into(), port: 4001 }
}

fn tunnel() -> FleetctlConnection {
    FleetctlConnection::Tunnel { host: "core-01".into(), port: 22 }
}

fn settings(command: &str) -> FleetctlSettings {
    FleetctlSettings {
        command: command.to_owned(),
        search_path: std::env::var_os("PATH"),
        connection: FleetctlConnection::Default,
        timeout: Duration::from_secs(60),
    }
}

async fn failure(double: &Double) -> FleetctlError {
    let source = double.source(FleetctlConnection::Default);
    fleetctl_error(source.poll(FleetList::Units).await.unwrap_err())
}

fn fleetctl_error(error: SourceError) -> FleetctlError {
    match error {
        SourceError::Fleetctl(error) => error,
        other => panic!("{other:?}"),
    }
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn unit(state: &UnitState) -> PrintedRow {
    let place = match (&state.machine, &state.ip) {
        (Some(machine), Some(ip)) => format!("{machine}/{ip}"),
        (machine, _) => or_dash(machine.as_deref()),
    };
    PrintedRow::from([
        ("unit", state.unit.to_string()),
        ("load", or_dash(state.load.as_deref())),
        ("active", or_dash(state.active.as_deref())),
        ("sub", or_dash(state.sub.as_deref())),
        ("machine", place),
        ("hash", or_dash(state.hash.as_deref())),
    ])
}

fn machine(machine: &Machine) -> PrintedRow {
    PrintedRow::from([
        ("machine", machine.id.to_string()),
        ("ip", or_dash(machine.ip.as_deref())),
        ("metadata", or_dash(machine.metadata.as_deref())),
    ])
}

fn unit_file(file: &UnitFile) -> PrintedRow {
    PrintedRow::from([
        ("unit", file.unit.to_string()),
        ("global", file.global.to_string()),
        ("dstate", or_dash(file.desired.as_deref())),
        ("target", or_dash(file.target.as_deref())),
        ("hash", or_dash(file.hash.as_deref())),
        ("desc", or_dash(file.description.as_deref())),
    ])
}

/// The recorded rows of a list, in these columns. A column that the version does not have has no
/// values.
fn recorded_rows(recorded: &Value, list: &str, columns: &[&'static str]) -> Vec<PrintedRow> {
    let list = &recorded["lists"][list];

    let index = |name: &str| {
        list["columns"]
            .as_array()
            .unwrap()
            .iter()
            .position(|column| column == name)
    };
    let cell = |row: &Value, column: &str| match column {
        // Only the machine of the target is read; a global unit has no target.
        "target" => {
            let index = index("target").or(index("tmachine"));
            match index.map_or("-", |index| row[index].as_str().unwrap()) {
                "global" => "-".to_owned(),
                target => target.split('/').next().unwrap().to_owned(),
            }
        }
        "global" => index("global")
            .map_or("false", |index| row[index].as_str().unwrap())
            .to_owned(),
        column => index(column)
            .map_or("-", |index| row[index].as_str().unwrap())
            .to_owned(),
    };

    let rows = list["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| columns.iter().map(|&column| (column, cell(row, column))).collect())
        .collect()
}

#[tokio::test]
async fn every_version_is_read_column_for_column() {
    for version in VERSIONS {
        let double = Double::new(version);
        let source = double.source(FleetctlConnection::Default);
        let recorded = recorded(version);

        let Reading::Units { states, files } = source.poll(FleetList::Units).await.unwrap() else {
            panic!("no units")
        };
        let columns = ["unit", "load", "active", "sub", "machine", "hash"];
        assert_eq!(
            states.iter().map(unit).collect::<Vec<_>>(),
            recorded_rows(&recorded, "list-units", &columns),
            "{version}"
        );
        assert_eq!(source.name(), format!("fleetctl {version}"));

        let Reading::Machines { machines } = source.poll(FleetList::Machines).await.unwrap() else {
            panic!("no machines")
        };
        let mut expected =
            recorded_rows(&recorded, "list-machines", &["machine", "ip", "metadata"]);
        if version == "v0.5.0" {
            sort_metadata(&mut expected);
        }
        assert_eq!(machines.iter().map(machine).collect::<Vec<_>>(), expected, "{version}");

        let old = ["v0.5.0", "v0.6.2"].contains(&version);
        let list = if old { "list-units" } else { "list-unit-files" };
        let columns = ["unit", "global", "dstate", "target", "hash", "desc"];
        let expected = recorded_rows(&recorded, list, &columns);
        let read = source.poll(FleetList::UnitFiles).await.unwrap();
        let Reading::UnitFiles { files: asked } = read else {
            panic!("no unit files")
        };
        assert_eq!(asked.iter().map(unit_file).collect::<Vec<_>>(), expected, "{version}");
        assert!(asked.iter().all(|file| file.target_known == (version != "v0.5.0")), "{version}");
        assert_eq!(
            files,
            old.then_some(asked),
            "{version}: only old versions list the unit files with the units"
        );
    }
}

fn sort_metadata(machines: &mut [PrintedRow]) {
    for machine in machines {
        let mut pairs: Vec<_> = machine["metadata"].split(',').collect();
        pairs.sort_unstable();
        let sorted = pairs.join(",");
        machine.insert("metadata", sorted);
    }
}

#[tokio::test]
async fn another_order_of_metadata_is_no_change() {
    let double = Double::new("v0.5.0");
    let source = double.source(FleetctlConnection::Default);
    let first = source.poll(FleetList::Machines).await.unwrap();
    let second = source.poll(FleetList::Machines).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn every_version_accepts_the_arguments() {
    for version in VERSIONS {
        for connection in [etcd(), tunnel()] {
            let double = Double::new(version);
            let source = double.source(connection);
            for list in FleetList::ALL {
                source
                    .poll(list)
                    .await
                    .unwrap_or_else(|error| panic!("{version}: {error}"));
            }
        }
    }
}

#[tokio::test]
async fn the_double_refuses_what_the_real_one_refuses() {
    let run = async |version: &str, arguments: &[&str]| {
        let double = Double::new(version);
        let output = tokio::process::Command::new(double.command())
            .args(arguments)
            .output()
            .await
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };

    let fields = "--fields=unit";
    let (code, _, stderr) = run("v0.8.3", &["--driver=etcd", "list-units", fields]).await;
    assert!(
        code == 2 && stderr.starts_with("flag provided but not defined: -driver\n"),
        "{stderr}"
    );

    let (code, stdout, _) = run("v0.5.0", &["list-unit-files"]).await;
    assert!(
        code == 2 && stdout.starts_with("fleetctl: unknown subcommand: \"list-unit-files\"\n"),
        "{stdout}"
    );

    let (code, stdout, stderr) = run("v1.0.0", &["list-units", "-no-legend"]).await;
    assert!(code == 0 && stdout.starts_with("NAME:\n"), "{stdout}");
    assert!(
        stderr.starts_with("Error: unknown shorthand flag: 'n' in -no-legend\n"),
        "{stderr}"
    );

    for version in ["v0.13.0", "v1.0.0"] {
        let (code, _, stderr) =
            run(version, &["--endpoint=http://127.0.0.1:4001", "list-units", fields]).await;
        assert!(
            code == 1 && stderr.contains("googleapi: got HTTP response code 404"),
            "{stderr}"
        );
    }

    let (code, _, stderr) = run("v0.11.8", &["list-units", "--fields=unit,bogus"]).await;
    assert_eq!((code, stderr.as_str()), (1, "Invalid key in output format: \"bogus\"\n"));
}

#[tokio::test]
async fn the_version_is_requested_once() {
    let double = Double::new("v1.0.0");
    let source = double.source(FleetctlConnection::Default);
    let (units, machines) =
        tokio::join!(source.poll(FleetList::Units), source.poll(FleetList::Machines));
    units
        .and(machines)
        .and(source.poll(FleetList::UnitFiles).await)
        .unwrap();
    assert_eq!(double.calls().iter().filter(|call| *call == &["--version"]).count(), 1);
    assert_eq!(double.calls().len(), 4);
}

#[tokio::test]
async fn the_version_is_requested_again_after_a_failure() {
    let double = Double::new("v0.11.8");
    let source = double.source(FleetctlConnection::Default);
    double.mode("osquery");
    source.poll(FleetList::Units).await.unwrap_err();
    assert_eq!(source.name(), "fleetctl");

    double.mode("replay");
    source.poll(FleetList::Units).await.unwrap();
    assert_eq!(source.name(), "fleetctl v0.11.8");
}

#[tokio::test]
async fn a_failure_has_the_command_and_its_standard_error() {
    let double = Double::new("v0.11.8");
    double.mode("fail");
    let error = fleetctl_error(double.source(etcd()).poll(FleetList::Units).await.unwrap_err());
    assert!(!error.is_unusable());
    let FleetctlError::Failed { command, status, stderr } = error else {
        panic!("{error}")
    };
    let arguments = "--driver=etcd --endpoint=http://127.0.0.1:4001 list-units --no-legend --full \
                     --fields=unit,load,active,sub,machine,hash";
    assert_eq!(command, format!("{} {arguments}", double.command().display()));
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("dial tcp 127.0.0.1:4001: connect: connection refused"),
        "{stderr}"
    );
}

#[tokio::test]
async fn invalid_output_is_a_failure() {
    for mode in ["garbage", "cut", "die", "usage", "flood"] {
        let double = Double::new("v1.0.0");
        double.mode(mode);
        let error = failure(&double).await;
        assert!(!error.is_unusable(), "{mode}: {error}");

        let is_expected = match (mode, &error) {
            ("garbage", FleetctlError::InvalidTable { error, .. }) => {
                matches!(error, TableError::NotUtf8(10))
            }
            ("cut", FleetctlError::InvalidTable { error, .. }) => {
                matches!(error, TableError::CutOff { line: 30, .. })
            }
            ("die", FleetctlError::Failed { status, .. }) => status.signal() == Some(9),
            ("usage", FleetctlError::Failed { status, stderr, .. }) => {
                status.success() && stderr.contains(" --bogus")
            }
            ("flood", FleetctlError::OutputTooLarge { stderr, .. }) => {
                stderr.starts_with("ERROR client.go:200")
            }
            _ => false,
        };
        assert!(is_expected, "{mode}: {error}");
    }
}

#[tokio::test]
async fn a_fleetctl_that_takes_too_long_is_killed_and_its_standard_error_is_kept() {
    let double = Double::new("v0.9.2");
    double.mode("hang list-machines");
    let mut processes = double.processes();
    let source = double.source_within(Duration::from_secs(2), FleetctlConnection::Default);
    let (outcome, (fleetctl, child)) =
        tokio::join!(source.poll(FleetList::Machines), processes.next());
    let error = fleetctl_error(outcome.unwrap_err());
    assert!(!error.is_unusable());
    let FleetctlError::Timeout { command, timeout, stderr } = error else {
        panic!("{error}")
    };
    let arguments = "list-machines --no-legend --full --fields=machine,ip,metadata";
    assert_eq!(command, format!("{} {arguments}", double.command().display()));
    assert_eq!(timeout, Duration::from_secs(2));
    assert!(stderr.starts_with("ERROR client.go:200"), "{stderr}");
    child.ended().await;
    fleetctl.reaped().await;
}

#[tokio::test]
async fn the_error_of_fleetctl_is_reported_although_the_schedule_has_the_same_timeout() {
    let double = Double::new("v0.9.2");
    double.mode("hang");
    let timeout = Duration::from_secs(1);
    let schedule = Schedule { units: timeout, machines: timeout, timeout };
    let mut source = Polled::start(
        Arc::new(double.source_within(timeout, FleetctlConnection::Default)),
        schedule,
    );
    for _ in FleetList::ALL {
        let SourceEvent::Report(report) = source.next().await else {
            panic!("no report")
        };
        let error = fleetctl_error(report.outcome.unwrap_err());
        assert!(matches!(error, FleetctlError::Timeout { .. }), "{error}");
    }
    source.stop().await;
}

fn has_rows(reading: &Reading) -> bool {
    matches!(reading, Reading::Units { states, .. } if !states.is_empty())
}

#[tokio::test]
async fn a_warning_is_no_failure() {
    let double = Double::new("v0.9.2");
    double.mode("warn");
    let source = double.source(FleetctlConnection::Default);
    assert!(has_rows(&source.poll(FleetList::Units).await.unwrap()));
}

#[tokio::test]
async fn a_poll_that_is_dropped_leaves_no_process_behind() {
    let double = Double::new("v1.0.0");
    double.mode("hang");
    let mut processes = double.processes();
    let source = double.source(FleetctlConnection::Default);
    let (fleetctl, child) = tokio::select! {
        processes = processes.next() => processes,
        outcome = source.poll(FleetList::Units) => panic!("{outcome:?}"),
    };
    child.ended().await;
    fleetctl.reaped().await;
}

#[tokio::test]
async fn a_poll_that_ends_leaves_no_process_behind() {
    let double = Double::new("v1.0.0");
    double.mode("leave");
    let mut processes = double.processes();
    let source = double.source(FleetctlConnection::Default);
    let poll = tokio::time::timeout(Duration::from_secs(10), source.poll(FleetList::Units));
    let (reading, (_, child)) = tokio::join!(poll, processes.next());
    assert!(has_rows(&reading.expect("no process holds the pipes").unwrap()));
    child.ended().await;
}

/// Such as an ssh that stays as the master of a connection (`ControlPersist`): it is not killed,
/// and it never closes the pipes.
#[tokio::test]
async fn a_process_that_has_left_the_group_and_holds_a_pipe_delays_no_answer() {
    for mode in ["hold-stdout", "hold-stderr", "hold-both"] {
        let double = Double::new("v1.0.0");
        let expected = double
            .source(FleetctlConnection::Default)
            .poll(FleetList::Units)
            .await
            .unwrap();

        double.mode(mode);
        let mut processes = double.processes();
        let source = double.source_within(Duration::from_secs(60), FleetctlConnection::Default);
        let (reading, (fleetctl, holder)) =
            tokio::join!(source.poll(FleetList::Units), processes.next());

        assert_eq!(reading.unwrap(), expected, "{mode}");
        fleetctl.reaped().await;
        holder.kill().await;
    }
}

/// The deadline comes before the time is over for which held pipes are read. There is no answer
/// only if starting fleetctl takes until the deadline.
#[tokio::test]
async fn an_answer_is_used_although_the_deadline_comes_while_a_pipe_is_held() {
    let double = Double::new("v1.0.0");
    double.mode("hold-both");
    let mut processes = double.processes();
    let source = double.source_within(Duration::from_millis(400), FleetctlConnection::Default);
    let mut outcomes = Vec::new();
    while !outcomes.iter().any(Result::is_ok) {
        let announced = tokio::time::timeout(Duration::from_secs(1), processes.next());
        let (outcome, announced) = tokio::join!(source.poll(FleetList::Units), announced);
        if let Ok((_, holder)) = announced {
            holder.kill().await;
        }
        outcomes.push(outcome);
        assert!(outcomes.len() < 20, "{outcomes:?}");
    }
    assert!(has_rows(&outcomes.pop().unwrap().unwrap()));
}

#[tokio::test]
async fn output_to_a_terminal_is_read_as_the_same_list() {
    if std::process::Command::new("script")
        .arg("--version")
        .output()
        .is_err()
    {
        return cannot_run("script is not there; it is in Debian's package bsdutils");
    }
    for version in ["v0.5.0", "v0.11.8", "v1.0.0"] {
        let double = Double::new(version);
        for list in FleetList::ALL {
            double.mode("replay");
            let expected = double.source(FleetctlConnection::Default).poll(list).await.unwrap();
            double.mode("terminal");
            let source = double.source(FleetctlConnection::Default);
            assert_eq!(source.poll(list).await.unwrap(), expected, "{version} {list}");
            assert_eq!(source.name(), format!("fleetctl {version}"));
        }
    }
}

#[tokio::test]
async fn colours_are_ignored_and_logged_once() {
    let warnings = Warnings::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(warnings.clone()));
    let double = Double::new("v1.0.0");
    let plain = double.source(FleetctlConnection::Default);
    double.mode("colour");
    let coloured = double.source(FleetctlConnection::Default);
    for list in FleetList::ALL {
        double.mode("replay");
        let expected = plain.poll(list).await.unwrap();
        assert_eq!(
            warnings.count(),
            usize::from(list != FleetList::ALL[0]),
            "no warning without colours"
        );
        double.mode("colour");
        assert_eq!(coloured.poll(list).await.unwrap(), expected, "{list}");
    }
    assert_eq!(coloured.name(), "fleetctl v1.0.0");
    assert_eq!(warnings.count(), 1);
}

/// Counts the warnings of this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Warnings {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn another_program_is_refused_by_name() {
    let double = Double::new("v1.0.0");
    double.mode("osquery");
    let error = failure(&double).await;
    assert!(matches!(error, FleetctlError::Osquery(_)) && error.is_unusable(), "{error}");

    let error = failure(&Double::new("v0.4.0")).await;
    assert!(matches!(error, FleetctlError::TooOld { .. }) && error.is_unusable(), "{error}");
    assert!(error.to_string().contains("v0.4.0"), "{error}");

    let other = Fleetctl::new(settings("true")).unwrap();
    let error = fleetctl_error(other.poll(FleetList::Units).await.unwrap_err());
    assert!(matches!(error, FleetctlError::Unknown { .. }) && error.is_unusable(), "{error}");
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_unusable() {
    let new = |command: &str| Fleetctl::new(settings(command));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fleetctl");

    let error = new("no-such-fleetctl").unwrap_err();
    assert!(
        matches!(&error, FleetctlError::Missing(places) if places.contains("no-such-fleetctl")),
        "{error}"
    );
    assert!(error.is_unusable(), "{error}");
    let error = new(fixtures.join("v1.0.0.json").to_str().unwrap()).unwrap_err();
    assert!(
        matches!(error, FleetctlError::NotExecutable(_)) && error.is_unusable(),
        "{error}"
    );

    let source = new(fixtures.join("not-a-program").to_str().unwrap()).unwrap();
    let error = fleetctl_error(source.poll(FleetList::Units).await.unwrap_err());
    assert!(error.is_unusable(), "{error}");
    let FleetctlError::Spawn { program, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(program, fixtures.join("not-a-program"));
}

/// systemd's variables are for the monitor only: with them, fleetctl could send notifications in
/// its name.
#[tokio::test]
async fn the_variables_of_systemd_are_not_inherited() {
    const INNER: &str = "FLEET_MONITOR_TEST_SYSTEMD";
    let variables = [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
    ];
    if std::env::var_os(INNER).is_none() {
        // A test cannot change its own environment, so it runs itself in another process.
        let mut inner = tokio::process::Command::new(std::env::current_exe().unwrap());
        inner
            .args(["--exact", "fleetctl::the_variables_of_systemd_are_not_inherited"])
            .env(INNER, "1")
            .stdout(Stdio::null());
        inner.envs(variables.map(|name| (name, "1")));
        assert!(inner.status().await.unwrap().success());
        return;
    }

    let double = Double::new("v1.0.0");
    double
        .source(FleetctlConnection::Default)
        .poll(FleetList::Units)
        .await
        .unwrap();

    let inherited = double.environment();
    assert!(inherited.iter().any(|name| name == INNER));
    assert!(
        variables
            .iter()
            .all(|variable| !inherited.iter().any(|name| name == variable)),
        "{inherited:?}"
    );
}
