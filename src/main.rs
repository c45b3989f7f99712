//! The `fleet-monitor` program: from the command line to an exit status.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fleet_monitor::cli::Cli;
use fleet_monitor::daemon::{self, Failure};
use fleet_monitor::{config, telemetry};

/// Wrong configuration, `EX_CONFIG` of `sysexits(3)`; the unit's `RestartPreventExitStatus=`.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                eprintln!("fleet-monitor: {line}");
            }
            match failure {
                Failure::Config(_) => ExitCode::from(EX_CONFIG),
                Failure::System(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn start(cli: &Cli) -> Result<(), Failure> {
    let wrong = |errors: config::ConfigErrors| Failure::Config(errors.to_string());
    let environment = config::environment(std::env::vars_os()).map_err(wrong)?;
    let (config, settings) = config::load(cli, &environment.variables).map_err(wrong)?;
    if cli.check_config {
        print!("{}", config::report(&settings));
        if let Some(ignored) = environment.ignored() {
            println!("# {ignored}");
        }
        return Ok(());
    }
    let log = telemetry::start(config.log_to, &config.log).map_err(Failure::System)?;
    if let Some(ignored) = environment.ignored() {
        tracing::info!("{ignored}");
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::System(format!("cannot start the asynchronous runtime: {error}")))?;
    let ended = runtime.block_on(daemon::run(cli, &environment.variables, config, log));
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}
