//! The verdicts of `docs/protocol.md`: their order, words for people, and tones.

use std::collections::BTreeMap;

use super::wire::UnitRow;

/// How much a row needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// Something is broken.
    Bad,
    /// Something is not as fleet wants it.
    Warning,
    /// Nothing is known to be wrong.
    Good,
}

struct KnownVerdict {
    name: &'static str,
    word: &'static str,
    tone: Tone,
}

/// The verdicts, the worst first.
const VERDICTS: [KnownVerdict; 9] = [
    KnownVerdict { name: "failed", word: "failed", tone: Tone::Bad },
    KnownVerdict { name: "crash_loop", word: "crash loop", tone: Tone::Bad },
    KnownVerdict { name: "machine_lost", word: "machine lost", tone: Tone::Bad },
    KnownVerdict { name: "unreported", word: "unreported", tone: Tone::Bad },
    KnownVerdict {
        name: "unscheduled",
        word: "unscheduled",
        tone: Tone::Warning,
    },
    KnownVerdict { name: "ghost", word: "ghost", tone: Tone::Warning },
    KnownVerdict { name: "stale", word: "stale", tone: Tone::Warning },
    KnownVerdict { name: "outdated", word: "outdated", tone: Tone::Warning },
    KnownVerdict { name: "ok", word: "ok", tone: Tone::Good },
];

fn find(name: &str) -> Option<&'static KnownVerdict> {
    VERDICTS.iter().find(|verdict| verdict.name == name)
}

/// The names of all verdicts, the worst first.
pub fn names() -> impl Iterator<Item = &'static str> {
    VERDICTS.iter().map(|verdict| verdict.name)
}

/// The place in the order, the worst first. A verdict of a newer server comes before `ok`.
pub fn rank(name: &str) -> usize {
    VERDICTS
        .iter()
        .position(|verdict| verdict.name == name)
        .unwrap_or(VERDICTS.len() - 2)
}

/// The name for people.
pub fn word(name: &str) -> &str {
    find(name).map_or(name, |verdict| verdict.word)
}

/// How much a unit with this verdict needs attention.
pub fn tone(name: &str) -> Tone {
    find(name).map_or(Tone::Warning, |verdict| verdict.tone)
}

/// How many units have each verdict, the worst first. Verdicts that no unit has are left out.
fn count<'a>(units: impl IntoIterator<Item = &'a UnitRow>) -> Vec<(&'a str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for unit in units {
        *counts.entry(&unit.verdict).or_default() += 1;
    }

    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(verdict, _)| rank(verdict));
    counts
}

/// How many units have each verdict, the worst first: `1 failed, 2 stale`.
pub fn summary<'a>(units: impl IntoIterator<Item = &'a UnitRow>) -> String {
    let counts: Vec<String> = count(units)
        .into_iter()
        .map(|(verdict, units)| format!("{units} {}", word(verdict)))
        .collect();

    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_of_the_server_is_known_in_its_order() {
        let server = crate::cluster::Verdict::ALL.map(crate::cluster::Verdict::name);
        assert_eq!(names().collect::<Vec<_>>(), server);
    }

    #[test]
    fn a_verdict_of_a_newer_server_is_a_warning() {
        assert_eq!(tone("frozen"), Tone::Warning);
        assert!(rank("outdated") <= rank("frozen") && rank("frozen") < rank("ok"));
    }
}
