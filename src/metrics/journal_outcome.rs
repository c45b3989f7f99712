//! How a request for a journal ended, as a label.

/// How a request for the journal of a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalOutcome {
    /// The machine answered it.
    Answered,
    /// The machine could not be reached, or refused it.
    Failed,
}

impl JournalOutcome {
    pub(super) const ALL: [JournalOutcome; 2] = [JournalOutcome::Answered, JournalOutcome::Failed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
        }
    }
}
