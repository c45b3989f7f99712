//! The service under a real systemd, as the unit file and the installer set it up.

mod crowd;
mod debian;
mod host;
mod logs;
mod releases;

use std::io::Read;
use std::time::{Duration, Instant};

use fleet_monitor::cluster::{Event, Place};
use host::Host;
use serde_json::Value;

const OPTIONS: &str = "/etc/fleet-monitor.toml";
const RECORDING: &str = "/srv/recording.jsonl";

/// A unit that fails on the only machine of its cluster.
const FAILS: &str = r#"{"recording":1,"source":"fleetctl v1.0.0"}
{"t":0,"took":0,"topic":"machines","machines":[{"id":"3f1a8c5e9b2d4f60a7c1d2e3b4f50617","ip":"172.17.8.101"}]}
{"t":0,"took":0,"topic":"unit_files","files":[{"unit":"crash.service","hash":"3854661","desired":"launched","target":"3f1a8c5e9b2d4f60a7c1d2e3b4f50617"}]}
{"t":0,"took":0,"topic":"units","states":[{"unit":"crash.service","machine":"3f1a8c5e9b2d4f60a7c1d2e3b4f50617","ip":"172.17.8.101","load":"loaded","active":"active","sub":"running","hash":"3854661"}]}
{"t":0.1,"took":0,"topic":"units","states":[{"unit":"crash.service","machine":"3f1a8c5e9b2d4f60a7c1d2e3b4f50617","ip":"172.17.8.101","load":"loaded","active":"failed","sub":"failed","hash":"3854661"}]}
"#;

/// Requests `/healthz`. The exit status is 0 only if there was a response.
const HEALTHZ: &str = r"exec 3<>/dev/tcp/127.0.0.1/8989 &&
    printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3 && grep --quiet '^HTTP/1.1 200' <&3";

#[test]
fn start_returns_when_the_port_is_open_and_status_says_what_is_there() {
    let Some(host) = Host::boot() else { return };
    host.sh("systemctl start fleet-monitor");
    assert_eq!(host.show("ActiveState"), "active");
    host.sh(HEALTHZ);
    host.show_until("StatusText", |status| status.contains("4 machines, "));
    let status = host.sh("systemctl status fleet-monitor");
    let line = status.lines().find(|line| line.contains("Status: ")).unwrap();
    assert!(
        line.contains("fleetctl v1.0.0: 4 machines, ") && line.contains(" failed"),
        "{status}"
    );
    assert!(
        host.processes_of("daemon")
            .contains(&format!("/proc/{}", host.show("MainPID"))),
        "the unit's user"
    );
}

#[test]
fn the_watchdog_restarts_a_program_that_is_stuck() {
    let Some(host) = Host::boot() else { return };
    host.drop_in("watchdog", "WatchdogSec=2\nRestartSec=0");
    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_DEMO=true\n");
    host.sh("systemctl start fleet-monitor");
    let first = host.show("MainPID");
    host.sh(&format!("kill -STOP {first}"));
    host.show_until("NRestarts", |restarts| restarts != "0");
    host.show_until("ActiveState", |state| state == "active");
    assert_ne!(host.show("MainPID"), first);
    assert!(host.journal().contains("Watchdog timeout"), "{}", host.journal());
    host.sh(HEALTHZ);
}

#[test]
fn a_reload_takes_a_changed_file_into_use_and_refuses_a_wrong_one() {
    let Some(host) = Host::boot() else { return };
    host.write(OPTIONS, "demo = true\n");
    host.sh("systemctl start fleet-monitor");
    host.show_until("StatusText", |status| status.contains("4 machines"));
    let process = host.show("MainPID");

    host.write(RECORDING, FAILS);
    host.write(OPTIONS, &format!("replay = '{RECORDING}'\n"));
    host.sh("systemctl reload fleet-monitor");
    let status =
        host.show_until("StatusText", |status| status.contains("1 machine, 1 unit (1 failed)"));

    host.write(OPTIONS, "unit_freq = 'fast'\n");
    host.sh("systemctl reload fleet-monitor");
    host.entry("--unit=fleet-monitor --priority=err --grep='unit_freq'");
    host.show_until("ActiveState", |state| state == "active");
    assert_eq!((host.show("StatusText"), host.show("MainPID")), (status, process));
}

#[test]
fn the_history_of_a_unit_is_in_the_journal() {
    let Some(host) = Host::boot() else { return };
    host.write(RECORDING, FAILS);
    host.write("/etc/fleet-monitor.env", &format!("FLEET_MONITOR_REPLAY={RECORDING}\n"));
    host.sh("systemctl start fleet-monitor");
    let entry = host.entry("FLEET_UNIT=crash.service");
    let place = Place { unit: "crash.service".into(), machine: None, ip: None };
    let event = Event::Changed {
        place,
        from: "active/running".into(),
        to: "failed/failed".into(),
    };
    for (field, expected) in [
        ("MESSAGE_ID", event.message_id()),
        ("MESSAGE", "crash.service on 172.17.8.101: active/running → failed/failed"),
        ("PRIORITY", "4"),
        ("FLEET_EVENT", "changed"),
        ("FLEET_MACHINE", "3f1a8c5e9b2d4f60a7c1d2e3b4f50617"),
        ("FLEET_IP", "172.17.8.101"),
        ("FLEET_FROM", "active/running"),
        ("FLEET_TO", "failed/failed"),
        ("SYSLOG_IDENTIFIER", "fleet-monitor"),
        ("_SYSTEMD_UNIT", "fleet-monitor.service"),
    ] {
        assert_eq!(entry[field], Value::from(expected), "{field} in {entry:#}");
    }
    assert_eq!(entry.get("FLEET_REASON"), None);
    // The program's own messages are entries with their own priority, too.
    assert_eq!(host.entry("--unit=fleet-monitor --grep=':8989$'")["PRIORITY"], "6");
}

#[test]
fn stop_takes_less_than_5_s_and_leaves_no_process() {
    let Some(host) = Host::boot() else { return };
    // Clients are waiting, and fleetctl hangs with a child that keeps its pipe open.
    host.write("/opt/bin/mode", "hang");
    host.sh("systemctl start fleet-monitor");
    let mut client = host.spawn("exec 3<>/dev/tcp/127.0.0.1/8989 && echo connected && cat <&3");
    client.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    host.until("fleetctl hangs", || host.try_sh("test -s /opt/bin/pids").status.success());
    let began = Instant::now();
    host.sh("systemctl stop fleet-monitor");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}\n{}",
        began.elapsed(),
        host.journal()
    );
    assert_eq!(host.show("ActiveState"), "inactive");
    assert_eq!(
        (host.show("Result"), host.show("ExecMainStatus")),
        ("success".to_owned(), "0".to_owned())
    );
    assert_eq!(host.processes_of("daemon"), Vec::<String>::new());
    assert!(!host.journal().contains("SIGKILL"), "systemd had to help:\n{}", host.journal());
    assert!(client.wait().unwrap().success());
}

#[test]
fn a_wrong_configuration_is_not_tried_again_but_a_crash_is() {
    let Some(host) = Host::boot() else { return };
    host.drop_in("at-once", "RestartSec=0");
    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_UNIT_FREQ=fast\n");
    assert!(!host.try_sh("systemctl start fleet-monitor").status.success());
    host.show_until("ActiveState", |state| state == "failed");
    assert_eq!(
        (host.show("ExecMainStatus"), host.show("NRestarts")),
        ("78".to_owned(), "0".to_owned())
    );
    host.entry("--unit=fleet-monitor --grep='unit_freq = \"fast\" .FLEET_MONITOR_UNIT_FREQ.: '");

    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_DEMO=true\n");
    host.sh("systemctl start fleet-monitor");
    host.sh("systemctl kill --signal=KILL fleet-monitor");
    host.show_until("NRestarts", |restarts| restarts == "1");
    host.show_until("ActiveState", |state| state == "active");
}

#[test]
fn with_its_socket_a_restart_refuses_no_connection() {
    let Some(host) = Host::boot() else { return };
    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_DEMO=true\n");
    host.sh("systemctl start fleet-monitor.socket");
    assert_eq!(host.show("ActiveState"), "inactive");
    host.sh(HEALTHZ);
    assert_eq!(host.show("ActiveState"), "active", "the first client starts it");

    let mut clients = host.spawn(&format!(
        "while test ! -e /run/enough; do ({HEALTHZ}) || echo refused; echo asked; done"
    ));
    let mut first = [0; 6];
    clients.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let process = host.show("MainPID");
    host.sh("systemctl restart fleet-monitor");
    assert_ne!(host.show("MainPID"), process);
    host.write("/run/enough", "");
    let answers = String::from_utf8(clients.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        (&first, answers.contains("refused")),
        (b"asked\n", false),
        "{answers}\n{}",
        host.journal()
    );
}

#[test]
fn a_wrong_configuration_fails_once_for_each_client_and_leaves_the_socket_open() {
    let Some(host) = Host::boot() else { return };
    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_UNIT_FREQ=fast\n");
    host.sh("systemctl start fleet-monitor.socket");
    // Each client waits until its connection is closed.
    host.sh("for attempt in {1..20}; do exec 3<>/dev/tcp/127.0.0.1/8989; cat <&3 || true; exec 3<&-; done");
    host.show_until("ActiveState", |state| state == "failed");
    let failures = host.journal().matches("status=78/").count();
    assert!((1..=20).contains(&failures), "{failures} failures\n{}", host.journal());
    assert_eq!(
        host.sh("systemctl show --value --property=SubState fleet-monitor.socket"),
        "listening"
    );

    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_DEMO=true\n");
    host.sh(HEALTHZ);
    assert_eq!(host.show("ActiveState"), "active");
}

#[test]
fn the_sidekick_announces_its_instance_in_etcd_and_removes_it_when_it_is_stopped() {
    let Some(host) = Host::boot_with_programs(&["curl", "etcd", "etcdctl"]) else {
        return;
    };
    let key = "ETCDCTL_API=2 /opt/bin/etcdctl get /services/fleet-monitor/1";
    host.sh("cp /mnt/packaging/fleet/*@.service /etc/systemd/system/ && systemctl daemon-reload");
    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_DEMO=true\n");
    host.write("/etc/environment", "COREOS_PRIVATE_IPV4=172.17.8.101\n");
    // Where etcd listens by default.
    host.write("/etc/hosts", "127.0.0.1 localhost\n");
    host.sh("systemd-run --unit=etcd /opt/bin/etcd --enable-v2 --data-dir /run/etcd");

    host.sh("systemctl start fleet-monitor-discovery@1");
    host.until("the instance is in etcd", || host.try_sh(key).status.success());
    let value: Value = serde_json::from_str(&host.sh(key)).unwrap();
    assert_eq!(value, serde_json::json!({"host": "172.17.8.101", "port": 8989}));

    // An instance that is started asks those that are announced.
    host.sh("ETCDCTL_API=2 /opt/bin/etcdctl set /services/fleet-monitor/2 \
         '{\"host\":\"core-02\",\"port\":8990}'");
    host.sh("systemctl restart fleet-monitor@1");
    let environment = host.sh("pid=$(systemctl show --value --property=MainPID fleet-monitor@1)
         tr '\\0' '\\n' </proc/$pid/environ");
    let others = environment
        .lines()
        .find_map(|line| line.strip_prefix("FLEET_MONITOR_HISTORY_FROM="));
    assert!(
        others.is_some_and(|others| others.contains("http://core-02:8990")),
        "{environment}\n{}",
        host.journal()
    );

    host.sh("systemctl stop fleet-monitor-discovery@1");
    assert!(!host.try_sh(key).status.success(), "it is removed");
}
