//! The shell around the decision: looks for the facts, and opens the source that was selected.

use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Facts, Options, Probe, Reason, Request, Selection, decide};
use crate::source::Source;
use crate::source::api::Api;
use crate::source::etcd::error::FileError;
use crate::source::etcd::{self, EtcdSource};
use crate::source::fleetctl::{self, Fleetctl, FleetctlError};
use crate::source::polled::{Polled, Schedule};
use crate::source::replay::{Replay, ReplayError};

/// The timeout of the probe of an etcd.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl Facts {
    /// Looks for what the decision depends on, and for nothing else.
    async fn gather(options: &Options) -> Self {
        match options.request() {
            Request::EtcdOrFleetctl(endpoint) => {
                let settings = options.etcd_settings(vec![endpoint]);
                Self { etcd: Probe::of(settings).await, ..Self::default() }
            }
            Request::Any => {
                let api_absence = options.api.absence();
                Self { api_absence, ..Self::default() }
            }
            Request::Demo
            | Request::Replay(_)
            | Request::Etcd(_)
            | Request::Api
            | Request::Fleetctl
            | Request::FleetctlOption => Self::default(),
        }
    }
}

impl Probe {
    async fn of(settings: etcd::EtcdSettings) -> Self {
        let timeout = settings.timeout.min(PROBE_TIMEOUT);
        // Files for TLS that cannot be used are an error when the source is opened.
        let Ok(etcd) = EtcdSource::new(etcd::EtcdSettings { timeout, ..settings }) else {
            return Probe::NoAnswer;
        };

        match etcd.probe().await {
            Ok(()) => Probe::SpeaksV2,
            Err(errors) if errors.is_unusable() => Probe::Unusable(errors.to_string()),
            Err(_) => Probe::NoAnswer,
        }
    }
}

impl Selection {
    /// Selects a source by the options, and by what is found on this host and in etcd where they
    /// leave it open.
    pub(crate) async fn choose(options: &Options) -> Self {
        decide(options, Facts::gather(options).await)
    }

    /// Finds what the source needs. Nothing is started yet.
    ///
    /// # Errors
    ///
    /// A file or a program that is missing, or cannot be used.
    pub(crate) fn open(&self) -> Result<Opened, OpenError> {
        let schedule = self.schedule;
        Ok(match self.backend.clone() {
            Backend::Demo { speed } => Opened::Replay(Box::new(Replay::demo(speed))),
            Backend::Replay { path, speed } => {
                Opened::Replay(Box::new(Replay::open(&path, speed)?))
            }
            Backend::Api(address) => Opened::Api(Arc::new(Api::new(address)), schedule),
            Backend::Etcd(settings) => Opened::Etcd(EtcdSource::new(settings)?),
            Backend::Fleetctl { command, connection } => {
                let settings =
                    fleetctl::FleetctlSettings { command, connection, timeout: schedule.timeout };
                let fleetctl = Fleetctl::new(settings).map_err(|error| match &self.reason {
                    Reason::NoApiSocket(absence) => {
                        OpenError::NothingToRead { absence: absence.clone(), error: error.into() }
                    }
                    _ => OpenError::Fleetctl(error),
                })?;
                Opened::Fleetctl(Arc::new(fleetctl), schedule)
            }
        })
    }
}

/// A source that can be started.
#[derive(Debug)]
pub(crate) enum Opened {
    Replay(Box<Replay>),
    Api(Arc<Api>, Schedule),
    Etcd(EtcdSource),
    Fleetctl(Arc<Fleetctl>, Schedule),
}

impl Opened {
    pub(crate) fn start(self) -> Source {
        match self {
            Opened::Replay(replay) => Source::Replay(replay),
            Opened::Api(api, schedule) => Source::Polled(Polled::start(api, schedule)),
            Opened::Etcd(etcd) => Source::Etcd(etcd.start()),
            Opened::Fleetctl(fleetctl, schedule) => {
                Source::Polled(Polled::start(fleetctl, schedule))
            }
        }
    }
}

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Etcd(#[from] FileError),
    #[error(transparent)]
    Fleetctl(FleetctlError),
    /// Nothing was asked for, and neither the API nor fleetctl is there.
    #[error("nothing to read fleet from: {absence}, and {error}")]
    NothingToRead { absence: String, error: Box<FleetctlError> },
}
