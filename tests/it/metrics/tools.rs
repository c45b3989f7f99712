//! The programs of others that judge the metrics and the files for them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::cannot_run;

/// Runs `promtool`, which must find nothing wrong. Nothing is checked where there is none.
pub fn promtool(arguments: &[&str], input: &[u8]) {
    let why = "promtool cannot be run; it is in Debian's package prometheus";
    if let Some(output) = output(Command::new("promtool").args(arguments), input, why) {
        let text = text(&output);
        // It prints an empty line for each evaluation.
        let text: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let text = text.join("\n");
        assert!(output.status.success(), "promtool {arguments:?}: {text}");
        assert!(!arguments.contains(&"metrics") || text.is_empty(), "{text}");
    }
}

/// Runs a program of a package of Debian, which must accept something. Nothing is checked where
/// there is none.
pub fn accepts(program: &str, package: &str, arguments: &[&str]) {
    let why = format!("{program} cannot be run; it is in Debian's package {package}");
    if let Some(output) = output(Command::new(program).args(arguments), b"", &why) {
        assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
    }
}

/// Runs a Python script with libraries that `tests/run` installs, and returns what it prints.
/// `None` where they are not installed.
pub fn python(script: &str, input: &[u8]) -> Option<String> {
    let Some(python) = std::env::var_os("METRICS_PYTHON") else {
        cannot_run("METRICS_PYTHON names no Python; `tests/run` installs one");
        return None;
    };

    let output = output(Command::new(python).args(["-c", script]), input, "no Python")?;
    assert!(output.status.success(), "{}", text(&output));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn output(command: &mut Command, input: &[u8], why: &str) -> Option<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            cannot_run(&format!("{why} ({error})"));
            return None;
        }
    };

    // A program that ends early does not read all of its input.
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("an output");
    let _ = writing.join();
    Some(output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &output.stderr].concat()).into_owned()
}
