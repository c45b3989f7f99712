//! The decision which source is used, and why.
//!
//! It must not know where an option was set, or what is done with the readings of the source.
//!
//! 1. The table in [`rules`] defines which options belong to which source.
//! 2. [`Options::request`] returns what the options request. If they leave the choice open,
//!    [`SelectionFacts`] are needed.
//! 3. [`decide`] makes a [`Selection`] from both. It is pure.
//! 4. [`Selection::choose`] gathers the facts, and [`Selection::open`] finds what the source needs,
//!    such as a program or a file. Both are in [`open`].
//!
//! How fleetctl reaches the same cluster, from the shell of an operator, is in [`access`].

mod access;
mod open;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::api::Address;
use super::etcd::endpoint::Endpoint;
use super::etcd::login::Login;
use super::etcd::{self, TlsFiles};
use super::fleetctl::FleetctlConnection;
use super::polled::Schedule;
use super::replay::ReplayOptions;

pub(crate) use open::{OpenError, OpenedSource};

/// The ports at which an etcd on this host is looked for, as fleetctl does: that of etcd 2.0 and
/// later, and the one before.
const LOCAL_ETCD_PORTS: [u16; 2] = [2379, 4001];

/// The command if the option `fleetctl` is not set. It is looked for in `$PATH`.
const FLEETCTL: &str = "fleetctl";

/// The value of the option `source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// The other options decide, or else what is found on this host.
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

/// The options that select and configure the source. They are valid, and have no
/// [`conflicts`](rules::conflicts).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) choice: SourceChoice,
    /// The path of fleetctl, or a name to look for in `$PATH`; `None`: not set.
    pub(crate) fleetctl: Option<String>,
    /// How fleetctl connects to the cluster. [`FleetctlConnection::Etcd`] comes from the option
    /// `endpoint`: that etcd may also be watched without fleetctl.
    pub(crate) connection: FleetctlConnection,
    pub(crate) api: Address,
    /// Members of etcd to watch; empty if the option is not set.
    pub(crate) etcd_members: Vec<Endpoint>,
    /// fleet's directory in etcd; begins with `/` and does not end with it.
    pub(crate) etcd_prefix: String,
    /// Only used for members with `https://`.
    pub(crate) etcd_tls: TlsFiles,
    /// The etcd user to authenticate as; without a colon.
    pub(crate) etcd_user: Option<String>,
    /// The file that holds that user's password.
    pub(crate) etcd_password_file: Option<PathBuf>,
    /// systemd's directory of credentials (`systemd.exec(5)`), which may hold the password instead.
    pub(crate) credentials: Option<PathBuf>,
    /// The value of `$PATH`; `None`: not set.
    pub(crate) search_path: Option<OsString>,
    pub(crate) demo: bool,
    pub(crate) replay: Option<PathBuf>,
    /// How a recording is played.
    pub(crate) replay_options: ReplayOptions,
    /// Interval between polls of machines and of unit files; more than zero.
    pub(crate) machine_freq: Duration,
    /// Interval between polls of unit states; more than zero.
    pub(crate) unit_freq: Duration,
    /// How long a poll may take; more than zero.
    pub(crate) poll_timeout: Duration,
}

/// The source that the options request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SourceRequest {
    Demo,
    Replay(PathBuf),
    /// Watch these members of etcd.
    Etcd(Vec<Endpoint>),
    Api,
    /// Requested by `--source fleetctl`.
    Fleetctl,
    /// Requested by an option that only fleetctl has.
    FleetctlOption,
    /// Watch the etcd at this endpoint if that is possible; else use fleetctl, which connects to
    /// it.
    EtcdOrFleetctl(Endpoint),
    /// No source is requested: use fleet's API if its socket exists, else fleetctl.
    Any,
}

impl Options {
    /// The source that the options request. Members of etcd, or an API other than the default, are
    /// a request, even if nothing answers there.
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

/// What was found on this host and in etcd. The default if the options do not leave the source
/// open.
#[derive(Debug, Default)]
struct SelectionFacts {
    /// Why fleet's API cannot be used; `None` if its socket exists.
    api_absence: Option<String>,
    /// Whether the etcd at the option `endpoint` can be watched.
    etcd: EtcdProbe,
}

/// Whether an etcd can be watched.
#[derive(Debug, Default)]
enum EtcdProbe {
    /// It has the v2 API.
    SpeaksV2,
    /// It did not answer in time. It is watched: fleetctl would have to wait for the same etcd.
    #[default]
    NoAnswer,
    /// It answers, but cannot be watched. Holds the reason.
    Unusable(String),
}

/// The selected source, with everything that is needed to start it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    backend: Backend,
    reason: SelectionReason,
    schedule: Schedule,
    /// Where a fleetctl without a path is looked for.
    search_path: Option<OsString>,
}

#[derive(Clone, Debug, PartialEq)]
enum Backend {
    Demo { speed: f64 },
    Replay { path: PathBuf, options: ReplayOptions },
    Api(Address),
    Etcd(etcd::EtcdSettings),
    Fleetctl { command: String, connection: FleetctlConnection },
}

/// Why a source was selected.
#[derive(Clone, Debug, PartialEq)]
enum SelectionReason {
    Requested,
    FleetctlOption,
    EtcdSpeaksV2,
    EtcdGaveNoAnswer,
    /// The etcd at the option `endpoint` cannot be watched, for this reason, so fleetctl is used.
    EtcdIsUnusable(String),
    ApiSocketExists,
    /// The socket of fleet's API does not exist, as this text explains, so fleetctl is used.
    NoApiSocket(String),
}

/// Selects the source. Pure.
fn decide(options: &Options, facts: SelectionFacts) -> Selection {
    use SelectionReason::{
        ApiSocketExists, EtcdGaveNoAnswer, EtcdIsUnusable, EtcdSpeaksV2, FleetctlOption,
        NoApiSocket, Requested,
    };

    let speed = options.replay_options.speed;
    let api = || Backend::Api(options.api.clone());
    let etcd = |endpoints| Backend::Etcd(options.etcd_settings(endpoints));
    let fleetctl = || Backend::Fleetctl {
        command: options.fleetctl.clone().unwrap_or_else(|| FLEETCTL.to_owned()),
        connection: options.connection.clone(),
    };

    let (backend, reason) = match options.request() {
        SourceRequest::Demo => (Backend::Demo { speed }, Requested),
        SourceRequest::Replay(path) => {
            let options = options.replay_options.clone();
            (Backend::Replay { path, options }, Requested)
        }
        SourceRequest::Etcd(endpoints) => (etcd(endpoints), Requested),
        SourceRequest::Api => (api(), Requested),
        SourceRequest::Fleetctl => (fleetctl(), Requested),
        SourceRequest::FleetctlOption => (fleetctl(), FleetctlOption),
        SourceRequest::EtcdOrFleetctl(endpoint) => match facts.etcd {
            EtcdProbe::SpeaksV2 => (etcd(vec![endpoint]), EtcdSpeaksV2),
            EtcdProbe::NoAnswer => (etcd(vec![endpoint]), EtcdGaveNoAnswer),
            EtcdProbe::Unusable(why) => (fleetctl(), EtcdIsUnusable(why)),
        },
        SourceRequest::Any => match facts.api_absence {
            None => (api(), ApiSocketExists),
            Some(absence) => (fleetctl(), NoApiSocket(absence)),
        },
    };

    let search_path = options.search_path.clone();
    Selection { backend, reason, schedule: options.schedule(), search_path }
}

impl Selection {
    /// Whether the source that was started from `running` can go on after a reload.
    pub(crate) fn keeps(&self, running: &Self) -> bool {
        // The content of certificates and password files may have changed.
        let has_files = match &self.backend {
            Backend::Etcd(etcd) => etcd.tls != TlsFiles::default() || etcd.login.is_some(),
            Backend::Demo { .. }
            | Backend::Replay { .. }
            | Backend::Api(_)
            | Backend::Fleetctl { .. } => false,
        };

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

/// The selected source and the reason, for the log.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = &self.reason;
        match &self.backend {
            Backend::Demo { .. } => {
                f.write_str("playing the built-in recording in a loop (--demo)")
            }
            Backend::Replay { path, .. } => write!(f, "playing the recording {}", path.display()),
            Backend::Api(address) => write!(f, "reading fleet's HTTP API at {address}: {reason}"),
            Backend::Etcd(etcd) => {
                let members: Vec<_> = etcd.endpoints.iter().map(ToString::to_string).collect();
                write!(f, "watching fleet's registry in etcd at {}: {reason}", members.join(", "))
            }
            Backend::Fleetctl { command, .. } => {
                write!(f, "reading fleet with {command}: {reason}")
            }
        }
    }
}

impl fmt::Display for SelectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOW_TO_GET_FLEETCTL: &str = "(to use fleetctl: --source fleetctl)";

        match self {
            SelectionReason::Requested => f.write_str("as requested"),
            SelectionReason::FleetctlOption => f.write_str("as requested by -c, -e or -t"),
            SelectionReason::EtcdSpeaksV2 => {
                write!(f, "it has the v2 API {HOW_TO_GET_FLEETCTL}")
            }
            SelectionReason::EtcdGaveNoAnswer => {
                write!(f, "it has not answered yet {HOW_TO_GET_FLEETCTL}")
            }
            SelectionReason::EtcdIsUnusable(why) => {
                write!(f, "as requested by -e; etcd cannot be watched directly: {why}")
            }
            SelectionReason::ApiSocketExists => {
                f.write_str("its socket exists, and no option requests fleetctl")
            }
            SelectionReason::NoApiSocket(absence) => f.write_str(absence),
        }
    }
}
