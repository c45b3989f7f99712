//! Writing to standard output and standard error, while there is no log.
//!
//! It does not know what is written, or why.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The time that output and tasks get to finish when the program ends.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

/// The exit status after writing to standard output. If the reader closed the pipe, that is no
/// error to report.
pub(crate) fn printed(result: io::Result<()>) -> ExitCode {
    match result.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            print_error(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes each line to standard error, after the name of the program.
pub(crate) fn print_error(text: &str) {
    let lines: Vec<String> = text.lines().map(|line| format!("fleet-monitor: {line}\n")).collect();
    complain(move || io::stderr().write_all(lines.concat().as_bytes()));
}

/// Writes to standard error, in a thread: nobody may read it. If that fails, there is no other place
/// to report it.
pub(crate) fn complain(write: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || done.send(write().is_ok()));

    if thread.is_ok() {
        let _ = is_done.recv_timeout(PATIENCE);
    }
}
