//! The terminal that output goes to: its size, and whether it has colours.

use std::env;
use std::io::{IsTerminal, stdout};

use rustix::termios::tcgetwinsize;

use crate::cli::ColorChoice;
use crate::report::Layout;

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
