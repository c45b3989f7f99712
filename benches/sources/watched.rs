//! The program, or another build of it, that watches a fleet, with clients.

use std::time::Duration;

use tokio::time::sleep;

use crate::client::Client;
use crate::figures::Figures;
use crate::processes::{Cpu, Meter};
use crate::stand::Stand;
use crate::support::{Daemon, Program};
use crate::{mebibytes, milliseconds};

/// How long CPU time is counted.
const WHILE: Duration = Duration::from_secs(20);
/// How many changes are timed for each protocol, each after a pause of up to so long.
const CHANGES_TO_SECOND: usize = 20;
const CHANGES_TO_FIRST: usize = 7;
const PAUSE: Duration = Duration::from_secs(2);

/// A build of the program.
#[derive(Clone, Copy)]
pub enum Build<'a> {
    /// The one that was built with this bench.
    Now,
    /// The one at this path.
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

pub struct Watched {
    pub daemon: Daemon,
    /// What it took to read everything.
    beginning: Cpu,
}

impl Watched {
    pub async fn start(build: Build<'_>, stand: &impl Stand) -> Self {
        let arguments = stand.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = match build {
            Build::Now => Program::new(&arguments),
            Build::Before(path) => Program::at(path, &arguments),
        };

        let daemon = program.start().await;
        daemon.log.first("first reading: ").await;
        let beginning = Cpu::of(daemon.pid());

        Self { daemon, beginning }
    }

    /// A client that has been told of all units.
    pub async fn client(&self, stand: &impl Stand, subprotocol: Option<&'static str>) -> Client {
        let last = stand.fleet().last();
        let mut client = Client::connect(self.daemon.address, subprotocol).await;
        client.until(&last).await;
        client
    }

    /// Measures everything once.
    pub async fn measure(&self, stand: &impl Stand, figures: &mut Figures) {
        let mut client = self.client(stand, Client::SECOND_PROTOCOL).await;
        figures.beginning.push(self.beginning.milliseconds());

        let meter = Meter::of(self.daemon.pid());
        let asked = stand.asked().map(Meter::of);
        sleep(WHILE).await;
        let share = meter.share();
        figures.at_rest.push(share.own);
        figures
            .children_at_rest
            .extend(Some(share.children).filter(|children| *children > 0.0));
        figures.asked_at_rest.extend(asked.map(|asked| asked.share().own));
        figures.memory.push(mebibytes(self.daemon.memory()));

        let meter = Meter::of(self.daemon.pid());
        for _ in 0..CHANGES_TO_SECOND {
            let (answer, frame) = change(stand, &mut client).await;
            figures.second.push(milliseconds(frame));
            figures.answer.extend(stand.asked().map(|_| milliseconds(answer)));
        }
        figures.among_changes.push(meter.share().own);
        figures.peak_memory.push(mebibytes(self.daemon.peak_memory()));
        drop(client);

        let mut client = self.client(stand, None).await;
        for _ in 0..CHANGES_TO_FIRST {
            let (_, frame) = change(stand, &mut client).await;
            figures.first.push(milliseconds(frame));
        }
    }
}

/// Changes a unit after a pause, and tells how soon that is answered, and how soon it is at the
/// client.
async fn change(stand: &impl Stand, client: &mut Client) -> (Duration, Duration) {
    sleep(PAUSE.mul_f64(fastrand::f64())).await;
    let unit = stand.fleet().renewed_long_since().next().expect("a unit");
    let substate = format!("change-{:016x}", fastrand::u64(..));

    let changed = stand.change(unit, &substate).await;
    let answer = changed.elapsed();

    (answer, client.until(&substate).await - changed)
}
