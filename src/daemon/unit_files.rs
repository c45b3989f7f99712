//! Connects requests for unit files to the source that is running. It knows neither how a source
//! reads a file, nor what is done with it.

use tokio::sync::watch;

use crate::source::{FileReadError, SourceFile, UnitFileReader};
use crate::unit_files::{
    UnitFileError, UnitFileQuery, UnitFileSource, UnitFileVersion, UnitFileVersions,
};

/// The source that is running, also after a reload has replaced it.
#[derive(Clone, Debug)]
pub(super) struct CurrentSource(watch::Receiver<UnitFileReader>);

impl CurrentSource {
    pub(super) fn new(reader: watch::Receiver<UnitFileReader>) -> Self {
        Self(reader)
    }

    fn reader(&self) -> UnitFileReader {
        self.0.borrow().clone()
    }
}

impl UnitFileSource for CurrentSource {
    fn keeps_old_versions(&self) -> bool {
        self.0.borrow().keeps_old_versions()
    }

    async fn read(&self, query: UnitFileQuery) -> Result<UnitFileVersions, UnitFileError> {
        let UnitFileQuery { unit, current, old } = query;

        let files =
            self.reader().read(&unit, current.as_deref(), &old).await.map_err(
                |error| match error {
                    FileReadError::Recording => UnitFileError::Recording,
                    error => UnitFileError::Source(error.to_string()),
                },
            )?;

        let version = |file: SourceFile| UnitFileVersion {
            hash: file.hash.into(),
            content: file.text.into(),
        };
        Ok(UnitFileVersions {
            current: files.current.map(version),
            old: files.old.into_iter().map(version).collect(),
        })
    }
}
