//! Generates the installed files that depend on the options: the configuration file, the man page
//! and the shell completions; and Debian's changelog, from `CHANGELOG.md`. `cargo run --example
//! generate-packaging [DIRECTORY]`; the default directory is `packaging`.
//!
//! Names and help come from the definition of the command line, default values from the
//! configuration.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io::{self, Error};
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};
use fleet_monitor::cli::{self, Cli, Shell};
use fleet_monitor::config;
use jiff::civil::Date;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

/// Options that cannot be set in the file.
const NOT_IN_THE_FILE: [&str; 5] = ["config", "check_config", "env_file", "help", "version"];

/// Examples for options without a default.
const EXAMPLES: [(&str, &str); 25] = [
    ("fleetctl", "/opt/bin/fleetctl"),
    ("endpoint", "172.17.8.101"),
    ("tunnel", "bastion.example.com"),
    ("api", "http://172.17.8.101:49153"),
    ("etcd", "https://172.17.8.101:2379,https://172.17.8.102:2379"),
    ("etcd_ca", "/etc/ssl/etcd/ca.pem"),
    ("etcd_cert", "/etc/ssl/etcd/fleet-monitor.pem"),
    ("etcd_key", "/etc/ssl/etcd/fleet-monitor-key.pem"),
    ("etcd_user", "fleet-monitor"),
    ("etcd_password_file", "/etc/fleet-monitor.etcd-password"),
    ("history_token_file", "/etc/fleet-monitor.history-token"),
    ("record", "/var/lib/fleet-monitor/recording"),
    ("record_keep", "24h,1GiB"),
    ("replay", "/var/lib/fleet-monitor/recording"),
    ("from", "14:30"),
    ("to", "15:00"),
    ("webhook", "https://hooks.example.com/fleet"),
    ("webhook_secret_file", "/etc/fleet-monitor.webhook-secret"),
    ("external_url", "https://fleet.example.com"),
    ("bind", "127.0.0.1"),
    ("journal_port", "19531"),
    ("token_file", "/etc/fleet-monitor.token"),
    ("tls_cert", "/etc/ssl/fleet-monitor/cert.pem"),
    ("tls_key", "/etc/ssl/fleet-monitor/key.pem"),
    ("tls_client_ca", "/etc/ssl/fleet-monitor/clients.pem"),
];

/// What an option needs if it is set for the service.
const OF_THE_SERVICE: [(&str, &str); 11] = [
    (
        "port",
        "If fleet-monitor.socket is active, it sets the address, and port and bind are ignored.",
    ),
    (
        "listen",
        "The service may create sockets in /run/fleet-monitor; members of its group may connect.",
    ),
    (
        "links",
        "In this file each is a table: links = [{ name = \"Logs\", url = \"https://logs.example/{unit}\" }]",
    ),
    ("etcd_key", "The service's user must be able to read it."),
    (
        "etcd_password_file",
        "The service's user must be able to read it; a credential named etcd-password is preferred.",
    ),
    ("record", "The directory must be in ReadWritePaths= of the service."),
    ("webhook_secret_file", "The service's user must be able to read it."),
    ("token_file", "The service's user must be able to read it."),
    ("tls_key", "The service's user must be able to read it."),
    ("max_clients", "LimitNOFILE= of the service must be larger."),
    ("log_to", "fleet-monitor.service sets it to journal."),
];

const HEAD: &str = "\
# The configuration of fleet-monitor. Each line that begins with #key shows a default. Options without a default have
# an example.
#
# An option can also be set as FLEET_MONITOR_KEY in the environment, or as --key on the command line (with - for _).
# Both override this file. `fleet-monitor --check-config` prints every value that is in force and where it comes from.
# After a change: `systemctl reload fleet-monitor`. The log names the options that take effect after a restart.
";

fn main() -> io::Result<()> {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let directory = env::args_os().nth(1).map_or_else(here, PathBuf::from);
    let mut command = Cli::command();
    command.build();

    put(&directory.join("etc/fleet-monitor.toml"), configuration(&command)?.as_bytes())?;
    put(&directory.join("man/fleet-monitor.1"), &cli::manual_page()?)?;
    for (shell, name) in [
        (Shell::Bash, "fleet-monitor.bash"),
        (Shell::Zsh, "_fleet-monitor"),
        (Shell::Fish, "fleet-monitor.fish"),
    ] {
        let script = cli::completions(shell);
        put(&directory.join("completions").join(name), script.as_bytes())?;
    }

    let changelog = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md");
    let changelog = debian_changelog(&fs::read_to_string(changelog)?)?;
    put(&directory.join("debian/changelog"), changelog.as_bytes())
}

/// Debian's changelog, with the releases in `CHANGELOG.md`: the headings `## [VERSION] - DATE`.
fn debian_changelog(changelog: &str) -> io::Result<String> {
    let mut text = String::new();
    for line in changelog.lines() {
        let Some((version, date)) = line
            .strip_prefix("## [")
            .and_then(|heading| heading.split_once("] - "))
        else {
            continue;
        };

        let date: Date = date
            .parse()
            .map_err(|error| Error::other(format!("CHANGELOG.md: {line}: {error}")))?;
        let noon = date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).map_err(Error::other)?;
        let _ = write!(
            text,
            "fleet-monitor ({version}-1) unstable; urgency=medium\n\n  \
             * What is new is in CHANGELOG.md.\n\n \
             -- The fleet-monitor authors <maintainers@fleet-monitor.invalid>  {}\n\n",
            rfc2822::to_string(&noon).map_err(Error::other)?
        );
    }

    let version = env!("CARGO_PKG_VERSION");
    if !text.starts_with(&format!("fleet-monitor ({version}-1) ")) {
        return Err(Error::other(format!("CHANGELOG.md: its newest release is not {version}")));
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    let failed = |error: Error| {
        Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
    };
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content))
        .map_err(failed)
}

fn configuration(command: &Command) -> io::Result<String> {
    let empty_file = [("FLEET_MONITOR_CONFIG".into(), "/dev/null".into())];
    let environment = config::environment(empty_file).map_err(Error::other)?;
    let (_, settings) = config::load(&Cli::default(), &environment).map_err(Error::other)?;
    let mut text = HEAD.to_owned();
    let mut heading = None;

    for option in command
        .get_arguments()
        .filter(|option| !NOT_IN_THE_FILE.contains(&option.get_id().as_str()))
    {
        let key = option.get_id().as_str();
        let setting = settings.options.iter().find(|setting| setting.key == key);
        let setting =
            setting.ok_or_else(|| Error::other(format!("--{key} is no option of the file")))?;
        if heading != option.get_help_heading() {
            heading = option.get_help_heading();
            text += &format!("\n\n# {}\n", heading.unwrap_or_default());
        }

        let mut comment = help(option, setting.value.is_some());
        if let Some((_, note)) = OF_THE_SERVICE.iter().find(|(of, _)| *of == key) {
            comment += &format!(" {note}");
        }

        text += &format!("\n{}", filled(&comment));
        text += &match (&setting.value, EXAMPLES.iter().find(|(of, _)| *of == key)) {
            (Some(value), _) => format!("#{key} = {value}\n"),
            (None, Some((_, example))) => format!("# Example: {key} = \"{example}\"\n"),
            (None, None) => {
                return Err(Error::other(format!("{key} has neither a default nor an example")));
            }
        };
    }
    Ok(text)
}

/// The help of an option as a sentence, with its default unless the next line shows that.
fn help(option: &Arg, shown: bool) -> String {
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    let (what, default) = match help.split_once(" [default: ") {
        Some((what, default)) => (what, default.trim_end_matches(']')),
        None => (&*help, ""),
    };
    let what = what.trim_end_matches('.');
    if shown || default.is_empty() {
        format!("{what}.")
    } else {
        format!("{what}. Without it: {default}.")
    }
}

/// As lines of comment, 100 columns wide at most.
fn filled(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            lines += &format!("{line}\n");
            line = "#".to_owned();
        }
        line += &format!(" {word}");
    }
    lines + &line + "\n"
}
