//! Something that clients have, with what is needed to tell whether they have the newest of it.
//!
//! It does not know what it is.

use serde::{Deserialize, Serialize};

/// Something that clients have, with the revision of its last change, and a fingerprint of what
/// they have of it. The revision is 0 if it is of a run before the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stamped<T> {
    pub(crate) revision: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) fingerprint: u64,
    pub(crate) value: T,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl<T> Stamped<T> {
    /// The revisions of another run than the last one say nothing.
    pub(super) fn of_run(self, is_last: bool) -> Self {
        Self { revision: if is_last { self.revision } else { 0 }, ..self }
    }
}
