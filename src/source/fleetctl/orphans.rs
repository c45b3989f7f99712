//! Orphans: processes that were given to this one when their parent ended, because it is PID 1 of a container. Nobody
//! else can reap them: what is left of them would fill the container's table of processes.
//!
//! Children of our own are not touched, so that whoever started one gets its exit status.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::process::{Child, Command};

/// The children of this process that are being waited for. As it is held while one is started, none is ever missing.
static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A child of our own, as long as it is waited for.
pub(super) struct Own(u32);

/// Starts a child that is no orphan until what is returned with it is dropped.
pub(super) fn spawn(command: &mut Command) -> io::Result<(Own, Child)> {
    let mut own = own();
    let child = command.spawn()?;
    let id = child.id().expect("nobody has waited for it yet");
    own.insert(id);
    Ok((Own(id), child))
}

impl Drop for Own {
    fn drop(&mut self) {
        own().remove(&self.0);
    }
}

/// Reaps the orphans that have ended. To be called when a child has ended (SIGCHLD), by PID 1.
pub fn reap_orphans() {
    let own = own();
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    for orphan in ids.filter(|id| !own.contains(id) && has_ended(*id)).filter_map(pid) {
        // It is not ours if that fails: another one has reaped it, or is its parent.
        let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
    }
}

/// Whether a process has ended, but has not been reaped (`proc_pid_stat(5)`). Its name may contain anything.
fn has_ended(id: u32) -> bool {
    let stat = fs::read(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    after_name.starts_with(b" Z")
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn own() -> MutexGuard<'static, BTreeSet<u32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}
