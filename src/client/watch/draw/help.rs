//! The keys, in a box over the screen. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Paragraph, Widget};

/// The help. Each line fits 56 cells.
const TEXT: &str = "\
↑ ↓  k j           move by one row
PgUp PgDn          move by a page
Home End  g G      first row, last row
1 2 3  Tab         units, machines, events
Enter              details of the row
Esc                back
s                  sort by the next column
r                  reverse the order
t                  times: ages, in this zone, in UTC
/                  filter, such as state:failed web@*
?                  this help
Ctrl-Z             suspend
q  Ctrl-C          quit

The row under the cursor stays in its line while others
move. After g the first rows are always visible.

What is \"≥ 5 min\" old, or since \"≤ 14:03:22\", began before
the monitor started.";

/// Draws the box in the middle of the screen.
pub(super) fn draw(buffer: &mut Buffer, area: Rect) {
    let lines = u16::try_from(TEXT.lines().count()).unwrap_or(u16::MAX);
    let width = 60.min(area.width);
    let height = (lines + 2).min(area.height);
    let centered = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };

    Clear.render(centered, buffer);
    Paragraph::new(TEXT)
        .block(Block::bordered().title(" Keys "))
        .render(centered, buffer);
}
