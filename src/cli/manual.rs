//! The manual page, generated from the definition of the command line.

use std::io;

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::Cli;

/// Sections that are not in the help, each with pairs of a term and its meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 4] = [
    (
        "FILES",
        &[
            (
                "/etc/fleet-monitor.toml",
                "The configuration file, with every option and its default. It is optional.",
            ),
            (
                "/etc/fleet-monitor.env",
                "Environment variables for fleet-monitor.service, one NAME=value per line; \
                 --check-config --env-file shows their effect.",
            ),
            (
                "/run/fleet-monitor",
                "Belongs to the user of fleet-monitor.service: the place for a socket of --listen.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "FLEET_MONITOR_KEY",
                "Sets an option, such as FLEET_MONITOR_UNIT_FREQ=5 for --unit-freq 5.",
            ),
            ("FLEET_MONITOR_CONFIG", "The configuration file, like --config."),
            ("FLEET_MONITOR_URL", "The monitor that a command asks, like --url."),
            (
                "FLEET_MONITOR_CA, FLEET_MONITOR_CERT, FLEET_MONITOR_KEY",
                "The files for TLS with that monitor, like --ca, --cert and --key.",
            ),
            (
                "FLEET_MONITOR_TOKEN_FILE",
                "The file with the token: that the daemon requires, and that a command sends.",
            ),
            ("NO_COLOR", "Without --color, the output of a command has no colours."),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC",
                "From systemd: the socket for readiness and status, and the interval of the \
                 watchdog.",
            ),
            (
                "LISTEN_FDS, LISTEN_PID",
                "From systemd: the sockets to listen on, instead of port and bind.",
            ),
            (
                "JOURNAL_STREAM",
                "From systemd: whether standard error is connected to the journal.",
            ),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            (
                "0",
                "It was stopped by a signal, or it printed its help, version or configuration.",
            ),
            ("1", "Any other error, such as a port that is in use."),
            ("2", "Wrong usage of the command line."),
            (
                "78",
                "The configuration is wrong; standard error says why. A restart does not help.",
            ),
            ("status", "0: all is well. 1: something is wrong."),
            ("unit", "0: fleet has all these units. 1: it lacks one."),
            (
                "logs",
                "0: the log was read. 1: there is no such unit, or its log cannot be read on any \
                 machine.",
            ),
            ("check", "0: OK. 1: WARNING. 2: CRITICAL."),
            (
                "status, watch, unit, logs, check",
                "3: nothing can be said; there is no monitor, or it cannot read fleet.",
            ),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGHUP",
                "Reads the configuration again. A wrong one is rejected, and the current one is \
                 kept.",
            ),
            ("SIGTERM, SIGINT", "Closes all connections and exits within five seconds."),
        ],
    ),
];

/// The manual page of the program, in roff.
///
/// # Errors
///
/// Never: writing to memory cannot fail.
pub fn manual_page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone())
        .title("fleet-monitor")
        .manual("fleet-monitor");
    let mut page = Vec::new();

    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    // The whole list of options would come here, and once more below.
    let mut synopsis = Roff::new();
    synopsis
        .control("SH", ["SYNOPSIS"])
        .text([bold("fleet-monitor"), roman(" [OPTIONS]")])
        .control("br", [])
        .text([bold("fleet-monitor"), roman(" COMMAND [OPTIONS]")]);
    synopsis.to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;

    let mut rest = Roff::new();
    let places = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    rest.control("SH", ["CONFIGURATION"]).text([roman(places)]);
    describe_commands(&command, &mut rest);
    for (title, entries) in SECTIONS {
        rest.control("SH", [title]);
        for (what, meaning) in entries {
            rest.control("TP", []).text([bold(*what)]).text([roman(*meaning)]);
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("fleetctl"), roman("(1), "), bold("systemd.service"), roman("(5), ")]);
    rest.text([bold("systemd.socket"), roman("(5), "), bold("journalctl"), roman("(1)")]);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// A section with each command, its arguments and its options.
fn describe_commands(program: &Command, page: &mut Roff) {
    page.control("SH", ["COMMANDS"]);
    page.text([roman("With a command, the program is not the daemon.")]);

    for command in program
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        let usage = command.clone().render_usage().to_string();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.control("SS", [command.get_name()]);
        page.text([bold(usage.trim_start_matches("Usage: "))]);
        page.control("PP", []).text([roman(format!("{about}."))]);

        for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
            describe_argument(argument, page);
        }
    }
}

fn describe_argument(argument: &Arg, page: &mut Roff) {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let name = (!names.is_empty()).then(|| bold(names.join(", ")));
    let takes_values = argument.get_num_args().is_some_and(|count| count.takes_values());
    let value = argument
        .get_value_names()
        .filter(|_| takes_values)
        .unwrap_or_default()
        .join(" ");
    let space = if name.is_some() && takes_values { " " } else { "" };

    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if takes_values && !possible.is_empty() {
        help += &format!(" [possible values: {}]", possible.join(", "));
    }
    for default in argument.get_default_values().iter().filter(|_| takes_values) {
        help += &format!(" [default: {}]", default.display());
    }

    page.control("TP", []);
    page.text(
        name.into_iter()
            .chain([roman(space), italic(value)])
            .collect::<Vec<_>>(),
    );
    page.text([roman(help)]);
}
