//! What the program was told to do: the options of the command line, the environment and the file,
//! judged as a whole.
//!
//! [`load`] lays the four layers over each other (command line, environment, file, defaults) and
//! takes each option on its own, so that all that is wrong is told at once, each with its value and
//! the place where it was set. Nothing here knows how the values are used; which options cannot be
//! set together is known to `source::selection`.

mod layers;
mod links;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wildmatch::WildMatch;

use crate::cli::Cli;
use crate::feed::Publish;
use crate::feed::fields::{MachineField, UnitField};
use crate::server::access::{AllowedHost, AllowedOrigin};
use crate::source::etcd::Tls;
use crate::source::fleetctl::Connection;
use crate::source::selection::{self, Request, SourceChoice};
use crate::telemetry;
use layers::Values;

/// The file that is read when no other is named.
pub const DEFAULT_FILE: &str = "/etc/fleet-monitor.toml";

/// The options, valid and consistent.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which source is used, and how.
    pub(crate) source: selection::Options,
    /// Time for which a row is kept that fleet wants, but no longer reports. Zero: rows are passed
    /// through untouched.
    pub grace: Duration,
    /// Time for which the rows of a lost machine are kept.
    pub keep_lost: Duration,
    /// The file that readings are appended to.
    pub record: Option<PathBuf>,
    /// The TCP port to listen on. 0: the kernel chooses.
    pub port: u16,
    /// The address to listen on. `None`: all, `::` or `0.0.0.0` where there is no IPv6.
    pub bind: Option<IpAddr>,
    /// When the first protocol sends its lists.
    pub publish: Publish,
    /// The first protocol's columns of units, in order; at least one.
    pub unit_fields: Vec<UnitField>,
    /// The first protocol's columns of machines, in order; at least one.
    pub machine_fields: Vec<MachineField>,
    /// Globs that select units by name. Each of these units has a metric series of its own.
    pub metrics_units: Vec<WildMatch>,
    /// Origins that are accepted in addition to the default ones.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Names of this machine that are accepted in addition to the default ones.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The file that holds the token which requests must carry.
    pub token_file: Option<PathBuf>,
    /// How many clients may be connected at a time; at least one.
    pub max_clients: usize,
    /// Which entries are logged.
    pub log: telemetry::LogFilter,
    /// Where the log goes.
    pub log_to: telemetry::LogTarget,
}

/// Something wrong in the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The option's key, as in the file; none if a whole place cannot be read.
    pub key: Option<String>,
    /// What it is set to, as TOML; none if that is not fit to be shown.
    pub value: Option<String>,
    /// Where it was set: a flag, an environment variable, or a file with line.
    pub origin: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, origin, problem } = self;
        match (key, value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value} ({origin}): {problem}"),
            (Some(key), None) => write!(f, "{key} ({origin}): {problem}"),
            (None, _) => write!(f, "{origin}: {problem}"),
        }
    }
}

/// All that is wrong in the options; one line for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// An option in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value as TOML; none if it is not set.
    pub value: Option<String>,
    /// Where the value came from: a flag, an environment variable, a file with line, or `default`.
    pub origin: String,
}

/// The `FLEET_MONITOR_*` variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Those that set options, known or not.
    pub variables: BTreeMap<String, String>,
    /// The names of those that Kubernetes and docker set for services whose names begin with
    /// `fleet-monitor`.
    pub service_links: Vec<String>,
}

impl Environment {
    /// Which variables are ignored, and why; `None` if none is.
    pub fn ignored(&self) -> Option<String> {
        let names = self.service_links.join(", ");
        (!names.is_empty()).then(|| {
            format!("ignored, since Kubernetes or docker sets them for a service: {names}")
        })
    }
}

/// The `FLEET_MONITOR_*` variables among all of them.
///
/// # Errors
///
/// A value that is not UTF-8.
pub fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, ConfigErrors> {
    let mut found = Environment::default();
    let mut errors = Vec::new();
    for (name, value) in variables {
        let origin = name.to_string_lossy().into_owned();
        if !origin.starts_with(layers::PREFIX) {
            continue;
        }
        if links::is_service_link(&origin, &value.to_string_lossy()) {
            found.service_links.push(origin);
            continue;
        }
        match value.into_string() {
            Ok(value) => {
                found.variables.insert(origin, value);
            }
            Err(_) => errors.push(ConfigError {
                key: None,
                value: None,
                origin,
                problem: "is not UTF-8".into(),
            }),
        }
    }
    found.service_links.sort();
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(ConfigErrors(errors))
    }
}

/// The options in force, and where each came from. `environment` is [`Environment::variables`]; a
/// variable that is empty counts as not set. A value that a stronger place overrides is not judged.
///
/// # Errors
///
/// All that is wrong, at once: a file that cannot be read, unknown keys, impossible values, and
/// options that exclude each other, unless a stronger place simply asks for another source than a
/// weaker one.
pub fn load(
    cli: &Cli,
    environment: &BTreeMap<String, String>,
) -> Result<(Config, Vec<Setting>), ConfigErrors> {
    load_over(cli, environment, Path::new(DEFAULT_FILE))
}

fn load_over(
    cli: &Cli,
    environment: &BTreeMap<String, String>,
    default_file: &Path,
) -> Result<(Config, Vec<Setting>), ConfigErrors> {
    let mut values = Values::new(cli, environment, default_file);
    // In the order of the options, in which values and errors are reported.
    let fleetctl = values.optional("fleetctl", parse::command);
    let machine_freq = values.take("machine_freq", parse::seconds);
    let unit_freq = values.take("unit_freq", parse::seconds);
    let connection = connection(&mut values);
    let choice = values.take("source", |text| parse::choice(&SourceChoice::NAMES, text));
    let api = values.optional("api", parse::api).unwrap_or_default();
    let etcd_members = values.list("etcd", parse::members);
    let etcd_prefix = values.take("etcd_prefix", parse::prefix);
    let etcd_tls = Tls {
        ca: values.optional("etcd_ca", parse::path),
        cert: values.optional("etcd_cert", parse::path),
        key: values.optional("etcd_key", parse::path),
    };
    let etcd_user = values.optional("etcd_user", parse::user);
    let etcd_password_file = values.optional("etcd_password_file", parse::path);
    let poll_timeout = values.take("poll_timeout", parse::seconds);
    let grace = values.take("grace", parse::seconds_or_off);
    let keep_lost = values.take("keep_lost", parse::seconds_or_off);
    let demo = values.take("demo", parse::switch);
    let record = values.optional("record", parse::path);
    let replay = values.optional("replay", parse::path);
    let replay_speed = values.take("replay_speed", parse::speed);

    let config = Config {
        source: selection::Options {
            choice,
            fleetctl,
            connection,
            api,
            etcd_members,
            etcd_prefix,
            etcd_tls,
            etcd_user,
            etcd_password_file,
            credentials: None,
            demo,
            replay,
            replay_speed,
            machine_freq,
            unit_freq,
            poll_timeout,
        },
        grace,
        keep_lost,
        record,
        port: values.take("port", parse::port),
        bind: values.optional("bind", parse::address),
        publish: values.take("publish", |text| {
            parse::choice(&[("changes", Publish::Changes), ("polls", Publish::Polls)], text)
        }),
        unit_fields: values.list("unit_fields", parse::fields),
        machine_fields: values.list("machine_fields", parse::fields),
        metrics_units: values.list("metrics_units", |items| parse::each(items, parse::glob)),
        allowed_origins: values.list("allowed_origins", |items| parse::each(items, parse::origin)),
        allowed_hosts: values.list("allowed_hosts", |items| parse::each(items, parse::host_name)),
        token_file: values.optional("token_file", parse::path),
        max_clients: values.take("max_clients", parse::max_clients),
        log: values.take("log", parse::log),
        log_to: values.take("log_to", |text| {
            let choices = [
                ("auto", telemetry::LogTarget::Auto),
                ("journal", telemetry::LogTarget::Journal),
                ("stderr", telemetry::LogTarget::Stderr),
            ];
            parse::choice(&choices, text)
        }),
    };

    refuse_conflicts(&config.source, &mut values);
    if values.errors.is_empty() {
        Ok((config, values.settings))
    } else {
        Err(ConfigErrors(values.errors))
    }
}

fn connection(values: &mut Values) -> Connection {
    let endpoint = values.optional("endpoint", |text| parse::host("--endpoint-port", text));
    let endpoint_port = values.take("endpoint_port", parse::remote_port);
    let tunnel = values.optional("tunnel", |text| parse::host("--tunnel-port", text));
    let tunnel_port = values.take("tunnel_port", parse::remote_port);
    values.exclude("endpoint", "tunnel");
    match (endpoint, tunnel) {
        (Some(host), _) => Connection::Etcd { host, port: endpoint_port },
        (None, Some(host)) => Connection::Tunnel { host, port: tunnel_port },
        (None, None) => Connection::Default,
    }
}

fn refuse_conflicts(options: &selection::Options, values: &mut Values) {
    for (option, other) in values.conflicts() {
        values.exclude(option, other);
    }
    if options.choice == SourceChoice::Replay && !options.demo && options.replay.is_none() {
        values.refuse("source", "needs a recording: --replay FILE or --demo");
    }

    let Tls { ca, cert, key } = &options.etcd_tls;
    if !options.etcd_members.iter().any(|member| member.tls) {
        for (key, file) in [("etcd_ca", ca), ("etcd_cert", cert), ("etcd_key", key)] {
            if file.is_some() {
                values
                    .refuse(key, "needs an etcd that is asked over TLS: --etcd https://HOST:PORT");
            }
        }
    }
    match (cert, key) {
        (Some(_), None) => values.refuse("etcd_cert", "needs its private key: --etcd-key FILE"),
        (None, Some(_)) => values.refuse("etcd_key", "needs its certificate: --etcd-cert FILE"),
        _ => {}
    }
    let is_etcd = matches!(options.request(), Request::Etcd(_) | Request::EtcdOrFleetctl(_));
    if options.etcd_user.is_some() && !is_etcd {
        values.refuse("etcd_user", "needs an etcd that is watched: --etcd http://HOST:PORT");
    }
    if options.etcd_password_file.is_some() && options.etcd_user.is_none() {
        values
            .refuse("etcd_password_file", "needs the user whose password it is: --etcd-user NAME");
    }
}

/// The settings as a configuration file that would have the same effect, each with where it came
/// from.
pub fn report(settings: &[Setting]) -> String {
    // A long list does not push every comment to the right.
    const WIDEST: usize = 40;
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let key_width = width(&mut settings.iter().map(|setting| setting.key.len()));
    let values = settings.iter().filter_map(|setting| setting.value.as_ref());
    let value_width = width(
        &mut values
            .map(|value| value.chars().count())
            .filter(|&length| length <= WIDEST),
    );
    let line = |Setting { key, value, origin }: &Setting| match value {
        Some(value) => format!("{key:key_width$} = {value:value_width$}  # {origin}\n"),
        None => format!("# {key} is not set\n"),
    };
    settings.iter().map(line).collect()
}
