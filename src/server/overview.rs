//! The state of the cluster as plain text, as `fleet-monitor status` prints it.
//!
//! It reads the public JSON, as that command does, so both print the same. This module must not
//! know who asks.

use bytes::Bytes;
use hyper::StatusCode;

use super::error::HttpError;
use crate::actions::Actions;
use crate::feed::Publication;
use crate::feed::subscription::Subscription;
use crate::report::{ClusterState, Layout, ShownUnits, StateDocument, Times, overview};

pub(super) const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The text, of the selected rows.
///
/// # Errors
///
/// 500 if this program cannot read its own JSON.
pub(super) fn text(
    publication: &Publication,
    selection: &Subscription,
    clients: usize,
    actions: &Actions,
) -> Result<Bytes, HttpError> {
    let now = publication.now();
    let parts = if selection.is_everything() {
        publication.state(clients, now)
    } else {
        publication.selected_state(selection, clients, now)
    };

    let document: StateDocument = serde_json::from_slice(&parts.concat()).map_err(|error| {
        let message = format!("the state cannot be shown as text: {error}");
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    // The time zone of whoever asks is not known.
    let times = Times::utc(document.time);
    let state = ClusterState::from(document);
    Ok(overview(&state, &times, ShownUnits::Problems, Layout::default(), actions).into())
}
