//! A fleetctl for tests: it replays what the real ones printed, in the dialect of any version, and
//! misbehaves when told to.
//!
//! It has a directory, which is `$FLEETCTL_DOUBLE` or else the one that it was called in (so that a
//! symbolic link to it in a directory of its own is a fleetctl of its own). It reads there, at each
//! call:
//!
//! - `version`: which fleetctl it is, such as `v0.11.8`.
//! - `rows.json`, if there: `{"list-units": [["a.service", …], …], …}`, the rows to print instead
//!   of the recorded ones, with all columns that the version has, in the order of
//!   `tests/fixtures/fleetctl/VERSION.json`.
//! - `mode`, if there: what the lists do, and, after a space, the only command that does it.
//!
//! | mode | what the lists do |
//! |---|---|
//! | `replay` | print their rows; so without a mode |
//! | `warn` | the same, with the warning of an old fleetctl on a newer cluster on standard error |
//! | `leave` | the same, but leave a child behind that holds the pipe open |
//! | `hold-stdout`, `hold-stderr`, `hold-both` | the same, but the child is in a session of its own, as an ssh that stays is |
//! | `orphan` | the same, but leave a process in a session of its own that ends a little later and holds nothing |
//! | `terminal` | the same, on a terminal: `script(1)`; also its version |
//! | `colour` | the same, but each line is coloured; also its version |
//! | `fail` | fail, as if etcd did not answer |
//! | `hang` | complain of an etcd that does not answer and never end, with a child that holds the pipe open |
//! | `flood` | complain as well, and print rows without an end |
//! | `garbage` | print what is no UTF-8 |
//! | `cut`, `die` | print a list that ends within its last line, with exit status 0 or by SIGKILL |
//! | `usage` | print a help text with exit status 0, as v1.0.0 does when it is asked wrongly |
//! | `osquery` | it is the fleetctl of Fleet, the osquery product |
//!
//! It writes there, at each call: a line in `calls`, the arguments as a JSON array; `environment`,
//! the names of its environment variables as a JSON array; in `pids`, when it has a child, its
//! process ID and that of the child.

mod fixture;
mod tabwriter;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitCode, Stdio};

use fixture::{Call, Fixture};

/// Set for the fleetctl that a wrapper runs.
const WRAPPED: &str = "FLEETCTL_DOUBLE_WRAPPED";

fn main() -> ExitCode {
    let directory = directory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mode = fs::read_to_string(directory.join("mode")).unwrap_or_default();
    let (mode, only) = mode.trim().split_once(' ').unwrap_or((mode.trim(), ""));
    if std::env::var_os(WRAPPED).is_none() {
        match mode {
            "terminal" => return on_a_terminal(),
            "colour" => return coloured(),
            _ => {}
        }
    }

    append(
        &directory.join("calls"),
        &serde_json::to_string(&arguments).expect("strings are JSON"),
    );
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    let environment = directory.join(format!("environment.{}", process::id()));
    fs::write(&environment, serde_json::to_string(&names).expect("strings are JSON"))
        .expect("the directory is writable");
    fs::rename(environment, directory.join("environment")).expect("the directory is writable");

    let version = fs::read_to_string(directory.join("version")).expect("the version is set");
    let version = version.trim();
    if mode == "osquery" {
        print!(
            "fleetctl - version 4.62.1\n  branch: \tHEAD\n  revision: \td5a2ab5\n  go version: \tgo1.23.4\n"
        );
        return ExitCode::SUCCESS;
    }
    if arguments == ["--version"] {
        // Until 0.11 the v was missing.
        let name = if number(version) < (0, 12) {
            version.trim_start_matches('v')
        } else {
            version
        };
        println!("fleetctl version {name}");
        return ExitCode::SUCCESS;
    }
    let fixture = Fixture::of(version);
    let asked = match read(&arguments, &fixture) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.end(),
    };
    let rows = fs::read_to_string(directory.join("rows.json")).ok();
    let list = || list(&asked, &fixture, rows.as_deref(), calls(&directory));
    let mode = if only.is_empty() || only == asked.command {
        mode
    } else {
        ""
    };
    match mode {
        "" | "replay" | "terminal" | "colour" => list().unwrap_or_else(|refusal| refusal).end(),
        "warn" => Call {
            stderr: OLDER.to_owned(),
            ..list().unwrap_or_else(|refusal| refusal)
        }
        .end(),
        "leave" => {
            #[expect(clippy::zombie_processes, reason = "to be left behind is what it is for")]
            let _child = linger(&directory);
            list().unwrap_or_else(|refusal| refusal).end()
        }
        "hold-stdout" | "hold-stderr" | "hold-both" => {
            hold(&directory, mode != "hold-stderr", mode != "hold-stdout");
            list().unwrap_or_else(|refusal| refusal).end()
        }
        "orphan" => {
            in_a_session_of_its_own("0.05", Stdio::null(), Stdio::null());
            append(&directory.join("orphans"), "one more");
            list().unwrap_or_else(|refusal| refusal).end()
        }
        "fail" => Call::failure(fixture.failures[&asked.command].clone()).end(),
        "usage" => Fixture::of("v1.0.0").refusals["list-units"].end(),
        "garbage" => {
            let _ = io::stdout().write_all(b"a.service\t\xff\xfe\x00\n");
            ExitCode::SUCCESS
        }
        "cut" | "die" => {
            let table = list().unwrap_or_else(|refusal| refusal).stdout;
            // The middle of the last line, so that no whole line is wrong.
            let last = table.trim_end().rfind('\n').map_or(0, |end| end + 1);
            let _ = io::stdout().write_all(&table.as_bytes()[..last + (table.len() - last) / 2]);
            let _ = io::stdout().flush();
            if mode == "die" {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
            }
            ExitCode::SUCCESS
        }
        "flood" => {
            eprint!("{RETRY}");
            let lines = "a.service\tloaded\tactive\trunning\t-\t-\n".repeat(1024);
            while io::stdout().write_all(lines.as_bytes()).is_ok() {}
            ExitCode::FAILURE
        }
        "hang" => {
            eprint!("{RETRY}");
            let mut child = linger(&directory);
            let _ = child.wait();
            ExitCode::FAILURE
        }
        other => panic!("there is no mode {other:?}"),
    }
}

/// What an older fleetctl says on a newer cluster, with exit status 0.
const OLDER: &str = "\
    ####################################################################\n\
    WARNING: fleetctl (0.9.2) is older than the latest registered\n\
    version of fleet found in the cluster (0.11.8). You are strongly\n\
    recommended to upgrade fleetctl to prevent incompatibility issues.\n\
    ####################################################################\n";

/// What v0.9.2 says before it asks an etcd again.
const RETRY: &str = "ERROR client.go:200: Unable to get result for {Get /_coreos.com/fleet/machines}, retrying in 100ms\n";

/// Starts a child that holds the pipes open.
fn linger(directory: &Path) -> Child {
    let child = Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .expect("there is a sleep");
    // Linux shows an empty environment for a moment after exec; tests find the process by what is
    // in it.
    let environment = format!("/proc/{}/environ", child.id());
    while fs::read(&environment).is_ok_and(|environment| environment.is_empty()) {
        std::thread::yield_now();
    }
    append(&directory.join("pids"), &format!("{} {}", process::id(), child.id()));
    child
}

/// Leaves a process behind that no longer belongs to this one's group, and holds what it is to
/// hold.
fn hold(directory: &Path, stdout: bool, stderr: bool) {
    let held = |held: bool| if held { Stdio::inherit() } else { Stdio::null() };
    let child = in_a_session_of_its_own("1000", held(stdout), held(stderr));
    append(&directory.join("pids"), &format!("{} {child}", process::id()));
}

fn in_a_session_of_its_own(seconds: &str, stdout: Stdio, stderr: Stdio) -> u32 {
    let mut command = Command::new("setsid");
    command
        .args(["sleep", seconds])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let child = command.spawn().expect("there is a setsid").id();
    // Until it is a sleep, it is in this process's group and would be killed with it.
    let program = format!("/proc/{child}/comm");
    while fs::read_to_string(&program).is_ok_and(|name| name.trim() != "sleep") {
        std::thread::yield_now();
    }
    child
}

/// This call once more, as a wrapper runs it.
fn wrapped(mut wrapper: Command) -> Command {
    wrapper.env(WRAPPED, "1").env("FLEETCTL_DOUBLE", directory());
    wrapper
}

fn on_a_terminal() -> ExitCode {
    let call: Vec<String> = std::env::args().map(|argument| format!("'{argument}'")).collect();
    let mut script = wrapped(Command::new("script"));
    let status = script
        .args(["-qec", &call.join(" "), "/dev/null"])
        .status()
        .expect("there is a script");
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

fn coloured() -> ExitCode {
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
    let rc = u8::try_from(output.status.code().unwrap_or(1)).unwrap_or(1);
    Call {
        rc,
        stdout: coloured(&output.stdout),
        stderr: coloured(&output.stderr),
    }
    .end()
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

fn calls(directory: &Path) -> usize {
    fs::read_to_string(directory.join("calls")).map_or(0, |calls| calls.lines().count())
}

/// Major and minor.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse().expect("a version is numbers"));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// What a call asks for.
#[derive(Default)]
struct Asked {
    command: String,
    fields: Vec<String>,
    full: bool,
    legend: bool,
}

/// Reads the arguments as this version does: which flags there are, and where they may stand.
fn read(arguments: &[String], fixture: &Fixture) -> Result<Asked, Call> {
    let number = number(fixture.version());
    let cobra = number >= (0, 13);
    let mut asked = Asked { legend: true, ..Asked::default() };
    let (mut driver, mut endpoint) = (None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(flag) = argument.strip_prefix('-') else {
            if !asked.command.is_empty() || !fixture.lists.contains_key(argument) {
                return Err(fixture.refusal("list-unitz", argument));
            }
            asked.command.clone_from(argument);
            continue;
        };
        let flag = match flag.strip_prefix('-') {
            Some(flag) => flag,
            None if cobra => return Err(fixture.shorthand(&asked.command, flag)),
            None => flag,
        };
        let (name, value) = flag
            .split_once('=')
            .map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let global = asked.command.is_empty() || cobra;
        let local = !asked.command.is_empty();
        let mut value = || value.clone().or_else(|| rest.next().cloned()).unwrap_or_default();
        match name {
            "endpoint" if global => endpoint = Some(value()),
            "driver" if global && number >= (0, 9) => driver = Some(value()),
            "tunnel" if global => drop(value()),
            "request-timeout" if global && number >= (0, 6) => drop(value()),
            "ssh-timeout" if global && number >= (0, 9) => drop(value()),
            "ssh-username" if global && number >= (0, 10) => drop(value()),
            "fields" if local => {
                asked.fields = value()
                    .split(',')
                    .filter(|field| !field.is_empty())
                    .map(String::from)
                    .collect();
            }
            "full" if local => asked.full = true,
            "l" if local && asked.command != "list-unit-files" => asked.full = true,
            "no-legend" if local => asked.legend = false,
            _ => return Err(fixture.refusal(&asked.command, name)),
        }
    }
    if driver
        .as_deref()
        .is_some_and(|driver| driver != "etcd" && driver != "API")
    {
        let driver = driver.unwrap_or_default();
        return Err(Call::failure(format!(
            "Unable to initialize client: unrecognized driver \"{driver}\"\n"
        )));
    }
    if let Some(endpoint) = endpoint
        && driver.as_deref() != Some("etcd")
        && (cobra
            || number >= (0, 10) && ![":4001", ":2379"].iter().any(|port| endpoint.ends_with(port)))
        && let Some(text) = fixture.not_fleet.get(&asked.command)
    {
        // Taken for fleet's API, and no endpoint of the tests is one.
        return Err(Call::failure(text.clone()));
    }
    Ok(asked)
}

/// The table that was asked for, or a refusal.
fn list(asked: &Asked, fixture: &Fixture, rows: Option<&str>, calls: usize) -> Result<Call, Call> {
    let list = &fixture.lists[&asked.command];
    let mut columns = Vec::new();
    for field in &asked.fields {
        match list.columns.iter().position(|column| column == field) {
            Some(index) => columns.push(index),
            None => {
                return Err(Call::failure(format!("Invalid key in output format: \"{field}\"\n")));
            }
        }
    }
    if columns.is_empty() {
        return Err(Call::failure("Must define output format\n".to_owned()));
    }
    let replaced: Option<fixture::Rows> =
        rows.map(|rows| serde_json::from_str(rows).expect("rows.json has rows"));
    let rows = replaced
        .as_ref()
        .and_then(|lists| lists.get(&asked.command))
        .unwrap_or(&list.rows);
    let mut table: Vec<Vec<String>> = Vec::new();
    if asked.legend {
        table.push(asked.fields.iter().map(|field| field.to_uppercase()).collect());
    }
    for row in rows {
        let cells = columns
            .iter()
            .map(|&index| cell(&list.columns[index], &row[index], asked.full));
        table.push(cells.collect());
    }
    // Before 0.6 the pairs of the metadata come in another order at each call.
    if number(fixture.version()) < (0, 6)
        && let Some(metadata) = asked.fields.iter().position(|field| field == "metadata")
    {
        for row in &mut table {
            let mut pairs: Vec<&str> = row[metadata].split(',').collect();
            let by = calls % pairs.len();
            pairs.rotate_left(by);
            row[metadata] = pairs.join(",");
        }
    }
    Ok(Call {
        rc: 0,
        stdout: tabwriter::render(&table),
        stderr: String::new(),
    })
}

/// A cell; without `--full`, IDs and hashes are shortened.
fn cell(column: &str, text: &str, full: bool) -> String {
    match column {
        "hash" if !full => text.chars().take(7).collect(),
        "machine" | "target" | "tmachine" if !full && text.len() >= 32 => {
            format!("{}...{}", &text[..8], &text[32..])
        }
        _ => text.to_owned(),
    }
}
