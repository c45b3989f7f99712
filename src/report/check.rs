//! One line for Nagios and its relatives: a status, what is wrong, and performance data (Monitoring
//! Plugins Development Guidelines, "Plugin Output" and "Performance data").
//!
//! It knows thresholds as numbers of units. It does not know how they are given.

use super::cluster_state::ClusterState;
use super::duration::duration;
use super::pending::NOT_A_PROBLEM_YET;
use super::problem_units::ProblemUnits;
use super::since::Since;
use super::times::Times;
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
    /// A unit counts if it has had its verdict for so many seconds; `None`: if it has a problem, as
    /// the server defines that.
    pub lasting: Option<u64>,
}

/// The units that are wrong.
struct WrongUnits<'a> {
    /// Those that count.
    counted: Vec<&'a UnitRow>,
    /// Those that have not been wrong for long enough.
    recent: Vec<&'a UnitRow>,
}

/// The status, and the line without a newline.
pub fn check(state: &ClusterState, rules: &CheckRules, now: Milliseconds) -> (CheckStatus, String) {
    let wrong = wrong_units(state, rules, now);

    let status = status(state, rules, &wrong.counted);
    let text = match status {
        CheckStatus::Unknown => condition(state, now),
        _ => summary(state, rules, &wrong),
    };
    let data = performance_data(state, rules, &wrong.counted);
    (status, format!("{} - {text} | {data}", status.word()))
}

/// Of an older server, which knows no problems, each unit that is wrong counts at once.
fn wrong_units<'a>(
    state: &'a ClusterState,
    rules: &CheckRules,
    now: Milliseconds,
) -> WrongUnits<'a> {
    let problems = ProblemUnits::of(state);
    let counts = |unit: &&UnitRow| match rules.lasting {
        Some(seconds) => now.saturating_sub(unit.verdict_since) >= seconds.saturating_mul(1000),
        None => !problems.is_pending(unit),
    };

    let wrong = state.units.values().filter(|unit| !unit.is_ok());
    let (counted, recent) = wrong.partition(counts);
    WrongUnits { counted, recent }
}

fn status(state: &ClusterState, rules: &CheckRules, counted: &[&UnitRow]) -> CheckStatus {
    let is_reached = |threshold: &Threshold| count(counted, threshold) >= threshold.count;

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

fn count(units: &[&UnitRow], threshold: &Threshold) -> usize {
    let is_meant = |unit: &&&UnitRow| {
        threshold
            .verdict
            .as_ref()
            .is_none_or(|verdict| unit.verdict == *verdict)
    };
    units.iter().filter(is_meant).count()
}

/// Why nothing can be said. Times are in UTC: a monitoring system passes the line on.
fn condition(state: &ClusterState, now: Milliseconds) -> String {
    let Some(health) = &state.health else {
        return "no data yet".to_owned();
    };

    let lasted = health
        .since
        .map(|since| format!(" for {}", Times::utc(now).lasting(Since::seen_at(since))))
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

/// What is wrong, and what has not been wrong for long enough; or that all units are ok.
fn summary(state: &ClusterState, rules: &CheckRules, wrong: &WrongUnits) -> String {
    let WrongUnits { counted, recent } = wrong;
    let all = state.units.len();

    let text = match (counted.len(), recent.len()) {
        (0, 0) => format!("{all} units ok"),
        (0, _) => format!("{all} units; {}", summary_of_recent(rules, recent)),
        (_, 0) => summary_of_counted(counted),
        _ => format!("{}; {}", summary_of_counted(counted), summary_of_recent(rules, recent)),
    };
    plain(&text)
}

/// `not a problem yet: 1 failed, 2 stale`.
fn summary_of_recent(rules: &CheckRules, recent: &[&UnitRow]) -> String {
    let counts = verdicts::summary(recent.iter().copied());

    match rules.lasting {
        Some(seconds) => format!("for less than {}: {counts}", duration(seconds)),
        None => format!("{NOT_A_PROBLEM_YET}{counts}"),
    }
}

/// How many units count, and the names of the worst.
fn summary_of_counted(counted: &[&UnitRow]) -> String {
    let counts = verdicts::summary(counted.iter().copied());

    let mut worst = counted.to_vec();
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
    format!("{counts}: {}{more}", named.join(", "))
}

/// `failed=2;1;1 … units=40 machines=3`: a value for each verdict, with its thresholds.
fn performance_data(state: &ClusterState, rules: &CheckRules, counted: &[&UnitRow]) -> String {
    let of_verdict = |verdict: &str| {
        let units = counted.iter().filter(|unit| unit.verdict == verdict).count();
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
    use crate::report::wire::{ProblemRow, ProblemUnit, SourceHealth};

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
            lasting: Some(60),
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

    /// A state in which these units, which have failed on `m1`, are one problem.
    fn with_problem(mut state: ClusterState, units: &[&str]) -> ClusterState {
        let unit = |name: &&str| ProblemUnit { unit: (*name).into(), machine: Some("m1".into()) };
        let problem = ProblemRow {
            id: "1".into(),
            kind: "failed".into(),
            machine: Some("m1".into()),
            count: units.len(),
            verdicts: [("failed".to_owned(), units.len())].into(),
            units: units.iter().map(unit).collect(),
            ..ProblemRow::default()
        };

        state.problems = Some([(problem.id.clone(), problem)].into());
        state
    }

    #[test]
    fn without_a_time_a_unit_counts_if_it_has_a_problem() {
        let by_problem = CheckRules { lasting: None, ..rules() };
        let units = [("a", "failed", 1), ("b", "failed", 1), ("c", "stale", 999)];

        for (problem, expected) in [
            (&[][..], CheckStatus::Ok),
            (&["a"], CheckStatus::Warning),
            (&["a", "b"], CheckStatus::Critical),
        ] {
            let state = with_problem(state(&units), problem);
            assert_eq!(check(&state, &by_problem, NOW).0, expected, "{problem:?}");
            let by_time = check(&state, &rules(), NOW).0;
            assert_eq!(by_time, CheckStatus::Warning, "a time that is given counts instead");
        }
    }

    #[test]
    fn only_the_units_that_a_filter_has_left_count() {
        let by_problem = CheckRules { lasting: None, ..rules() };
        let state = with_problem(state(&[("a", "failed", 99)]), &["a", "b", "c"]);
        assert_eq!(check(&state, &by_problem, NOW).0, CheckStatus::Warning);
    }

    #[test]
    fn of_an_older_server_everything_that_is_wrong_counts() {
        let by_problem = CheckRules { lasting: None, ..rules() };
        let state = state(&[("a", "stale", 1)]);
        assert_eq!(check(&state, &by_problem, NOW).0, CheckStatus::Warning);
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
