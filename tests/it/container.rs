//! What is different for the program in a container, in namespaces of Linux: it is PID 1, and what
//! is mounted is odd.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

use crate::support::{Daemon, Double, Program, cannot_run};

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(60);

/// `unshare(1)` with these options. `None`: nobody lets this user do that here.
fn unshare<'a>(options: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut wrapper = vec!["unshare"];
    if !rustix::process::geteuid().is_root() {
        wrapper.push("--map-root-user");
    }
    wrapper.extend(options);
    let tried = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(wrapper);
    }
    cannot_run(&format!("{wrapper:?} is not allowed"));
    None
}

#[tokio::test]
async fn as_pid_1_it_reaps_orphans_and_keeps_the_status_of_its_own_children() {
    let Some(wrapper) = unshare(&["--pid", "--fork", "--kill-child", "--mount-proc"]) else {
        return;
    };
    let fleetctl = Double::new("v1.0.0");
    fleetctl.mode("orphan");
    let command = fleetctl.command();
    let arguments = [
        "--unit-freq",
        "0.1",
        "--machine-freq",
        "0.1",
        "--fleetctl",
        command.to_str().unwrap(),
    ];
    let daemon = Program::under(&wrapper, &arguments).start().await;
    let unshare = daemon.pid().as_raw_nonzero().get().cast_unsigned();
    let [init] = Daemon::children_of(unshare, "fleet-monitor")[..] else {
        panic!("it is no child of unshare")
    };

    let orphans = async {
        while fleetctl.orphans() < 30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fleetctl.mode("replay");
        // None is left, neither alive nor as a zombie, which keeps its name.
        while !Daemon::children_of(init, "sleep").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reaped = timeout(PATIENCE, orphans).await;
    reaped.unwrap_or_else(|_| panic!("left: {:?}", Daemon::children_of(init, "sleep")));
    assert_eq!(daemon.get("/readyz").await.0, 200);
    assert_eq!(daemon.failed_polls().await, 0);
}

/// docker makes a directory where a volume is to come from that is not there yet.
#[tokio::test]
async fn a_directory_where_fleets_socket_should_be_is_not_chosen() {
    let Some(wrapper) = unshare(&["--mount"]) else {
        return;
    };
    let script = "mount -t tmpfs none /run && mkdir /run/fleet.sock && exec \"$@\"";
    let wrapper = [&wrapper[..], &["sh", "-c", script, "sh"]].concat();
    if fs::canonicalize("/var/run")
        .ok()
        .is_none_or(|run| run != std::path::Path::new("/run"))
    {
        return cannot_run("/var/run is not /run");
    }

    let (status, log, _) = Program::under(&wrapper, &[]).end().await;
    assert_eq!(status, 78, "{log}");
    assert!(log.contains("/var/run/fleet.sock is a directory"), "{log}");

    let fleetctl = Double::new("v1.0.0");
    let path = format!("{}:/usr/bin:/bin", fleetctl.command().parent().unwrap().display());
    let daemon = Program::under(&wrapper, &[]).environment("PATH", path).start().await;
    daemon.source_is("ok").await;
    assert_eq!(daemon.health().await["source"], "fleetctl v1.0.0");
}
