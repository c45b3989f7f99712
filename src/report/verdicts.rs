//! The verdicts of `docs/protocol.md`: their order, and what is said of units that have one.

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

struct Verdict {
    name: &'static str,
    word: &'static str,
    /// Completes "2 units …".
    predicate: [&'static str; 2],
    tone: Tone,
}

/// The verdicts, the worst first.
const VERDICTS: [Verdict; 9] = [
    Verdict::new("failed", "failed", ["failed", "failed"], Tone::Bad),
    Verdict::new(
        "crash_loop",
        "crash loop",
        ["is in a crash loop", "are in a crash loop"],
        Tone::Bad,
    ),
    Verdict::new(
        "machine_lost",
        "machine lost",
        ["is on a lost machine", "are on lost machines"],
        Tone::Bad,
    ),
    Verdict::new(
        "unreported",
        "unreported",
        ["is not reported by any machine", "are not reported by any machine"],
        Tone::Bad,
    ),
    Verdict::new(
        "unscheduled",
        "unscheduled",
        ["is not scheduled to any machine", "are not scheduled to any machine"],
        Tone::Warning,
    ),
    Verdict::new(
        "ghost",
        "ghost",
        ["runs although fleet does not want it", "run although fleet does not want them"],
        Tone::Warning,
    ),
    Verdict::new(
        "stale",
        "stale",
        ["is no longer reported", "are no longer reported"],
        Tone::Warning,
    ),
    Verdict::new(
        "outdated",
        "outdated",
        ["runs an old version", "run an old version"],
        Tone::Warning,
    ),
    Verdict::new("ok", "ok", ["is ok", "are ok"], Tone::Good),
];

impl Verdict {
    const fn new(
        name: &'static str,
        word: &'static str,
        predicate: [&'static str; 2],
        tone: Tone,
    ) -> Self {
        Self { name, word, predicate, tone }
    }
}

fn find(name: &str) -> Option<&'static Verdict> {
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

/// `1 unit failed`, `2 units are stale`.
pub fn units_with(count: usize, name: &str) -> String {
    let unit = if count == 1 { "unit" } else { "units" };

    match find(name) {
        Some(verdict) => format!("{count} {unit} {}", verdict.predicate[usize::from(count != 1)]),
        None if count == 1 => format!("1 unit is {name}"),
        None => format!("{count} units are {name}"),
    }
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
        assert_eq!(units_with(2, "frozen"), "2 units are frozen");
    }
}
