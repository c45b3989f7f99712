//! The command line: its options and its help.
//!
//! It does not validate values. A value stays the text that was typed, and an option that was not
//! given stays absent, so that [`crate::config`] can merge the command line with the environment
//! and the file, and validate all of them in the same way.

mod commands;
mod completions;
mod manual;

use std::path::PathBuf;

use clap::Parser;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use serde::Serialize;

pub use commands::{
    CA_VARIABLE, CERT_VARIABLE, CheckOptions, ClientCommand, ColorChoice, Command,
    CompletionsOptions, ConnectionOptions, DEFAULT_URL, KEY_VARIABLE, LogsOptions, Shell,
    StatusOptions, TOKEN_FILE_VARIABLE, TimeChoice, URL_VARIABLE, UnitOptions, WatchOptions,
};
pub use completions::completions;
pub use manual::manual_page;

const SOURCE: &str = "Source";
const PROBLEMS: &str = "Problems";
const SERVER: &str = "Server";
const ACCESS: &str = "Access";
const GENERAL: &str = "Logging and configuration";

/// Watches a CoreOS fleet cluster and publishes it live over WebSockets.
#[allow(rustdoc::bare_urls, reason = "these docs are the text of --help")]
#[derive(Parser, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[command(
    name = "fleet-monitor",
    version,
    max_term_width = 80,
    after_help = PLACES,
    args_conflicts_with_subcommands = true
)]
// A negative number is a value, and not an unknown flag, so that the error says what is expected.
#[command(allow_negative_numbers = true)]
pub struct Cli {
    /// fleetctl command [default: fleetctl in $PATH]
    #[arg(short = 'c', long, value_name = "COMMAND", help_heading = SOURCE)]
    pub fleetctl: Option<String>,

    /// Seconds between polls of machines, such as 0.5 or 30 [default: 10]
    #[arg(short = 'm', long, value_name = "SECONDS", help_heading = SOURCE)]
    pub machine_freq: Option<String>,

    /// Seconds between polls of units [default: 2]
    #[arg(short = 'u', long, value_name = "SECONDS", help_heading = SOURCE)]
    pub unit_freq: Option<String>,

    /// etcd host, to watch or for fleetctl to connect to
    #[arg(short = 'e', long, value_name = "HOST", conflicts_with = "tunnel", help_heading = SOURCE)]
    pub endpoint: Option<String>,

    /// Port of that etcd [default: 4001]
    #[arg(long, value_name = "PORT", help_heading = SOURCE)]
    pub endpoint_port: Option<String>,

    /// ssh host for the tunnel of fleetctl; not with --endpoint
    #[arg(short = 't', long, value_name = "HOST", help_heading = SOURCE)]
    pub tunnel: Option<String>,

    /// Port of that ssh server [default: 22]
    #[arg(long, value_name = "PORT", help_heading = SOURCE)]
    pub tunnel_port: Option<String>,

    /// auto, fleetctl, api, etcd or replay; auto selects fleetctl if --fleetctl or --tunnel is set,
    /// etcd if --etcd or --endpoint leads to one, the API if its socket exists, or else fleetctl
    /// [default: auto]
    #[arg(long, value_name = "SOURCE", help_heading = SOURCE)]
    pub source: Option<String>,

    /// Address of fleet's HTTP API, as unix://PATH or http://HOST:PORT [default:
    /// unix:///var/run/fleet.sock]
    #[arg(long, value_name = "ADDRESS", help_heading = SOURCE)]
    pub api: Option<String>,

    /// etcd members to watch, as http://HOST:PORT or https://HOST:PORT; not with --endpoint
    /// [default: for --source etcd, ports 2379 and 4001 of this host]
    #[arg(long, value_name = "LIST", help_heading = SOURCE)]
    pub etcd: Option<String>,

    /// Directory of fleet's registry in etcd [default: /_coreos.com/fleet]
    #[arg(long, value_name = "PATH", help_heading = SOURCE)]
    pub etcd_prefix: Option<String>,

    /// CA certificates (PEM) used to verify etcd [default: those of this host]
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub etcd_ca: Option<String>,

    /// TLS client certificate (PEM) for etcd; with --etcd-key
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub etcd_cert: Option<String>,

    /// Private key (PEM) of that certificate
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub etcd_key: Option<String>,

    /// etcd user; the password is in --etcd-password-file
    #[arg(long, value_name = "NAME", help_heading = SOURCE)]
    pub etcd_user: Option<String>,

    /// File with the password of that user
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub etcd_password_file: Option<String>,

    /// Seconds until a poll times out and its child processes are killed [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = SOURCE)]
    pub poll_timeout: Option<String>,

    /// Seconds that a unit is kept as stale if fleet wants it but does not report it; 0: show
    /// fleet's lists as they are [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = SOURCE)]
    pub grace: Option<String>,

    /// Seconds that a lost machine is remembered, with its units unless fleet schedules them
    /// elsewhere [default: 3600]
    #[arg(long, value_name = "SECONDS", help_heading = SOURCE)]
    pub keep_lost: Option<String>,

    /// Seconds that the latest events of a unit or machine are kept after it is gone; 0: no events
    /// of single units and machines [default: 86400]
    #[arg(long, value_name = "SECONDS", help_heading = SOURCE)]
    pub history: Option<String>,

    /// Other monitors of the same cluster to ask for their history at the start, as
    /// http://HOST:8989; this one itself may be among them [default: none]
    #[arg(long, value_name = "LIST", help_heading = SOURCE)]
    pub history_from: Option<String>,

    /// File with the token of these monitors [default: the token of --token-file]
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub history_token_file: Option<String>,

    /// Play the built-in recording of a real cluster, in a loop
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = SOURCE)]
    pub demo: Option<bool>,

    /// Append all readings to FILE; compressed unless its name ends in .jsonl
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub record: Option<String>,

    /// How much of the recording to keep: an age, a size or both, such as 24h,1GiB. Older parts are
    /// in files beside FILE, with the time in their names [default: all of it, in one file]
    #[arg(long, value_name = "AGE,SIZE", help_heading = SOURCE)]
    pub record_keep: Option<String>,

    /// Play a recording instead of watching a cluster
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub replay: Option<String>,

    /// Factor by which a recording is played faster [default: 1]
    #[arg(long, value_name = "FACTOR", help_heading = SOURCE)]
    pub replay_speed: Option<String>,

    /// Where to begin in a recording: a time such as 2026-11-27T14:30:00Z, a time of day in UTC
    /// such as 14:30, or a time since its beginning such as 15m [default: its beginning]
    #[arg(long, value_name = "TIME", help_heading = SOURCE)]
    pub from: Option<String>,

    /// Where to end, in the same way [default: its end]
    #[arg(long, value_name = "TIME", help_heading = SOURCE)]
    pub to: Option<String>,

    /// Seconds that something has to be wrong until it is a problem, also by kind, as in
    /// 30,failed=10,stale=300 [default: 30]
    #[arg(long, value_name = "LIST", help_heading = PROBLEMS)]
    pub problem_after: Option<String>,

    /// Alertmanagers to send each problem to, as http://HOST:9093; several are those of a cluster
    /// [default: none]
    #[arg(long, value_name = "LIST", help_heading = PROBLEMS)]
    pub alertmanager: Option<String>,

    /// Labels of all alerts, such as cluster=west,team=infra [default: none]
    #[arg(long, value_name = "LIST", help_heading = PROBLEMS)]
    pub alert_labels: Option<String>,

    /// URL to post to when a problem begins and when it ends
    #[arg(long, value_name = "URL", help_heading = PROBLEMS)]
    pub webhook: Option<String>,

    /// File with the secret that signs what is posted there
    #[arg(long, value_name = "FILE", help_heading = PROBLEMS)]
    pub webhook_secret_file: Option<String>,

    /// Address of the page, for links in alerts [default: http://, this host's name, and --port]
    #[arg(long, value_name = "URL", help_heading = PROBLEMS)]
    pub external_url: Option<String>,

    /// Port to listen on [default: 8989]
    #[arg(short = 'p', long, value_name = "PORT", help_heading = SERVER)]
    pub port: Option<String>,

    /// Address to listen on [default: all addresses]
    #[arg(long, value_name = "ADDRESS", help_heading = SERVER)]
    pub bind: Option<String>,

    /// Additional addresses to listen on, such as unix:///run/fleet-monitor.sock or 127.0.0.1:8990
    /// [default: none]
    #[arg(long, value_name = "LIST", help_heading = SERVER)]
    pub listen: Option<String>,

    /// changes: send a list when it has changed; polls: after every poll [default: changes]
    #[arg(long, value_name = "WHEN", help_heading = SERVER)]
    pub publish: Option<String>,

    /// Columns of units: unit, load, active, sub, machine, hash, dstate, target, global, desc,
    /// verdict, key (for the prototype's dashboard) [default: unit,load,active,sub,machine]
    #[arg(long, value_name = "LIST", help_heading = SERVER)]
    pub unit_fields: Option<String>,

    /// Columns of machines: machine, ip, metadata [default: machine,ip,metadata]
    #[arg(long, value_name = "LIST", help_heading = SERVER)]
    pub machine_fields: Option<String>,

    /// Units with their own metrics, as globs such as web@*.service [default: none]
    #[arg(long, value_name = "LIST", help_heading = SERVER)]
    pub metrics_units: Option<String>,

    /// Port of systemd-journal-gatewayd on the machines (19531), to show logs [default: no logs]
    #[arg(long, value_name = "PORT", help_heading = SERVER)]
    pub journal_port: Option<String>,
    /// Link to show for units and machines, as NAME=URL; the URL may have {unit}, {machine}, {ip},
    /// {prefix} and {instance}. May be repeated [default: none]
    #[arg(long = "link", value_name = "NAME=URL", help_heading = SERVER)]
    pub links: Option<Vec<String>>,
    /// Maximum number of units in trouble that the metrics name; 0: none [default: 1000]
    #[arg(long, value_name = "MAX", help_heading = SERVER)]
    pub metrics_troubled: Option<String>,

    /// Additional browser origins to allow, such as https://ops.example.com; *: all [default: none]
    #[arg(long, value_name = "LIST", help_heading = ACCESS)]
    pub allowed_origins: Option<String>,

    /// Additional host names to accept in requests; *: all [default: none]
    #[arg(long, value_name = "LIST", help_heading = ACCESS)]
    pub allowed_hosts: Option<String>,

    /// File with the token that every request must carry
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub token_file: Option<String>,

    /// Certificate (PEM) for HTTPS and WSS on all TCP ports; with --tls-key
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub tls_cert: Option<String>,

    /// The private key (PEM) of that certificate
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub tls_key: Option<String>,

    /// CA certificates (PEM); every client must have a certificate of one of them
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub tls_client_ca: Option<String>,

    /// Show unit files to clients: off, masked (values that look like secrets are hidden) or full;
    /// the flag alone means masked [default: off]
    #[arg(
        long,
        value_name = "WHAT",
        num_args = 0..=1,
        default_missing_value = "masked",
        help_heading = ACCESS
    )]
    pub unit_files: Option<String>,

    /// Maximum number of clients; more get status 503 [default: 10000]
    #[arg(long, value_name = "NUMBER", help_heading = ACCESS)]
    pub max_clients: Option<String>,

    /// error, warn, info, debug, trace, or a filter such as warn,fleet_monitor=debug [default:
    /// info]
    #[arg(long, value_name = "FILTER", help_heading = GENERAL)]
    pub log: Option<String>,

    /// journal, stderr, or auto: the journal if stderr is connected to it [default: auto]
    #[arg(long, value_name = "WHERE", help_heading = GENERAL)]
    pub log_to: Option<String>,

    /// Configuration file [default: /etc/fleet-monitor.toml]
    #[arg(long, value_name = "FILE", help_heading = GENERAL)]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print every value that is in force and where it comes from, and which source a start would
    /// select; then exit, with status 78 if a start would
    #[arg(long, help_heading = GENERAL)]
    #[serde(skip)]
    pub check_config: bool,

    /// With --check-config: file with environment variables, read as systemd reads EnvironmentFile=
    #[arg(long, value_name = "FILE", requires = "check_config", help_heading = GENERAL)]
    #[serde(skip)]
    pub env_file: Option<PathBuf>,

    /// `None`: the program is the daemon.
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<Command>,
}

const PLACES: &str = "\
Every option can be set in three places: --unit-freq 5 on the command line,
FLEET_MONITOR_UNIT_FREQ=5 in the environment, unit_freq = 5 in the
configuration file. --config cannot be set in the file, and --check-config and
--env-file only on the command line. The command line overrides the environment,
and the environment overrides the file. Lists are separated by commas. An empty
variable counts as not set.";

/// The flag that sets an option. A list whose items are given one by one has a flag for one.
fn flag(key: &str) -> String {
    match key {
        "links" => "--link".to_owned(),
        _ => format!("--{}", key.replace('_', "-")),
    }
}

/// Passes the options that were given to figment. Errors name an option by its flag, such as
/// `--unit-freq`.
impl Provider for Cli {
    fn metadata(&self) -> Metadata {
        Metadata::named("command line").interpolater(|_, keys| flag(&keys.join(".")))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut data = Serialized::defaults(self).data()?;
        for dict in data.values_mut() {
            dict.retain(|_, value| !matches!(value, Value::Empty(..)));
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use figment::Figment;

    use super::*;
    use crate::snapshots::assert_text;

    fn help() -> String {
        Cli::command().term_width(80).render_help().to_string()
    }

    fn parse(arguments: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(format!("fleet-monitor {arguments}").split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_flags_of_the_prototype_are_there() {
        let cli =
            parse("-p 1 -c fctl -m 2 -u 3 -e host --endpoint-port 4 --tunnel-port 5").unwrap();
        let expected = Cli {
            port: Some("1".into()),
            fleetctl: Some("fctl".into()),
            machine_freq: Some("2".into()),
            unit_freq: Some("3".into()),
            endpoint: Some("host".into()),
            endpoint_port: Some("4".into()),
            tunnel_port: Some("5".into()),
            ..Cli::default()
        };
        assert_eq!(cli, expected);
        assert_eq!(parse("-t host").unwrap().tunnel.as_deref(), Some("host"));
        assert_eq!(parse("-h").unwrap_err().kind(), ErrorKind::DisplayHelp);
        assert_eq!(parse("-V").unwrap_err().kind(), ErrorKind::DisplayVersion);
    }

    #[test]
    fn wrong_usage_is_refused_with_status_2() {
        for wrong in ["--no-such-flag", "-e a -t b", "--port", "stray", "-1", "--env-file f"] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_negative_number_is_the_value_of_an_option() {
        let cli = parse("-u -1 -p -1 --grace -0.5 --bind -1").unwrap();
        let expected = Cli {
            unit_freq: Some("-1".into()),
            port: Some("-1".into()),
            grace: Some("-0.5".into()),
            bind: Some("-1".into()),
            ..Cli::default()
        };
        assert_eq!(cli, expected);

        let command = Cli::command();
        let takes_a_value = |argument: &&clap::Arg| {
            argument.get_action().takes_values()
                && argument.get_num_args().is_none_or(|count| count.takes_values())
        };
        for argument in command.get_arguments().filter(takes_a_value) {
            let name = argument.get_long().unwrap();
            assert!(parse(&format!("--check-config --{name} -1")).is_ok(), "--{name}");
        }
    }

    #[test]
    fn unit_files_are_masked_unless_the_flag_says_otherwise() {
        let unit_files = |arguments| parse(arguments).unwrap().unit_files;
        assert_eq!(unit_files("--unit-files").as_deref(), Some("masked"));
        assert_eq!(unit_files("--unit-files --demo").as_deref(), Some("masked"));
        assert_eq!(unit_files("--unit-files=full").as_deref(), Some("full"));
        assert_eq!(unit_files("--unit-files full").as_deref(), Some("full"));
        assert_eq!(unit_files("--demo"), None);
    }

    #[test]
    fn what_was_not_given_is_absent() {
        assert_eq!(Cli::default().data().unwrap()[&Profile::Default], Dict::new());
        let given = parse("--demo --unit-freq 2 --config FILE --check-config").unwrap();
        let data = given.data().unwrap();
        assert_eq!(data[&Profile::Default].keys().collect::<Vec<_>>(), ["demo", "unit_freq"]);
        let figment = Figment::from(given);
        let metadata = figment.find_metadata("unit_freq").unwrap();
        assert_eq!(metadata.interpolate(&Profile::Default, &["unit_freq"]), "--unit-freq");
    }

    #[test]
    fn the_help_fits_80_columns() {
        for line in help().lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.ends_with("[default:"), "a default is torn: {line}");
        }
    }

    #[test]
    fn the_help_is_in_these_words() {
        assert_text("help", &help());
    }
}
