//! What a process costs.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::{Instant, sleep};

/// CPU time of a process, and of its children that have ended (`proc_pid_stat(5)`).
#[derive(Clone, Copy)]
pub struct Cpu {
    own: Duration,
    children: Duration,
}

impl Cpu {
    /// What it has used so far.
    pub fn of(process: Pid) -> Self {
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
        let fields = stat
            .rsplit_once(')')
            .expect("a name in parentheses")
            .1
            .split_whitespace();
        let ticks: Vec<u32> = fields
            .skip(11)
            .take(4)
            .map(|ticks| ticks.parse().expect("a number"))
            .collect();
        Self {
            own: TICK * (ticks[0] + ticks[1]),
            children: TICK * (ticks[2] + ticks[3]),
        }
    }

    /// Its own, in milliseconds.
    pub fn milliseconds(self) -> f64 {
        self.own.as_secs_f64() * 1e3
    }
}

/// Counts CPU time of a process from a moment on.
pub struct Meter {
    process: Pid,
    begun: Instant,
    before: Cpu,
}

/// In per cent of a core.
#[derive(Clone, Copy)]
pub struct Share {
    pub own: f64,
    pub children: f64,
}

impl Meter {
    pub fn of(process: Pid) -> Self {
        Self { process, begun: Instant::now(), before: Cpu::of(process) }
    }

    pub fn share(&self) -> Share {
        let (now, time) = (Cpu::of(self.process), self.begun.elapsed().as_secs_f64());
        let share = |now: Duration, before: Duration| (now - before).as_secs_f64() / time * 100.0;
        Share {
            own: share(now.own, self.before.own),
            children: share(now.children, self.before.children),
        }
    }

    /// What it uses from now on for so long.
    pub async fn share_of<const N: usize>(processes: [Pid; N], time: Duration) -> [Share; N] {
        let meters = processes.map(Self::of);
        sleep(time).await;
        meters.map(|meter| meter.share())
    }
}
