//! Which sources an option leaves possible, so that a choice made in a stronger place wins over one made in a weaker.

use figment::value::Value;

use super::layers::scalar;
use super::parse;

const DEMO: u8 = 1;
const REPLAY: u8 = 2;
const FLEETCTL: u8 = 4;
const API: u8 = 8;

/// Whether there is a source that both options, set to these values, allow.
pub(super) fn agree((key, value): (&str, &Value), (other, others): (&str, &Value)) -> bool {
    allowed(key, value) & allowed(other, others) != 0
}

/// The sources that an option allows, as a set of bits. A live source is the only one that can be recorded.
fn allowed(key: &str, value: &Value) -> u8 {
    let text = scalar(value).unwrap_or_default();
    match (key, text.as_str()) {
        ("demo", text) if parse::switch(text) == Ok(true) => DEMO,
        ("replay", _) => REPLAY,
        ("record", _) => FLEETCTL | API,
        ("fleetctl" | "endpoint" | "tunnel", _) | ("source", "fleetctl") => FLEETCTL,
        ("api", _) | ("source", "api") => API,
        ("source", "replay") => DEMO | REPLAY,
        _ => DEMO | REPLAY | FLEETCTL | API,
    }
}
