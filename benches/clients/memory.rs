//! The resident memory of the server for each client.

use crate::bench_server::BenchServer;
use crate::client::ClientKind;
use crate::client_process::ClientProcess;
use crate::with_budget;

const CLIENTS: usize = 1_000;

/// For each client, in KiB.
const BUDGET: f64 = 8.0;

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
pub fn arguments() -> impl Iterator<Item = [&'static str; 2]> {
    println!("Resident memory of a client, {CLIENTS} clients:");

    ClientKind::ALL
        .into_iter()
        .flat_map(|kind| MemoryCase::ALL.map(|case| [kind.name(), case.name()]))
}

/// Prints the memory for one kind of client in one case.
pub async fn measure(kind: &str, case: &str) {
    let kind = ClientKind::from_name(kind);
    let case = MemoryCase::ALL
        .into_iter()
        .find(|known| known.name() == case)
        .expect("a case");
    let mut server = BenchServer::start(case.units(kind)).await;
    let bytes = server.state_on_the_wire(kind).await;

    // The first client makes the server allocate what all clients share.
    let mut first = ClientProcess::start(server.address, 1, kind).await;
    first.all_received().await;
    server.publish_change();
    first.all_received().await;

    let before = resident();
    let mut clients = match case {
        MemoryCase::Silent => ClientProcess::silent(server.address, CLIENTS, kind).await,
        MemoryCase::Idle | MemoryCase::Reads => {
            ClientProcess::start(server.address, CLIENTS, kind).await
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
    let result = with_budget(each, BUDGET, "KiB");
    let case = case.name();
    println!("  {kind:6} {case:6} {bytes:>7} bytes: {each:5.2} KiB {result}");
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
