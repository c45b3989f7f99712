//! What the monitor reads the simulated fleet from: a real etcd, or a double of fleet's API or of
//! fleetctl. The doubles answer at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rustix::process::Pid;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::simulated_fleet::{self, KeyValue, SimulatedFleet};
use crate::support::etcd::{Etcd, PREFIX};
use crate::support::fleetd::{Fleetd, Registry};

/// How many requests to etcd may be pending.
const MAX_PENDING: usize = 64;

/// A source of fleet-monitor, filled with a simulated fleet.
pub trait SimulatedSource {
    /// The monitor's options for this source.
    fn arguments(&self) -> Vec<String>;

    fn fleet(&self) -> MutexGuard<'_, SimulatedFleet>;

    /// The process of etcd, if this is one.
    fn etcd(&self) -> Option<Pid> {
        None
    }

    /// Changes the state of a unit. Returns the earliest time at which the monitor can see that.
    async fn change(&self, unit: usize, substate: &str) -> Instant;
}

/// A registry in a real etcd. Its keys are renewed as often as fleet does it.
pub struct EtcdSource {
    etcd: Arc<Etcd>,
    fleet: Arc<Mutex<SimulatedFleet>>,
    _renewals: JoinSet<()>,
}

impl EtcdSource {
    /// `None` if etcd is not installed.
    pub async fn start(fleet: SimulatedFleet) -> Option<Self> {
        let etcd = Arc::new(Etcd::start().await?);
        let write = |(key, value): KeyValue, ttl| {
            let etcd = etcd.clone();
            async move { etcd.set(&key, &value, ttl).await }
        };

        let lasting = fleet.lasting_keys().map(|key| (key, None));
        let machines = (0..fleet.machines()).map(|number| fleet.machine_lease(number));
        let leases = (0..fleet.units())
            .flat_map(|unit| fleet.leases(unit))
            .chain(machines)
            .map(|key| (key, Some(simulated_fleet::TTL)));
        let writes = lasting.chain(leases).map(|(key, ttl)| write(key, ttl));
        stream::iter(writes)
            .buffer_unordered(MAX_PENDING)
            .for_each(async |_| {})
            .await;

        write(fleet.leader_lease(), Some(simulated_fleet::LEADER_TTL)).await;
        let fleet = Arc::new(Mutex::new(fleet));

        let mut renewals = JoinSet::new();
        renewals.spawn(renew(etcd.clone(), fleet.clone()));
        Some(Self { etcd, fleet, _renewals: renewals })
    }

    /// The process of etcd.
    pub fn pid(&self) -> Pid {
        self.etcd.pid()
    }

    /// The index of the newest event in etcd.
    pub async fn index(&self) -> u64 {
        self.etcd.tree(&format!("{PREFIX}/lease")).await.1
    }

    /// Changes many units as fast as etcd accepts it.
    pub async fn change_all(&self, units: &[usize], substate: &str) {
        let changes = units.iter().map(|unit| self.change(*unit, substate));
        stream::iter(changes)
            .buffer_unordered(MAX_PENDING)
            .for_each(async |_| {})
            .await;
    }
}

impl SimulatedSource for EtcdSource {
    fn arguments(&self) -> Vec<String> {
        ["--source", "etcd", "--etcd", &self.etcd.url()]
            .map(String::from)
            .into()
    }

    fn fleet(&self) -> MutexGuard<'_, SimulatedFleet> {
        lock(&self.fleet)
    }

    fn etcd(&self) -> Option<Pid> {
        Some(self.etcd.pid())
    }

    async fn change(&self, unit: usize, substate: &str) -> Instant {
        let [_, old, new] = {
            let mut fleet = self.fleet();
            fleet.change(unit, substate);
            fleet.leases(unit)
        };

        self.etcd.set(&old.0, &old.1, Some(simulated_fleet::TTL)).await;
        let changed = Instant::now();
        self.etcd.set(&new.0, &new.1, Some(simulated_fleet::TTL)).await;
        changed
    }
}

/// Keys that are renewed at the same interval.
struct RenewedKeys {
    /// The keys with this number, which is below `count`.
    keys: fn(&mut SimulatedFleet, usize) -> Vec<KeyValue>,
    count: usize,
    /// All of them are renewed in this time.
    interval: Duration,
    /// In seconds.
    ttl: u64,
    /// How many have been renewed so far.
    renewed: usize,
}

impl RenewedKeys {
    fn all_of(fleet: &SimulatedFleet) -> [Self; 3] {
        let states = Self {
            keys: |fleet, unit| {
                fleet.renewed = unit;
                fleet.leases(unit).into()
            },
            count: fleet.units(),
            interval: simulated_fleet::RENEWAL_OF_STATES,
            ttl: simulated_fleet::TTL,
            renewed: 0,
        };
        let machines = Self {
            keys: |fleet, machine| vec![fleet.machine_lease(machine)],
            count: fleet.machines(),
            interval: simulated_fleet::RENEWAL_OF_MACHINES,
            ttl: simulated_fleet::TTL,
            renewed: 0,
        };
        let leader = Self {
            keys: |fleet, _| vec![fleet.leader_lease()],
            count: 1,
            interval: simulated_fleet::RENEWAL_OF_LEADER,
            ttl: simulated_fleet::LEADER_TTL,
            renewed: 0,
        };

        [states, machines, leader]
    }

    /// Whether the next one is to be renewed at this time after the start.
    fn is_due(&self, elapsed: Duration) -> bool {
        let due = elapsed.as_secs_f64() / self.interval.as_secs_f64() * self.count as f64;
        (self.renewed as f64) < due
    }

    fn next(&mut self, fleet: &mut SimulatedFleet) -> Vec<KeyValue> {
        let number = self.renewed % self.count;
        self.renewed += 1;
        (self.keys)(fleet, number)
    }
}

/// Renews all keys with a TTL, at a steady pace.
async fn renew(etcd: Arc<Etcd>, fleet: Arc<Mutex<SimulatedFleet>>) {
    let mut all_keys = RenewedKeys::all_of(&lock(&fleet));
    let mut writes = JoinSet::new();
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);

    loop {
        ticks.tick().await;
        while writes.try_join_next().is_some() {}

        for keys in &mut all_keys {
            while keys.is_due(start.elapsed()) && writes.len() < MAX_PENDING {
                let etcd = etcd.clone();
                let ttl = keys.ttl;
                let renewed = keys.next(&mut lock(&fleet));
                writes.spawn(async move {
                    for (key, value) in renewed {
                        etcd.set(&key, &value, Some(ttl)).await;
                    }
                });
            }
        }
    }
}

/// A double of fleet's HTTP API.
pub struct ApiSource {
    fleet: Mutex<SimulatedFleet>,
    registry: Arc<Mutex<Registry>>,
    fleetd: Fleetd,
}

impl ApiSource {
    pub async fn start(fleet: SimulatedFleet) -> Self {
        let registry = Arc::new(Mutex::new(fleet.registry()));
        let shared = registry.clone();
        let fleetd = Fleetd::tcp(move |request: &str| lock(&shared).reply(request)).await;

        Self { fleet: Mutex::new(fleet), registry, fleetd }
    }
}

impl SimulatedSource for ApiSource {
    fn arguments(&self) -> Vec<String> {
        ["--source", "api", "--api", self.fleetd.address()]
            .map(String::from)
            .into()
    }

    fn fleet(&self) -> MutexGuard<'_, SimulatedFleet> {
        lock(&self.fleet)
    }

    async fn change(&self, unit: usize, substate: &str) -> Instant {
        let registry = {
            let mut fleet = self.fleet();
            fleet.change(unit, substate);
            fleet.registry()
        };
        *lock(&self.registry) = registry;
        Instant::now()
    }
}

/// A script that prints the lists of fleetctl.
pub struct FleetctlSource {
    fleet: Mutex<SimulatedFleet>,
    directory: TempDir,
}

impl FleetctlSource {
    pub fn start(fleet: SimulatedFleet) -> Self {
        const SCRIPT: &str = "#!/bin/sh\n\
             [ \"$1\" = --version ] && { echo fleetctl version v1.0.0; exit; }\n\
             exec cat \"${0%/*}/$1\"\n";

        let directory = TempDir::new().expect("a directory");
        let program = directory.path().join("fleetctl");
        write(&program, SCRIPT);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        write(&directory.path().join("list-units"), &fleet.unit_table());
        write(&directory.path().join("list-unit-files"), &fleet.file_table());
        write(&directory.path().join("list-machines"), &fleet.machine_table());
        Self { fleet: Mutex::new(fleet), directory }
    }
}

impl SimulatedSource for FleetctlSource {
    fn arguments(&self) -> Vec<String> {
        let program = self.directory.path().join("fleetctl").display().to_string();
        ["--source", "fleetctl", "--fleetctl", &program]
            .map(String::from)
            .into()
    }

    fn fleet(&self) -> MutexGuard<'_, SimulatedFleet> {
        lock(&self.fleet)
    }

    async fn change(&self, unit: usize, substate: &str) -> Instant {
        let table = {
            let mut fleet = self.fleet();
            fleet.change(unit, substate);
            fleet.unit_table()
        };

        let new = self.directory.path().join("new");
        write(&new, &table);
        let changed = Instant::now();
        fs::rename(&new, self.directory.path().join("list-units")).expect("it is ours");
        changed
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).expect("the directory is ours");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
