//! The commands that show a running fleet-monitor in a terminal: `status`, `watch`, `unit`,
//! `logs`, `check`.
//!
//! They use the public protocol alone. They know neither the server nor how it decides.

mod address;
mod check;
mod connection;
mod event_stream;
mod logs;
mod server_options;
mod status;
mod stdio;
mod subscription;
mod terminal;
mod unit;
mod watch;

use std::io;
use std::process::ExitCode;

use self::connection::{ClientError, MonitorClient};
use self::stdio::print_note;
use crate::actions::Actions;
use crate::cli::ClientCommand;
use crate::net::tls::{NoHostRoots, TlsFileError};

/// The exit status if nothing can be said: there is no monitor, or its source is down. Nagios calls
/// it UNKNOWN.
pub const CANNOT_TELL: u8 = 3;

/// Why a command cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The monitor gave no valid answer.
    #[error(transparent)]
    Client(Box<dyn std::error::Error + Send + Sync>),
    /// An option is wrong.
    #[error("{option} {value:?}: {problem}")]
    Option {
        /// The option, or the variable that sets it.
        option: &'static str,
        /// Its value; empty for a file's content.
        value: String,
        /// What is wrong.
        problem: String,
    },
    /// A file for TLS cannot be used.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// There are no CA certificates to verify the monitor with.
    #[error(transparent)]
    NoRoots(#[from] NoHostRoots),
    /// The output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        CommandError::Client(Box::new(error))
    }
}

/// Runs a command until it has printed everything. Returns the exit status.
///
/// # Errors
///
/// If nothing can be said about the cluster.
pub fn run(command: &ClientCommand) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Output)?;

    let result = runtime.block_on(async {
        match command {
            ClientCommand::Status(options) => status::run(options).await,
            ClientCommand::Unit(options) => unit::run(options).await,
            ClientCommand::Logs(options) => logs::run(options).await,
            ClientCommand::Check(options) => check::run(options).await,
            ClientCommand::Watch(options) => watch::run(options).await,
        }
    });
    match result {
        // Whoever closed the pipe knows that output is missing.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        other => other,
    }
}

/// What can be done next, in addition to a state that has been read. Without it, the state is
/// printed all the same.
async fn actions_or_note(server: &MonitorClient) -> Actions {
    server.actions().await.unwrap_or_else(|error| {
        // What is worth printing is on standard output.
        print_note(&format!("no next steps: {error}"));
        Actions::default()
    })
}

/// The query of a request with a filter, of whose terms each is an argument.
fn query(filter: &[String]) -> String {
    if filter.is_empty() {
        return String::new();
    }
    form_urlencoded::Serializer::new(String::new())
        .append_pair("filter", &filter.join(" "))
        .finish()
}
