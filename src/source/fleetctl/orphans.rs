//! Orphans: processes that were given to this one when their parent ended, because it is PID 1 of a
//! container. Nobody else can reap them: what is left of them would fill the container's table of
//! processes.
//!
//! OwnChildren of our own are not touched, so that whoever started one gets its exit status.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::process::{Child, Command};

static CHILDREN: Mutex<OwnChildren> = Mutex::new(OwnChildren { starting: 0, own: BTreeSet::new() });

/// The children of this process that are being waited for.
struct OwnChildren {
    /// How many are being started, which are not yet among `own`. That may take long, so nobody
    /// else waits for it.
    starting: usize,
    own: BTreeSet<u32>,
}

/// A child of our own, as long as it is waited for.
pub(super) struct ChildGuard(u32);

/// Starts a child that is no orphan until what is returned with it is dropped.
pub(super) fn spawn(command: &mut Command) -> io::Result<(ChildGuard, Child)> {
    children().starting += 1;
    let spawned = command.spawn();

    let mut children = children();
    children.starting -= 1;
    let child = spawned?;
    let id = child.id().expect("nobody has waited for it yet");
    children.own.insert(id);
    Ok((ChildGuard(id), child))
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        children().own.remove(&self.0);
    }
}

/// Reaps the orphans that have ended. To be called when a child has ended (SIGCHLD), by PID 1.
/// While a child is being started, nothing is done: what is left is reaped when the next one has
/// ended.
pub fn reap_orphans() {
    let ended: Vec<u32> = processes().filter(|id| has_ended(*id)).collect();

    // A child of our own that is among them was being started before, and so is known to `children`
    // now.
    let children = children();
    if children.starting > 0 {
        return;
    }
    for orphan in ended
        .into_iter()
        .filter(|id| !children.own.contains(id))
        .filter_map(pid)
    {
        // If that fails, another process is its parent.
        let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether a process has ended, but has not been reaped (`proc_pid_stat(5)`). Its name may contain
/// anything.
fn has_ended(id: u32) -> bool {
    let stat = fs::read(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    after_name.starts_with(b" Z")
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn children() -> MutexGuard<'static, OwnChildren> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
