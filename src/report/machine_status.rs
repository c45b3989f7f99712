//! Whether a machine is in the cluster, and reports as it should.

use super::verdicts::Tone;
use super::wire::MachineRow;

/// What is to be said of a machine in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineStatus {
    /// It has left the cluster.
    Lost,
    /// It is in the cluster, and does not report as it should.
    Silent,
    /// It is in the cluster, and its engine schedules units.
    Leader,
    /// It is in the cluster.
    Present,
}

impl MachineStatus {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            MachineStatus::Lost => "lost",
            MachineStatus::Silent => "silent",
            MachineStatus::Leader => "leader",
            MachineStatus::Present => "present",
        }
    }

    /// How much it needs attention.
    pub fn tone(self) -> Tone {
        match self {
            MachineStatus::Lost => Tone::Bad,
            MachineStatus::Silent => Tone::Warning,
            MachineStatus::Leader | MachineStatus::Present => Tone::Good,
        }
    }
}

impl MachineRow {
    /// Whether it is in the cluster, and reports as it should.
    pub fn status(&self) -> MachineStatus {
        if self.lost_since.is_some() {
            MachineStatus::Lost
        } else if self.silent_since.is_some() {
            MachineStatus::Silent
        } else if self.leader {
            MachineStatus::Leader
        } else {
            MachineStatus::Present
        }
    }
}
