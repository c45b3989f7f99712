//! `/v2/unit-file`: the unit file of one unit, and what differs on machines that run another
//! version.
//!
//! Unlike every other resource it may lead to a query to the source, so it is off by default. This
//! module decides which requests are admitted, and counts them. It must not know how a file is read
//! or masked.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, RETRY_AFTER};

use super::content::{JSON, NO_STORE, ResponseContent};
use super::context::ServerContext;
use super::error::HttpError;
use super::query::unit_name;
use super::settings::ServerSettings;
use crate::cluster::{MachineId, Text, UnitName, View};
use crate::feed::channel::OverBudget;
use crate::metrics::UnitFileOutcome;
use crate::unit_files::{UnitFileDocument, UnitFileError, UnitFileMode, UnitFileQuery};

/// The content for the unit in the query.
///
/// # Errors
///
/// 404 if unit files are not shown, or there is no such unit. 400 if the query is wrong. 503 if
/// there are too many requests, or the source cannot answer in time.
pub(super) async fn content(
    context: &ServerContext,
    settings: &ServerSettings,
    query: Option<&str>,
) -> Result<ResponseContent, HttpError> {
    let mode = check_enabled(context, settings)?;
    let name = unit_name(query.unwrap_or_default())?;
    let rows = RowsOfUnit::find(&context.feed.borrow().view, &name)
        .ok_or_else(|| HttpError::not_found(format!("there is no unit {name:?} in the cluster")))?;

    let query = UnitFileQuery::new(&rows.unit, rows.file_hash, &rows.running);
    let answer = match context.unit_files.get(query).await {
        Ok(answer) => answer,
        Err(error) => {
            context.metrics.unit_file_requested(match error {
                UnitFileError::Busy => UnitFileOutcome::Refused,
                _ => UnitFileOutcome::Failed,
            });
            return Err(refusal(&error, &rows.unit));
        }
    };
    context.metrics.unit_file_requested(if answer.is_fetched {
        UnitFileOutcome::Fetched
    } else {
        UnitFileOutcome::Cached
    });

    let document = UnitFileDocument::new(&rows.unit, &answer.versions, &rows.running, mode);
    let body = serde_json::to_vec(&document)
        .map_err(|error| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let body = context
        .channels
        .charge(Bytes::from(body))
        .map_err(|error: OverBudget| HttpError::unavailable(error.to_string()))?;

    Ok(response(body))
}

/// What HEAD is answered with. Nothing is read for it.
///
/// # Errors
///
/// 404 if unit files are not shown.
pub(super) fn head(
    context: &ServerContext,
    settings: &ServerSettings,
) -> Result<ResponseContent, HttpError> {
    check_enabled(context, settings)?;
    Ok(response(Bytes::new()))
}

fn response(body: Bytes) -> ResponseContent {
    ResponseContent {
        extra_header: Some((CACHE_CONTROL, NO_STORE)),
        ..ResponseContent::new(JSON, body)
    }
}

fn check_enabled(
    context: &ServerContext,
    settings: &ServerSettings,
) -> Result<UnitFileMode, HttpError> {
    settings.unit_files.ok_or_else(|| {
        context.metrics.unit_file_requested(UnitFileOutcome::Refused);
        HttpError::not_found(
            "unit files are not shown by this monitor: they may contain secrets; \
             --unit-files shows them with masked secrets, --unit-files=full as they are",
        )
    })
}

fn refusal(error: &UnitFileError, unit: &str) -> HttpError {
    match error {
        UnitFileError::Recording => HttpError::not_found(error.to_string()),
        UnitFileError::Busy => {
            HttpError::unavailable(error.to_string()).with_header(RETRY_AFTER, "1")
        }
        UnitFileError::Timeout(_) | UnitFileError::Source(_) => {
            HttpError::unavailable(format!("the unit file of {unit} cannot be read: {error}"))
                .with_header(RETRY_AFTER, "10")
        }
    }
}

/// What the rows of one unit say of its file.
struct RowsOfUnit {
    unit: UnitName,
    /// The hash of the file in fleet's registry. `None`: fleet lists none.
    file_hash: Option<Text>,
    /// The version that each machine reports.
    running: Vec<(Text, MachineId)>,
}

impl RowsOfUnit {
    /// `None` if there is no such unit.
    fn find(view: &View, name: &str) -> Option<Self> {
        let mut rows = view.units.of_unit(name).peekable();
        let first = rows.peek()?;

        Some(Self {
            unit: first.state.unit.clone(),
            file_hash: first.file.as_ref().and_then(|file| file.hash.clone()),
            running: rows
                .filter_map(|row| Some((row.state.hash.clone()?, row.state.machine.clone()?)))
                .collect(),
        })
    }
}
