//! The `fleet-monitor` program: reads the command line, runs the daemon, returns an exit status.

mod command;
mod output;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use fleet_monitor::cli::Cli;
use fleet_monitor::daemon::{self, Failure};
use fleet_monitor::{config, telemetry};
use output::{EXIT_TIMEOUT, exit_code_of_print, print_error, write_with_timeout};

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
        return command::run(command);
    }

    match start(&cli) {
        Ok(status) => status,
        Err(failure) => {
            print_error(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn start(cli: &Cli) -> Result<ExitCode, Failure> {
    let wrong = |errors: config::ConfigErrors| Failure::Config(errors.to_string());
    let mut environment = config::environment(std::env::vars_os()).map_err(wrong)?;
    if let Some(file) = &cli.env_file {
        environment.add_file(file).map_err(wrong)?;
    }
    let (config, settings) = config::load(cli, &environment).map_err(wrong)?;

    if cli.check_config {
        let mut report = config::report(&settings, &environment);
        let checked = run(daemon::check(&config, &environment));
        report.extend(checked.iter().map(|source| format!("# selected source: {source}\n")));
        let printed = exit_code_of_print(io::stdout().write_all(report.as_bytes()));
        return checked.map(|_| printed);
    }

    let files = daemon::raise_open_files()?;
    let log = telemetry::start(config.log_to, &config.log).map_err(Failure::System)?;
    if let Some(ignored) = environment.ignored() {
        tracing::info!("{ignored}");
    }

    run(daemon::run(cli, &environment, config, files, log)).map(|()| ExitCode::SUCCESS)
}

fn run<T>(task: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Failure::System(format!("cannot start the asynchronous runtime: {error}"))
    })?;

    let result = runtime.block_on(task);
    runtime.shutdown_timeout(EXIT_TIMEOUT);
    result
}
