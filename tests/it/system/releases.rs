//! The packages on the releases that they are for: installed, started, stopped, removed.
//!
//! The RPM package is installed by rpm on a Debian, without its dependencies: no distribution that
//! uses RPM can be booted from the packages of Debian.

use super::HEALTHZ;
use super::host::{Host, PACKAGE, RPM_PACKAGE};

const ENVIRONMENT: &str = "/etc/fleet-monitor.env";
const BOTH: &str = "fleet-monitor.socket fleet-monitor.service";

/// The service has been started, and can be stopped and started.
fn check_service(host: &Host) {
    host.sh(HEALTHZ);
    host.show_until("StatusText", |status| status.contains("4 machines, "));
    let process = format!("/proc/{}", host.show("MainPID"));
    assert!(host.processes_of("fleet-monitor").contains(&process), "the package's user");

    host.sh(&format!("systemctl stop {BOTH}"));
    assert_eq!(host.show("ActiveState"), "inactive");
    assert_eq!(host.show("Result"), "success");
    assert_eq!(host.processes_of("fleet-monitor"), Vec::<String>::new());

    host.sh(&format!("systemctl start {BOTH}"));
    host.sh(HEALTHZ);
}

/// Nothing of the program runs or can be started any more.
fn check_removed(host: &Host) {
    assert!(!host.try_sh(HEALTHZ).status.success());
    host.sh("! pgrep --exact fleet-monitor && test ! -e /usr/bin/fleet-monitor");
}

fn debian_package(release: &str) {
    let Some(host) = Host::boot_release(release) else {
        return;
    };
    host.write(ENVIRONMENT, "FLEET_MONITOR_DEMO=true\n");
    host.sh(&format!("dpkg --install {PACKAGE}"));
    check_service(&host);

    host.sh("dpkg --purge fleet-monitor");
    check_removed(&host);
}

#[test]
fn the_debian_package_runs_on_debian_12() {
    debian_package("bookworm");
}

#[test]
fn the_debian_package_runs_on_debian_13() {
    debian_package("trixie");
}

#[test]
fn the_rpm_package_is_started_by_the_administrator_and_goes_on_after_an_upgrade() {
    let Some(host) = Host::boot_release("trixie") else {
        return;
    };
    host.write(ENVIRONMENT, "FLEET_MONITOR_DEMO=true\n");
    host.sh(&format!("rpm --install --nodeps {RPM_PACKAGE}"));
    assert_eq!(host.show("ActiveState"), "inactive", "an RPM package starts nothing");
    host.sh(&format!("systemctl enable --now {BOTH}"));
    check_service(&host);

    let before = host.show("MainPID");
    host.sh("echo '# mine' >>/etc/fleet-monitor.toml");
    host.sh(&format!("rpm --reinstall --nodeps {RPM_PACKAGE}"));
    assert_ne!(host.show("MainPID"), before);
    host.sh(HEALTHZ);
    host.sh("systemctl is-enabled fleet-monitor.socket fleet-monitor.service");
    host.sh("grep --quiet '^# mine$' /etc/fleet-monitor.toml");

    host.sh("rpm --erase fleet-monitor");
    check_removed(&host);
    host.sh("grep --quiet '^# mine$' /etc/fleet-monitor.toml.rpmsave");
    assert_eq!(host.show("LoadState"), "not-found");
}
