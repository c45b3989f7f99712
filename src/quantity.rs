//! Numbers with a unit, as options and queries have them. Pure.

use std::time::Duration;

/// A time with its unit: `90s`, `15m`, `24h`, `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, seconds) = with_unit(text, &[("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)])?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// A size with its unit, in bytes: `512MiB`, `1GiB`, `10GB`.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let (number, unit) = with_unit(text, &units)?;
    number.checked_mul(unit)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse().ok()?, *factor))
}
