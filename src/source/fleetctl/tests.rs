use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;

use super::error::quoted;
use super::*;
use crate::snapshots::assert_catalogue;
use crate::source::table::TableError;

/// What an error quotes of standard error.
fn quote(stderr: &str) -> String {
    quoted(stderr)
        .split_once(": ")
        .map(|(_, quote)| quote.to_owned())
        .unwrap_or_default()
}

#[test]
fn standard_error_is_quoted_on_one_line() {
    assert_eq!(quoted(""), "");

    assert_eq!(
        quote(
            "Error retrieving list of active machines (timed out)\n\
             Possible issues:\n  etcd is unhealthy\n\n"
        ),
        "Error retrieving list of active machines (timed out); Possible issues:; etcd is unhealthy"
    );
    assert_eq!(
        quote("flag provided but not defined: -x\nUsage of fleetctl:\n  -debug\n    \tMore"),
        "flag provided but not defined: -x"
    );
    assert_eq!(quote("panic: nil\n\ngoroutine 1 [running]:\nmain.main()\n"), "panic: nil");
    assert_eq!(quote("a\nb\nc\nd\ne\n"), "b; c; d; e");
    assert_eq!(quote("ERROR retrying\nERROR retrying\nError: no\nWhy\n"), "Error: no; Why");
    assert!(quote(&"ü".repeat(5000)).ends_with("üü…"));
}

#[test]
fn a_name_is_looked_for_in_path_and_a_file_name_is_used_as_it_is() {
    let find_in = |command: &str, path: &str| find(command, Some(OsStr::new(path)));
    assert_eq!(find_in("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
    assert_eq!(find_in("/bin/sh", "/nowhere").unwrap(), Path::new("/bin/sh"));
    let error = find_in("sh", "/nowhere").unwrap_err();
    assert!(
        matches!(&error, FleetctlError::Missing(places)
            if places.contains("`sh`") && places.contains("/nowhere")),
        "{error:?}"
    );
    assert!(matches!(find_in("", "/bin"), Err(FleetctlError::Missing(_))));
    assert!(matches!(find_in("/nowhere/fleetctl", "/bin"), Err(FleetctlError::Missing(_))));
    assert!(matches!(find_in("/etc/passwd", "/bin"), Err(FleetctlError::NotExecutable(_))));
    assert!(matches!(find_in("/bin/", "/bin"), Err(FleetctlError::NotExecutable(_))));
}

#[test]
fn the_wording_of_the_errors() {
    let program = || PathBuf::from("/usr/bin/fleetctl");
    let command = || "fleetctl list-units --no-legend".to_owned();
    let stderr = || "Error: unable to initialize registry\n".to_owned();
    let missing = |command: &str| find(command, Some(OsStr::new("/usr/bin:/bin"))).unwrap_err();
    let error = || io::Error::from(Errno::NOEXEC);
    let version = FleetctlVersion::parse("fleetctl version 0.4.0").unwrap();
    let errors = [
        ("no such command in $PATH", missing("no-fleetctl")),
        ("no such file", missing("/nowhere/fleetctl")),
        ("a file that cannot be executed", FleetctlError::NotExecutable(program())),
        (
            "a file that the system refuses to start",
            FleetctlError::Spawn { program: program(), error: error() },
        ),
        ("the fleetctl of osquery", FleetctlError::Osquery(program())),
        (
            "another program",
            FleetctlError::Unknown {
                program: program(),
                output: "true (GNU coreutils) 9.1".into(),
            },
        ),
        (
            "a version that is too old",
            FleetctlError::TooOld { program: program(), version },
        ),
        ("exit status 1", {
            let status = ExitStatus::from_raw(1 << 8);
            FleetctlError::Failed { command: command(), status, stderr: stderr() }
        }),
        ("killed by a signal, without standard error", {
            let status = ExitStatus::from_raw(9);
            FleetctlError::Failed { command: command(), status, stderr: String::new() }
        }),
        ("output that is no list", {
            let error = TableError::HelpText;
            FleetctlError::InvalidTable { command: command(), error, stderr: String::new() }
        }),
        (
            "too much output",
            FleetctlError::OutputTooLarge { command: command(), stderr: stderr() },
        ),
        ("a timeout", {
            let timeout = Duration::from_millis(2500);
            FleetctlError::Timeout { command: command(), timeout, stderr: stderr() }
        }),
        (
            "output that cannot be read",
            FleetctlError::Read { command: command(), error: error() },
        ),
    ];
    assert_catalogue("fleetctl-errors", errors);
}
