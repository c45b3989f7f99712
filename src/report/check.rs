//! One line for Nagios and its relatives: a status, what is wrong, and performance data (Monitoring
//! Plugins Development Guidelines, "Plugin Output" and "Performance data").
//!
//! It knows thresholds as numbers of units. It does not know how they are given.

use super::cluster_state::ClusterState;
use super::duration::duration;
use super::verdicts;
use super::wire::{HealthState, Milliseconds, UnitRow};

/// How many units are named.
const MAX_NAMED: usize = 5;

/// The result, with the exit status that monitoring systems expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckStatus {
    /// No threshold is reached.
    Ok = 0,
    /// A threshold for warnings is reached.
    Warning = 1,
    /// A critical threshold is reached.
    Critical = 2,
    /// The cluster cannot be read as it should.
    Unknown = 3,
}

impl CheckStatus {
    /// The word that begins the line.
    pub fn word(self) -> &'static str {
        match self {
            CheckStatus::Ok => "OK",
            CheckStatus::Warning => "WARNING",
            CheckStatus::Critical => "CRITICAL",
            CheckStatus::Unknown => "UNKNOWN",
        }
    }
}

/// From how many units with a verdict on something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// The verdict's name; `None` for any verdict but `ok`.
    pub verdict: Option<String>,
    /// The least number of units.
    pub count: usize,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRules {
    /// Thresholds for warnings.
    pub warning: Vec<Threshold>,
    /// Thresholds for critical states.
    pub critical: Vec<Threshold>,
    /// A unit counts if it has had its verdict for so many seconds.
    pub lasting: u64,
}

/// The status, and the line without a newline.
pub fn check(state: &ClusterState, rules: &CheckRules, now: Milliseconds) -> (CheckStatus, String) {
    let lasts = |unit: &UnitRow| now.saturating_sub(unit.verdict_since) >= rules.lasting * 1000;
    let wrong: Vec<&UnitRow> = state
        .units
        .values()
        .filter(|unit| !unit.is_ok() && lasts(unit))
        .collect();

    let status = status(state, rules, &wrong);
    let text = match status {
        CheckStatus::Unknown => condition(state, now),
        _ if wrong.is_empty() => nothing_wrong(state, rules),
        _ => summary(&wrong),
    };
    let line = format!("{} - {text} | {}", status.word(), performance_data(state, rules, &wrong));
    (status, line)
}

fn status(state: &ClusterState, rules: &CheckRules, wrong: &[&UnitRow]) -> CheckStatus {
    let is_reached = |threshold: &Threshold| count(wrong, threshold) >= threshold.count;

    if !state.is_current() {
        CheckStatus::Unknown
    } else if rules.critical.iter().any(is_reached) {
        CheckStatus::Critical
    } else if rules.warning.iter().any(is_reached) {
        CheckStatus::Warning
    } else {
        CheckStatus::Ok
    }
}

fn count(wrong: &[&UnitRow], threshold: &Threshold) -> usize {
    let is_meant = |unit: &&&UnitRow| {
        threshold
            .verdict
            .as_ref()
            .is_none_or(|verdict| unit.verdict == *verdict)
    };
    wrong.iter().filter(is_meant).count()
}

/// Why nothing can be said.
fn condition(state: &ClusterState, now: Milliseconds) -> String {
    let Some(health) = &state.health else {
        return "no data yet".to_owned();
    };

    let lasted = health
        .since
        .map(|since| format!(" for {}", duration(now.saturating_sub(since) / 1000)))
        .unwrap_or_default();
    let reason = health
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    match health.state {
        HealthState::Starting => "fleet-monitor waits for the first complete data".to_owned(),
        HealthState::Failing => plain(&format!("fleet cannot be read{lasted}{reason}")),
        HealthState::Overdue => plain(&format!("no new data from fleet{lasted}{reason}")),
        HealthState::Suspect => {
            format!("fleet's list of units is suspect{lasted}: many units are missing from it")
        }
        HealthState::Ok | HealthState::Ended | HealthState::Unknown => {
            "the monitor is in a state that this version does not know".to_owned()
        }
    }
}

/// That all units are ok, or have not been wrong for long enough.
fn nothing_wrong(state: &ClusterState, rules: &CheckRules) -> String {
    let units = state.units.len();
    match state.units.values().filter(|unit| !unit.is_ok()).count() {
        0 => format!("{units} units ok"),
        recent => format!(
            "{units} units, of which {recent} have had a problem for less than {}",
            duration(rules.lasting)
        ),
    }
}

/// How many units are wrong, and the names of the worst.
fn summary(wrong: &[&UnitRow]) -> String {
    let counts: Vec<String> = verdicts::count(wrong.iter().copied())
        .into_iter()
        .map(|(verdict, units)| format!("{units} {}", verdicts::word(verdict)))
        .collect();

    let mut worst = wrong.to_vec();
    worst.sort_by_key(|unit| verdicts::rank(&unit.verdict));
    let named: Vec<String> = worst
        .iter()
        .take(MAX_NAMED)
        .map(|unit| match unit.place() {
            Some(place) => format!("{} on {place}", unit.unit),
            None => unit.unit.clone(),
        })
        .collect();
    let more = match worst.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    plain(&format!("{}: {}{more}", counts.join(", "), named.join(", ")))
}

/// `failed=2;1;1 … units=40 machines=3`: a value for each verdict, with its thresholds.
fn performance_data(state: &ClusterState, rules: &CheckRules, wrong: &[&UnitRow]) -> String {
    let of_verdict = |verdict: &str| {
        let units = wrong.iter().filter(|unit| unit.verdict == verdict).count();
        let warning = threshold(&rules.warning, verdict);
        let critical = threshold(&rules.critical, verdict);
        format!("{verdict}={units};{warning};{critical};0")
    };

    let mut data: Vec<String> = verdicts::names()
        .filter(|verdict| *verdict != "ok")
        .map(of_verdict)
        .collect();
    data.push(format!("units={};;;0", state.units.len()));
    data.push(format!("machines={};;;0", state.count_present_machines()));
    data.join(" ")
}

/// The threshold of a verdict as a range, which alerts outside of itself: `@N:` alerts from N on.
fn threshold(thresholds: &[Threshold], verdict: &str) -> String {
    thresholds
        .iter()
        .find(|threshold| threshold.verdict.as_deref() == Some(verdict))
        .map(|threshold| format!("@{}:", threshold.count))
        .unwrap_or_default()
}

/// Text without what ends the line or begins performance data.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '|' => '/',
            char if char.is_control() => ' ',
            char => char,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::wire::SourceHealth;

    const NOW: Milliseconds = 1_000_000;

    fn state(units: &[(&str, &str, u64)]) -> ClusterState {
        let mut state = ClusterState {
            health: Some(SourceHealth { state: HealthState::Ok, ..SourceHealth::default() }),
            ..ClusterState::default()
        };
        for (name, verdict, seconds) in units {
            let unit = UnitRow {
                unit: (*name).into(),
                machine: Some("m1".into()),
                verdict: (*verdict).into(),
                verdict_since: NOW - seconds * 1000,
                ..UnitRow::default()
            };
            state.units.insert(unit.key(), unit);
        }
        state
    }

    fn at_least(count: usize, verdict: Option<&str>) -> Threshold {
        Threshold { verdict: verdict.map(str::to_owned), count }
    }

    fn rules() -> CheckRules {
        CheckRules {
            warning: vec![at_least(1, None)],
            critical: vec![at_least(2, Some("failed"))],
            lasting: 60,
        }
    }

    #[test]
    fn the_status_follows_the_thresholds() {
        for (units, expected) in [
            (&[("a", "ok", 999)][..], CheckStatus::Ok),
            (&[("a", "failed", 59)], CheckStatus::Ok),
            (&[("a", "failed", 60)], CheckStatus::Warning),
            (&[("a", "failed", 60), ("b", "failed", 61)], CheckStatus::Critical),
            (&[("a", "stale", 60), ("b", "failed", 61)], CheckStatus::Warning),
        ] {
            assert_eq!(check(&state(units), &rules(), NOW).0, expected, "{units:?}");
        }
    }

    #[test]
    fn data_that_are_not_current_are_no_data() {
        let mut state = state(&[("a", "failed", 999)]);
        state.health.as_mut().unwrap().state = HealthState::Failing;
        assert_eq!(check(&state, &rules(), NOW).0, CheckStatus::Unknown);

        state.health = None;
        assert_eq!(check(&state, &rules(), NOW).0, CheckStatus::Unknown);
    }

    #[test]
    fn one_line_has_the_names_and_the_performance_data() {
        let state = state(&[("a|b\n.service", "failed", 60), ("web.service", "ok", 1)]);
        let (_, line) = check(&state, &rules(), NOW);

        assert_eq!(line.matches('|').count(), 1, "{line}");
        let (text, data) = line.split_once(" | ").unwrap();
        assert!(text.contains("a/b .service on m1"), "{text}");
        assert!(data.starts_with("failed=1;;@2:;0 crash_loop=0;;;0 "), "{data}");
        assert!(data.ends_with("units=2;;;0 machines=0;;;0"), "{data}");
    }
}
