//! Which sources an option leaves possible: options that leave none together are in conflict, unless one was set in a
//! stronger place, which wins.

use figment::value::Value;

use super::layers::{ETCD_PREFIX, scalar};
use super::parse;

const DEMO: u8 = 1;
const REPLAY: u8 = 2;
const FLEETCTL: u8 = 4;
const API: u8 = 8;
/// etcd at the host of `endpoint`, which may also be fleetctl's.
const ETCD_HOST: u8 = 16;
/// etcd at the members of `etcd`.
const ETCD_MEMBERS: u8 = 32;

const ETCD: u8 = ETCD_HOST | ETCD_MEMBERS;
const LIVE: u8 = FLEETCTL | API | ETCD;

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
        ("record", _) => LIVE,
        ("endpoint", _) => FLEETCTL | ETCD_HOST,
        ("fleetctl" | "tunnel", _) | ("source", "fleetctl") => FLEETCTL,
        ("api", _) | ("source", "api") => API,
        // An endpoint is asked without TLS.
        ("etcd" | "etcd_ca" | "etcd_cert" | "etcd_key", _) => ETCD_MEMBERS,
        ("etcd_user" | "etcd_password_file", _) | ("source", "etcd") => ETCD,
        ("etcd_prefix", text) if text != ETCD_PREFIX => ETCD,
        ("source", "replay") => DEMO | REPLAY,
        _ => DEMO | REPLAY | LIVE,
    }
}
