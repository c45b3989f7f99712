//! What a client of the second protocol wants of all that is published.
//!
//! It judges rows and events, one at a time. It does not know how they are sent, nor from where a
//! client's wish came.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

use crate::cluster::{Event, MachineId, Member, Text, Unit};

/// A stream of messages that a client may want or not. Messages about the source are for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// The units.
    Units,
    /// The machines.
    Machines,
    /// What happens.
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

/// What a client wants. Equal ones get the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// The topics, at least one.
    pub topics: BTreeSet<Topic>,
    /// Which rows and events of them.
    pub filter: Filter,
}

impl Default for Subscription {
    /// Everything.
    fn default() -> Self {
        Self { topics: Topic::ALL.into(), filter: Filter::default() }
    }
}

impl Subscription {
    /// Reads the names of topics, with commas between.
    ///
    /// # Errors
    ///
    /// What was expected, where it is something else.
    pub fn topics(names: &str) -> Result<BTreeSet<Topic>, String> {
        let topic = |name: &str| {
            let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
            topic.ok_or_else(|| {
                "expected some of units, machines and events, with commas between".to_owned()
            })
        };
        names.split(',').map(topic).collect()
    }

    /// Whether it has a topic.
    pub fn has(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }
}

/// Terms that a row must meet: of each key that is there, one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All terms, in one order.
    text: String,
    unit: Vec<WildMatch>,
    machine: Vec<WildMatch>,
    state: Vec<String>,
}

impl Filter {
    /// How long it may be, in bytes: what it costs is spent on each row.
    const MAX: usize = 256;

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a unit passes. One that no machine reports is on the machine where fleet wants it.
    pub fn unit(&self, unit: &Unit) -> bool {
        let state = &unit.state;
        let target = || unit.file.as_ref().and_then(|file| file.target.as_ref());
        let is = |wanted: &String| {
            let states = [&state.load, &state.active, &state.sub];
            states.into_iter().flatten().any(|state| **state == **wanted)
                || unit.verdict.name() == wanted
        };
        meets(&self.unit, &state.unit)
            && self.is_on(state.machine.as_ref().or_else(target), state.ip.as_ref())
            && (self.state.is_empty() || self.state.iter().any(is))
    }

    /// Whether a machine passes.
    pub fn machine(&self, member: &Member) -> bool {
        self.is_on(Some(&member.machine.id), member.machine.ip.as_ref())
    }

    /// Whether something that happened passes: by its unit and its machine, as far as it has them.
    /// What happens to the source always does.
    pub fn event(&self, event: &Event) -> bool {
        match (event.place(), event.machine()) {
            (None, None) => true,
            (place, machine) => {
                place.is_none_or(|place| meets(&self.unit, &place.unit))
                    && self.is_on(machine, event.ip())
            }
        }
    }

    fn is_on(&self, machine: Option<&MachineId>, ip: Option<&Text>) -> bool {
        self.machine.is_empty()
            || machine.is_some_and(|machine| meets(&self.machine, machine))
            || ip.is_some_and(|ip| meets(&self.machine, ip))
    }
}

fn meets(globs: &[WildMatch], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(name))
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = |term: &str| {
            if term.contains(':') {
                term.to_owned()
            } else {
                format!("unit:{term}")
            }
        };
        let terms: BTreeSet<String> = text.split_whitespace().map(whole).collect();
        let mut filter = Self {
            text: Vec::from_iter(terms.iter().map(String::as_str)).join(" "),
            ..Self::default()
        };
        if filter.text.len() > Self::MAX {
            return Err(format!("expected {} bytes at most", Self::MAX));
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
    /// The same for all filters that have the same terms.
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
    fn of_each_key_one_term_must_be_met() {
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
    fn a_unit_on_no_machine_is_where_fleet_wants_it() {
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
    fn events_are_met_by_unit_and_machine() {
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
    fn equal_filters_have_one_form_which_can_be_read_again() {
        let one = filter("state:failed web*   machine:m1 unit:web*");
        assert_eq!(one, filter("unit:web* machine:m1 state:failed"));
        assert_eq!(one.to_string(), "machine:m1 state:failed unit:web*");
        assert_eq!(filter(&one.to_string()), one);
        assert!(filter("  ").is_empty() && !one.is_empty());
    }
}
