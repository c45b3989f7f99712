//! `fleet-monitor status`: the state of the cluster, once.

use std::io::{self, Write};
use std::process::ExitCode;

use super::CommandError;
use super::connection::Server;
use crate::cli::StatusOptions;
use crate::report::ClusterState;

/// Reads the state, and prints it.
pub(super) async fn run(options: &StatusOptions) -> Result<ExitCode, CommandError> {
    let server = Server::from_options(&options.connection)?;
    let filter = options.filter.join(" ");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("filter", &filter)
        .finish();
    let document = server.state(if filter.is_empty() { "" } else { &query }).await?;

    let state = ClusterState::from(document);
    let wrong = state.units.values().filter(|unit| !unit.is_ok()).count();
    writeln!(io::stdout(), "{} units, {wrong} with problems", state.units.len())?;
    Ok(ExitCode::from(u8::from(wrong > 0)))
}
