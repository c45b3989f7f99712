//! The server that is measured, and the loop that it is measured against.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleet_monitor::cluster::{
    Cluster, Health, Machine, Moment, Reading, Transition, UnitFile, UnitState, View,
};
use fleet_monitor::feed::fields::{MachineField, UnitField};
use fleet_monitor::feed::{self, FeedInput, Publish, Publisher, SourceInfo};
use fleet_monitor::metrics::Metrics;
use fleet_monitor::server::access::AccessPolicy;
use fleet_monitor::server::{Server, ServerSettings, Timing};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::builders;
use crate::readers::{Kind, Listener, Readers};

/// A real server, and two states of a cluster to publish in turn.
pub struct Bench {
    pub address: SocketAddr,
    server: Server,
    publisher: Publisher,
    /// Each with what happened since the other.
    states: [(Arc<View>, Vec<Arc<Transition>>); 2],
    health: Health,
    stop: CancellationToken,
}

impl Bench {
    /// With so many units. Pings and heartbeats are not counted among the frames: there are none.
    pub async fn start(units: usize) -> Self {
        const NEVER: Duration = Duration::from_secs(3600);
        Self::with(
            units,
            Timing {
                ping: NEVER,
                pong: NEVER,
                heartbeat: NEVER,
                ..Timing::default()
            },
        )
        .await
    }

    pub async fn with(units: usize, timing: Timing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let fields = [
            UnitField::Unit,
            UnitField::Load,
            UnitField::Active,
            UnitField::Sub,
            UnitField::Machine,
        ];
        let settings = feed::FeedSettings {
            unit_fields: fields.into(),
            machine_fields: MachineField::ALL.into(),
            publish: Publish::Changes,
        };
        let publisher = Publisher::new(settings, "epoch", SourceInfo::default());
        let settings = ServerSettings {
            max_clients: 20_000,
            max_connections: usize::MAX,
            access: AccessPolicy::default(),
            metrics_units: vec![],
        };
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let server = Server::new(settings, timing, publisher.subscribe(), metrics, stop.clone());
        tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        let mut cluster = Cluster::new(Duration::ZERO);
        let mut read = |reading| cluster.read(reading, Moment::now(), Duration::ZERO);
        let machine = Machine { ip: Some(IP.into()), ..builders::machine(MACHINE) };
        read(Reading::Machines { machines: vec![machine] });
        let state = |sub| Reading::Units {
            states: (0..units)
                .map(|row| unit(row, if row == 0 { sub } else { "running" }))
                .collect(),
            files: Some((0..units).map(file).collect()),
        };
        read(state("running"));
        let states = ["stopped", "running"].map(|sub| {
            let transitions = cluster.read(state(sub), Moment::now(), Duration::ZERO);
            assert_eq!(transitions.len(), 1, "one unit changes");
            (cluster.view().clone(), transitions)
        });
        let mut bench = Self {
            address,
            server,
            publisher,
            states,
            health: cluster.health().clone(),
            stop,
        };
        bench.change();
        bench
    }

    /// Publishes one changed row; in the first protocol the list is as long as the last one.
    pub fn change(&mut self) {
        self.states.swap(0, 1);
        let (view, transitions) = &self.states[0];
        let news = FeedInput {
            view,
            health: &self.health,
            transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        };
        self.publisher.publish(news);
    }

    /// Publishes what was published last.
    pub fn publish_the_same(&mut self) {
        let view = &self.states[0].0;
        let news = FeedInput {
            view,
            health: &self.health,
            transitions: &[],
            change: None,
            read: &[],
            now: Moment::now(),
        };
        self.publisher.publish(news);
    }

    /// What a client of this kind reads when it comes.
    pub async fn state_on_the_wire(&self, kind: Kind) -> usize {
        let mut listener = Listener::connect(self.address, kind).await;
        listener.until(kind.last_of_state()).await.len()
    }

    /// What a client of this kind reads when one row changes.
    pub async fn change_on_the_wire(&mut self, kind: Kind) -> Vec<u8> {
        let mut listener = Listener::connect(self.address, kind).await;
        listener.until(kind.last_of_state()).await;
        self.change();
        listener.until(kind.last_of_change()).await
    }

    /// Waits until all clients have gone.
    pub async fn empty(&self) {
        while self.server.clients() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const IP: &str = "172.17.8.101";
const HASH: &str = "5e2b6d0a475534e522e2f579fa06ae1ab3f32707";

fn name(row: usize) -> String {
    format!("web@{row:05}.service")
}

fn unit(row: usize, sub: &str) -> UnitState {
    let state = builders::unit_state(&name(row), MACHINE, &format!("active/{sub}"));
    UnitState { ip: Some(IP.into()), hash: Some(HASH.into()), ..state }
}

fn file(row: usize) -> UnitFile {
    UnitFile {
        hash: Some(HASH.into()),
        description: Some("A web server".into()),
        requirements_known: false,
        ..builders::unit_file(&name(row), Some(MACHINE))
    }
}

/// Sockets that are only written to.
pub struct Floor {
    sockets: Vec<std::net::TcpStream>,
    readers: Readers,
    message: Vec<u8>,
}

impl Floor {
    pub async fn start(count: usize, message: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let readers = Readers::of_bytes(address, count, message.len()).await;
        let mut sockets = Vec::new();
        for _ in 0..count {
            let socket = listener.accept().await.expect("a connection").0;
            socket.set_nodelay(true).expect("no delay");
            let socket = socket.into_std().expect("a socket");
            socket.set_nonblocking(false).expect("a blocking socket");
            sockets.push(socket);
        }
        Self { sockets, readers, message }
    }

    pub async fn round(&mut self) {
        for socket in &mut self.sockets {
            socket.write_all(&self.message).expect("written");
        }
        self.readers.got_all().await;
    }
}
