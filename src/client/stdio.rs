//! Standard output and standard error of a command whose output goes on: whether anybody still
//! reads it, and notes beside it.
//!
//! It does not know what is printed.

use std::io::{self, Write};
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::report::printable;

/// Prints a note on stderr, so that it is not taken for a part of the output. It may quote what a
/// server sent, so it is printed without control characters.
pub(super) fn print_note(text: &str) {
    let _ = writeln!(io::stderr(), "fleet-monitor: {}", printable(text));
}

/// Waits until nobody can read stdout any more, as after `| head -1`. For a file, that is never.
pub(super) async fn reader_is_gone() {
    let handle = io::stdout().as_fd().try_clone_to_owned();
    #[expect(
        deprecated,
        reason = "the other one is unsafe; the handle is owned, so it outlives its registration"
    )]
    let handle = handle.and_then(|handle| AsyncFd::with_interest(handle, Interest::ERROR));

    match handle {
        Ok(handle) => {
            let _ = handle.ready(Interest::ERROR).await;
        }
        Err(_) => std::future::pending().await,
    }
}
