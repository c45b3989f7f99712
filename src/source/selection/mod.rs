//! Which source is used, and why: from the options to a source that is started.
//!
//! 1. The table of [`rules`] says which options belong to which source.
//! 2. [`Options::request`] says what the options ask for. Where they leave it open, [`SelectionFacts`] are
//!    needed.
//! 3. [`decide`] makes a [`Selection`] of both. It is pure.
//! 4. [`Selection::choose`] looks for the facts, and [`Selection::open`] finds what the source
//!    needs, such as a program or a file. Both are in [`open`].
//!
//! It does not know where an option was set, or who reads the source.

mod open;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::api::Address;
use super::etcd::endpoint::Endpoint;
use super::etcd::login::Login;
use super::etcd::{self, Tls};
use super::fleetctl::FleetctlConnection;
use super::polled::Schedule;

pub(crate) use open::{OpenError, OpenedSource};

/// The ports at which an etcd on this host is looked for: etcd's own, and the one that it had
/// before 2.0, as fleetctl does.
const LOCAL_ETCD_PORTS: [u16; 2] = [2379, 4001];

/// The command that is looked for in `$PATH` where none is named.
const FLEETCTL: &str = "fleetctl";

/// What the option `source` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// Whatever the other options ask for, or what is there.
    #[default]
    Auto,
    Fleetctl,
    Api,
    Etcd,
    Replay,
}

impl SourceChoice {
    pub(crate) const NAMES: [(&str, Self); 5] = [
        ("auto", Self::Auto),
        ("fleetctl", Self::Fleetctl),
        ("api", Self::Api),
        ("etcd", Self::Etcd),
        ("replay", Self::Replay),
    ];
}

/// The options that say which source is used and how: valid, and without
/// [`conflicts`](rules::conflicts).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) choice: SourceChoice,
    /// The fleetctl command: a path, or a name to look for in `$PATH`. `None`: not set.
    pub(crate) fleetctl: Option<String>,
    /// How fleetctl connects to the cluster. [`FleetctlConnection::Etcd`] is the option `endpoint`, at
    /// which etcd may be watched without fleetctl.
    pub(crate) connection: FleetctlConnection,
    pub(crate) api: Address,
    /// Empty: not set.
    pub(crate) etcd_members: Vec<Endpoint>,
    /// Begins with `/` and does not end with it.
    pub(crate) etcd_prefix: String,
    /// Only for members with `https://`.
    pub(crate) etcd_tls: Tls,
    /// The etcd user to authenticate as; without a colon.
    pub(crate) etcd_user: Option<String>,
    /// The file that holds that user's password.
    pub(crate) etcd_password_file: Option<PathBuf>,
    /// systemd's directory of credentials (`systemd.exec(5)`), in which the password may be too.
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) demo: bool,
    pub(crate) replay: Option<PathBuf>,
    /// How many times faster than real time a recording is played.
    pub(crate) replay_speed: f64,
    /// Time between polls of machines and unit files; more than zero.
    pub(crate) machine_freq: Duration,
    /// Time between polls of unit states; more than zero.
    pub(crate) unit_freq: Duration,
    /// Time until a poll is given up; more than zero.
    pub(crate) poll_timeout: Duration,
}

/// What the options ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SourceRequest {
    Demo,
    Replay(PathBuf),
    /// These members of etcd.
    Etcd(Vec<Endpoint>),
    Api,
    /// By name (`--source`).
    Fleetctl,
    /// By an option that only fleetctl has.
    FleetctlOption,
    /// An etcd host: etcd is watched there if it can be. If not, fleetctl connects to it.
    EtcdOrFleetctl(Endpoint),
    /// Nothing: the API if its socket exists, if not fleetctl.
    Any,
}

impl Options {
    /// What the options ask for. To name members of etcd, or another API than the default one, is
    /// to ask for it, also while nothing answers there.
    pub(crate) fn request(&self) -> SourceRequest {
        if self.demo {
            return SourceRequest::Demo;
        }
        if let Some(path) = &self.replay {
            return SourceRequest::Replay(path.clone());
        }

        match (self.choice, &self.connection) {
            (SourceChoice::Fleetctl, _) => SourceRequest::Fleetctl,
            (SourceChoice::Api, _) => SourceRequest::Api,
            (SourceChoice::Etcd, connection) => {
                SourceRequest::Etcd(self.etcd_endpoints(connection))
            }
            (
                SourceChoice::Auto | SourceChoice::Replay,
                FleetctlConnection::Etcd { host, port },
            ) if self.fleetctl.is_none() => SourceRequest::EtcdOrFleetctl(without_tls(host, *port)),
            (SourceChoice::Auto | SourceChoice::Replay, connection) => {
                if self.fleetctl.is_some() || *connection != FleetctlConnection::Default {
                    SourceRequest::FleetctlOption
                } else if !self.etcd_members.is_empty() {
                    SourceRequest::Etcd(self.etcd_members.clone())
                } else if self.api != Address::default() {
                    SourceRequest::Api
                } else {
                    SourceRequest::Any
                }
            }
        }
    }

    fn etcd_endpoints(&self, connection: &FleetctlConnection) -> Vec<Endpoint> {
        match connection {
            _ if !self.etcd_members.is_empty() => self.etcd_members.clone(),
            FleetctlConnection::Etcd { host, port } => vec![without_tls(host, *port)],
            FleetctlConnection::Default | FleetctlConnection::Tunnel { .. } => {
                LOCAL_ETCD_PORTS.map(|port| without_tls("127.0.0.1", port)).to_vec()
            }
        }
    }

    fn etcd_settings(&self, endpoints: Vec<Endpoint>) -> etcd::EtcdSettings {
        etcd::EtcdSettings {
            endpoints,
            prefix: self.etcd_prefix.clone(),
            tls: self.etcd_tls.clone(),
            login: self.etcd_user.clone().map(|user| Login {
                user,
                password_file: self.etcd_password_file.clone(),
                credentials: self.credentials.clone(),
            }),
            timeout: self.poll_timeout,
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            units: self.unit_freq,
            machines: self.machine_freq,
            timeout: self.poll_timeout,
        }
    }
}

fn without_tls(host: &str, port: u16) -> Endpoint {
    Endpoint { tls: false, host: host.to_owned(), port }
}

/// What was found where the options leave the source open; the default where they do not.
#[derive(Debug, Default)]
struct SelectionFacts {
    /// Why fleet's API is not there, if its socket is not.
    api_absence: Option<String>,
    /// What the etcd at the host of `endpoint` answered.
    etcd: EtcdProbe,
}

/// Whether an etcd can be watched.
#[derive(Debug, Default)]
enum EtcdProbe {
    /// It has the v2 API.
    SpeaksV2,
    /// It did not answer in time. It counts as one that can be watched: fleetctl would have to wait
    /// for the same one.
    #[default]
    NoAnswer,
    /// It answers, and cannot be watched: why.
    Unusable(String),
}

/// Which source is used, with all that it takes to start it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    backend: Backend,
    reason: SelectionReason,
    schedule: Schedule,
}

#[derive(Clone, Debug, PartialEq)]
enum Backend {
    Demo { speed: f64 },
    Replay { path: PathBuf, speed: f64 },
    Api(Address),
    Etcd(etcd::EtcdSettings),
    Fleetctl { command: String, connection: FleetctlConnection },
}

/// Why a source is used.
#[derive(Clone, Debug, PartialEq)]
enum SelectionReason {
    /// It was named.
    Requested,
    FleetctlOption,
    EtcdSpeaksV2,
    EtcdGaveNoAnswer,
    /// It is fleetctl, because etcd cannot be watched at the host of `endpoint`: why.
    EtcdIsUnusable(String),
    ApiSocketExists,
    NoApiSocket(String),
}

/// Which source is used. Pure.
fn decide(options: &Options, facts: SelectionFacts) -> Selection {
    let speed = options.replay_speed;
    let api = || Backend::Api(options.api.clone());
    let etcd = |endpoints| Backend::Etcd(options.etcd_settings(endpoints));
    let fleetctl = || Backend::Fleetctl {
        command: options.fleetctl.clone().unwrap_or_else(|| FLEETCTL.to_owned()),
        connection: options.connection.clone(),
    };

    let (backend, reason) = match options.request() {
        SourceRequest::Demo => (Backend::Demo { speed }, SelectionReason::Requested),
        SourceRequest::Replay(path) => {
            (Backend::Replay { path, speed }, SelectionReason::Requested)
        }
        SourceRequest::Etcd(endpoints) => (etcd(endpoints), SelectionReason::Requested),
        SourceRequest::Api => (api(), SelectionReason::Requested),
        SourceRequest::Fleetctl => (fleetctl(), SelectionReason::Requested),
        SourceRequest::FleetctlOption => (fleetctl(), SelectionReason::FleetctlOption),
        SourceRequest::EtcdOrFleetctl(endpoint) => match facts.etcd {
            EtcdProbe::SpeaksV2 => (etcd(vec![endpoint]), SelectionReason::EtcdSpeaksV2),
            EtcdProbe::NoAnswer => (etcd(vec![endpoint]), SelectionReason::EtcdGaveNoAnswer),
            EtcdProbe::Unusable(why) => (fleetctl(), SelectionReason::EtcdIsUnusable(why)),
        },
        SourceRequest::Any => match facts.api_absence {
            None => (api(), SelectionReason::ApiSocketExists),
            Some(absence) => (fleetctl(), SelectionReason::NoApiSocket(absence)),
        },
    };
    Selection { backend, reason, schedule: options.schedule() }
}

impl Selection {
    /// Whether the source that was started by `running` can go on after a reload.
    pub(crate) fn keeps(&self, running: &Self) -> bool {
        // The content of the files may have changed.
        let has_files = matches!(&self.backend, Backend::Etcd(etcd) if etcd.tls != Tls::default() || etcd.login.is_some());
        self.backend == running.backend && self.schedule == running.schedule && !has_files
    }

    /// Whether both read the same cluster in the same way.
    pub(crate) fn reads_same_cluster(&self, other: &Self) -> bool {
        match (&self.backend, &other.backend) {
            (Backend::Etcd(one), Backend::Etcd(other)) => {
                one.prefix == other.prefix
                    && one.endpoints.iter().any(|member| other.endpoints.contains(member))
            }
            (one, other) => one == other,
        }
    }
}

/// What is done, and why: for the log.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = &self.reason;
        match &self.backend {
            Backend::Demo { .. } => {
                f.write_str("playing the recording that is built in, again and again (--demo)")
            }
            Backend::Replay { path, .. } => write!(f, "playing the recording {}", path.display()),
            Backend::Api(address) => write!(f, "reading fleet's HTTP API at {address}: {reason}"),
            Backend::Etcd(etcd) => {
                let members: Vec<_> = etcd.endpoints.iter().map(ToString::to_string).collect();
                write!(f, "watching fleet's registry in etcd at {}: {reason}", members.join(", "))
            }
            Backend::Fleetctl { command, .. } => {
                write!(f, "reading fleet through {command}: {reason}")
            }
        }
    }
}

impl fmt::Display for SelectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOW_TO_GET_FLEETCTL: &str = "(--source fleetctl goes through fleetctl)";
        match self {
            SelectionReason::Requested => f.write_str("as was asked for"),
            SelectionReason::FleetctlOption => f.write_str("as was asked for (-c, -e or -t)"),
            SelectionReason::EtcdSpeaksV2 => {
                write!(f, "it speaks version 2 of its API {HOW_TO_GET_FLEETCTL}")
            }
            SelectionReason::EtcdGaveNoAnswer => {
                write!(f, "it has not answered yet {HOW_TO_GET_FLEETCTL}")
            }
            SelectionReason::EtcdIsUnusable(why) => {
                write!(f, "as was asked for (-e), and not watching etcd itself: {why}")
            }
            SelectionReason::ApiSocketExists => {
                f.write_str("its socket is there, and nothing asks for fleetctl")
            }
            SelectionReason::NoApiSocket(absence) => f.write_str(absence),
        }
    }
}
