//! `fleet-monitor status`: the state of the cluster, once.

use std::io::{self, Write};
use std::process::ExitCode;

use super::connection::MonitorClient;
use super::{CANNOT_TELL, CommandError, actions_or_note, query, terminal};
use crate::cli::StatusOptions;
use crate::report::{
    Assessment, ClusterState, ShownUnits, StateDocument, Times, fitting_format, overview,
};

/// The exit status if something is wrong.
const WRONG: u8 = 1;

/// Reads the state, and prints it.
pub(super) async fn run(options: &StatusOptions) -> Result<ExitCode, CommandError> {
    let server = MonitorClient::from_options(&options.connection)?;
    let body = server.get("/v2/state", &query(&options.filter)).await?;
    let document: StateDocument =
        serde_json::from_slice(&body).map_err(|error| server.not_fleet_monitor(&error))?;
    let now = document.time;
    let state = ClusterState::from(document);

    let text = if options.json {
        body
    } else {
        let units = if options.all {
            ShownUnits::All
        } else {
            ShownUnits::Problems
        };
        let mut layout = terminal::layout(options.color);
        if options.all {
            layout.height = None;
        }
        let format = options.time.map_or(fitting_format(layout), terminal::time_format);
        let times = Times::new(now, format, &terminal::time_zone());
        let actions = actions_or_note(&server).await;
        overview(&state, &times, units, layout, &actions).into_bytes()
    };
    io::stdout().write_all(&text)?;
    io::stdout().flush()?;

    Ok(match Assessment::of(&state) {
        Assessment::Well => ExitCode::SUCCESS,
        Assessment::Wrong => ExitCode::from(WRONG),
        Assessment::Unknown => ExitCode::from(CANNOT_TELL),
    })
}
