//! What a problem is about, how bad that is, and the names of it.
//!
//! It does not know when a problem is opened.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::SourceFault;
use crate::cluster::{MachineId, Member, Text, Unit, UnitName, Verdict};
use crate::digest::digest;

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCause {
    /// The source: what is known of the cluster may be wrong.
    Source(SourceFault),
    /// A machine, with all units that are wrong because of it.
    Machine {
        /// What is wrong with it.
        trouble: MachineTrouble,
        /// Which machine.
        machine: MachineName,
    },
    /// Several units with the same verdict on one machine, or on none.
    OnMachine {
        /// The verdict.
        verdict: Verdict,
        /// The machine; `None` for units that are on no machine.
        machine: Option<MachineName>,
    },
    /// Several instances of a template, or rows of a global unit, with the same verdict.
    Template {
        /// The verdict.
        verdict: Verdict,
        /// The template, such as `web@.service`, or the global unit.
        template: Text,
    },
    /// One unit.
    Unit {
        /// The verdict.
        verdict: Verdict,
        /// The unit.
        unit: UnitName,
        /// The machine; `None` for a unit that is on no machine.
        machine: Option<MachineName>,
    },
}

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineTrouble {
    /// It has left the cluster.
    Lost,
    /// It is in the cluster, and does not report as it should.
    Silent,
}

impl MachineTrouble {
    /// What is wrong with a machine, and since when. `None` if nothing is.
    pub(super) fn of(member: &Member) -> Option<(Self, SystemTime)> {
        let lost = member.lost_since.map(|since| (MachineTrouble::Lost, since));
        let silent = member.silent_since.map(|since| (MachineTrouble::Silent, since));

        lost.or(silent)
    }
}

/// A machine as it is named in a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineName {
    /// Its ID.
    pub id: MachineId,
    /// Its address, if it was known when the problem was opened.
    pub ip: Option<Text>,
}

impl MachineName {
    pub(super) fn of(member: &Member) -> Self {
        Self { id: member.machine.id.clone(), ip: member.machine.ip.clone() }
    }

    fn of_unit(unit: &Unit) -> Option<Self> {
        let id = unit.machine_id()?.clone();
        let ip = unit.machine.ip.clone().or_else(|| unit.state.ip.clone());
        Some(Self { id, ip })
    }

    /// The name for people: the address, or the ID if none is known.
    pub fn name(&self) -> &str {
        self.ip.as_deref().unwrap_or(&self.id)
    }
}

/// The kind of a problem, by which it is configured and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Something is wrong with the source.
    Source(SourceFault),
    /// Something is wrong with a machine.
    Machine(MachineTrouble),
    /// Units have this verdict.
    Unit(Verdict),
}

impl ProblemKind {
    /// The names that `--problem-after` accepts. `source` stands for all faults of the source.
    pub const NAMES: [&str; 10] = [
        "failed",
        "crash_loop",
        "machine_lost",
        "unreported",
        "unscheduled",
        "ghost",
        "stale",
        "outdated",
        "machine_silent",
        "source",
    ];

    /// All kinds. `machine_lost` is there twice: of a machine, and of units.
    pub fn all() -> impl Iterator<Item = Self> {
        let faults = [SourceFault::Failing, SourceFault::Overdue, SourceFault::Suspect];
        let machines = [MachineTrouble::Lost, MachineTrouble::Silent].map(ProblemKind::Machine);
        let verdicts = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Ok);

        faults
            .map(ProblemKind::Source)
            .into_iter()
            .chain(machines)
            .chain(verdicts.map(ProblemKind::Unit))
    }

    /// The name in JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            ProblemKind::Source(SourceFault::Failing) => "source_failing",
            ProblemKind::Source(SourceFault::Overdue) => "source_overdue",
            ProblemKind::Source(SourceFault::Suspect) => "source_suspect",
            ProblemKind::Machine(MachineTrouble::Lost) => "machine_lost",
            ProblemKind::Machine(MachineTrouble::Silent) => "machine_silent",
            ProblemKind::Unit(verdict) => verdict.name(),
        }
    }

    /// How bad it is.
    pub fn severity(self) -> ProblemSeverity {
        match self {
            ProblemKind::Source(_)
            | ProblemKind::Machine(MachineTrouble::Lost)
            | ProblemKind::Unit(
                Verdict::Failed | Verdict::CrashLoop | Verdict::MachineLost | Verdict::Unreported,
            ) => ProblemSeverity::Critical,
            ProblemKind::Machine(MachineTrouble::Silent) | ProblemKind::Unit(_) => {
                ProblemSeverity::Warning
            }
        }
    }

    /// The name of the alert, the same as in `packaging/prometheus/`.
    pub fn alert_name(self) -> &'static str {
        match self {
            ProblemKind::Source(SourceFault::Failing) => "FleetUnreadable",
            ProblemKind::Source(SourceFault::Overdue) => "FleetDataOld",
            ProblemKind::Source(SourceFault::Suspect) => "FleetSourceSuspect",
            ProblemKind::Machine(MachineTrouble::Lost) => "FleetMachineLost",
            ProblemKind::Machine(MachineTrouble::Silent) => "FleetMachineSilent",
            ProblemKind::Unit(verdict) => match verdict {
                Verdict::Failed => "FleetUnitFailed",
                Verdict::CrashLoop => "FleetUnitCrashLoop",
                Verdict::MachineLost | Verdict::Unreported | Verdict::Unscheduled => {
                    "FleetUnitNowhere"
                }
                Verdict::Ghost | Verdict::Stale | Verdict::Outdated | Verdict::Ok => {
                    "FleetUnitDiffers"
                }
            },
        }
    }
}

/// How bad a problem is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemSeverity {
    /// Something is not as fleet wants it.
    Warning,
    /// Something is broken.
    Critical,
}

impl ProblemSeverity {
    /// The name in JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            ProblemSeverity::Warning => "warning",
            ProblemSeverity::Critical => "critical",
        }
    }
}

impl ProblemCause {
    pub(super) fn of_unit(unit: &Unit) -> Self {
        ProblemCause::Unit {
            verdict: unit.verdict,
            unit: unit.state.unit.clone(),
            machine: MachineName::of_unit(unit),
        }
    }

    pub(super) fn of_machine_of(unit: &Unit) -> Self {
        ProblemCause::OnMachine { verdict: unit.verdict, machine: MachineName::of_unit(unit) }
    }

    pub(super) fn of_template_of(unit: &Unit) -> Self {
        ProblemCause::Template {
            verdict: unit.verdict,
            template: template(&unit.state.unit).into(),
        }
    }

    /// The causes that a problem of one unit would have in common with others.
    pub(super) fn groups_of_unit(&self) -> Option<[Self; 2]> {
        let ProblemCause::Unit { verdict, unit, machine } = self else {
            return None;
        };

        let on_machine = ProblemCause::OnMachine { verdict: *verdict, machine: machine.clone() };
        let of_template =
            ProblemCause::Template { verdict: *verdict, template: template(unit).into() };
        Some([on_machine, of_template])
    }

    /// Its kind.
    pub fn kind(&self) -> ProblemKind {
        match self {
            ProblemCause::Source(fault) => ProblemKind::Source(*fault),
            ProblemCause::Machine { trouble, .. } => ProblemKind::Machine(*trouble),
            ProblemCause::OnMachine { verdict, .. }
            | ProblemCause::Template { verdict, .. }
            | ProblemCause::Unit { verdict, .. } => ProblemKind::Unit(*verdict),
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> ProblemSeverity {
        self.kind().severity()
    }

    /// The unit that it is about, if it is about one.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            ProblemCause::Unit { unit, .. } => Some(unit),
            _ => None,
        }
    }

    /// The template that it is about, if it is about one.
    pub fn template(&self) -> Option<&Text> {
        match self {
            ProblemCause::Template { template, .. } => Some(template),
            _ => None,
        }
    }

    /// The machine that it is about, or that all units are on.
    pub fn machine(&self) -> Option<&MachineName> {
        match self {
            ProblemCause::Machine { machine, .. } => Some(machine),
            ProblemCause::OnMachine { machine, .. } | ProblemCause::Unit { machine, .. } => {
                machine.as_ref()
            }
            ProblemCause::Source(_) | ProblemCause::Template { .. } => None,
        }
    }

    /// Whether both are about the same. A machine may be known by another address meanwhile.
    pub(super) fn is_same(&self, other: &ProblemCause) -> bool {
        self.key() == other.key()
    }

    /// The same text for causes that are about the same.
    pub(super) fn key(&self) -> String {
        let shape = match self {
            ProblemCause::Source(_) => "source",
            ProblemCause::Machine { .. } => "machine",
            ProblemCause::OnMachine { .. } => "on-machine",
            ProblemCause::Template { .. } => "template",
            ProblemCause::Unit { .. } => "unit",
        };
        let about: Option<&str> = self.unit().map(|unit| &**unit).or(self.template().map(|t| &**t));
        let machine = self.machine().map(|machine| &*machine.id);

        format!(
            "{shape} {} {} {}",
            self.kind().name(),
            about.unwrap_or_default(),
            machine.unwrap_or_default()
        )
    }

    /// The ID of a problem with this cause.
    pub(super) fn problem_id(&self, since: SystemTime, opened: SystemTime) -> Text {
        let nanoseconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |duration| duration.as_nanos())
        };
        let text = format!("{} {} {}", self.key(), nanoseconds(since), nanoseconds(opened));

        format!("{:016x}", digest(text)).into()
    }
}

/// `web@.service` of `web@1.service`, and the name itself of all others.
fn template(unit: &str) -> String {
    match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((prefix, _)), Some((_, suffix))) => format!("{prefix}@.{suffix}"),
        _ => unit.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_the_name_without_the_instance() {
        assert_eq!(template("web@1.service"), "web@.service");
        assert_eq!(template("web@a.b@c.service"), "web@.service");
        assert_eq!(template("db.service"), "db.service");
    }

    #[test]
    fn every_kind_can_be_configured() {
        let is_of_source = |kind: &ProblemKind| matches!(kind, ProblemKind::Source(_));
        for kind in ProblemKind::all().filter(|kind| !is_of_source(kind)) {
            assert!(ProblemKind::NAMES.contains(&kind.name()), "{kind:?}");
        }
    }
}
