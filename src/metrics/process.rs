//! What this process uses, with the names that Prometheus's own client libraries use, from
//! `/proc/self` (`proc_pid_stat(5)`). What cannot be read there has no series.
//!
//! This module must not know what the program does.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::family::gauge;

/// The start of this process, which is computed once: each computation would differ by some
/// microseconds, and a value that changes looks like a restart.
#[derive(Debug)]
pub(super) struct ProcessStart(Option<SystemTime>);

impl ProcessStart {
    pub(super) fn read() -> Self {
        Self(ProcessStat::read().and_then(ProcessStat::start))
    }
}

/// The families about this process.
pub(super) fn process(start: &ProcessStart) -> Registry {
    let mut registry = Registry::with_prefix("process");

    if let Some(stat) = ProcessStat::read() {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(stat.cpu().as_secs_f64());
        registry.register_with_unit("cpu", "CPU time in user and system mode", Unit::Seconds, cpu);
        registry.register_with_unit(
            "resident_memory",
            "Memory that is in RAM",
            Unit::Bytes,
            gauge(stat.resident_bytes()),
        );
        registry.register_with_unit(
            "virtual_memory",
            "Size of the address space",
            Unit::Bytes,
            gauge(stat.virtual_bytes),
        );
    }
    if let Some(start) = start.0.and_then(|start| start.duration_since(UNIX_EPOCH).ok()) {
        let seconds = Gauge::<f64, AtomicU64>::default();
        seconds.set(start.as_secs_f64());
        registry.register_with_unit(
            "start_time",
            "When this process was started, in seconds since 1970",
            Unit::Seconds,
            seconds,
        );
    }

    if let Some(open) = open_files() {
        registry.register("open_fds", "Open file descriptors", gauge(open));
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        registry.register("max_fds", "The limit on open file descriptors", gauge(max));
    }
    registry
}

/// The number of open files, without the one that this takes itself.
fn open_files() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(listed.saturating_sub(1))
}

/// The fields of `/proc/self/stat` that are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessStat {
    /// CPU time in clock ticks, in user and system mode together.
    cpu_ticks: u64,
    /// The start of the process, in clock ticks since the system was booted.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl ProcessStat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The second field is a name in brackets, which may contain anything. The third one is the
        // first after it.
        let (_, after_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();

        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn cpu(self) -> Duration {
        of_ticks(self.cpu_ticks)
    }

    fn resident_bytes(self) -> u64 {
        self.resident_pages.saturating_mul(page_size() as u64)
    }

    /// When the process was started. `/proc/stat`, which says when the system was booted, may be
    /// hidden from a service (`ProcSubset=pid`), so this counts back from the present.
    fn start(self) -> Option<SystemTime> {
        let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
        let age = since_boot.saturating_sub(of_ticks(self.start_ticks));

        SystemTime::now().checked_sub(age)
    }
}

fn of_ticks(ticks: u64) -> Duration {
    let per_second = clock_ticks_per_second().max(1);
    let milliseconds = u128::from(ticks) * 1000 / u128::from(per_second);
    Duration::from_millis(milliseconds.try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_behind_it() {
        let line = "4711 (a) R 1 (b) S 1 4711 4711 0 -1 4194560 9 8 7 6 250 50 5 4 20 0 3 0 \
                    123456 987654144 4096 18446744073709551615 1 1 0\n";
        let stat = ProcessStat {
            cpu_ticks: 300,
            start_ticks: 123_456,
            virtual_bytes: 987_654_144,
            resident_pages: 4096,
        };
        assert_eq!(ProcessStat::parse(line), Some(stat));
    }

    #[test]
    fn a_line_that_is_cut_off_has_no_values() {
        for line in
            ["", "4711", "4711 (a) S", "4711 (a) S 1 1 1 0 -1 0 0 0 0 0 x 1 0 0 20 0 1 0 5 6"]
        {
            assert_eq!(ProcessStat::parse(line), None, "{line}");
        }
    }

    #[test]
    fn this_process_was_started_a_short_while_ago() {
        let stat = ProcessStat::read().expect("/proc is mounted");
        let age = SystemTime::now()
            .duration_since(stat.start().expect("a start"))
            .expect("in the past");

        assert!(age < Duration::from_secs(3600), "{age:?}");
        assert!(stat.resident_bytes() > 0);
        assert!(open_files().is_some_and(|open| open >= 3));
    }
}
