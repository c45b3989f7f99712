//! What a client of the second protocol subscribes to: topics, and a filter for their rows.
//!
//! It decides about one row or event at a time. It does not know how rows are sent, nor how a
//! client subscribes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

use crate::cluster::{Event, MachineId, Member, Text, Unit};

/// A kind of messages that a client can subscribe to. Messages about the source go to all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Rows: each unit on each machine.
    Units,
    /// Machines of the cluster.
    Machines,
    /// What happens to units, machines and the source.
    Events,
}

impl Topic {
    /// All topics, in the order in which their snapshots are sent.
    pub const ALL: [Topic; 3] = [Topic::Units, Topic::Machines, Topic::Events];

    /// The name in queries and messages.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Units => "units",
            Topic::Machines => "machines",
            Topic::Events => "events",
        }
    }
}

/// What a client subscribes to. Clients with equal subscriptions get the same messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// At least one topic.
    pub topics: BTreeSet<Topic>,
    /// Selects rows and events of the topics.
    pub filter: Filter,
}

impl Default for Subscription {
    /// All topics, without a filter.
    fn default() -> Self {
        Self { topics: Topic::ALL.into(), filter: Filter::default() }
    }
}

impl Subscription {
    /// Parses names of topics, separated by commas.
    ///
    /// # Errors
    ///
    /// Says what was expected, if a name is not that of a topic.
    pub(crate) fn parse_topics(names: &str) -> Result<BTreeSet<Topic>, String> {
        let topic = |name: &str| {
            let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
            topic.ok_or_else(|| {
                "expected some of units, machines and events, with commas between".to_owned()
            })
        };

        names.split(',').map(topic).collect()
    }

    /// Whether the client subscribes to a topic.
    pub(super) fn has(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }
}

/// Terms that a row must match. Terms with the same key are alternatives; of each key that has
/// terms, one must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All terms, sorted, so that filters with the same terms are equal.
    text: String,
    unit: Vec<WildMatch>,
    machine: Vec<WildMatch>,
    state: Vec<String>,
}

impl Filter {
    /// The longest filter, in bytes. A longer one takes more time for every row.
    const MAX_LENGTH: usize = 256;

    /// Whether everything passes, because it has no terms.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a unit passes. For a unit that no machine reports, `machine:` looks at its target.
    pub(super) fn unit(&self, unit: &Unit) -> bool {
        let state = &unit.state;
        let target = || unit.file.as_ref().and_then(|file| file.target.as_ref());
        let has_state = |wanted: &String| {
            let states = [&state.load, &state.active, &state.sub];
            states.into_iter().flatten().any(|state| **state == **wanted)
                || unit.verdict.name() == wanted
        };

        matches_any(&self.unit, &state.unit)
            && self.matches_machine(state.machine.as_ref().or_else(target), state.ip.as_ref())
            && (self.state.is_empty() || self.state.iter().any(has_state))
    }

    /// Whether a machine passes. Only `machine:` is applied to it.
    pub(super) fn machine(&self, member: &Member) -> bool {
        self.matches_machine(Some(&member.machine.id), member.machine.ip.as_ref())
    }

    /// Whether an event passes. `unit:` and `machine:` are applied to events that have a unit or a
    /// machine. Events of the source always pass.
    pub(super) fn event(&self, event: &Event) -> bool {
        match (event.place(), event.machine()) {
            (None, None) => true,
            (place, machine) => {
                place.is_none_or(|place| matches_any(&self.unit, &place.unit))
                    && self.matches_machine(machine, event.ip())
            }
        }
    }

    fn matches_machine(&self, machine: Option<&MachineId>, ip: Option<&Text>) -> bool {
        self.machine.is_empty()
            || machine.is_some_and(|machine| matches_any(&self.machine, machine))
            || ip.is_some_and(|ip| matches_any(&self.machine, ip))
    }
}

fn matches_any(globs: &[WildMatch], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(name))
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_key = |term: &str| {
            if term.contains(':') {
                term.to_owned()
            } else {
                format!("unit:{term}")
            }
        };
        let terms: BTreeSet<String> = text.split_whitespace().map(with_key).collect();

        let mut filter = Self {
            text: Vec::from_iter(terms.iter().map(String::as_str)).join(" "),
            ..Self::default()
        };
        if filter.text.len() > Self::MAX_LENGTH {
            return Err(format!("expected {} bytes at most", Self::MAX_LENGTH));
        }

        for term in &terms {
            match term.split_once(':').unwrap_or_default() {
                (_, "") => return Err(format!("expected something after {term}")),
                ("machine", glob) => filter.machine.push(WildMatch::new(glob)),
                ("state", name) => filter.state.push(name.to_owned()),
                ("unit", glob) => filter.unit.push(WildMatch::new(glob)),
                (key, _) => {
                    return Err(format!(
                        "expected unit:GLOB, machine:GLOB or state:NAME, not {key}:"
                    ));
                }
            }
        }
        Ok(filter)
    }
}

impl fmt::Display for Filter {
    /// The same text for all filters with the same terms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::builders;
    use crate::cluster::{Place, UnitFile, UnitState, Verdict};

    fn unit(name: &str, machine: Option<&str>, active: &str) -> Unit {
        let state = UnitState {
            machine: machine.map(Into::into),
            ip: machine.map(|_| "10.0.0.1".into()),
            active: Some(active.into()),
            ..builders::unit_state(name, "m1", "active/running")
        };
        Unit { verdict: Verdict::Stale, ..builders::unit(state) }
    }

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    #[test]
    fn one_term_of_each_key_must_match() {
        let web = unit("web@1.service", Some("m1"), "active");

        for (terms, expected) in [
            ("", true),
            ("web@*", true),
            ("unit:web@?.service", true),
            ("unit:web", false),
            ("unit:db* unit:web*", true),
            ("machine:m1", true),
            ("machine:10.0.0.*", true),
            ("machine:m2", false),
            ("machine:m2 machine:m*", true),
            ("state:active", true),
            ("state:loaded", true),
            ("state:running", true),
            ("state:stale", true),
            ("state:act*", false),
            ("state:failed", false),
            ("web* machine:m1 state:active", true),
            ("web* machine:m2 state:active", false),
        ] {
            assert_eq!(filter(terms).unit(&web), expected, "{terms}");
        }
    }

    #[test]
    fn a_unit_on_no_machine_is_matched_by_its_target() {
        let mut nowhere = unit("web@1.service", None, "inactive");
        assert!(!filter("machine:m1").unit(&nowhere));

        let file = UnitFile {
            desired: None,
            ..builders::unit_file("web@1.service", Some("m1"))
        };
        nowhere.file = Some(Arc::new(file));
        assert!(filter("machine:m1").unit(&nowhere));
    }

    #[test]
    fn events_are_matched_by_unit_and_machine() {
        let place = Place {
            unit: "web@1.service".into(),
            machine: Some("m1".into()),
            ip: Some("10.0.0.1".into()),
        };
        let changed = Event::Changed {
            place,
            from: "active/running".into(),
            to: "failed/failed".into(),
        };
        let lost = Event::MachineLost { machine: "m1".into(), ip: None };
        let down = Event::SourceDown { reason: "no answer".into() };

        for (terms, expected) in [
            ("", [true, true, true]),
            ("web*", [true, true, true]),
            ("db*", [false, true, true]),
            ("machine:m2", [false, false, true]),
            ("machine:10.0.0.1", [true, false, true]),
            ("state:inactive", [true, true, true]),
        ] {
            assert_eq!(
                [&changed, &lost, &down].map(|event| filter(terms).event(event)),
                expected,
                "{terms}"
            );
        }
    }

    #[test]
    fn filters_with_the_same_terms_are_equal_and_have_the_same_text() {
        let messy = filter("state:failed web*   machine:m1 unit:web*");

        assert_eq!(messy, filter("unit:web* machine:m1 state:failed"));
        assert_eq!(messy.to_string(), "machine:m1 state:failed unit:web*");
        assert_eq!(filter(&messy.to_string()), messy);

        assert!(filter("  ").is_empty());
        assert!(!messy.is_empty());
    }
}
