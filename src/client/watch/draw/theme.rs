//! The styles of the screen. Colours only repeat what the text says: without them nothing is lost.

use ratatui::style::{Color, Modifier, Style};

use crate::report::verdicts::{self, Tone};

/// Whether the screen has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::watch) enum Theme {
    Colored,
    Monochrome,
}

impl Theme {
    pub(super) fn verdict(self, verdict: &str) -> Style {
        self.tone(verdicts::tone(verdict))
    }

    pub(super) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Bad => self.bad(),
            Tone::Warning => self.warning(),
            Tone::Good => Style::new(),
        }
    }

    pub(super) fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn warning(self) -> Style {
        self.colored(Color::Yellow)
    }

    pub(super) fn good(self) -> Style {
        self.colored(Color::Green)
    }

    /// The title, the head of a table, the name of a fact.
    pub(super) fn heading() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is not the matter: keys, and rows that may be out of date.
    pub(super) fn faint() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The row with the cursor, and the tab that is shown.
    pub(super) fn selected() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn colored(self, color: Color) -> Style {
        match self {
            Theme::Colored => Style::new().fg(color),
            Theme::Monochrome => Style::new(),
        }
    }
}
