//! `fleet-monitor watch`: the cluster live, on the whole screen, or as one line per event.
//!
//! [`model`] is what is on the screen, as data; [`draw`] draws it; both are pure. [`screen`] is the
//! loop around them, [`terminal`] the terminal. [`plain`] needs neither.

mod draw;
mod edit_line;
mod keys;
mod list;
mod model;
mod order;
mod plain;
mod screen;
mod terminal;
mod updates;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use self::draw::Theme;
use self::updates::Updates;
use super::CommandError;
use super::connection::{ClientError, MonitorClient, SubscriptionEvent};
use crate::cli::WatchOptions;
use crate::report::{Message, TimeFormat, Times};

/// Shows the cluster until the reader leaves. Returns the exit status.
pub(super) async fn run(options: &WatchOptions) -> Result<ExitCode, CommandError> {
    let server = MonitorClient::from_options(&options.connection)?;
    let filter = options.filter.join(" ");
    let is_terminal = io::stdout().is_terminal();
    let theme = if super::terminal::layout(options.color).color {
        Theme::Colored
    } else {
        Theme::Monochrome
    };

    let format = options
        .time
        .map_or(TimeFormat::Relative, super::terminal::time_format);
    let zone = super::terminal::time_zone();

    // A terminal without cursor addressing, such as a shell in an editor, is no screen.
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if options.plain || !is_terminal || is_dumb {
        plain::run(&server, &filter, theme, &Times::new(0, format, &zone)).await
    } else {
        screen::run(&server, &filter, theme, (format, zone)).await
    }
}

/// The query that selects rows and events. It is empty if all are selected.
fn query(filter: &str) -> String {
    if filter.is_empty() {
        return String::new();
    }
    super::query(&[filter.to_owned()])
}

/// The first messages of a subscription. Unlike later, an attempt to connect that fails is an
/// error: the address may be wrong.
async fn first_messages(updates: &mut Updates) -> Result<Vec<Message>, ClientError> {
    match updates.next().await? {
        SubscriptionEvent::Messages(messages) => Ok(messages),
        SubscriptionEvent::Disconnected { error, .. } => Err(error),
    }
}
