//! `fleet-monitor unit`: all that is known of some units.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

use super::connection::MonitorClient;
use super::{CommandError, actions_or_note, terminal};
use crate::cli::UnitOptions;
use crate::report::{ClusterState, rows_of_unit, unit_detail};

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
        let details = found
            .iter()
            .map(|rows| unit_detail(&state, rows, now, layout, &actions));
        details.collect::<Vec<_>>().join("\n")
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
