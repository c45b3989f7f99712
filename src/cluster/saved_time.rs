//! A time as it is saved, and as it is a moment again after a restart.
//!
//! It does not know what happened then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::model::Moment;

/// A time by the wall clock. It is saved as nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct SavedTime(pub SystemTime);

impl From<u64> for SavedTime {
    fn from(nanoseconds: u64) -> Self {
        Self(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
    }
}

impl From<SavedTime> for u64 {
    fn from(SavedTime(time): SavedTime) -> Self {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl From<Moment> for SavedTime {
    fn from(moment: Moment) -> Self {
        Self(moment.wall)
    }
}

impl SavedTime {
    /// The moment of this time, on both clocks. One in the future is `now` on the steady clock.
    pub(crate) fn moment(self, now: Moment) -> Moment {
        let age = now.wall.duration_since(self.0).unwrap_or_default();
        Moment { wall: self.0, ..now.before(age) }
    }
}
