//! The resident memory of a client.

use crate::judged;
use crate::readers::{Kind, Readers};
use crate::server::Bench;

const CLIENTS: usize = 1_000;

/// In KiB.
const BUDGET: f64 = 8.0;

/// What the clients do. `Taken` and `Silent` are after messages of about 1 MB, of which the silent
/// ones read none.
#[derive(Clone, Copy, Debug)]
enum Case {
    Idle,
    Taken,
    Silent,
}

impl Case {
    const ALL: [Self; 3] = [Self::Idle, Self::Taken, Self::Silent];

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Taken => "reads",
            Self::Silent => "silent",
        }
    }
}

/// The arguments for each measurement. Each is in a process of its own, where nothing is free that
/// was used before.
pub fn measurements() -> impl Iterator<Item = [&'static str; 2]> {
    println!("Resident memory of a client, {CLIENTS} clients:");
    Kind::ALL
        .into_iter()
        .flat_map(|kind| Case::ALL.map(|case| [kind.name(), case.name()]))
}

/// Prints it for one kind of client in one case.
pub async fn of_a_client(kind: &str, case: &str) {
    let kind = Kind::of(kind);
    let case = Case::ALL.into_iter().find(|it| it.name() == case).expect("a case");
    let units = match (case, kind) {
        (Case::Idle, _) => 20,
        (_, Kind::First) => 10_500,
        (_, Kind::Second | Kind::Events) => 2_000,
    };
    let mut bench = Bench::start(units).await;
    let bytes = bench.state_on_the_wire(kind).await;
    // One comes first, so that all that is not for each of them is there.
    let mut first = Readers::start(bench.address, 1, kind).await;
    first.got_all().await;
    bench.change();
    first.got_all().await;
    let before = resident();
    let mut clients = match case {
        Case::Silent => Readers::silent(bench.address, CLIENTS, kind).await,
        Case::Idle | Case::Taken => Readers::start(bench.address, CLIENTS, kind).await,
    };
    clients.got_all().await;
    for _ in 0..3 {
        bench.change();
        first.got_all().await;
        if !matches!(case, Case::Silent) {
            clients.got_all().await;
        }
    }
    let each = resident().saturating_sub(before) as f64 / CLIENTS as f64;
    let (kind, case, judged) = (kind.name(), case.name(), judged(each, BUDGET, "KiB"));
    println!("  {kind:6} {case:6} {bytes:>7} bytes: {each:5.2} KiB {judged}");
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
