//! What the program prints and says by itself, before there is a log and after.
//!
//! It knows neither what is printed nor why.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the last words, and what still runs, are waited for at the end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

/// The exit status after something was printed. Who closes a pipe knows what he does not get.
pub(crate) fn printed(result: io::Result<()>) -> ExitCode {
    match result.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says each line on stderr, under the name of the program.
pub(crate) fn say(text: &str) {
    let lines: Vec<String> = text.lines().map(|line| format!("fleet-monitor: {line}\n")).collect();
    complain(move || io::stderr().write_all(lines.concat().as_bytes()));
}

/// Writes to stderr. If nobody reads that, it is not waited for, and if it fails, there is no other
/// place to say so.
pub(crate) fn complain(write: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let (written, is_written) = mpsc::channel();
    let writing = thread::Builder::new().spawn(move || written.send(write().is_ok()));
    if writing.is_ok() {
        let _ = is_written.recv_timeout(PATIENCE);
    }
}
