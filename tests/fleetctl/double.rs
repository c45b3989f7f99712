//! A fleetctl for tests. It prints the recorded output of any version, accepts the arguments of
//! that version, and misbehaves in the way that its mode defines.
//!
//! Its directory is `$FLEETCTL_DOUBLE`, or else the directory of the path by which it is called. So
//! a symbolic link to it is a double with a directory of its own. At each call it reads these files
//! of the directory:
//!
//! - `version`: the version to imitate, such as `v0.11.8`.
//! - `rows.json` (optional): `{"list-units": [["a.service", …], …], …}`, the rows to print instead
//!   of the recorded rows, with all columns of the version, in the order of
//!   `tests/fixtures/fleetctl/VERSION.json`.
//! - `files.json` (optional): `{"a.service": "[Unit]\n…", …}`, the unit files that `cat` prints.
//! - `mode` (optional): how lists and `cat` behave; after a space, the only command that behaves
//!   so.
//!
//! | mode | behaviour of lists |
//! |---|---|
//! | `replay` | print their rows; the default |
//! | `warn` | the same, and print the warning of an old fleetctl on a newer cluster |
//! | `leave` | the same, and leave a child behind that holds the pipes |
//! | `hold-stdout`, `hold-stderr`, `hold-both` | the same, but the child has a session of its own |
//! | `orphan` | the same, but the child holds no pipe and ends soon |
//! | `terminal` | print their rows to a terminal, by `script(1)`; also the version |
//! | `colour` | print their rows with each line coloured; also the version |
//! | `fail` | fail as if etcd did not answer |
//! | `hang` | print an error about etcd and never end, with a child that holds the pipes |
//! | `flood` | print the same error, and rows without end |
//! | `garbage` | print a row that is not UTF-8 |
//! | `cut`, `die` | print a list that is cut off, and end with status 0 or by SIGKILL |
//! | `usage` | print a help text with status 0, as v1.0.0 does after wrong arguments |
//! | `osquery` | behave as the fleetctl of Fleet, the osquery product |
//!
//! At each call it writes to its directory: to `calls` a line with the arguments as a JSON array;
//! to `environment` the names of its environment variables as a JSON array; and to `pids`, if it
//! has a child, its own process ID and that of the child.

mod arguments;
mod fixture;
mod processes;
mod tabwriter;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, Stdio};

use arguments::ListRequest;
use fixture::{Call, Fixture};

/// Set for the fleetctl that a wrapper runs.
const WRAPPED: &str = "FLEETCTL_DOUBLE_WRAPPED";

/// What an older fleetctl prints on a newer cluster, with exit status 0.
const OLDER_WARNING: &str = "\
    ####################################################################\n\
    WARNING: fleetctl (0.9.2) is older than the latest registered\n\
    version of fleet found in the cluster (0.11.8). You are strongly\n\
    recommended to upgrade fleetctl to prevent incompatibility issues.\n\
    ####################################################################\n";

/// What v0.9.2 prints before it retries a request to etcd.
const RETRY_ERROR: &str = "\
    ERROR client.go:200: Unable to get result for {Get /_coreos.com/fleet/machines}, \
    retrying in 100ms\n";

fn main() -> ExitCode {
    let directory = directory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mode = fs::read_to_string(directory.join("mode")).unwrap_or_default();
    let (mode, only_command) = mode.trim().split_once(' ').unwrap_or((mode.trim(), ""));

    if std::env::var_os(WRAPPED).is_none() {
        match mode {
            "terminal" => return run_on_terminal(),
            "colour" => return run_coloured(),
            _ => {}
        }
    }
    record_call(&directory, &arguments);

    let version = fs::read_to_string(directory.join("version")).expect("the version is set");
    let version = version.trim();
    if mode == "osquery" {
        print!(
            "fleetctl - version 4.62.1\n  branch: \tHEAD\n  revision: \td5a2ab5\n  \
             go version: \tgo1.23.4\n"
        );
        return ExitCode::SUCCESS;
    }
    if arguments == ["--version"] {
        return print_version(version);
    }

    let fixture = Fixture::load(version);
    let request = match ListRequest::parse(&arguments, &fixture) {
        Ok(request) => request,
        Err(refusal) => return refusal.replay(),
    };
    let is_replay = !only_command.is_empty() && only_command != request.command;
    let mode = if is_replay { "replay" } else { mode };
    run_list(mode, &request, &fixture, &directory)
}

/// Writes the arguments and the environment of this call to the directory.
fn record_call(directory: &Path, arguments: &[String]) {
    let arguments = serde_json::to_string(arguments).expect("strings are JSON");
    append(&directory.join("calls"), &arguments);

    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    let names = serde_json::to_string(&names).expect("strings are JSON");
    let new = directory.join(format!("environment.{}", process::id()));
    fs::write(&new, names).expect("the directory is writable");
    fs::rename(new, directory.join("environment")).expect("the directory is writable");
}

fn print_version(version: &str) -> ExitCode {
    // Until 0.11 the v was missing.
    let number = if fixture::major_and_minor(version) < (0, 12) {
        version.trim_start_matches('v')
    } else {
        version
    };

    println!("fleetctl version {number}");
    ExitCode::SUCCESS
}

/// Prints a list, or fails, as the mode defines.
fn run_list(mode: &str, request: &ListRequest, fixture: &Fixture, directory: &Path) -> ExitCode {
    let list = || list(request, fixture, directory).unwrap_or_else(|refusal| refusal);

    match mode {
        "" | "replay" | "terminal" | "colour" => list().replay(),
        "warn" => Call { stderr: OLDER_WARNING.to_owned(), ..list() }.replay(),
        "leave" => {
            #[expect(clippy::zombie_processes, reason = "this mode leaves the child behind")]
            let _child = processes::start_child(directory);
            list().replay()
        }
        "hold-stdout" | "hold-stderr" | "hold-both" => {
            processes::leave_holder(directory, mode != "hold-stderr", mode != "hold-stdout");
            list().replay()
        }
        "orphan" => {
            processes::start_in_new_session("0.05", Stdio::null(), Stdio::null());
            append(&directory.join("orphans"), "one more");
            list().replay()
        }
        "fail" => {
            let failure = fixture.failures.get(&request.command);
            let failure = failure.unwrap_or(&fixture.failures["list-units"]);
            Call::failure(failure.clone()).replay()
        }
        "usage" => Fixture::load("v1.0.0").refusals["list-units"].replay(),
        "garbage" => {
            let _ = io::stdout().write_all(b"a.service\t\xff\xfe\x00\n");
            ExitCode::SUCCESS
        }
        "cut" | "die" => print_cut_off(&list().stdout, mode == "die"),
        "flood" => {
            eprint!("{RETRY_ERROR}");
            let lines = "a.service\tloaded\tactive\trunning\t-\t-\n".repeat(1024);
            while io::stdout().write_all(lines.as_bytes()).is_ok() {}
            ExitCode::FAILURE
        }
        "hang" => {
            eprint!("{RETRY_ERROR}");
            let mut child = processes::start_child(directory);
            let _ = child.wait();
            ExitCode::FAILURE
        }
        other => panic!("there is no mode {other:?}"),
    }
}

/// Prints a table without the second half of its last line, so that no complete line is wrong.
fn print_cut_off(table: &str, kill: bool) -> ExitCode {
    let last_line = table.trim_end().rfind('\n').map_or(0, |end| end + 1);
    let middle = last_line + (table.len() - last_line) / 2;
    let _ = io::stdout().write_all(&table.as_bytes()[..middle]);
    let _ = io::stdout().flush();

    if kill {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    ExitCode::SUCCESS
}

/// This call again, run by a wrapper.
fn wrapped(mut wrapper: Command) -> Command {
    wrapper.env(WRAPPED, "1").env("FLEETCTL_DOUBLE", directory());
    wrapper
}

fn run_on_terminal() -> ExitCode {
    let call: Vec<String> = std::env::args().map(|argument| format!("'{argument}'")).collect();

    let status = wrapped(Command::new("script"))
        .args(["-qec", &call.join(" "), "/dev/null"])
        .status()
        .expect("there is a script");
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

fn run_coloured() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().expect("a program has a name");
    let output = wrapped(Command::new(program))
        .args(arguments)
        .output()
        .expect("this program runs");

    let coloured = |text: &[u8]| -> String {
        String::from_utf8_lossy(text)
            .lines()
            .map(|line| format!("\x1b[1;32m{line}\x1b(B\x1b[m\n"))
            .collect()
    };
    let call = Call {
        rc: u8::try_from(output.status.code().unwrap_or(1)).unwrap_or(1),
        stdout: coloured(&output.stdout),
        stderr: coloured(&output.stderr),
    };
    call.replay()
}

/// The unit files that `cat` prints (fleetctl v1.0.0).
fn files(units: &[String], directory: &Path) -> Result<Call, Call> {
    let files = fs::read_to_string(directory.join("files.json")).unwrap_or_default();
    let files: BTreeMap<String, String> = serde_json::from_str(&files).unwrap_or_default();

    let mut stdout = String::new();
    for unit in units {
        let file = files
            .get(unit)
            .ok_or_else(|| Call::failure(format!("Unit {unit} not found\n")))?;
        stdout += file;
    }
    Ok(Call { rc: 0, stdout, stderr: String::new() })
}

/// The requested table, or a refusal.
fn list(request: &ListRequest, fixture: &Fixture, directory: &Path) -> Result<Call, Call> {
    if request.command == "cat" {
        return files(&request.units, directory);
    }
    let list = &fixture.lists[&request.command];
    let columns = columns(&request.fields, &list.columns)?;

    let replaced_rows: Option<fixture::Rows> = fs::read_to_string(directory.join("rows.json"))
        .ok()
        .map(|rows| serde_json::from_str(&rows).expect("rows.json has rows"));
    let rows = replaced_rows
        .as_ref()
        .and_then(|lists| lists.get(&request.command))
        .unwrap_or(&list.rows);

    let mut table: Vec<Vec<String>> = Vec::new();
    if request.legend {
        table.push(request.fields.iter().map(|field| field.to_uppercase()).collect());
    }
    for row in rows {
        let cells = columns
            .iter()
            .map(|&index| cell(&list.columns[index], &row[index], request.full));
        table.push(cells.collect());
    }

    // Before 0.6, each call prints the pairs of the metadata in another order.
    if fixture.major_and_minor() < (0, 6)
        && let Some(metadata) = request.fields.iter().position(|field| field == "metadata")
    {
        rotate_metadata(&mut table, metadata, call_count(directory));
    }

    Ok(Call {
        rc: 0,
        stdout: tabwriter::render(&table),
        stderr: String::new(),
    })
}

/// The indices of the requested columns.
fn columns(fields: &[String], columns: &[String]) -> Result<Vec<usize>, Call> {
    if fields.is_empty() {
        return Err(Call::failure("Must define output format\n".to_owned()));
    }

    let index = |field: &String| {
        columns
            .iter()
            .position(|column| column == field)
            .ok_or_else(|| Call::failure(format!("Invalid key in output format: \"{field}\"\n")))
    };
    fields.iter().map(index).collect()
}

fn rotate_metadata(table: &mut [Vec<String>], column: usize, calls: usize) {
    for row in table {
        let mut pairs: Vec<&str> = row[column].split(',').collect();
        let distance = calls % pairs.len();
        pairs.rotate_left(distance);
        row[column] = pairs.join(",");
    }
}

/// A cell. Without `--full`, IDs and hashes are shortened.
fn cell(column: &str, text: &str, full: bool) -> String {
    match column {
        "hash" if !full => text.chars().take(7).collect(),
        "machine" | "target" | "tmachine" if !full && text.len() >= 32 => {
            format!("{}...{}", &text[..8], &text[32..])
        }
        _ => text.to_owned(),
    }
}

/// How many calls were recorded, including this one.
fn call_count(directory: &Path) -> usize {
    fs::read_to_string(directory.join("calls")).map_or(0, |calls| calls.lines().count())
}

fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("FLEETCTL_DOUBLE") {
        return directory.into();
    }

    let program = std::env::args_os().next().expect("a program has a name");
    Path::new(&program)
        .parent()
        .expect("the double is called by its path")
        .to_owned()
}

fn append(file: &Path, line: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .expect("the directory is writable");
    file.write_all(format!("{line}\n").as_bytes())
        .expect("the directory is writable");
}
