//! The version of fleetd or fleetctl, as far as its options depend on it. Pure.
//!
//! It must not know what a version can do.

/// A version of fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FleetVersion(
    /// The major version.
    pub u32,
    /// The minor version.
    pub u32,
    /// The patch.
    pub u32,
);

impl FleetVersion {
    /// Parses `0.11.8` or `v1.0.0`. Unofficial builds may have a suffix: `1.0.0+git`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());

        let mut parts = text[..end].split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => {
                Some(Self(major, minor, patch))
            }
            _ => None,
        }
    }
}
