//! Reads single unit files, when a client requests them: from etcd, from fleet's API, or with
//! `fleetctl cat`.
//!
//! It works beside the source's polls or its watch, and does not disturb them. The caller bounds
//! how many files are read at a time, and for how long. Dropping a read ends all that it has
//! started. It must not know who requests a file.

use std::sync::Arc;

use super::api::Api;
use super::etcd::EtcdFileReader;
use super::fleetctl::Fleetctl;
use super::source_file::{FileReadError, ReadFiles};
use crate::cluster::Text;

/// How many bytes the name of a unit may have (`systemd.unit(5)`).
const MAX_NAME_BYTES: usize = 255;

/// Reads unit files from the source that is running. Clones read the same source.
#[derive(Clone, Debug)]
pub(crate) enum UnitFileReader {
    Etcd(EtcdFileReader),
    Api(Arc<Api>),
    Fleetctl(Arc<Fleetctl>),
    /// A recording, which has none.
    Recording,
}

impl UnitFileReader {
    /// Whether the source has versions that fleet has replaced since.
    pub(crate) fn keeps_old_versions(&self) -> bool {
        matches!(self, UnitFileReader::Etcd(_))
    }

    /// Reads the file of a unit. `known` is its hash as last listed. `old` are hashes of versions
    /// that fleet has replaced.
    pub(crate) async fn read(
        &self,
        unit: &str,
        known: Option<&str>,
        old: &[Text],
    ) -> Result<ReadFiles, FileReadError> {
        if !is_unit_name(unit) {
            return Err(FileReadError::Name(unit.to_owned()));
        }

        let current = match self {
            UnitFileReader::Etcd(etcd) => return etcd.read(unit, old).await,
            UnitFileReader::Api(api) => api.read_file(unit).await?,
            UnitFileReader::Fleetctl(fleetctl) => fleetctl.read_file(unit, known).await?,
            UnitFileReader::Recording => return Err(FileReadError::Recording),
        };
        Ok(ReadFiles { current, old: Vec::new() })
    }
}

/// Whether a name has only the characters that systemd allows (`systemd.unit(5)`). Others never
/// reach a URL or a command.
fn is_unit_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);

    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_allowed)
        && !name.bytes().all(|byte| byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_units_are_passed_on() {
        for name in ["web@1.service", r"dev-\x2d.device", "-.mount", "a:b_c.socket"] {
            assert!(is_unit_name(name), "{name}");
        }
        for name in ["", ".", "..", "a b.service", "a/../b", "a;b", "ä.service", "a\n", "$(x)"] {
            assert!(!is_unit_name(name), "{name}");
        }
        assert!(is_unit_name(&"a".repeat(255)) && !is_unit_name(&"a".repeat(256)));
    }
}
