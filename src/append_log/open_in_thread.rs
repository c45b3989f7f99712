//! Opens a file in a thread of its own, which then writes it: the disk may hang.
//!
//! It does not know what is opened.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Starts a thread that opens a file, and then runs with its writer. Returns what the file said.
///
/// # Errors
///
/// If the file cannot be opened, or not within `limit`. Then the thread does not run.
pub(crate) async fn open_in_thread<W, C: Send + 'static>(
    name: &str,
    limit: Duration,
    open: impl FnOnce() -> io::Result<(W, C)> + Send + 'static,
    run: impl FnOnce(W) + Send + 'static,
) -> io::Result<C> {
    let (opened_sender, opened) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || match open() {
            Ok((writer, contents)) => {
                // Otherwise nobody waits any more.
                if opened_sender.send(Ok(contents)).is_ok() {
                    run(writer);
                }
            }
            Err(error) => {
                let _ = opened_sender.send(Err(error));
            }
        })?;

    match timeout(limit, opened).await {
        Ok(result) => result.unwrap_or_else(|_| Err(io::Error::other("its thread has ended"))),
        Err(_) => Err(io::Error::other(format!("its disk hangs for {limit:?}"))),
    }
}
