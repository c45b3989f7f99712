//! Runs a command of the command line, and returns its exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use fleet_monitor::cli::{self, Command};
use fleet_monitor::client;

use crate::output::{exit_code_of_print, print_error};

/// Runs a command until it has printed everything.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Client(command) => client::run(command).unwrap_or_else(|error| {
            print_error(&error.to_string());
            ExitCode::from(client::CANNOT_TELL)
        }),
        Command::Completions(options) => {
            let script = cli::completions(options.shell);
            exit_code_of_print(io::stdout().write_all(script.as_bytes()))
        }
        Command::Man => {
            let written = cli::manual_page().and_then(|page| io::stdout().write_all(&page));
            exit_code_of_print(written)
        }
    }
}
