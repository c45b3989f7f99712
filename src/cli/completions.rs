//! Completions for shells, generated from the definition of the command line.
//!
//! The values of options are here for this purpose alone: an option accepts any text, and
//! [`crate::config`] validates it, so that an error can name the place where the value was set.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, CommandFactory, ValueHint};

use super::{Cli, Shell};

/// The verdicts of units that a check can count: all but `ok`.
const PROBLEMS: &[&str] = &[
    "failed",
    "crash_loop",
    "machine_lost",
    "unreported",
    "unscheduled",
    "ghost",
    "stale",
    "outdated",
];

/// The values of options that have a few words.
const VALUES: [(&str, &[&str]); 9] = [
    ("source", &["auto", "fleetctl", "api", "etcd", "replay"]),
    ("publish", &["changes", "polls"]),
    (
        "unit_fields",
        &[
            "unit", "load", "active", "sub", "machine", "hash", "dstate", "target", "global",
            "desc", "verdict", "key",
        ],
    ),
    ("machine_fields", &["machine", "ip", "metadata"]),
    ("unit_files", &["off", "masked", "full"]),
    ("log", &["error", "warn", "info", "debug", "trace"]),
    ("log_to", &["auto", "journal", "stderr"]),
    ("warning", PROBLEMS),
    ("critical", PROBLEMS),
];

/// Those of them that take several words, with commas between them.
const LISTS: [&str; 4] = ["unit_fields", "machine_fields", "warning", "critical"];

/// The completions of the program for a shell, as a script.
pub fn completions(shell: Shell) -> String {
    let mut command = Cli::command()
        .mut_args(with_values)
        .mut_subcommands(|command| command.mut_args(with_values));
    let mut script = Vec::new();
    clap_complete::generate(generator(shell), &mut command, "fleet-monitor", &mut script);
    let script = String::from_utf8(script).expect("the help is UTF-8");

    match shell {
        Shell::Bash => completed_for_bash(script),
        Shell::Fish | Shell::Zsh => script,
    }
}

fn generator(shell: Shell) -> clap_complete::Shell {
    match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    }
}

/// An argument with what may be offered for it: words, names of files, or nothing.
fn with_values(argument: Arg) -> Arg {
    if let Some(values) = values(argument.get_id().as_str()) {
        return argument.value_parser(PossibleValuesParser::new(values.iter().copied()));
    }

    let takes_no_value = argument.get_num_args().is_some_and(|count| !count.takes_values());
    if takes_no_value || !argument.get_action().takes_values() {
        return argument.action(ArgAction::SetTrue);
    }

    let value_names = argument.get_value_names().unwrap_or_default();
    let is_file = value_names.iter().any(|name| name == "FILE" || name == "COMMAND");
    if is_file {
        argument.value_hint(ValueHint::FilePath)
    } else {
        argument.value_hint(ValueHint::Other)
    }
}

fn values(id: &str) -> Option<&'static [&'static str]> {
    VALUES.iter().find(|(of, _)| *of == id).map(|(_, values)| *values)
}

/// The script for bash, improved in three places: in a list, what follows the last comma is
/// completed too; where nothing can be offered, bash does not offer files instead; and the cases of
/// the commands get the names by which the script looks for them (clap_complete 4.6.11 takes the
/// hyphen in the name of the program for the border of a command).
fn completed_for_bash(mut script: String) -> String {
    for values in LISTS.iter().filter_map(|list| values(list)) {
        let words = values.join(" ");
        let one_word = format!(r#"$(compgen -W "{words}" -- "${{cur}}")"#);
        let last_word =
            format!(r#"$(compgen -P "${{cur%"${{cur##*,}}"}}" -W "{words}" -- "${{cur##*,}}")"#);
        script = script.replace(&one_word, &last_word);
    }
    script
        .replace(" -o bashdefault -o default", "")
        .replace("fleet__subcmd__monitor", "fleet__monitor")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Command, Parser};

    use super::*;
    use crate::config::{self, Environment};
    use crate::feed::fields::{MachineField, UnitField};
    use crate::report::verdicts;
    use crate::source::selection::SourceChoice;

    #[test]
    fn every_value_that_is_offered_is_valid() {
        let of_the_daemon =
            ["publish", "unit_fields", "machine_fields", "unit_files", "log", "log_to"];

        for id in of_the_daemon {
            for value in values(id).unwrap() {
                let flag = format!("--{}", id.replace('_', "-"));
                let cli = Cli::parse_from(["fleet-monitor", "--config", "/dev/null", &flag, value]);
                let loaded = config::load(&cli, &Environment::default());
                assert_eq!(loaded.err(), None, "{flag} {value}");
            }
        }
    }

    #[test]
    fn all_values_are_offered() {
        let offered = |id| values(id).unwrap().iter().copied().collect::<BTreeSet<_>>();

        let sources = SourceChoice::NAMES.iter().map(|(name, _)| *name);
        assert_eq!(offered("source"), sources.collect());
        let units = UnitField::ALL.iter().map(|field| field.name());
        assert_eq!(offered("unit_fields"), units.collect());
        let machines = MachineField::ALL.iter().map(|field| field.name());
        assert_eq!(offered("machine_fields"), machines.collect());
        let problems = verdicts::names().filter(|name| *name != "ok");
        assert_eq!(offered("warning"), problems.collect());
    }

    #[test]
    fn every_table_names_arguments_that_exist() {
        let command = Cli::command();
        let commands = std::iter::once(&command).chain(command.get_subcommands());
        let ids: BTreeSet<&str> = commands
            .flat_map(Command::get_arguments)
            .map(|argument| argument.get_id().as_str())
            .collect();

        for id in VALUES.iter().map(|(id, _)| *id).chain(LISTS) {
            assert!(ids.contains(id), "{id}");
        }
    }
}
