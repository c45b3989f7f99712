//! The Debian package, from its installation to its removal.

use std::io::Read;

use super::crowd::Crowd;
use super::host::{Host, PACKAGE};
use super::{FAILS, HEALTHZ, OPTIONS, RECORDING};

const ENVIRONMENT: &str = "/etc/fleet-monitor.env";

/// A fleetctl that tries things that the sandbox forbids, and some that it allows, before it prints
/// a list. It writes the results to a file beside it.
const CURIOUS: &str = r#"#!/usr/bin/perl
use Fcntl;
use Socket;

my @tries = (
    ['file in /etc', sub { sysopen my $file, '/etc/open/file', O_WRONLY | O_CREAT }],
    ['file in /usr', sub { sysopen my $file, '/usr/open/file', O_WRONLY | O_CREAT }],
    ['file in /home', sub { sysopen my $file, '/home/open/file', O_WRONLY | O_CREAT }],
    ['file in /tmp', sub { sysopen my $file, '/tmp/curious', O_WRONLY | O_CREAT }],
    ['set-user-ID file', sub { chmod 04755, '/tmp/curious' }],
    ['raw socket', sub { socket my $socket, PF_INET, SOCK_RAW, getprotobyname('icmp') // 1 }],
    ['packet socket', sub { socket my $socket, 17, SOCK_RAW, 0 }],
    ['unix socket', sub { socket my $socket, PF_UNIX, SOCK_STREAM, 0 }],
    ['connection', sub {
        socket my $socket, PF_INET, SOCK_STREAM, 0;
        connect $socket, sockaddr_in(8989, INADDR_LOOPBACK)
    }],
);
open my $report, '>', "$0.$$" or die $!;
print $report "$$_[0]: ", $$_[1]->() ? 'works' : $!, "\n" for @tries;
close $report;
rename "$0.$$", "$0.report";
exec { '/mnt/fleetctl' } '/opt/bin/fleetctl', @ARGV;
"#;

fn install(host: &Host) {
    host.sh(&format!("dpkg --install {PACKAGE}"));
}

/// The processes in the control group of the service.
fn processes(host: &Host) -> Vec<String> {
    let found = host.sh("find /sys/fs/cgroup -path '*/fleet-monitor.service/cgroup.procs' -exec cat '{}' + | sort -u");
    found.lines().map(str::to_owned).collect()
}

#[test]
fn once_installed_it_serves_and_reloads_and_writes_to_the_journal() {
    let Some(host) = Host::boot_debian() else {
        return;
    };
    install(&host);
    assert_eq!(host.show("ActiveState"), "active");
    host.sh(HEALTHZ);
    host.sh("systemctl is-enabled fleet-monitor.socket fleet-monitor.service");
    host.show_until("StatusText", |status| status.contains("4 machines, "));
    let status = host.sh("systemctl status fleet-monitor");
    assert!(status.contains("Status: \"fleetctl v1.0.0: 4 machines, "), "{status}");
    let process = host.show("MainPID");
    assert!(
        host.processes_of("fleet-monitor")
            .contains(&format!("/proc/{process}")),
        "the package's user"
    );

    host.write(RECORDING, FAILS);
    host.write(OPTIONS, &format!("replay = '{RECORDING}'\n"));
    host.sh("systemctl reload fleet-monitor");
    let status =
        host.show_until("StatusText", |status| status.contains("1 machine, 1 unit (1 failed)"));
    assert_eq!(
        host.entry("FLEET_UNIT=crash.service FLEET_EVENT=changed")["FLEET_TO"],
        "failed/failed"
    );

    host.write(OPTIONS, "unit_freq = 'fast'\n");
    host.sh("systemctl reload fleet-monitor");
    host.entry("--unit=fleet-monitor --priority=err --grep='unit_freq'");
    host.show_until("ActiveState", |state| state == "active");
    assert_eq!((host.show("StatusText"), host.show("MainPID")), (status, process));
}

#[test]
fn it_is_active_only_when_it_has_its_port() {
    let Some(host) = Host::boot_debian() else {
        return;
    };
    host.drop_in("at-once", "RestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0");
    // Started without its socket unit, which would keep the port open.
    host.sh("systemctl mask fleet-monitor.socket");
    let mut other = host.spawn(
        "exec perl -MSocket -e 'socket S, PF_INET, SOCK_STREAM, 0; setsockopt S, SOL_SOCKET, SO_REUSEADDR, 1;
             bind S, sockaddr_in(8989, INADDR_ANY) or die; listen S, 1; syswrite STDOUT, q(has it); <STDIN>'",
    );
    other.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    install(&host);
    host.show_until("NRestarts", |restarts| restarts.parse::<u32>().unwrap() >= 2);
    assert_eq!(host.show("ActiveEnterTimestampMonotonic"), "0", "{}", host.journal());

    drop(other.stdin.take());
    other.wait().unwrap();
    host.show_until("ActiveState", |state| state == "active");
    host.sh(HEALTHZ);
}

#[test]
fn neither_a_restart_nor_an_upgrade_refuses_a_client() {
    let Some(host) = Host::boot_debian() else {
        return;
    };
    host.write(ENVIRONMENT, "FLEET_MONITOR_DEMO=true\n");
    install(&host);
    host.sh(&format!("dpkg-deb --raw-extract {PACKAGE} /tmp/next"));
    host.sh("sed --in-place 's/^Version: .*/&+next/' /tmp/next/DEBIAN/control");
    host.sh("dpkg-deb --build -Znone /tmp/next /tmp/next.deb");

    let mut crowd = Crowd::at(&host);
    let mut process = host.show("MainPID");
    for replace in ["systemctl restart fleet-monitor", "dpkg --install /tmp/next.deb"] {
        host.sh(replace);
        let next = host.show("MainPID");
        assert_ne!(next, process, "{replace}");
        process = next;
        crowd.all_are_there();
    }
    let (came, unwelcome) = crowd.end();
    assert_eq!(unwelcome, "", "of {came} clients\n{}", host.journal());
    // Lasting clients connected three times, and others in between.
    assert!(came > 3 * 200, "{came} clients");
    assert!(host.sh("dpkg-query --show fleet-monitor").ends_with("+next"));
    assert_eq!(host.show("ActiveState"), "active");
}

#[test]
fn what_hangs_is_ended_and_leaves_no_process() {
    let Some(host) = Host::boot_debian() else {
        return;
    };
    host.drop_in("watchdog", "WatchdogSec=2\nRestartSec=0");
    host.write(ENVIRONMENT, "FLEET_MONITOR_POLL_TIMEOUT=0.5\n");
    // With a child that keeps its pipe open.
    host.write("/opt/bin/mode", "hang");
    install(&host);
    let hangs = || host.try_sh("test -s /opt/bin/pids").status.success();
    host.until("fleetctl hangs", hangs);
    host.until("only the program is left", || processes(&host) == [host.show("MainPID")]);
    host.entry("FLEET_EVENT=source_down --grep='0\\.5 s'");

    // Again, and now the program hangs as well, so that it cannot kill its children.
    host.write("/opt/bin/pids", "");
    host.sh("systemctl restart fleet-monitor");
    let first = host.show("MainPID");
    host.until("fleetctl hangs again", hangs);
    host.sh(&format!("kill -STOP {first} && rm /opt/bin/mode"));
    host.show_until("NRestarts", |restarts| restarts == "1");
    host.show_until("ActiveState", |state| state == "active");
    assert!(host.journal().contains("Watchdog timeout"), "{}", host.journal());
    let second = host.show("MainPID");
    assert_ne!(second, first);
    host.sh(HEALTHZ);
    host.show_until("StatusText", |status| status.contains("4 machines, "));
    // A fleetctl that succeeds only runs for a moment.
    host.until("only the new program is left", || processes(&host) == [second.as_str()]);
}

#[test]
fn the_sandbox_denies_what_is_not_needed() {
    let Some(host) = Host::boot_debian() else {
        return;
    };
    host.sh("rm /opt/bin/fleetctl");
    host.write("/opt/bin/fleetctl", CURIOUS);
    // Permissions allow everything, so that only the sandbox can deny it.
    host.sh("mkdir -m 777 /etc/open /usr/open /home/open && chmod +x /opt/bin/fleetctl");
    install(&host);
    // It has everything that it needs for a list.
    host.show_until("StatusText", |status| status.contains("4 machines, "));
    assert_eq!(
        host.sh("cat /opt/bin/fleetctl.report"),
        "file in /etc: Read-only file system\n\
         file in /usr: Read-only file system\n\
         file in /home: Permission denied\n\
         file in /tmp: works\n\
         set-user-ID file: Operation not permitted\n\
         raw socket: Operation not permitted\n\
         packet socket: Address family not supported by protocol\n\
         unix socket: works\n\
         connection: works"
    );
    host.sh("test ! -e /tmp/curious");

    // Only the sandbox prevents that.
    host.sh("cp /opt/bin/fleetctl /opt/bin/control && /opt/bin/control --version");
    let outside = host.sh("cat /opt/bin/control.report");
    assert!(
        outside.lines().count() == 9 && outside.lines().all(|line| line.ends_with(": works")),
        "{outside}"
    );
}

#[test]
fn a_wrong_configuration_ends_it_once_and_only_a_purge_removes_the_configuration() {
    let Some(host) = Host::boot_debian() else {
        return;
    };
    host.drop_in("at-once", "RestartSec=0");
    install(&host);
    // Without the socket unit, because a client would start the service again.
    host.sh("systemctl disable --now fleet-monitor.socket");
    host.write(OPTIONS, "unit_freq = 'fast'\n");
    assert!(!host.try_sh("systemctl restart fleet-monitor").status.success());
    assert_eq!(
        (host.show("ActiveState"), host.show("SubState")),
        ("failed".to_owned(), "failed".to_owned())
    );
    assert_eq!(
        (host.show("ExecMainStatus"), host.show("NRestarts")),
        ("78".to_owned(), "0".to_owned())
    );
    host.entry("--unit=fleet-monitor --grep='unit_freq'");

    host.write(OPTIONS, "demo = true\n");
    host.sh("systemctl start fleet-monitor.socket fleet-monitor.service");
    host.sh(HEALTHZ);
    host.sh("dpkg --remove fleet-monitor");
    assert!(!host.try_sh(HEALTHZ).status.success());
    assert_eq!(host.processes_of("fleet-monitor"), Vec::<String>::new());
    host.sh("test ! -e /usr/bin/fleet-monitor && test -e /etc/systemd/system/fleet-monitor.service.d/at-once.conf");
    assert_eq!(host.sh(&format!("cat {OPTIONS}")), "demo = true");
    // A decision of the administrator survives the next installation.
    install(&host);
    assert_eq!(host.sh("systemctl is-active fleet-monitor.service"), "active");
    assert_eq!(host.try_sh("systemctl is-enabled fleet-monitor.socket").stdout, b"disabled\n");

    host.sh("dpkg --purge fleet-monitor");
    host.sh("! getent passwd fleet-monitor && ! getent group fleet-monitor");
    let left = host.sh("find /etc /usr /var /run /opt -name '*fleet-monitor*'");
    assert_eq!(left, "", "after the purge");
    assert_eq!(host.show("LoadState"), "not-found");
}
