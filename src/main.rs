//! The `fleet-monitor` program: reads the command line, runs the daemon, returns an exit status.

mod output;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use fleet_monitor::cli::Cli;
use fleet_monitor::daemon::{self, Failure};
use fleet_monitor::server::open_files::OpenFileLimit;
use fleet_monitor::{client, config, telemetry};
use output::{EXIT_TIMEOUT, exit_code_of_print, print_error, write_with_timeout};

/// The exit status after a wrong configuration: `EX_CONFIG` of `sysexits(3)`. The service unit has
/// it in `RestartPreventExitStatus=`, so systemd does not restart the program.
const EX_CONFIG: u8 = 78;

/// The exit status after wrong usage of the command line, the same as clap's own.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) if usage.use_stderr() => {
            write_with_timeout(move || usage.print());
            return ExitCode::from(USAGE);
        }
        Err(help) => return exit_code_of_print(help.print()),
    };

    if let Some(command) = &cli.command {
        return client::run(command).unwrap_or_else(|error| {
            print_error(&error.to_string());
            ExitCode::from(client::CANNOT_TELL)
        });
    }

    match start(&cli) {
        Ok(status) => status,
        Err(failure) => {
            print_error(&failure.to_string());

            match failure {
                Failure::Config(_) => ExitCode::from(EX_CONFIG),
                Failure::System(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn start(cli: &Cli) -> Result<ExitCode, Failure> {
    let wrong = |errors: config::ConfigErrors| Failure::Config(errors.to_string());
    let environment = config::environment(std::env::vars_os()).map_err(wrong)?;
    let (config, settings) = config::load(cli, &environment.variables).map_err(wrong)?;

    if cli.check_config {
        let mut report = config::report(&settings);
        if let Some(ignored) = environment.ignored() {
            report += &format!("# {ignored}\n");
        }
        return Ok(exit_code_of_print(io::stdout().write_all(report.as_bytes())));
    }

    if let Some(too_few) = OpenFileLimit::raise().too_low_error() {
        return Err(Failure::Config(too_few));
    }

    let log = telemetry::start(config.log_to, &config.log).map_err(Failure::System)?;
    if let Some(ignored) = environment.ignored() {
        tracing::info!("{ignored}");
    }

    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Failure::System(format!("cannot start the asynchronous runtime: {error}"))
    })?;
    let ended = runtime.block_on(daemon::run(cli, &environment.variables, config, log));
    runtime.shutdown_timeout(EXIT_TIMEOUT);
    ended.map(|()| ExitCode::SUCCESS)
}
