//! The configuration: the options of the command line, the environment and the file, validated.
//!
//! [`load`] merges the four places where options are set: the command line, the environment, the
//! file and the defaults. A *stronger* place, one that is earlier in this list, overrides a weaker
//! one. Then it parses each option, and checks that the options fit together. It reports all errors
//! at once, each with the value and the place where it was set.
//!
//! Which options belong to which source is defined in `source::selection`. Options that only need
//! or exclude another one, such as a certificate and its key, are checked here.

mod env_file;
mod layers;
mod link_list;
mod links;
mod literal;
mod options;
mod parse;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wildmatch::WildMatch;

use crate::actions::LinkTemplate;
use crate::cli::Cli;
use crate::feed::Publish;
use crate::feed::fields::{MachineField, UnitField};
use crate::notify::PostTarget;
use crate::problems::ProblemDelays;
use crate::server::CertificateFiles;
use crate::server::access::{AllowedHost, AllowedOrigin};
use crate::server::listen::ListenAddress;
use crate::source::ReplayOptions;
use crate::source::etcd::TlsFiles;
use crate::source::fleetctl::FleetctlConnection;
use crate::source::recording::RecordKeep;
use crate::source::selection::{self, SourceChoice, SourceRequest};
use crate::telemetry;
use crate::unit_files::UnitFileMode;
use env_file::{Assignment, EnvFile};
use values::Values;

/// The configuration file, unless `--config` names another one.
pub const DEFAULT_FILE: &str = "/etc/fleet-monitor.toml";

/// All options, valid and consistent.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The options that select and configure the source.
    pub(crate) source: selection::Options,
    /// How long a row is kept after it disappeared from fleet's lists without evidence that it is
    /// gone. Zero: rows are shown exactly as fleet lists them.
    pub grace: Duration,
    /// How long a lost machine and its rows are kept.
    pub keep_lost: Duration,
    /// How long the events of a unit or machine are kept after it is gone. Zero: the events of
    /// single units and machines are not kept.
    pub history: Duration,
    /// Other monitors of the same cluster, which are asked for their history at the start.
    pub history_from: Vec<PostTarget>,
    /// The file with their token. `None`: the one that this server requires.
    pub history_token_file: Option<PathBuf>,
    /// The file to which readings are appended; `None`: no recording.
    pub record: Option<PathBuf>,
    /// How much of the recording is kept; `None`: all of it.
    pub(crate) record_keep: Option<RecordKeep>,
    /// How long something has to be wrong until it is a problem.
    pub problem_after: ProblemDelays,
    /// The Alertmanagers that get each problem.
    pub alertmanager: Vec<PostTarget>,
    /// Labels of all alerts, by name.
    pub alert_labels: BTreeMap<String, String>,
    /// Where the beginning and the end of each problem are posted to.
    pub webhook: Option<PostTarget>,
    /// The file with the secret that signs what is posted there.
    pub webhook_secret_file: Option<PathBuf>,
    /// The address of the page. `None`: this host's name, and the port.
    pub external_url: Option<String>,
    /// The TCP port to listen on. 0: any free port.
    pub port: u16,
    /// The address to listen on. `None`: all, `::` or `0.0.0.0` where there is no IPv6.
    pub bind: Option<IpAddr>,
    /// Addresses to listen on in addition to that one, or to systemd's sockets.
    pub listen: Vec<ListenAddress>,
    /// When the first protocol sends its lists.
    pub publish: Publish,
    /// The first protocol's columns of units, in order; at least one.
    pub unit_fields: Vec<UnitField>,
    /// The first protocol's columns of machines, in order; at least one.
    pub machine_fields: Vec<MachineField>,
    /// Globs that select units by name. Each of these units has a metric series of its own.
    pub metrics_units: Vec<WildMatch>,
    /// The port of systemd-journal-gatewayd on the machines of the cluster. `None`: no logs.
    pub journal_port: Option<u16>,
    /// Links for units and machines, in their order.
    pub links: Vec<LinkTemplate>,
    /// The largest number of units in trouble that have a metric series of their own.
    pub metrics_troubled: usize,
    /// Origins of web pages that are accepted in addition to the default ones.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Names in `Host` that are accepted in addition to the default ones.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The file with the token that requests must carry. systemd's credential `token` overrides it;
    /// without either, no token is needed.
    pub token_file: Option<PathBuf>,
    /// The files for TLS with clients; `None`: no TLS.
    pub tls: Option<CertificateFiles>,
    /// How much of unit files clients are shown; `None`: nothing.
    pub unit_files: Option<UnitFileMode>,
    /// The largest number of clients at a time; at least one.
    pub max_clients: usize,
    /// Which entries are logged, by level and module.
    pub log: telemetry::LogFilter,
    /// The destination of the log.
    pub log_to: telemetry::LogTarget,
}

/// An error in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The option's key, as in the file; `None` if a whole file or a whole variable cannot be read.
    pub key: Option<String>,
    /// Its value as TOML; `None` if it may contain a secret.
    pub value: Option<String>,
    /// Where it was set: a flag, an environment variable, or a file with line.
    pub origin: String,
    /// What is wrong, and what was expected instead.
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

/// All errors in the configuration. `Display` writes one line for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// An option with the value that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The option's key, as in the file.
    pub key: &'static str,
    /// Its value as TOML; `None` if it is not set.
    pub value: Option<String>,
    /// Where the value was set: a flag, an environment variable, a file with line, or `default`.
    pub origin: String,
}

/// All options, and the file that was read for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Each option, in the order of the help.
    pub options: Vec<Setting>,
    /// The configuration file, if there is none: then it sets nothing. `None`: it was read.
    pub absent_file: Option<String>,
}

/// The environment variables that matter: those of this process, and those of `--env-file`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Variables that set options, known or unknown ones, and `FLEET_MONITOR_CONFIG`.
    pub variables: BTreeMap<String, String>,
    /// Of the variables that `--env-file` sets, file and line.
    origins: BTreeMap<String, String>,
    /// The names of variables that Kubernetes and docker set for services whose names begin with
    /// `fleet-monitor`. They set no options.
    pub service_links: Vec<String>,
    /// `$PATH`, in which fleetctl is looked for. `None`: not set.
    pub path: Option<OsString>,
    /// What is to be known about `--env-file`, one sentence each.
    file_notes: Vec<String>,
}

impl Environment {
    /// A sentence that lists the ignored variables; `None` if there are none.
    pub fn ignored(&self) -> Option<String> {
        let names = self.service_links.join(", ");
        (!names.is_empty()).then(|| {
            format!("ignored, since Kubernetes or docker sets them for a service: {names}")
        })
    }

    /// Adds the variables of a file, which override those that are set already, as systemd's
    /// `EnvironmentFile=` does. A file that does not exist sets nothing: the units of fleet-monitor
    /// accept that too (`EnvironmentFile=-…`).
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is not UTF-8.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigErrors> {
        let shown = path.display().to_string();
        let refused = |problem: String| {
            ConfigErrors(vec![ConfigError {
                key: Some("env_file".into()),
                value: Some(literal::quoted(&shown)),
                origin: "--env-file".into(),
                problem,
            }])
        };

        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| refused("is not UTF-8".into()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.file_notes
                    .push(format!("{shown}: not there, no variables are read"));
                return Ok(());
            }
            Err(error) => return Err(refused(format!("cannot be read: {error}"))),
        };

        let EnvFile { assignments, ignored } = EnvFile::parse(&text);
        for assignment in assignments {
            self.assign(assignment, &shown);
        }
        self.file_notes.extend(
            ignored
                .into_iter()
                .map(|line| format!("{shown}:{line}: not NAME=VALUE, systemd ignores it")),
        );
        Ok(())
    }

    fn assign(&mut self, Assignment { line, name, value }: Assignment, file: &str) {
        if name == "PATH" {
            self.path = Some(value.into());
            return;
        }
        if !name.starts_with(options::PREFIX) {
            return;
        }

        self.variables.remove(&name);
        self.service_links.retain(|link| *link != name);
        if links::is_service_link(&name, &value) {
            self.service_links.push(name);
            self.service_links.sort();
        } else {
            self.origins.insert(name.clone(), format!("{file}:{line}"));
            self.variables.insert(name, value);
        }
    }

    /// Where a variable was set: its name, or the line of `--env-file`.
    fn origin(&self, name: &str) -> String {
        self.origins.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }
}

/// Selects `PATH` and the `FLEET_MONITOR_*` variables, and separates those that set options from
/// the others.
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
        if origin == "PATH" {
            found.path = Some(value);
            continue;
        }
        if !origin.starts_with(options::PREFIX) {
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

/// Reads the options, and where each value comes from. An empty variable counts as not set. A value
/// that a stronger place overrides is not validated.
///
/// # Errors
///
/// All errors at once: a file that cannot be read, unknown keys, invalid values, options that need
/// another one, and options that exclude each other. But options of a weaker place that belong to
/// another source than those of a stronger place are not an error: they are ignored.
pub fn load(cli: &Cli, environment: &Environment) -> Result<(Config, Settings), ConfigErrors> {
    load_over(cli, environment, Path::new(DEFAULT_FILE))
}

fn load_over(
    cli: &Cli,
    environment: &Environment,
    default_file: &Path,
) -> Result<(Config, Settings), ConfigErrors> {
    let mut values = Values::new(cli, environment, default_file);

    // In the order of the help, which is also the order of settings and errors.
    let fleetctl = values.optional("fleetctl", parse::command);
    let machine_freq = values.with_default("machine_freq", parse::seconds);
    let unit_freq = values.with_default("unit_freq", parse::seconds);
    let connection = connection(&mut values);
    let choice = values.with_default("source", |text| parse::choice(&SourceChoice::NAMES, text));
    let api = values.optional("api", parse::api).unwrap_or_default();
    let etcd_members = values.list("etcd", parse::members);
    let etcd_prefix = values.with_default("etcd_prefix", parse::prefix);
    let etcd_tls = TlsFiles {
        ca: values.optional("etcd_ca", parse::path),
        cert: values.optional("etcd_cert", parse::path),
        key: values.optional("etcd_key", parse::path),
    };
    let etcd_user = values.optional("etcd_user", parse::user);
    let etcd_password_file = values.optional("etcd_password_file", parse::path);
    let poll_timeout = values.with_default("poll_timeout", parse::seconds);
    let grace = values.with_default("grace", parse::seconds_or_off);
    let keep_lost = values.with_default("keep_lost", parse::seconds_or_off);
    let history = values.with_default("history", parse::seconds_or_off);
    let history_from = values.list("history_from", |items| parse::each(items, parse::monitor_url));
    let history_token_file = values.optional("history_token_file", parse::path);
    let demo = values.with_default("demo", parse::switch);
    let record = values.optional("record", parse::path);
    let record_keep = values.optional("record_keep", parse::record_keep);
    let replay = values.optional("replay", parse::path);
    let replay_options = ReplayOptions {
        speed: values.with_default("replay_speed", parse::speed),
        from: values.optional("from", parse::recorded_time),
        to: values.optional("to", parse::recorded_time),
    };

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
            search_path: None,
            demo,
            replay,
            replay_options,
            machine_freq,
            unit_freq,
            poll_timeout,
        },
        grace,
        keep_lost,
        history,
        history_from,
        history_token_file,
        record,
        record_keep,
        problem_after: values.whole_list("problem_after", parse::problem_delays),
        alertmanager: values.list("alertmanager", |items| parse::each(items, parse::post_target)),
        alert_labels: values.whole_list("alert_labels", parse::alert_labels),
        webhook: values.secret("webhook", parse::post_target),
        webhook_secret_file: values.optional("webhook_secret_file", parse::path),
        external_url: values.optional("external_url", parse::page_url),
        port: values.with_default("port", parse::port),
        bind: values.optional("bind", parse::address),
        listen: values.list("listen", |items| parse::each(items, parse::listen_address)),
        publish: values.with_default("publish", |text| {
            parse::choice(&[("changes", Publish::Changes), ("polls", Publish::Polls)], text)
        }),
        unit_fields: values.list("unit_fields", parse::fields),
        machine_fields: values.list("machine_fields", parse::fields),
        metrics_units: values.list("metrics_units", |items| parse::each(items, parse::glob)),
        journal_port: values.optional("journal_port", parse::remote_port),
        links: values.links("links"),
        metrics_troubled: values.with_default("metrics_troubled", parse::metrics_troubled),
        allowed_origins: values.list("allowed_origins", |items| parse::each(items, parse::origin)),
        allowed_hosts: values.list("allowed_hosts", |items| parse::each(items, parse::host_name)),
        token_file: values.optional("token_file", parse::path),
        tls: certificate_files(&mut values),
        unit_files: values.with_default("unit_files", |text| {
            let modes = [UnitFileMode::Masked, UnitFileMode::Full];
            let [masked, full] = modes.map(|mode| (mode.name(), Some(mode)));
            parse::choice(&[("off", None), masked, full], text)
        }),
        max_clients: values.with_default("max_clients", parse::max_clients),
        log: values.with_default("log", parse::log),
        log_to: values.with_default("log_to", |text| {
            let choices = [
                ("auto", telemetry::LogTarget::Auto),
                ("journal", telemetry::LogTarget::Journal),
                ("stderr", telemetry::LogTarget::Stderr),
            ];
            parse::choice(&choices, text)
        }),
    };

    refuse_conflicts(&config.source, &mut values);
    if config.record_keep.is_some() && config.record.is_none() {
        values.refuse("record_keep", "needs a recording: --record FILE");
    }
    let ReplayOptions { from, to, .. } = &config.source.replay_options;
    for (key, time) in [("from", from), ("to", to)] {
        if time.is_some() && config.source.replay.is_none() {
            values.refuse(key, "needs a recording: --replay FILE");
        }
    }
    if config.history_from.is_empty() && config.history_token_file.is_some() {
        values.refuse("history_token_file", "needs other monitors: --history-from URL");
    }
    if !config.history_from.is_empty() && config.history.is_zero() {
        values.refuse("history_from", "needs a history to merge into: --history SECONDS");
    }
    if config.webhook_secret_file.is_some() && config.webhook.is_none() {
        values.refuse("webhook_secret_file", "needs a webhook: --webhook URL");
    }
    if config.alertmanager.is_empty() && !config.alert_labels.is_empty() {
        values.refuse("alert_labels", "needs an Alertmanager: --alertmanager http://HOST:9093");
    }

    if values.errors.is_empty() {
        Ok((config, Settings { options: values.settings, absent_file: values.absent_file }))
    } else {
        Err(ConfigErrors(values.errors))
    }
}

fn connection(values: &mut Values) -> FleetctlConnection {
    let endpoint = values.optional("endpoint", |text| parse::host("--endpoint-port", text));
    let endpoint_port = values.with_default("endpoint_port", parse::remote_port);
    let tunnel = values.optional("tunnel", |text| parse::host("--tunnel-port", text));
    let tunnel_port = values.with_default("tunnel_port", parse::remote_port);
    values.refuse_both("endpoint", "tunnel");

    match (endpoint, tunnel) {
        (Some(host), _) => FleetctlConnection::Etcd { host, port: endpoint_port },
        (None, Some(host)) => FleetctlConnection::Tunnel { host, port: tunnel_port },
        (None, None) => FleetctlConnection::Default,
    }
}

/// The files for TLS with clients.
fn certificate_files(values: &mut Values) -> Option<CertificateFiles> {
    let cert = values.optional("tls_cert", parse::path);
    let key = values.optional("tls_key", parse::path);
    let client_ca = values.optional("tls_client_ca", parse::path);

    match (cert, key) {
        (Some(cert), Some(key)) => return Some(CertificateFiles { cert, key, client_ca }),
        (Some(_), None) => values.refuse("tls_cert", "needs its private key: --tls-key FILE"),
        (None, Some(_)) => values.refuse("tls_key", "needs its certificate: --tls-cert FILE"),
        (None, None) if client_ca.is_some() => values.refuse(
            "tls_client_ca",
            "needs a certificate of the server: --tls-cert FILE --tls-key FILE",
        ),
        (None, None) => {}
    }
    None
}

fn refuse_conflicts(options: &selection::Options, values: &mut Values) {
    for (option, other) in values.conflicts() {
        values.refuse_both(option, other);
    }
    if options.choice == SourceChoice::Replay && !options.demo && options.replay.is_none() {
        values.refuse("source", "needs a recording: --replay FILE or --demo");
    }

    let TlsFiles { ca, cert, key } = &options.etcd_tls;
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
    let is_etcd =
        matches!(options.request(), SourceRequest::Etcd(_) | SourceRequest::EtcdOrFleetctl(_));
    if options.etcd_user.is_some() && !is_etcd {
        values.refuse("etcd_user", "needs an etcd that is watched: --etcd http://HOST:PORT");
    }
    if options.etcd_password_file.is_some() && options.etcd_user.is_none() {
        values
            .refuse("etcd_password_file", "needs the user whose password it is: --etcd-user NAME");
    }
}

/// The settings as a configuration file that would have the same effect, each with where it came
/// from. What else is to be known about the places where options are set follows as comments.
pub fn report(settings: &Settings, environment: &Environment) -> String {
    // Wider values do not count, so that a long list does not push every comment to the right.
    const WIDEST: usize = 40;
    let options = &settings.options;
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let key_width = width(&mut options.iter().map(|setting| setting.key.len()));
    let values = options.iter().filter_map(|setting| setting.value.as_ref());
    let value_width = width(
        &mut values
            .map(|value| value.chars().count())
            .filter(|&length| length <= WIDEST),
    );
    let line = |Setting { key, value, origin }: &Setting| match value {
        Some(value) => format!("{key:key_width$} = {value:value_width$}  # {origin}\n"),
        None => format!("# {key} is not set\n"),
    };

    let absent_file = settings
        .absent_file
        .iter()
        .map(|file| format!("{file}: not there, defaults are used"));
    let notes = absent_file
        .chain(environment.file_notes.iter().cloned())
        .chain(environment.ignored())
        .map(|note| format!("# {note}\n"));
    options.iter().map(line).chain(notes).collect()
}
