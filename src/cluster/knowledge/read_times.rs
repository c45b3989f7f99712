//! When the units and the machines were last read.
//!
//! It does not know what was read.

use super::super::model::{Moment, ReadSpan};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadTimes {
    units: Option<ReadSpan>,
    machines: Option<ReadSpan>,
}

impl ReadTimes {
    pub(crate) fn record_units(&mut self, read: ReadSpan) {
        self.units = Some(read);
    }

    /// Records a reading of the machines that contained at least one.
    pub(crate) fn record_machines(&mut self, read: ReadSpan) {
        self.machines = Some(read);
    }

    /// Records that nothing but the changes that follow has changed until this reading.
    pub(crate) fn confirm(&mut self, read: ReadSpan) {
        self.units = Some(read);
        self.machines = self.machines.and(Some(read));
    }

    pub(crate) fn machines(&self) -> Option<ReadSpan> {
        self.machines
    }

    pub(crate) fn has_units(&self) -> bool {
        self.units.is_some()
    }

    pub(crate) fn has_units_after(&self, moment: Moment) -> bool {
        self.units.is_some_and(|read| read.ended.instant > moment.instant)
    }

    pub(crate) fn has_machines_since(&self, moment: Moment) -> bool {
        self.machines.is_some_and(|read| read.is_since(moment))
    }
}
