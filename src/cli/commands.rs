//! The commands, with their options. Without a command, the program is the daemon.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The variable that sets `--url`, unless it is empty.
pub const URL_VARIABLE: &str = "FLEET_MONITOR_URL";

/// The variable that sets `--token-file`, unless it is empty. It is also one of the daemon, which
/// requires the same token.
pub const TOKEN_FILE_VARIABLE: &str = "FLEET_MONITOR_TOKEN_FILE";

/// The variable that sets `--ca`, unless it is empty.
pub const CA_VARIABLE: &str = "FLEET_MONITOR_CA";

/// The variable that sets `--cert`, unless it is empty.
pub const CERT_VARIABLE: &str = "FLEET_MONITOR_CERT";

/// The variable that sets `--key`, unless it is empty.
pub const KEY_VARIABLE: &str = "FLEET_MONITOR_KEY";

/// The monitor that is asked if neither `--url` nor its variable is set.
pub const DEFAULT_URL: &str = "http://localhost:8989";

/// A command.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One that shows a running monitor.
    #[command(flatten)]
    Client(Box<ClientCommand>),
    /// Print the completions for a shell
    Completions(CompletionsOptions),
    /// Print the manual page, for man -l -
    Man,
}

/// A command that shows a running monitor.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    /// Show the state of the cluster: what is wrong, machines, the age of the data
    Status(StatusOptions),
    /// Show the cluster live, on the whole screen; or one line per event
    Watch(WatchOptions),
    /// Show all that is known of some units
    Unit(UnitOptions),
    /// Show the log of a unit, from the machines that run it or ran it before
    Logs(LogsOptions),
    /// Check the cluster for Nagios, Icinga, Sensu or Consul
    Check(CheckOptions),
}

/// How to connect to the monitor.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// The monitor: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default:
    /// $FLEET_MONITOR_URL, or http://localhost:8989]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// File with the token that the monitor requires [default: $FLEET_MONITOR_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// CA certificates (PEM) to verify the monitor with [default: $FLEET_MONITOR_CA, or this
    /// host's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Certificate (PEM) for a monitor that requires one; with --key [default:
    /// $FLEET_MONITOR_CERT]
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// The private key (PEM) of that certificate [default: $FLEET_MONITOR_KEY]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// When output is coloured.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How times are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChoice {
    /// How long ago they were
    Relative,
    /// In the time zone of this terminal, and how long ago
    Local,
    /// In UTC, and how long ago
    Utc,
}

/// `fleet-monitor status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StatusOptions {
    /// Show only what matches, such as state:failed or machine:10.0.0.1
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,

    /// List every unit
    #[arg(long)]
    pub all: bool,

    /// Print JSON: the object of /v2/state
    #[arg(long, conflicts_with = "all")]
    pub json: bool,

    /// How times are written [default: utc, or relative on less than 100 columns]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub time: Option<TimeChoice>,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,

    /// The monitor to ask.
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// `fleet-monitor watch`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Show only what matches, such as state:failed or machine:10.0.0.1
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,

    /// Print one line per event, as into a pipe
    #[arg(long)]
    pub plain: bool,

    /// How times are written at first; the key t changes it [default: relative]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub time: Option<TimeChoice>,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,

    /// The monitor to ask.
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// `fleet-monitor unit`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UnitOptions {
    /// Names of units; .service may be left out
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    /// Print the unit file, and what differs on machines that run another version; the monitor
    /// needs --unit-files
    #[arg(long, conflicts_with = "json")]
    pub file: bool,

    /// Print JSON: the rows of /v2/state
    #[arg(long)]
    pub json: bool,

    /// How times are written [default: utc]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub time: Option<TimeChoice>,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,

    /// The monitor to ask.
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// `fleet-monitor logs`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LogsOptions {
    /// Name of the unit; .service may be left out
    #[arg(value_name = "UNIT")]
    pub unit: String,

    /// Show only lines whose message has these words, and none of those after a -, such as
    /// -- timeout -GET
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,

    /// Go on with what is written from now on, also after the unit has moved
    #[arg(short, long)]
    pub follow: bool,

    /// Begin with so many of the last lines
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 200)]
    pub lines: u32,

    /// Show only the log on this machine: its ID or its address
    #[arg(long, value_name = "MACHINE")]
    pub machine: Option<String>,

    /// Print JSON: one object per line, as /v2/logs sends it
    #[arg(long)]
    pub json: bool,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,

    /// The monitor to ask.
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// `fleet-monitor check`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Check only what matches, such as unit:web@* or machine:10.0.0.1
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,

    /// What is a warning: VERDICT, VERDICT=COUNT (the least number of units), or COUNT for all
    /// verdicts together [default, without --critical: 1]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub warning: Vec<String>,

    /// What is critical [default, without --warning: failed,crash_loop,machine_lost,
    /// unreported]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub critical: Vec<String>,

    /// Count a unit if its verdict has lasted for so many seconds [default: if it has a problem,
    /// as the --problem-after of the monitor defines it]
    #[arg(long = "for", value_name = "SECONDS")]
    pub lasting: Option<u64>,

    /// The monitor to ask.
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// `fleet-monitor completions`
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell for which there are completions.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// For ~/.local/share/bash-completion/completions/fleet-monitor
    Bash,
    /// For ~/.config/fish/completions/fleet-monitor.fish
    Fish,
    /// For a file _fleet-monitor in a directory of $fpath
    Zsh,
}
