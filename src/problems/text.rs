//! A problem in one line, and its details, for people.
//!
//! It does not know where they read it.

use std::fmt::{self, Display};

use super::{MachineName, MachineTrouble, Problem, ProblemCause, SourceFault};
use crate::cluster::Verdict;

/// How many characters of a machine's ID are shown.
const SHORT_ID: usize = 8;

impl Problem {
    /// The problem in one line, such as `machine 10.0.1.19 (8e7cc4a4) lost, 20 units`.
    pub fn summary(&self) -> String {
        let units = self.units.len();

        match &self.cause {
            ProblemCause::Source(SourceFault::Failing) => "fleet cannot be read".to_owned(),
            ProblemCause::Source(SourceFault::Overdue) => {
                "there is no new data from fleet".to_owned()
            }
            ProblemCause::Source(SourceFault::Suspect) => {
                "fleet's list of units is incomplete".to_owned()
            }
            ProblemCause::Machine { trouble, machine } => {
                let trouble = match trouble {
                    MachineTrouble::Lost => "lost",
                    MachineTrouble::Silent => "silent",
                };
                match units {
                    0 => format!("machine {machine} {trouble}"),
                    _ => format!("machine {machine} {trouble}, {}", Count(units)),
                }
            }
            ProblemCause::OnMachine { verdict, machine } => {
                format!("{} {}{}", Count(units), predicate(*verdict, units), on(machine.as_ref()))
            }
            ProblemCause::Template { verdict, template } => {
                format!("{} of {template} {}", Count(units), predicate(*verdict, units))
            }
            ProblemCause::Unit { verdict, unit, machine } => {
                format!("{unit} {}{}", predicate(*verdict, 1), on(machine.as_ref()))
            }
        }
    }

    /// What else is to be known: the reason, or the names of the units.
    pub fn description(&self) -> String {
        const MAX_NAMED: usize = 20;

        match (&self.cause, &*self.units) {
            (ProblemCause::Source(SourceFault::Suspect), _) => {
                "Many units are missing from it although fleet wants them. What is shown of them \
                 is their last known state."
                    .to_owned()
            }
            (ProblemCause::Source(_), _) => {
                "What is shown of the cluster is its last known state.".to_owned()
            }
            (ProblemCause::Unit { .. }, [unit]) => unit.reason.to_string(),
            (_, []) => String::new(),
            (_, units) => {
                let named = units.iter().take(MAX_NAMED).map(|unit| &*unit.state.unit);
                let names = named.collect::<Vec<_>>().join(", ");
                match units.len().saturating_sub(MAX_NAMED) {
                    0 => names,
                    more => format!("{names} and {more} more"),
                }
            }
        }
    }
}

/// `1 unit`, `20 units`.
struct Count(usize);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 unit"),
            units => write!(f, "{units} units"),
        }
    }
}

impl Display for MachineName {
    /// The address and the beginning of the ID, or the ID alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ip {
            Some(ip) => {
                let short: String = self.id.chars().take(SHORT_ID).collect();
                write!(f, "{ip} ({short})")
            }
            None => f.write_str(&self.id),
        }
    }
}

fn on(machine: Option<&MachineName>) -> String {
    machine
        .map(|machine| format!(" on {}", machine.name()))
        .unwrap_or_default()
}

/// What is wrong with so many units.
fn predicate(verdict: Verdict, units: usize) -> &'static str {
    let is_one = units == 1;

    match verdict {
        Verdict::Failed => "failed",
        Verdict::CrashLoop if is_one => "is in a crash loop",
        Verdict::CrashLoop => "are in a crash loop",
        Verdict::MachineLost if is_one => "was lost with its machine",
        Verdict::MachineLost => "were lost with their machine",
        Verdict::Unreported if is_one => "is not reported",
        Verdict::Unreported => "are not reported",
        Verdict::Unscheduled if is_one => "is not scheduled",
        Verdict::Unscheduled => "are not scheduled",
        Verdict::Ghost if is_one => "runs although fleet does not want it",
        Verdict::Ghost => "run although fleet does not want them",
        Verdict::Stale if is_one => "is not reported any more",
        Verdict::Stale => "are not reported any more",
        Verdict::Outdated if is_one => "runs another version than fleet has",
        Verdict::Outdated => "run another version than fleet has",
        Verdict::Ok => "ok",
    }
}
