//! The resident memory of the server for each client.

use crate::bench_server::BenchServer;
use crate::client::ClientKind;
use crate::client_process::ClientProcess;
use crate::endpoint::Transport;
use crate::with_budget;

const CLIENTS: usize = 1_000;

/// For each client, in KiB.
const BUDGET: f64 = 8.0;

/// For each client with TLS, in KiB.
const TLS_BUDGET: f64 = 24.0;

/// What the clients do before the memory is measured.
#[derive(Clone, Copy, Debug)]
enum MemoryCase {
    /// They read messages of a few KB.
    Idle,
    /// They read messages of about 1 MB.
    Reads,
    /// They read none of the messages, which have about 1 MB.
    Silent,
}

impl MemoryCase {
    const ALL: [Self; 3] = [Self::Idle, Self::Reads, Self::Silent];

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Reads => "reads",
            Self::Silent => "silent",
        }
    }

    /// How many units are necessary for messages of that size.
    fn units(self, kind: ClientKind) -> usize {
        match (self, kind) {
            (Self::Idle, _) => 20,
            (_, ClientKind::First) => 10_500,
            (_, ClientKind::Second | ClientKind::Events) => 2_000,
        }
    }
}

/// The arguments for each measurement. Each needs a new process: memory that an earlier one has
/// freed would be used again, and not be counted.
pub fn arguments() -> impl Iterator<Item = [&'static str; 3]> {
    println!("Resident memory of a client, {CLIENTS} clients:");

    Transport::ALL.into_iter().flat_map(|transport| {
        ClientKind::ALL.into_iter().flat_map(move |kind| {
            MemoryCase::ALL.map(|case| [transport.name(), kind.name(), case.name()])
        })
    })
}

/// Prints the memory for one kind of client in one case.
pub async fn measure(transport: &str, kind: &str, case: &str) {
    let transport = Transport::from_name(transport);
    let kind = ClientKind::from_name(kind);
    let case = MemoryCase::ALL
        .into_iter()
        .find(|known| known.name() == case)
        .expect("a case");
    let mut server = match transport {
        Transport::Plain => BenchServer::start(case.units(kind)).await,
        Transport::Tls => BenchServer::start_with_tls(case.units(kind)).await,
    };
    let bytes = server.state_on_the_wire(kind).await;

    // The first client makes the server allocate what all clients share.
    let mut first = ClientProcess::start(&server.endpoint, 1, kind).await;
    first.all_received().await;
    server.publish_change();
    first.all_received().await;

    let before = resident();
    let mut clients = match case {
        MemoryCase::Silent => ClientProcess::silent(&server.endpoint, CLIENTS, kind).await,
        MemoryCase::Idle | MemoryCase::Reads => {
            ClientProcess::start(&server.endpoint, CLIENTS, kind).await
        }
    };
    clients.all_received().await;

    for _ in 0..3 {
        server.publish_change();
        first.all_received().await;
        if !matches!(case, MemoryCase::Silent) {
            clients.all_received().await;
        }
    }

    let each = resident().saturating_sub(before) as f64 / CLIENTS as f64;
    let budget = match transport {
        Transport::Plain => BUDGET,
        Transport::Tls => TLS_BUDGET,
    };
    let result = with_budget(each, budget, "KiB");
    let (transport, case) = (transport.name(), case.name());
    println!("  {transport:5} {kind:6} {case:6} {bytes:>7} bytes: {each:5.2} KiB {result}");
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");

    size.trim().trim_end_matches(" kB").parse().expect("a number")
}
