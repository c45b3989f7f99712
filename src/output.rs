//! Writes to stdout and stderr before the log is started, and after it has ended.
//!
//! It must not know what is printed, or why.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the end of the program waits for the last output, and for threads that still run.
pub(crate) const EXIT_TIMEOUT: Duration = Duration::from_millis(250);

/// The exit status after printing to stdout. A closed pipe is reported by the exit status alone:
/// whoever closed it knows that output is missing.
pub(crate) fn exit_code_of_print(result: io::Result<()>) -> ExitCode {
    match result.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            print_error(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints each line to stderr, with the name of the program in front.
pub(crate) fn print_error(text: &str) {
    let lines: Vec<String> = text.lines().map(|line| format!("fleet-monitor: {line}\n")).collect();
    write_with_timeout(move || io::stderr().write_all(lines.concat().as_bytes()));
}

/// Writes to stderr, and waits [`EXIT_TIMEOUT`] at most, because nobody may read stderr. If writing
/// fails, there is no other place to report that.
pub(crate) fn write_with_timeout(write: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let (done_sender, done) = mpsc::channel();

    let thread = thread::Builder::new().spawn(move || done_sender.send(write().is_ok()));
    if thread.is_ok() {
        let _ = done.recv_timeout(EXIT_TIMEOUT);
    }
}
