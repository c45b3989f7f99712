//! The server that is measured.

use std::sync::Arc;
use std::time::Duration;

use fleet_monitor::cluster::{
    Cluster, Health, Machine, Moment, Reading, Transition, UnitFile, UnitState, View,
};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{FeedInput, FeedSettings, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::Metrics;
use fleet_monitor::server::access::AccessPolicy;
use fleet_monitor::server::{Server, ServerSettings, Timing};
use fleet_monitor::unit_files::UnitFiles;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::builders;
use crate::client::{ClientKind, SingleClient};
use crate::endpoint::{Certificate, Endpoint};

/// A view, and the transitions that lead to it from the other one.
type PublishedState = (Arc<View>, Vec<Arc<Transition>>);

/// A real server, and two states of a cluster that are published in turn.
pub struct BenchServer {
    pub endpoint: Endpoint,
    /// Its files, for as long as the server runs.
    _certificate: Option<Certificate>,
    server: Server,
    publisher: Publisher,
    /// The first of them was published last.
    states: [PublishedState; 2],
    health: Health,
    /// The time of the last publication. It runs faster than the real one, because a long list is
    /// not sent again at once.
    clock: Moment,
    stop: CancellationToken,
}

impl BenchServer {
    /// The time between two publications: enough for a list of 50,000 rows.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// A server with so many units. It sends neither pings nor heartbeats, so that only frames with
    /// changes are measured.
    pub async fn start(units: usize) -> Self {
        Self::with(units, quiet(), None).await
    }

    /// The same, with TLS.
    pub async fn start_with_tls(units: usize) -> Self {
        Self::with(units, quiet(), Some(Certificate::new())).await
    }

    pub async fn with_timing(units: usize, timing: Timing) -> Self {
        Self::with(units, timing, None).await
    }

    async fn with(units: usize, timing: Timing, certificate: Option<Certificate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let publisher = publisher();
        let stop = CancellationToken::new();
        let server = Server::new(
            server_settings(certificate.as_ref()),
            timing,
            publisher.subscribe(),
            Arc::new(Metrics::new()),
            UnitFiles::channel().0,
            stop.clone(),
        );
        tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });

        let (states, health) = two_states(units);
        let mut server = Self {
            endpoint: match &certificate {
                Some(certificate) => certificate.endpoint(address),
                None => Endpoint::plain(address),
            },
            _certificate: certificate,
            server,
            publisher,
            states,
            health,
            clock: Moment::now(),
            stop,
        };
        server.publish_change();
        server
    }

    /// Publishes a state in which one row differs from the last one. The lists of the first
    /// protocol keep their length.
    pub fn publish_change(&mut self) {
        self.states.swap(0, 1);
        self.clock = self.clock + Self::INTERVAL;
        let (view, transitions) = &self.states[0];

        self.publisher.publish(FeedInput {
            problems: &Default::default(),
            view,
            health: &self.health,
            transitions,
            change: None,
            read: &[],
            now: self.clock,
        });
    }

    /// Publishes the last state again.
    pub fn publish_the_same(&mut self) {
        let (view, _) = &self.states[0];

        self.publisher.publish(FeedInput {
            problems: &Default::default(),
            view,
            health: &self.health,
            transitions: &[],
            change: None,
            read: &[],
            now: self.clock,
        });
    }

    /// How many bytes a client of this kind gets when it connects.
    pub async fn state_on_the_wire(&self, kind: ClientKind) -> usize {
        let mut client = SingleClient::connect(&self.endpoint, kind).await;
        client.read_until(kind.last_of_state()).await.len()
    }

    /// The bytes that a client of this kind gets when one row changes.
    pub async fn change_on_the_wire(&mut self, kind: ClientKind) -> Vec<u8> {
        let mut client = SingleClient::connect(&self.endpoint, kind).await;
        client.read_until(kind.last_of_state()).await;

        self.publish_change();
        client.read_until(kind.last_of_change()).await
    }

    /// Waits until no client is connected.
    pub async fn all_clients_left(&self) {
        while self.server.clients() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Neither pings nor heartbeats.
fn quiet() -> Timing {
    const NEVER: Duration = Duration::from_secs(3600);

    Timing {
        ping: NEVER,
        pong: NEVER,
        heartbeat: NEVER,
        ..Timing::default()
    }
}

fn publisher() -> Publisher {
    let unit_fields = vec![
        UnitField::Unit,
        UnitField::Load,
        UnitField::Active,
        UnitField::Sub,
        UnitField::Machine,
    ];
    let settings = FeedSettings {
        unit_fields,
        machine_fields: MachineField::ALL.into(),
        publish: Publish::Changes,
    };

    Publisher::new(settings, "epoch", SourceInfo::default())
}

fn server_settings(certificate: Option<&Certificate>) -> ServerSettings {
    ServerSettings {
        max_clients: 20_000,
        max_connections: usize::MAX,
        access: AccessPolicy::default(),
        journal_port: None,
        links: vec![],
        unit_files: None,
        unit_series: Default::default(),
        tls: certificate.map(Certificate::server),
    }
}

/// Two states of a cluster with so many units, in which one unit differs.
fn two_states(units: usize) -> ([PublishedState; 2], Health) {
    let machine = Machine { ip: Some(IP.into()), ..builders::machine(MACHINE) };
    let reading = |sub_of_first| Reading::Units {
        states: (0..units)
            .map(|row| unit_state(row, if row == 0 { sub_of_first } else { "running" }))
            .collect(),
        files: Some((0..units).map(unit_file).collect()),
    };

    let mut cluster = Cluster::new(Duration::ZERO);
    let mut read = |reading| {
        let transitions = cluster.apply(reading, Moment::now(), Duration::ZERO);
        (cluster.view().clone(), transitions)
    };
    read(Reading::Machines { machines: vec![machine] });
    read(reading("running"));
    let states = ["stopped", "running"].map(|sub| read(reading(sub)));

    let has_one_event = |(_, transitions): &PublishedState| transitions.len() == 1;
    assert!(states.iter().all(has_one_event), "one unit changes");
    (states, cluster.health().clone())
}

const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const IP: &str = "172.17.8.101";
const HASH: &str = "5e2b6d0a475534e522e2f579fa06ae1ab3f32707";

fn unit_name(row: usize) -> String {
    format!("web@{row:05}.service")
}

fn unit_state(row: usize, sub: &str) -> UnitState {
    let state = builders::unit_state(&unit_name(row), MACHINE, &format!("active/{sub}"));
    UnitState { ip: Some(IP.into()), hash: Some(HASH.into()), ..state }
}

fn unit_file(row: usize) -> UnitFile {
    UnitFile {
        hash: Some(HASH.into()),
        description: Some("A web server".into()),
        requirements_known: false,
        ..builders::unit_file(&unit_name(row), Some(MACHINE))
    }
}
