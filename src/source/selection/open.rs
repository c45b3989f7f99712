//! Gathers the facts for the decision, and opens the selected source.
//!
//! It must not decide which source is used.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Backend, EtcdProbe, Options, Selection, SelectionFacts, SelectionReason, SourceRequest, decide,
};
use crate::source::api::Api;
use crate::source::etcd::error::FileError;
use crate::source::etcd::{self, EtcdSource};
use crate::source::fleetctl::{self, Fleetctl, FleetctlError};
use crate::source::polled::{Polled, Schedule};
use crate::source::replay::{Replay, ReplayError};
use crate::source::{Source, UnitFileReader};

/// How long the probe of an etcd may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl SelectionFacts {
    /// Gathers only the facts that the decision depends on.
    async fn gather(options: &Options) -> Self {
        match options.request() {
            SourceRequest::EtcdOrFleetctl(endpoint) => {
                let settings = options.etcd_settings(vec![endpoint]);
                Self { etcd: EtcdProbe::run(settings).await, ..Self::default() }
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
    async fn run(settings: etcd::EtcdSettings) -> Self {
        let timeout = settings.timeout.min(PROBE_TIMEOUT);
        // If the password of the etcd user cannot be read, opening the source reports that. No TLS
        // file is read, since this endpoint has no TLS.
        let Ok(etcd) = EtcdSource::new(etcd::EtcdSettings { timeout, ..settings }) else {
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
    /// Selects a source by the options and, if they do not decide it, by what is found on this host
    /// and in etcd.
    pub(crate) async fn choose(options: &Options) -> Self {
        let facts = SelectionFacts::gather(options).await;
        decide(options, facts)
    }

    /// Finds the files and programs that the source needs. Starts nothing.
    ///
    /// # Errors
    ///
    /// When a file or a program is missing, or cannot be used.
    pub(crate) fn open(&self) -> Result<OpenedSource, OpenError> {
        let schedule = self.schedule;

        Ok(match self.backend.clone() {
            Backend::Demo { speed } => OpenedSource::Replay(Box::new(Replay::demo(speed))),
            Backend::Replay { path, options } => {
                OpenedSource::Replay(Box::new(Replay::open(&path, &options)?))
            }
            Backend::Api(address) => OpenedSource::Api(Arc::new(Api::new(address)), schedule),
            Backend::Etcd(settings) => OpenedSource::Etcd(EtcdSource::new(settings)?),
            Backend::Fleetctl { command, connection } => {
                let settings = fleetctl::FleetctlSettings {
                    command,
                    search_path: self.search_path.clone(),
                    connection,
                    timeout: schedule.timeout,
                };
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
    Etcd(EtcdSource),
    Fleetctl(Arc<Fleetctl>, Schedule),
}

impl OpenedSource {
    /// Reads single unit files from the same source.
    pub(crate) fn unit_file_reader(&self) -> UnitFileReader {
        match self {
            OpenedSource::Replay(_) => UnitFileReader::Recording,
            OpenedSource::Api(api, _) => UnitFileReader::Api(api.clone()),
            OpenedSource::Etcd(etcd) => UnitFileReader::Etcd(etcd.file_reader()),
            OpenedSource::Fleetctl(fleetctl, _) => UnitFileReader::Fleetctl(fleetctl.clone()),
        }
    }

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
    /// No source was requested, and there is neither fleet's API nor a fleetctl.
    #[error("no source for fleet: {absence}, and {error}")]
    NothingToRead { absence: String, error: Box<FleetctlError> },
}
