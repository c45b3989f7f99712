//! Ten thousand clients, of which four thousand mean no good, against the program itself.
//!
//! 6,000 behave, in three protocols, and must be told everything: each revision once. Meanwhile
//! 2,000 never read, 1,000 go away and come back all at once, again and again, 500 send their
//! request a byte at a time, and 500 send what nobody should. The program must stay small and
//! quiet, and each of them must get what it deserves. The same is done with TLS by half of them.

mod handshakes;
mod lasting_client;
mod strangers;
mod wire;

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleet_monitor::cluster::FleetList;
use fleet_monitor::server::open_files::OpenFileLimit;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval, timeout};

use crate::support::certificates::CertificateFiles;
use crate::support::endpoint::Endpoint;
use crate::support::{Daemon, Double, Program, recorded};
use lasting_client::{LastingClient, Record};
use strangers::{Fate, Fates, Nuisance, dribble_hello, dribble_request, fall_silent, pester};
use wire::{Connection, Protocol};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The resident memory that a client may cost, in KiB.
const MEMORY: f64 = 8.0;

/// The same for a client with TLS.
const TLS_MEMORY: f64 = 24.0;

/// How many units the cluster has: enough for a list that the kernel does not keep for long for one
/// who does not read.
const UNITS: usize = 150;

/// The changes of the cluster during the attack, about one a second, at least.
const CHANGES: u32 = 8;

/// So many may be shaking hands at a time, besides those who ask for trouble: fewer than the
/// server's limit for all, which is half of its connections, and 1,024 at most.
const DOORS: usize = 256;

/// How many there are of each kind.
#[derive(Debug)]
struct Crowd {
    behaved: usize,
    silent: usize,
    storming: usize,
    dribbling: usize,
    nuisances: usize,
}

impl Crowd {
    const WHOLE: Self = Self {
        behaved: 6_000,
        silent: 2_000,
        storming: 1_000,
        dribbling: 500,
        nuisances: 500,
    };

    /// Half of it: in a debug build, a handshake of TLS takes both ends milliseconds.
    const WITH_TLS: Self = Self {
        behaved: 3_000,
        silent: 1_000,
        storming: 500,
        dribbling: 250,
        nuisances: 250,
    };

    /// The share of it that there are files for, in this process and in the program, with some for
    /// who comes back before he is known to be gone.
    fn within(self, files: OpenFileLimit) -> Self {
        let room = files.connections() * 9 / 10;
        let whole = self;
        if room >= whole.all() {
            return whole;
        }
        let part = |count: usize| count * room / whole.all();
        let crowd = Self {
            behaved: part(whole.behaved),
            silent: part(whole.silent),
            storming: part(whole.storming),
            dribbling: part(whole.dribbling),
            nuisances: part(whole.nuisances),
        };
        println!("{files}: only {} clients of {}", crowd.all(), whole.all());
        crowd
    }

    fn all(&self) -> usize {
        self.behaved + self.silent + self.storming + self.dribbling + self.nuisances
    }
}

#[test]
fn ten_thousand_clients_of_whom_some_mean_no_good() {
    run_alone("attack::attack");
}

#[test]
fn with_tls_half_of_them() {
    run_alone("attack::attack_with_tls");
}

#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn attack() {
    LocalSet::new().run_until(Attack::run(None)).await;
}

#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn attack_with_tls() {
    let files = CertificateFiles::new();
    LocalSet::new().run_until(Attack::run(Some(&files))).await;
}

/// Runs a test in a process of its own, so that all the files that it may open are for this; and
/// after the others of these, so that each has the processors for itself.
fn run_alone(test: &str) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);

    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--ignored", "--exact", "--nocapture", test])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{complained}");
}

/// The clients that must be told everything, and what they were told.
struct Attack {
    server: Endpoint,
    record: Rc<Record>,
    clients: Vec<Rc<LastingClient>>,
    /// Whoever of them comes to an end has found something wrong.
    running: JoinSet<()>,
    /// Who waits until there is room comes through these.
    doors: Rc<Semaphore>,
    /// The gusts of a storm, and a weather that has none.
    storm: watch::Sender<u32>,
    calm: watch::Sender<u32>,
}

impl Attack {
    /// With these certificates, it is with TLS.
    async fn run(certificates: Option<&CertificateFiles>) {
        let crowd = match certificates {
            None => Crowd::WHOLE,
            Some(_) => Crowd::WITH_TLS,
        };
        let crowd = crowd.within(OpenFileLimit::raise());
        let fleetctl = Double::new("v1.0.0");
        change(&fleetctl, 0);
        let program = Program::asking(&fleetctl, &["--unit-freq", "0.5", "--poll-timeout", "60"]);
        let program = match certificates {
            None => program,
            Some(files) => program.with_tls(files),
        };
        let mut daemon = program.start().await;
        daemon.source_is("ok").await;
        let mut attack = Self {
            server: daemon.endpoint(),
            record: Rc::default(),
            clients: Vec::new(),
            running: JoinSet::new(),
            doors: Rc::new(Semaphore::new(DOORS.min(crowd.all() / 8))),
            storm: watch::Sender::default(),
            calm: watch::Sender::default(),
        };

        // One of each kind first, so that all that is not for each of them is there.
        attack.follow(Protocol::ALL.len(), false);
        attack.until("the first clients are settled", Self::are_settled).await;
        let before = daemon.memory();
        let begun = Instant::now();
        attack.follow(crowd.behaved - Protocol::ALL.len(), false);
        attack.until("all that behave are settled", Self::are_settled).await;
        let silent = attack.fall_silent(crowd.silent).await;
        let took = begun.elapsed();
        println!(
            "{} that behave and {} that never read are there after {took:.1?}",
            crowd.behaved,
            silent.len()
        );

        let changes = attack.endure(&crowd, &fleetctl).await;

        attack.know(&fleetctl, changes + 1).await;
        attack.all_know_all(&daemon).await;
        let each = daemon.peak_memory().saturating_sub(before) as f64 / crowd.all() as f64;
        println!(
            "memory: {before} KiB before, {} KiB at most: {each:.2} KiB for each",
            daemon.peak_memory()
        );
        let limit = if certificates.is_some() { TLS_MEMORY } else { MEMORY };
        assert!(each < limit, "{each:.2} KiB for each client");
        assert_quiet(&daemon, begun);

        // Those that are silent do not delay its end either.
        attack.running.shutdown().await;
        assert_eq!(daemon.stop(Signal::TERM).await.code(), Some(0));
        drop(silent);
    }

    /// Lets everyone be a nuisance at once, while the cluster changes. Returns how often that was.
    async fn endure(&mut self, crowd: &Crowd, fleetctl: &Double) -> u32 {
        let begun = Instant::now();
        // First come, first served: those that dribble are let in before the storm.
        let mut dribbling = JoinSet::new();
        for number in 0..crowd.dribbling {
            let server = self.server.clone();
            if server.tls.is_some() && number % 2 == 1 {
                dribbling.spawn_local(dribble_hello(server));
            } else {
                dribbling.spawn_local(dribble_request(server));
            }
        }
        let dribbling = tokio::task::spawn_local(timeout(PATIENCE, dribbling.join_all()));
        self.follow(crowd.storming, true);
        let (fates, over) = (Rc::new(Fates::default()), Rc::new(Cell::new(false)));
        let mut nuisances = JoinSet::new();
        for number in 0..crowd.nuisances {
            let nuisance = Nuisance::ALL[number % Nuisance::ALL.len()];
            nuisances.spawn_local(pester(
                self.server.clone(),
                nuisance,
                fates.clone(),
                over.clone(),
            ));
        }

        let mut pace = interval(Duration::from_secs(1));
        let mut changes = 0;
        while changes < CHANGES || !dribbling.is_finished() {
            pace.tick().await;
            changes += 1;
            if changes.is_multiple_of(2) {
                self.storm.send_modify(|gust| *gust += 1);
            }
            self.know(fleetctl, changes).await;
        }
        over.set(true);
        println!(
            "{changes} changes and {} gusts in {:.1?}",
            *self.storm.borrow(),
            begun.elapsed()
        );
        println!("turned away by the storm, and back again: {}", self.record.refusals.get());

        timeout(PATIENCE, nuisances.join_all())
            .await
            .expect("the nuisances end in time");
        for nuisance in Nuisance::ALL.iter().take(crowd.nuisances) {
            let fates = fates.borrow();
            let fates: Vec<_> = fates.iter().filter(|((other, _), _)| other == nuisance).collect();
            let told = fates.iter().any(|((_, fate), _)| matches!(fate, Fate::Answered(_)));
            println!(
                "{nuisance:?}: {}",
                fates
                    .iter()
                    .map(|((_, fate), times)| format!("{fate:?} {times} ×"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            // With TLS its pongs take more room, and may find none: then it is reset.
            let may_be_cut = self.server.tls.is_some() && *nuisance == Nuisance::DeafPings;
            assert!(told || may_be_cut, "{nuisance:?} was never told why it was shown out");
        }
        let cut = dribbling
            .await
            .expect("no dribble was granted")
            .expect("those that dribble are cut off in time");
        let (first, last) = (cut.iter().min().unwrap(), cut.iter().max().unwrap());
        println!("{} that dribble were cut off after {first:.1?} to {last:.1?}", cut.len());
        // The server's 10 s, and what it takes to notice in a crowd, at either end.
        assert!(
            first.as_secs() >= 5 && last.as_secs() < 20,
            "cut off after {first:.1?} to {last:.1?}"
        );
        changes
    }

    /// The cluster changes, and somebody in each protocol has heard of it.
    async fn know(&mut self, fleetctl: &Double, number: u32) {
        change(fleetctl, number);
        self.until("the change is known", |attack| attack.record.has_heard(&sub(number)))
            .await;
    }

    /// Waits until everyone knows everything, and that is what is.
    async fn all_know_all(&mut self, daemon: &Daemon) {
        let (_, state) = daemon.get("/v2/state").await;
        self.until("what was told amounts to what is", |attack| attack.record.amounts_to(&state))
            .await;
        let [machines, units] =
            [daemon.get("/v1/machines").await.1, daemon.get("/v1/units").await.1]
                .map(|list| self.record.same(&list).expect("the newest list was told"));
        let last = self.record.last().unwrap_or_default();
        let has_all = |client: &Rc<LastingClient>| client.has_all(last, [&machines, &units]);
        self.until("everyone has been told everything", |attack| {
            attack.clients.iter().rev().all(has_all)
        })
        .await;
        println!(
            "all have the newest lists, or all of {} deltas and events",
            self.record.messages.borrow().len()
        );
    }

    async fn fall_silent(&self, count: usize) -> Vec<Connection> {
        let mut silent = JoinSet::new();
        for number in 0..count {
            silent.spawn_local(fall_silent(
                self.server.clone(),
                protocol(number),
                self.doors.clone(),
            ));
        }
        timeout(PATIENCE, silent.join_all())
            .await
            .expect("all are there in time")
    }

    /// So many more that must be told everything. Those in the storm do not wait until there is
    /// room.
    fn follow(&mut self, count: usize, stormy: bool) {
        let weather = if stormy { &self.storm } else { &self.calm };
        for number in 0..count {
            let client = Rc::new(LastingClient::new(
                self.server.clone(),
                protocol(number),
                self.record.clone(),
            ));
            self.clients.push(client.clone());
            let doors = (!stormy).then(|| self.doors.clone());
            self.running.spawn_local(client.run(weather.subscribe(), doors));
        }
    }

    fn are_settled(&self) -> bool {
        // Who came last is settled last.
        self.clients.iter().rev().all(|client| client.is_settled())
    }

    /// Waits until something holds, which only news of the clients can change.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let record = self.record.clone();
            tokio::select! {
                () = record.news.notified() => {}
                Some(end) = self.running.join_next() => panic!("a client that behaves: {end:?}"),
                () = tokio::time::sleep_until(deadline) => panic!("waited too long until {what}"),
            }
        }
    }
}

fn protocol(number: usize) -> Protocol {
    Protocol::ALL[number % Protocol::ALL.len()]
}

/// Nothing that strangers do is logged more than once a second. The source has its own to say: what
/// changed, and that one of its topics is slow.
fn assert_quiet(daemon: &Daemon, since: Instant) {
    let lines = daemon.log.all().into_iter().zip(daemon.log.times(""));
    let of_a_topic =
        |line: &str| FleetList::ALL.iter().any(|topic| line.contains(&topic.to_string()));
    let of_strangers = |line: &str| !line.contains(UNIT) && !of_a_topic(line);
    let (lines, times): (Vec<_>, Vec<_>) =
        lines.filter(|(line, at)| *at > since && of_strangers(line)).unzip();
    println!("said of strangers: {lines:?}");
    let seldom = times
        .windows(2)
        .all(|pair| pair[1] - pair[0] > Duration::from_millis(950));
    assert!(seldom, "more than one line in a second: {lines:#?}");
}

/// The unit that changes.
const UNIT: &str = "web@0000.service";

/// From now on the fleetctl lists that unit in another state.
fn change(fleetctl: &Double, number: u32) {
    let recorded = recorded("v1.0.0")["lists"]["list-machines"]["rows"].take();
    let machine = |unit: usize| {
        let row = &recorded[unit % recorded.as_array().unwrap().len()];
        format!("{}/{}", row[0].as_str().unwrap(), row[1].as_str().unwrap())
    };
    let hash = "5e2b6d0a475534e522e2f579fa06ae1ab3f32707";
    let sub = |unit| if unit == 0 { sub(number) } else { "running".to_owned() };
    let name = |unit| format!("web@{unit:04}.service");
    let units: Vec<Value> = (0..UNITS)
        .map(|unit| json!([name(unit), "loaded", "active", sub(unit), machine(unit), hash]))
        .collect();
    let files: Vec<Value> = (0..UNITS)
        .map(|unit| {
            json!([
                name(unit),
                "false",
                "launched",
                "launched",
                machine(unit),
                hash,
                "A web server"
            ])
        })
        .collect();
    fleetctl.write(
        "rows.json",
        &json!({ "list-units": units, "list-unit-files": files }).to_string(),
    );
}

/// The state that names a change.
fn sub(number: u32) -> String {
    format!("changed-{number}-times")
}
