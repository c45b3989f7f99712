//! The shell around the decision: looks for the facts, and opens the source that was selected.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Backend, EtcdProbe, Options, Selection, SelectionFacts, SelectionReason, SourceRequest, decide,
};
use crate::source::Source;
use crate::source::api::Api;
use crate::source::etcd::error::FileError;
use crate::source::etcd::{self, Etcd};
use crate::source::fleetctl::{self, Fleetctl, FleetctlError};
use crate::source::polled::{Polled, Schedule};
use crate::source::replay::{Replay, ReplayError};

/// The timeout of the probe of an etcd.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl SelectionFacts {
    /// Looks for what the decision depends on, and for nothing else.
    async fn gather(options: &Options) -> Self {
        match options.request() {
            SourceRequest::EtcdOrFleetctl(endpoint) => {
                let settings = options.etcd_settings(vec![endpoint]);
                Self { etcd: EtcdProbe::of(settings).await, ..Self::default() }
            }
            SourceRequest::Any => {
                let api_absence = options.api.absence();
                Self { api_absence, ..Self::default() }
            }
            SourceRequest::Demo
            | SourceRequest::Replay(_)
            | SourceRequest::Etcd(_)
            | SourceRequest::Api
            | SourceRequest::Fleetctl
            | SourceRequest::FleetctlOption => Self::default(),
        }
    }
}

impl EtcdProbe {
    async fn of(settings: etcd::EtcdSettings) -> Self {
        let timeout = settings.timeout.min(PROBE_TIMEOUT);
        // Files for TLS that cannot be used are an error when the source is opened.
        let Ok(etcd) = Etcd::new(etcd::EtcdSettings { timeout, ..settings }) else {
            return EtcdProbe::NoAnswer;
        };

        match etcd.probe().await {
            Ok(()) => EtcdProbe::SpeaksV2,
            Err(errors) if errors.is_unusable() => EtcdProbe::Unusable(errors.to_string()),
            Err(_) => EtcdProbe::NoAnswer,
        }
    }
}

impl Selection {
    /// Selects a source by the options, and by what is found on this host and in etcd where they
    /// leave it open.
    pub(crate) async fn choose(options: &Options) -> Self {
        decide(options, SelectionFacts::gather(options).await)
    }

    /// Finds what the source needs. Nothing is started yet.
    ///
    /// # Errors
    ///
    /// A file or a program that is missing, or cannot be used.
    pub(crate) fn open(&self) -> Result<OpenedSource, OpenError> {
        let schedule = self.schedule;
        Ok(match self.backend.clone() {
            Backend::Demo { speed } => OpenedSource::Replay(Box::new(Replay::demo(speed))),
            Backend::Replay { path, speed } => {
                OpenedSource::Replay(Box::new(Replay::open(&path, speed)?))
            }
            Backend::Api(address) => OpenedSource::Api(Arc::new(Api::new(address)), schedule),
            Backend::Etcd(settings) => OpenedSource::Etcd(Etcd::new(settings)?),
            Backend::Fleetctl { command, connection } => {
                let settings =
                    fleetctl::FleetctlSettings { command, connection, timeout: schedule.timeout };
                let fleetctl = Fleetctl::new(settings).map_err(|error| match &self.reason {
                    SelectionReason::NoApiSocket(absence) => {
                        OpenError::NothingToRead { absence: absence.clone(), error: error.into() }
                    }
                    _ => OpenError::Fleetctl(error),
                })?;
                OpenedSource::Fleetctl(Arc::new(fleetctl), schedule)
            }
        })
    }
}

/// A source that can be started.
#[derive(Debug)]
pub(crate) enum OpenedSource {
    Replay(Box<Replay>),
    Api(Arc<Api>, Schedule),
    Etcd(Etcd),
    Fleetctl(Arc<Fleetctl>, Schedule),
}

impl OpenedSource {
    pub(crate) fn start(self) -> Source {
        match self {
            OpenedSource::Replay(replay) => Source::Replay(replay),
            OpenedSource::Api(api, schedule) => Source::Polled(Polled::start(api, schedule)),
            OpenedSource::Etcd(etcd) => Source::Etcd(etcd.start()),
            OpenedSource::Fleetctl(fleetctl, schedule) => {
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
