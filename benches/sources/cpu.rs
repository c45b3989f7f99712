//! The CPU time of processes.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::{Instant, sleep};

/// The CPU time of a process, and of its children that have ended (`proc_pid_stat(5)`).
#[derive(Clone, Copy)]
pub struct CpuTime {
    own: Duration,
    children: Duration,
}

impl CpuTime {
    /// The CPU time since the start of the process.
    pub fn so_far(process: Pid) -> Self {
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it is running");
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");

        // `utime`, `stime`, `cutime` and `cstime`.
        let ticks: Vec<u32> = fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .map(|ticks| ticks.parse().expect("a number"))
            .collect();
        Self {
            own: TICK * (ticks[0] + ticks[1]),
            children: TICK * (ticks[2] + ticks[3]),
        }
    }

    /// The time of the process itself, in milliseconds.
    pub fn own_milliseconds(self) -> f64 {
        self.own.as_secs_f64() * 1e3
    }
}

/// Measures the CPU time of a process from the start of the meter.
pub struct CpuMeter {
    process: Pid,
    start: Instant,
    before: CpuTime,
}

/// CPU time in per cent of a core.
#[derive(Clone, Copy)]
pub struct CpuShare {
    pub own: f64,
    pub children: f64,
}

impl CpuMeter {
    pub fn start(process: Pid) -> Self {
        Self {
            process,
            start: Instant::now(),
            before: CpuTime::so_far(process),
        }
    }

    pub fn share(&self) -> CpuShare {
        let now = CpuTime::so_far(self.process);
        let time = self.start.elapsed().as_secs_f64();
        let share = |now: Duration, before: Duration| (now - before).as_secs_f64() / time * 100.0;

        CpuShare {
            own: share(now.own, self.before.own),
            children: share(now.children, self.before.children),
        }
    }

    /// Measures a process for so long.
    pub async fn measure_for(process: Pid, time: Duration) -> CpuShare {
        let meter = Self::start(process);
        sleep(time).await;
        meter.share()
    }
}
