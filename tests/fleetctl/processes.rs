//! Processes that the double starts, and leaves behind or waits for.

use std::fs;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};

use super::append;

/// Starts a child that holds the pipes, and records both process IDs in `pids`.
pub fn start_child(directory: &Path) -> Child {
    let child = Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .expect("there is a sleep");

    // Tests find the process by its environment, which Linux shows as empty for a moment after
    // exec.
    let environment = format!("/proc/{}/environ", child.id());
    while fs::read(&environment).is_ok_and(|environment| environment.is_empty()) {
        std::thread::yield_now();
    }

    append(&directory.join("pids"), &format!("{} {}", process::id(), child.id()));
    child
}

/// Leaves a process behind that has left this process group and holds some of the pipes.
pub fn leave_holder(directory: &Path, holds_stdout: bool, holds_stderr: bool) {
    let pipe = |is_held: bool| {
        if is_held { Stdio::inherit() } else { Stdio::null() }
    };

    let holder = start_in_new_session("1000", pipe(holds_stdout), pipe(holds_stderr));
    append(&directory.join("pids"), &format!("{} {holder}", process::id()));
}

/// Starts a process in a session of its own that ends after `seconds`. Returns its process ID.
pub fn start_in_new_session(seconds: &str, stdout: Stdio, stderr: Stdio) -> u32 {
    let mut command = Command::new("setsid");
    command
        .args(["sleep", seconds])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let child = command.spawn().expect("there is a setsid").id();

    // Until setsid has started sleep, the process is in this group, and would be killed with it.
    let program = format!("/proc/{child}/comm");
    while fs::read_to_string(&program).is_ok_and(|name| name.trim() != "sleep") {
        std::thread::yield_now();
    }
    child
}
