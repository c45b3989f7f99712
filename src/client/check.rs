//! `fleet-monitor check`: one line and an exit status for monitoring systems.

use std::io::{self, Write};
use std::process::ExitCode;

use super::connection::MonitorClient;
use super::{CommandError, query};
use crate::cli::CheckOptions;
use crate::report::{CheckRules, CheckStatus, ClusterState, Threshold, check, verdicts};

/// Prints the line. Whatever prevents that is UNKNOWN, in one line too.
pub(super) async fn run(options: &CheckOptions) -> Result<ExitCode, CommandError> {
    let (status, line) = match line(options).await {
        Ok(checked) => checked,
        Err(error) => {
            let unknown = CheckStatus::Unknown;
            (unknown, format!("{} - {error}", unknown.word()))
        }
    };

    writeln!(io::stdout(), "{line}")?;
    Ok(ExitCode::from(status as u8))
}

async fn line(options: &CheckOptions) -> Result<(CheckStatus, String), CommandError> {
    let rules = rules(options)?;
    let server = MonitorClient::from_options(&options.connection)?;
    let document = server.state(&query(&options.filter)).await?;
    let now = document.time;

    Ok(check(&ClusterState::from(document), &rules, now))
}

/// Without thresholds, what is broken is critical, and everything else that is not `ok` is a
/// warning.
fn rules(options: &CheckOptions) -> Result<CheckRules, CommandError> {
    let warning = thresholds("--warning", &options.warning)?;
    let critical = thresholds("--critical", &options.critical)?;
    let lasting = options.lasting;
    if !warning.is_empty() || !critical.is_empty() {
        return Ok(CheckRules { warning, critical, lasting });
    }

    let critical = verdicts::names()
        .filter(|verdict| verdicts::tone(verdict) == verdicts::Tone::Bad)
        .map(|verdict| Threshold { verdict: Some(verdict.to_owned()), count: 1 });
    Ok(CheckRules {
        warning: vec![Threshold { verdict: None, count: 1 }],
        critical: critical.collect(),
        lasting,
    })
}

fn thresholds(option: &'static str, items: &[String]) -> Result<Vec<Threshold>, CommandError> {
    items.iter().map(|item| threshold(option, item)).collect()
}

/// `VERDICT`, `VERDICT=COUNT`, or `COUNT` for all verdicts together.
fn threshold(option: &'static str, item: &str) -> Result<Threshold, CommandError> {
    let wrong = |problem: String| CommandError::Option { option, value: item.to_owned(), problem };
    let parse_count = |text: &str| match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(wrong("the least number of units must be a whole number from 1 on".to_owned())),
    };

    if item.starts_with(|char: char| char.is_ascii_digit()) {
        return Ok(Threshold { verdict: None, count: parse_count(item)? });
    }
    let (verdict, count) = match item.split_once('=') {
        Some((verdict, count)) => (verdict, parse_count(count)?),
        None => (item, 1),
    };
    if verdict == "ok" || !verdicts::names().any(|name| name == verdict) {
        let known: Vec<_> = verdicts::names().filter(|name| *name != "ok").collect();
        return Err(wrong(format!("expected a verdict: {}", known.join(", "))));
    }
    Ok(Threshold { verdict: Some(verdict.to_owned()), count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_verdict_a_count_or_both() {
        let parsed = |item| threshold("--warning", item).ok();
        let verdict = |name: &str| Some(name.to_owned());

        assert_eq!(parsed("failed"), Some(Threshold { verdict: verdict("failed"), count: 1 }));
        assert_eq!(parsed("stale=5"), Some(Threshold { verdict: verdict("stale"), count: 5 }));
        assert_eq!(parsed("3"), Some(Threshold { verdict: None, count: 3 }));
        for wrong in ["", "ok", "faild", "failed=0", "failed=many", "0", "=2"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
