//! The program that is measured, with its clients.

use std::time::Duration;

use tokio::time::sleep;

use crate::cpu::{CpuMeter, CpuTime};
use crate::measurements::Measurements;
use crate::simulated_source::SimulatedSource;
use crate::support::{Daemon, Program};
use crate::timing_client::TimingClient;
use crate::{mebibytes, milliseconds};

/// How long CPU time is measured at rest.
const TIME_AT_REST: Duration = Duration::from_secs(20);
/// How many changes are timed with a client of each protocol.
const CHANGES_TO_SECOND: usize = 20;
const CHANGES_TO_FIRST: usize = 7;
/// The longest pause before a change.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A build of the program.
#[derive(Clone, Copy)]
pub enum Build<'a> {
    /// The build of this source.
    Now,
    /// Another build, at this path.
    Before(&'a str),
}

impl Build<'_> {
    pub fn name(self) -> &'static str {
        match self {
            Build::Now => "now",
            Build::Before(_) => "before",
        }
    }
}

/// A running fleet-monitor that has read everything.
pub struct Monitor {
    pub daemon: Daemon,
    /// The CPU time until everything had been read.
    cpu_to_start: CpuTime,
}

impl Monitor {
    pub async fn start(build: Build<'_>, source: &impl SimulatedSource) -> Self {
        let arguments = source.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = match build {
            Build::Now => Program::new(&arguments),
            Build::Before(path) => Program::at(path, &arguments),
        };

        let daemon = program.start().await;
        daemon.log.first("first reading: ").await;
        let cpu_to_start = CpuTime::so_far(daemon.pid());

        Self { daemon, cpu_to_start }
    }

    /// A client that has received all units.
    pub async fn client(
        &self,
        source: &impl SimulatedSource,
        subprotocol: Option<&'static str>,
    ) -> TimingClient {
        let last_unit = source.fleet().last_unit();
        let mut client = TimingClient::connect(self.daemon.address, subprotocol).await;
        client.wait_for(&last_unit).await;
        client
    }

    /// Adds one sample of everything.
    pub async fn measure(&self, source: &impl SimulatedSource, results: &mut Measurements) {
        let client = self.client(source, TimingClient::SECOND_PROTOCOL).await;
        results.cpu_to_start.push(self.cpu_to_start.own_milliseconds());

        self.measure_at_rest(source, results).await;
        self.measure_with_changes(source, client, results).await;

        let mut client = self.client(source, None).await;
        for _ in 0..CHANGES_TO_FIRST {
            let times = change(source, &mut client).await;
            results.to_first_protocol.push(milliseconds(times.to_client));
        }
    }

    async fn measure_at_rest(&self, source: &impl SimulatedSource, results: &mut Measurements) {
        let monitor = CpuMeter::start(self.daemon.pid());
        let etcd = source.etcd().map(CpuMeter::start);
        sleep(TIME_AT_REST).await;

        let share = monitor.share();
        results.cpu_at_rest.push(share.own);
        if share.children > 0.0 {
            results.children_at_rest.push(share.children);
        }
        results.etcd_at_rest.extend(etcd.map(|etcd| etcd.share().own));
        results.memory.push(mebibytes(self.daemon.memory()));
    }

    async fn measure_with_changes(
        &self,
        source: &impl SimulatedSource,
        mut client: TimingClient,
        results: &mut Measurements,
    ) {
        let monitor = CpuMeter::start(self.daemon.pid());

        for _ in 0..CHANGES_TO_SECOND {
            let times = change(source, &mut client).await;
            results.to_second_protocol.push(milliseconds(times.to_client));
            if source.etcd().is_some() {
                results.etcd_answer.push(milliseconds(times.to_answer));
            }
        }

        results.cpu_with_changes.push(monitor.share().own);
        results.peak_memory.push(mebibytes(self.daemon.peak_memory()));
    }
}

/// Times since the monitor could see a change.
struct ChangeTimes {
    /// Until the source had confirmed the change.
    to_answer: Duration,
    /// Until the client had received it.
    to_client: Duration,
}

/// Changes a unit after a random pause.
async fn change(source: &impl SimulatedSource, client: &mut TimingClient) -> ChangeTimes {
    sleep(MAX_PAUSE.mul_f64(fastrand::f64())).await;
    let unit = source.fleet().units_by_renewal().next().expect("a unit");
    let substate = format!("change-{:016x}", fastrand::u64(..));

    let changed = source.change(unit, &substate).await;
    let to_answer = changed.elapsed();
    let to_client = client.wait_for(&substate).await - changed;

    ChangeTimes { to_answer, to_client }
}
