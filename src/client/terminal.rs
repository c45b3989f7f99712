//! The terminal that output goes to: its size, whether it has colours, and its time zone.

use std::env;
use std::io::{IsTerminal, stdout};

use rustix::termios::tcgetwinsize;

use crate::cli::{ColorChoice, TimeChoice};
use crate::report::{Layout, TimeFormat, TimeZone};

/// The layout for standard output: that of the terminal, or plain columns without limits.
pub(super) fn layout(color: ColorChoice) -> Layout {
    let is_terminal = stdout().is_terminal();
    let color = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && has_colors(),
    };

    let size = is_terminal.then(|| tcgetwinsize(stdout()).ok()).flatten();
    let positive = |size: u16| (size > 0).then_some(usize::from(size));
    Layout {
        width: size.and_then(|size| positive(size.ws_col)),
        height: size.and_then(|size| positive(size.ws_row)),
        color,
    }
}

/// Whether colours are wanted (<https://no-color.org>) and the terminal has them (`terminfo(5)`).
fn has_colors() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// The format that an option has chosen.
pub(super) fn time_format(choice: TimeChoice) -> TimeFormat {
    match choice {
        TimeChoice::Relative => TimeFormat::Relative,
        TimeChoice::Local => TimeFormat::Local,
        TimeChoice::Utc => TimeFormat::Utc,
    }
}

/// The time zone of `TZ`, or else of `/etc/localtime`; without either, or if the host does not have
/// the zone, UTC, as for the C library.
pub(super) fn time_zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}
