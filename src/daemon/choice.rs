//! Which source is used, and why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use crate::config::{Config, SourceChoice};
use crate::source::Source;
use crate::source::api::{Address, Api};
use crate::source::etcd::error::EtcdErrors;
use crate::source::etcd::{self, Etcd};
use crate::source::fleetctl::{self, Connection, Fleetctl};
use crate::source::polled::{Polled, Schedule};
use crate::source::replay::Replay;

/// How long an etcd is asked what it is before it is watched.
const PROBE: Duration = Duration::from_secs(2);

/// What to watch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    Demo { speed: f64 },
    Replay { path: PathBuf, speed: f64 },
    Api(Address),
    Etcd(etcd::Settings),
    Fleetctl { command: String, connection: Connection },
}

/// Starts a source that was found to be usable.
pub(super) type Start = Box<dyn FnOnce() -> Source + Send>;

impl Choice {
    /// What the configuration asks for, and why it is that.
    pub(super) async fn of(config: &Config) -> (Self, String) {
        let speed = config.replay_speed;
        if config.demo {
            let why = "playing the recording that is built in, again and again (--demo)";
            return (Choice::Demo { speed }, why.to_owned());
        }
        if let Some(path) = config.replay.clone() {
            let why = format!("playing the recording {}", path.display());
            return (Choice::Replay { path, speed }, why);
        }
        let asked = "as was asked for";
        let mut not_etcd = None;
        if let Some(settings) = config.etcd() {
            let members = settings.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let speaks = if config.source == SourceChoice::Etcd { Ok(asked) } else { speaks_v2(&settings).await };
            match speaks {
                Ok(why) => {
                    return (Choice::Etcd(settings), format!("watching fleet's registry in etcd at {members}: {why}"));
                }
                Err(error) => not_etcd = Some(format!("{asked} (-e), and not watching etcd itself: {error}")),
            }
        }
        let socket_is_there = matches!(&config.api, Address::Unix(path) if path.exists());
        let (use_api, why) = match config.source {
            SourceChoice::Api => (true, asked.to_owned()),
            SourceChoice::Fleetctl => (false, asked.to_owned()),
            _ if config.asks_for_fleetctl() => (false, not_etcd.unwrap_or(format!("{asked} (-c, -e or -t)"))),
            _ if socket_is_there => (true, "its socket is there, and nothing asks for fleetctl".to_owned()),
            _ => (false, format!("there is no {}", config.api)),
        };
        if use_api {
            let why = format!("reading fleet's HTTP API at {}: {why}", config.api);
            return (Choice::Api(config.api.clone()), why);
        }
        let command = config.fleetctl.clone().unwrap_or_else(|| "fleetctl".to_owned());
        let why = format!("reading fleet through {command}: {why}");
        (Choice::Fleetctl { command, connection: config.connection.clone() }, why)
    }

    /// Whether it leads to the same cluster as another does, in the same way.
    pub(super) fn is_of_same_cluster(&self, other: &Self) -> bool {
        match (self, other) {
            (Choice::Etcd(one), Choice::Etcd(two)) => {
                one.prefix == two.prefix && one.endpoints.iter().any(|member| two.endpoints.contains(member))
            }
            _ => self == other,
        }
    }

    /// Finds what is needed for it. Nothing is started yet.
    pub(super) fn open(&self, config: &Config) -> Result<Start, Failure> {
        let schedule = schedule(config);
        Ok(match self.clone() {
            Choice::Demo { speed } => Box::new(move || Source::Replay(Box::new(Replay::demo(speed)))),
            Choice::Replay { path, speed } => {
                let replay = Replay::open(&path, speed).map_err(|error| Failure::Config(error.to_string()))?;
                Box::new(move || Source::Replay(Box::new(replay)))
            }
            Choice::Api(address) => {
                Box::new(move || Source::Polled(Polled::start(Arc::new(Api::new(address)), schedule)))
            }
            Choice::Etcd(settings) => {
                let etcd = Etcd::new(settings).map_err(|error| Failure::Config(error.to_string()))?;
                Box::new(move || Source::Etcd(etcd.start()))
            }
            Choice::Fleetctl { command, connection } => {
                let nothing_asked = config.source == SourceChoice::Auto && !config.asks_for_fleetctl();
                let settings = fleetctl::Settings { command, connection, timeout: config.poll_timeout };
                let fleetctl = Fleetctl::new(settings).map_err(|error| {
                    Failure::Config(if nothing_asked {
                        format!("nothing to read fleet from: there is no {}, and {error}", config.api)
                    } else {
                        error.to_string()
                    })
                })?;
                Box::new(move || Source::Polled(Polled::start(Arc::new(fleetctl), schedule)))
            }
        })
    }
}

/// Whether an etcd can be watched, as far as it says in a short time. One that does not answer now is taken for one that
/// can: fleetctl would have to wait for the same one.
async fn speaks_v2(settings: &etcd::Settings) -> Result<&'static str, EtcdErrors> {
    let settings = etcd::Settings { timeout: settings.timeout.min(PROBE), ..settings.clone() };
    match Etcd::new(settings) {
        Ok(etcd) => match etcd.probe().await {
            Ok(()) => Ok("it speaks version 2 of its API (--source fleetctl goes through fleetctl)"),
            Err(errors) if errors.is_unusable() => Err(errors),
            Err(_) => Ok("it has not answered yet (--source fleetctl goes through fleetctl)"),
        },
        // It is told when the source is opened.
        Err(_) => Ok("its files for TLS cannot be used"),
    }
}

pub(super) fn schedule(config: &Config) -> Schedule {
    Schedule { units: config.unit_freq, machines: config.machine_freq, timeout: config.poll_timeout }
}
