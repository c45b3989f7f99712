//! The whole program as PID 1, and with unusual mounts, as in a container. The tests use namespaces
//! of Linux, and no container engine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::support::containers::unshare;
use crate::support::{Daemon, Double, Program, cannot_run};

/// The longest wait for one condition.
const TIMEOUT: Duration = Duration::from_secs(60);

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
        panic!("it is not a child of unshare")
    };

    let all_reaped = async {
        while fleetctl.orphans() < 30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fleetctl.mode("replay");
        // None is left, neither running nor as a zombie, which would keep its name.
        while !Daemon::children_of(init, "sleep").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reaped = timeout(TIMEOUT, all_reaped).await;
    reaped.unwrap_or_else(|_| panic!("left: {:?}", Daemon::children_of(init, "sleep")));

    assert_eq!(daemon.get("/readyz").await.0, 200);
    assert_eq!(daemon.failed_polls().await, 0);
}

/// If the source path of a volume does not exist, docker creates a directory there.
#[tokio::test]
async fn a_directory_at_the_path_of_fleets_socket_is_not_used() {
    let Some(wrapper) = unshare(&["--mount"]) else {
        return;
    };
    let var_run = fs::canonicalize("/var/run").ok();
    if var_run.is_none_or(|path| path != Path::new("/run")) {
        return cannot_run("/var/run is not /run");
    }

    let script = "mount -t tmpfs none /run && mkdir /run/fleet.sock && exec \"$@\"";
    let wrapper = [&wrapper[..], &["sh", "-c", script, "sh"]].concat();

    let (status, log, _) = Program::under(&wrapper, &[]).end().await;
    assert_eq!(status, 78, "{log}");
    assert!(log.contains("/var/run/fleet.sock is a directory"), "{log}");

    let fleetctl = Double::new("v1.0.0");
    let path = format!("{}:/usr/bin:/bin", fleetctl.command().parent().unwrap().display());
    let daemon = Program::under(&wrapper, &[]).environment("PATH", path).start().await;
    daemon.source_is("ok").await;
    assert_eq!(daemon.health().await["source"], "fleetctl v1.0.0");
}
