//! What a fleet is watched through: a real etcd, or a double of its API or of fleetctl that answers
//! at once.

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

use crate::fleet::{self, Entry, Fleet};
use crate::support::etcd::{Etcd, PREFIX};
use crate::support::fleetd::{Fleetd, Registry};

/// How many writes to etcd may be under way at a time.
const AT_ONCE: usize = 64;

/// A fleet that is watched through something.
pub trait Stand {
    /// How the daemon is told to watch it.
    fn arguments(&self) -> Vec<String>;

    fn fleet(&self) -> MutexGuard<'_, Fleet>;

    /// The process that is asked, where that is not a double.
    fn asked(&self) -> Option<Pid> {
        None
    }

    /// Changes a unit's state, and tells when whoever asks can see that at the earliest.
    async fn change(&self, unit: usize, substate: &str) -> Instant;
}

/// A registry in etcd, each key of which is renewed as often as fleet does.
pub struct InEtcd {
    pub etcd: Arc<Etcd>,
    fleet: Arc<Mutex<Fleet>>,
    _renewals: JoinSet<()>,
}

impl InEtcd {
    /// None where etcd is not installed.
    pub async fn start(fleet: Fleet) -> Option<Self> {
        let etcd = Arc::new(Etcd::start().await?);
        let write = |(key, value): Entry, ttl| {
            let etcd = etcd.clone();
            async move { etcd.set(&key, &value, ttl).await }
        };
        let lasting = fleet.lasting().map(|entry| (entry, None));
        let machines = (0..fleet.machines()).map(|number| fleet.machine_lease(number));
        let leases = (0..fleet.units())
            .flat_map(|unit| fleet.leases(unit))
            .chain(machines)
            .map(|it| (it, Some(fleet::TTL)));
        let writes = lasting.chain(leases).map(|(entry, ttl)| write(entry, ttl));
        stream::iter(writes)
            .buffer_unordered(AT_ONCE)
            .for_each(async |_| {})
            .await;
        write(fleet.leader_lease(), Some(fleet::LEADER_TTL)).await;
        let fleet = Arc::new(Mutex::new(fleet));
        let mut renewals = JoinSet::new();
        renewals.spawn(renew(etcd.clone(), fleet.clone()));
        Some(Self { etcd, fleet, _renewals: renewals })
    }

    /// The index of the newest thing in it.
    pub async fn index(&self) -> u64 {
        self.etcd.tree(&format!("{PREFIX}/lease")).await.1
    }

    /// Changes many units as fast as etcd takes it.
    pub async fn change_all(&self, units: &[usize], substate: &str) {
        let changes = units.iter().map(|unit| self.change(*unit, substate));
        stream::iter(changes)
            .buffer_unordered(AT_ONCE)
            .for_each(async |_| {})
            .await;
    }
}

impl Stand for InEtcd {
    fn arguments(&self) -> Vec<String> {
        ["--source", "etcd", "--etcd", &self.etcd.url()]
            .map(String::from)
            .into()
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        locked(&self.fleet)
    }

    fn asked(&self) -> Option<Pid> {
        Some(self.etcd.pid())
    }

    async fn change(&self, unit: usize, substate: &str) -> Instant {
        let [_, old, new] = {
            let mut fleet = self.fleet();
            fleet.change(unit, substate);
            fleet.leases(unit)
        };
        self.etcd.set(&old.0, &old.1, Some(fleet::TTL)).await;
        let at = Instant::now();
        self.etcd.set(&new.0, &new.1, Some(fleet::TTL)).await;
        at
    }
}

/// Renews all that would expire, at a steady pace.
async fn renew(etcd: Arc<Etcd>, fleet: Arc<Mutex<Fleet>>) {
    type Lease = fn(&mut Fleet, usize) -> Vec<Entry>;
    let renew_unit: Lease = |fleet, unit| {
        fleet.renewed = unit;
        fleet.leases(unit).into()
    };
    let (units, machines) = {
        let fleet = locked(&fleet);
        (fleet.units(), fleet.machines())
    };
    let leases: [(Lease, usize, Duration, u64); 3] = [
        (renew_unit, units, fleet::RENEWAL_OF_STATES, fleet::TTL),
        (
            |fleet, machine| vec![fleet.machine_lease(machine)],
            machines,
            fleet::RENEWAL_OF_MACHINES,
            fleet::TTL,
        ),
        (
            |fleet, _| vec![fleet.leader_lease()],
            1,
            fleet::RENEWAL_OF_LEADER,
            fleet::LEADER_TTL,
        ),
    ];
    let (mut done, begun, mut writes) = ([0; 3], Instant::now(), JoinSet::new());
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        while writes.try_join_next().is_some() {}
        for ((lease, count, every, ttl), done) in leases.iter().zip(&mut done) {
            let due = begun.elapsed().as_secs_f64() / every.as_secs_f64() * *count as f64;
            while (*done as f64) < due && writes.len() < AT_ONCE {
                let entries = lease(&mut locked(&fleet), *done % count);
                *done += 1;
                let (etcd, ttl) = (etcd.clone(), *ttl);
                writes.spawn(async move {
                    for (key, value) in entries {
                        etcd.set(&key, &value, Some(ttl)).await;
                    }
                });
            }
        }
    }
}

/// fleetd's API.
pub struct OverApi {
    fleet: Mutex<Fleet>,
    registry: Arc<Mutex<Registry>>,
    fleetd: Fleetd,
}

impl OverApi {
    pub async fn start(fleet: Fleet) -> Self {
        let registry = Arc::new(Mutex::new(fleet.registry()));
        let answering = registry.clone();
        let fleetd = Fleetd::tcp(move |asked: &str| locked(&answering).reply(asked)).await;
        Self { fleet: Mutex::new(fleet), registry, fleetd }
    }
}

impl Stand for OverApi {
    fn arguments(&self) -> Vec<String> {
        ["--source", "api", "--api", self.fleetd.address()]
            .map(String::from)
            .into()
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        locked(&self.fleet)
    }

    async fn change(&self, unit: usize, substate: &str) -> Instant {
        let registry = {
            let mut fleet = self.fleet();
            fleet.change(unit, substate);
            fleet.registry()
        };
        *locked(&self.registry) = registry;
        Instant::now()
    }
}

/// A script that prints what fleetctl would.
pub struct ByFleetctl {
    fleet: Mutex<Fleet>,
    directory: TempDir,
}

impl ByFleetctl {
    pub fn start(fleet: Fleet) -> Self {
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

impl Stand for ByFleetctl {
    fn arguments(&self) -> Vec<String> {
        let program = self.directory.path().join("fleetctl").display().to_string();
        ["--source", "fleetctl", "--fleetctl", &program]
            .map(String::from)
            .into()
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        locked(&self.fleet)
    }

    async fn change(&self, unit: usize, substate: &str) -> Instant {
        let table = {
            let mut fleet = self.fleet();
            fleet.change(unit, substate);
            fleet.unit_table()
        };
        write(&self.directory.path().join("new"), &table);
        let at = Instant::now();
        fs::rename(self.directory.path().join("new"), self.directory.path().join("list-units"))
            .expect("it is ours");
        at
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).expect("the directory is ours");
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
