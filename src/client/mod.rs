//! The commands that show a running fleet-monitor in a terminal: `status`, `watch`, `unit`,
//! `check`.
//!
//! They use the public protocol alone. They know neither the server nor how it decides.

mod address;
mod check;
mod connection;
mod event_stream;
mod status;
mod terminal;
mod unit;
mod watch;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use hyper::header::HeaderValue;

use self::address::ServerAddress;
use self::connection::{ClientError, Server};
use crate::cli::{Command, ConnectionOptions};

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
pub fn run(command: &Command) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Output)?;

    let result = runtime.block_on(async {
        match command {
            Command::Status(options) => status::run(options).await,
            Command::Unit(options) => unit::run(options).await,
            Command::Check(options) => check::run(options).await,
            Command::Watch(options) => watch::run(options).await,
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

/// The query of a request with a filter, of whose terms each is an argument.
fn query(filter: &[String]) -> String {
    if filter.is_empty() {
        return String::new();
    }
    form_urlencoded::Serializer::new(String::new())
        .append_pair("filter", &filter.join(" "))
        .finish()
}

impl Server {
    /// The server that the options name.
    fn from_options(options: &ConnectionOptions) -> Result<Self, CommandError> {
        let address: ServerAddress =
            options.url.parse().map_err(|problem| CommandError::Option {
                option: "--url",
                value: options.url.clone(),
                problem: format!("{problem}"),
            })?;
        let token = options.token_file.as_deref().map(read_token).transpose()?;

        Ok(Self { address, token })
    }
}

/// The header `Authorization` with the token from a file.
fn read_token(path: &Path) -> Result<HeaderValue, CommandError> {
    let wrong = |problem: String| CommandError::Option {
        option: "--token-file",
        value: path.display().to_string(),
        problem,
    };

    let text =
        fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("expected one line of visible ASCII characters".to_owned()));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|error| wrong(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}
