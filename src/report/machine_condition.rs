//! Whether a machine is in the cluster, and reports as it should.

use super::verdicts::Tone;
use super::wire::MachineRow;

/// What is to be said of a machine in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineCondition {
    /// It has left the cluster.
    Lost,
    /// It is in the cluster, and does not report as it should.
    Silent,
    /// It is in the cluster, and its engine schedules units.
    Leader,
    /// It is in the cluster.
    Present,
}

impl MachineCondition {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            MachineCondition::Lost => "lost",
            MachineCondition::Silent => "silent",
            MachineCondition::Leader => "leader",
            MachineCondition::Present => "present",
        }
    }

    /// How much it needs attention.
    pub fn tone(self) -> Tone {
        match self {
            MachineCondition::Lost => Tone::Bad,
            MachineCondition::Silent => Tone::Warning,
            MachineCondition::Leader | MachineCondition::Present => Tone::Good,
        }
    }
}

impl MachineRow {
    /// Whether it is in the cluster, and reports as it should.
    pub fn condition(&self) -> MachineCondition {
        if self.lost_since.is_some() {
            MachineCondition::Lost
        } else if self.silent_since.is_some() {
            MachineCondition::Silent
        } else if self.leader {
            MachineCondition::Leader
        } else {
            MachineCondition::Present
        }
    }
}
