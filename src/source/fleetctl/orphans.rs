//! Reaps orphans: processes that the kernel gave to this process when their parent ended, because
//! this process is PID 1 of a container. Nobody else can reap them, and zombies would fill the
//! process table of the container.
//!
//! It must not reap a child that this process has started itself, and for whose exit status it
//! waits.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::process::{Child, Command};

static OWN_CHILDREN: Mutex<OwnChildren> =
    Mutex::new(OwnChildren { starting: 0, process_ids: BTreeSet::new() });

/// The children that this process has started itself, and for whose exit status it waits.
struct OwnChildren {
    /// How many children are being started, and are not yet in `process_ids`. Starting one may take
    /// long, so the lock is not held meanwhile.
    starting: usize,
    process_ids: BTreeSet<u32>,
}

/// Keeps a child from being reaped here, until the guard is dropped.
pub(super) struct ChildGuard(u32);

/// Starts a child that is not reaped here until the guard is dropped.
pub(super) fn spawn(command: &mut Command) -> io::Result<(ChildGuard, Child)> {
    own_children().starting += 1;
    let result = command.spawn();

    let mut own_children = own_children();
    own_children.starting -= 1;
    let child = result?;
    let id = child.id().expect("nobody has waited for the child yet");
    own_children.process_ids.insert(id);
    Ok((ChildGuard(id), child))
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        own_children().process_ids.remove(&self.0);
    }
}

/// Reaps the orphans that have ended. PID 1 calls this on SIGCHLD. While a child is being started
/// it does nothing: the next SIGCHLD reaps the remaining orphans.
pub(crate) fn reap_orphans() {
    let ended: Vec<u32> = processes().filter(|id| has_ended(*id)).collect();

    // If one of these is an own child, its start began before `ended` was read. So by now it is
    // either counted in `starting` or listed in `process_ids`.
    let own_children = own_children();
    if own_children.starting > 0 {
        return;
    }

    for orphan in ended
        .into_iter()
        .filter(|id| !own_children.process_ids.contains(id))
        .filter_map(pid)
    {
        // This fails, without harm, if the parent of the zombie is another process.
        let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether a process is a zombie (`proc_pid_stat(5)`). Its name, before the last `)`, may contain
/// anything.
fn has_ended(id: u32) -> bool {
    let stat = fs::read(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    after_name.starts_with(b" Z")
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn own_children() -> MutexGuard<'static, OwnChildren> {
    OWN_CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
