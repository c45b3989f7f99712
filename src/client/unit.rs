//! `fleet-monitor unit`: all that is known of some units, or their unit files.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

use super::connection::{ClientError, MonitorClient};
use super::{CommandError, actions_or_note, terminal};
use crate::cli::UnitOptions;
use crate::report::{
    ClusterState, HistoryDocument, Layout, TimeFormat, Times, UnitRow, rows_of_unit, unit_detail,
    unit_file,
};

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

    let text = if options.file {
        files(&server, &state, &found, layout).await?
    } else if options.json {
        let rows: Vec<_> = found.into_iter().flatten().collect();
        serde_json::to_string_pretty(&rows).map_err(io::Error::other)? + "\n"
    } else {
        let format = options.time.map_or(TimeFormat::Utc, terminal::time_format);
        let times = Times::new(now, format, &terminal::time_zone());
        let actions = actions_or_note(&server).await;
        let mut details = Vec::new();
        for rows in &found {
            let history = history(&server, &state, &rows[0].unit).await?;
            details.push(unit_detail(&state, rows, &history, &times, layout, &actions));
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

/// The files of these units. If there are several, each has its name above it.
async fn files(
    server: &MonitorClient,
    state: &ClusterState,
    found: &[Vec<&UnitRow>],
    layout: Layout,
) -> Result<String, CommandError> {
    let mut texts = Vec::new();
    let mut is_masked = false;

    for unit in found.iter().filter_map(|rows| rows.first()).map(|row| &row.unit) {
        let file = server.unit_file(unit).await?;
        is_masked |= file.masked;
        let text = unit_file(state, &file, layout);
        texts.push(if found.len() > 1 {
            format!("# {unit}\n\n{text}")
        } else {
            text
        });
    }

    // Not in the output, which may be saved as a unit file.
    if is_masked {
        writeln!(io::stderr(), "fleet-monitor: values that look like secrets are masked")?;
    }
    Ok(texts.join("\n"))
}
