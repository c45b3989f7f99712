//! `fleet-monitor unit`: all that is known of some units.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

use super::connection::{ClientError, MonitorClient};
use super::{CommandError, actions_or_note, terminal};
use crate::cli::UnitOptions;
use crate::report::{ClusterState, HistoryDocument, rows_of_unit, unit_detail};

/// The exit status if a unit does not exist.
const NOT_FOUND: u8 = 1;

/// Prints each unit, one after the other.
pub(super) async fn run(options: &UnitOptions) -> Result<ExitCode, CommandError> {
    let server = MonitorClient::from_options(&options.connection)?;
    let document = server.state("").await?;
    let now = document.time;
    let state = ClusterState::from(document);
    let layout = terminal::layout(options.color);

    let mut missing = Vec::new();
    let mut found = Vec::new();
    let names: BTreeSet<&String> = options.names.iter().collect();
    for name in names {
        let rows = rows_of_unit(&state, name);
        if rows.is_empty() {
            missing.push(name);
        } else {
            found.push(rows);
        }
    }

    let text = if options.json {
        let rows: Vec<_> = found.into_iter().flatten().collect();
        serde_json::to_string_pretty(&rows).map_err(io::Error::other)? + "\n"
    } else {
        let actions = actions_or_note(&server).await;
        let mut details = Vec::new();
        for rows in &found {
            let history = history(&server, &state, &rows[0].unit).await?;
            details.push(unit_detail(&state, rows, &history, now, layout, &actions));
        }
        details.join("\n")
    };
    io::stdout().write_all(text.as_bytes())?;
    io::stdout().flush()?;

    for name in &missing {
        writeln!(io::stderr(), "fleet-monitor: fleet has no unit {name}")?;
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_FOUND)
    })
}

/// The history of a unit. A server that is older, or keeps none, has only the newest events of the
/// whole cluster.
async fn history(
    server: &MonitorClient,
    state: &ClusterState,
    unit: &str,
) -> Result<HistoryDocument, ClientError> {
    match server.history(unit).await {
        Err(ClientError::Refused { .. }) => Ok(HistoryDocument::from_events(state, unit)),
        answer => answer,
    }
}
