//! The table of all options: their keys and defaults, and how a key is spelled.
//!
//! It does not know what a value means, nor where it was set.

use super::ConfigError;
use crate::similar::similar;
use crate::source::etcd::DEFAULT_PREFIX;

/// The prefix of the names of our environment variables.
pub(super) const PREFIX: &str = "FLEET_MONITOR_";

/// Options whose values are never shown: the name of a user may be followed by a password by
/// mistake, and whoever knows the URL of a webhook can often post to it.
pub(super) const SECRET: [&str; 2] = ["etcd_user", "webhook"];

/// Every key, and its default as text; `None`: not set by default.
pub(super) const OPTIONS: &[(&str, Option<&str>)] = &[
    ("fleetctl", None),
    ("machine_freq", Some("10")),
    ("unit_freq", Some("2")),
    ("endpoint", None),
    ("endpoint_port", Some("4001")),
    ("tunnel", None),
    ("tunnel_port", Some("22")),
    ("source", Some("auto")),
    ("api", None),
    ("etcd", None),
    ("etcd_prefix", Some(DEFAULT_PREFIX)),
    ("etcd_ca", None),
    ("etcd_cert", None),
    ("etcd_key", None),
    ("etcd_user", None),
    ("etcd_password_file", None),
    ("poll_timeout", Some("10")),
    ("grace", Some("30")),
    ("keep_lost", Some("3600")),
    ("history", Some("86400")),
    ("history_from", Some("")),
    ("history_token_file", None),
    ("demo", Some("false")),
    ("record", None),
    ("record_keep", None),
    ("replay", None),
    ("replay_speed", Some("1")),
    ("from", None),
    ("to", None),
    ("problem_after", Some("30")),
    ("alertmanager", Some("")),
    ("alert_labels", Some("")),
    ("webhook", None),
    ("webhook_secret_file", None),
    ("external_url", None),
    ("port", Some("8989")),
    ("bind", None),
    ("listen", Some("")),
    ("publish", Some("changes")),
    ("unit_fields", Some("unit,load,active,sub,machine")),
    ("machine_fields", Some("machine,ip,metadata")),
    ("metrics_units", Some("")),
    ("journal_port", None),
    ("links", Some("")),
    ("metrics_troubled", Some("1000")),
    ("allowed_origins", Some("")),
    ("allowed_hosts", Some("")),
    ("token_file", None),
    ("tls_cert", None),
    ("tls_key", None),
    ("tls_client_ca", None),
    ("unit_files", Some("off")),
    ("max_clients", Some("10000")),
    ("log", Some("info")),
    ("log_to", Some("auto")),
];

/// Whether there is an option with this key.
pub(super) fn is_known(key: &str) -> bool {
    OPTIONS.iter().any(|(known, _)| *known == key)
}

/// The environment variable that sets an option.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// The error for an unknown key. It does not show the value, which may be a secret in the wrong
/// place. `spelling` writes a key as it is written in that place.
pub(super) fn unknown(
    key: String,
    origin: String,
    spelling: impl Fn(&str) -> String,
) -> ConfigError {
    let keys = OPTIONS.iter().map(|(known, _)| *known);
    let hint = similar(&key.replace('-', "_"), keys)
        .map(|known| format!("; did you mean {}?", spelling(known)))
        .unwrap_or_default();

    ConfigError {
        key: Some(key),
        value: None,
        origin,
        problem: format!("unknown option{hint}"),
    }
}
