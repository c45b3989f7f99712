//! The table of which option belongs to which source. Pure.
//!
//! It must not know what a value means: options are keys and values as text. Two questions are
//! answered from the table: which options cannot be set together ([`conflicts`]), and which options
//! of a weaker place (such as the file) are discarded because a stronger place (such as the command
//! line) requests another source ([`share_a_source`]).

use crate::source::etcd;

/// A set of sources, as bits.
type SourceSet = u8;

const DEMO: SourceSet = 1;
const REPLAY: SourceSet = 2;
const FLEETCTL: SourceSet = 4;
const API: SourceSet = 8;
/// The etcd at the option `endpoint`, to which fleetctl may also connect.
const ETCD_HOST: SourceSet = 16;
/// The members of etcd in the option `etcd`.
const ETCD_MEMBERS: SourceSet = 32;

const NONE: SourceSet = 0;
const RECORDING: SourceSet = DEMO | REPLAY;
const ETCD: SourceSet = ETCD_HOST | ETCD_MEMBERS;
const LIVE: SourceSet = FLEETCTL | API | ETCD;
const ALL: SourceSet = RECORDING | LIVE;

/// The values with which an option restricts the source.
enum ValueCondition {
    Any,
    Is(&'static str),
    IsNot(&'static str),
}

use ValueCondition::{Any, Is, IsNot};

struct OptionRule {
    option: &'static str,
    when: ValueCondition,
    /// The sources that use the option.
    used_by: SourceSet,
    /// The sources that do not use the option, but with which it may be set. This does not apply if
    /// `--source` names a live source: then all options that are set have to belong to it.
    unused_with: SourceSet,
}

/// An option without a rule belongs to all sources. A conflict is reported for the option that
/// comes first here; a conflict with the option `source` is reported for `source`.
const RULES: [OptionRule; 21] = [
    rule("demo", Is("true"), DEMO, NONE),
    rule("replay", Any, REPLAY, NONE),
    rule("from", Any, REPLAY, NONE),
    rule("to", Any, REPLAY, NONE),
    rule("record", Any, LIVE, NONE),
    rule("record_keep", Any, LIVE, NONE),
    rule("etcd", Any, ETCD_MEMBERS, NONE),
    rule("fleetctl", Any, FLEETCTL, NONE),
    rule("endpoint", Any, FLEETCTL | ETCD_HOST, NONE),
    rule("tunnel", Any, FLEETCTL, NONE),
    rule("api", Any, API, FLEETCTL | ETCD_HOST),
    rule("etcd_prefix", IsNot(etcd::DEFAULT_PREFIX), ETCD, LIVE),
    // Whether there is an etcd for the following options is checked elsewhere. The etcd at
    // `endpoint` is always connected to without TLS.
    rule("etcd_ca", Any, ETCD_MEMBERS, ALL),
    rule("etcd_cert", Any, ETCD_MEMBERS, ALL),
    rule("etcd_key", Any, ETCD_MEMBERS, ALL),
    rule("etcd_user", Any, ETCD, ALL),
    rule("etcd_password_file", Any, ETCD, ALL),
    rule("source", Is("fleetctl"), FLEETCTL, NONE),
    rule("source", Is("api"), API, NONE),
    rule("source", Is("etcd"), ETCD, NONE),
    rule("source", Is("replay"), RECORDING, NONE),
];

const fn rule(
    option: &'static str,
    when: ValueCondition,
    used_by: SourceSet,
    unused_with: SourceSet,
) -> OptionRule {
    OptionRule { option, when, used_by, unused_with }
}

impl OptionRule {
    fn find((option, value): (&str, &str)) -> Option<&'static Self> {
        RULES.iter().find(|rule| {
            let applies = match rule.when {
                Any => true,
                Is(expected) => value == expected,
                IsNot(default) => value != default,
            };
            rule.option == option && applies
        })
    }

    fn shares_a_source_with(&self, other: &Self) -> bool {
        self.used_by & other.used_by != NONE
    }

    fn may_be_unused_with(&self, other: &Self) -> bool {
        other.used_by & !self.unused_with == NONE
    }

    fn excludes(&self, other: &Self) -> bool {
        !self.shares_a_source_with(other)
            && !self.may_be_unused_with(other)
            && !other.may_be_unused_with(self)
    }
}

/// Whether both options, with these values, belong to a common source. The value of a switch is
/// `true` or `false`.
pub(crate) fn share_a_source(one: (&str, &str), other: (&str, &str)) -> bool {
    match (OptionRule::find(one), OptionRule::find(other)) {
        (Some(one), Some(other)) => one.shares_a_source_with(other),
        _ => true,
    }
}

/// The pairs of options in `set` that cannot be set together. The value of a switch is `true` or
/// `false`.
pub(crate) fn conflicts(set: &[(&str, &str)]) -> Vec<(&'static str, &'static str)> {
    let rules: Vec<&OptionRule> =
        set.iter().filter_map(|option| OptionRule::find(*option)).collect();
    let (choices, mut others): (Vec<&OptionRule>, Vec<&OptionRule>) =
        rules.into_iter().partition(|rule| rule.option == "source");

    // Only a live source counts here. If `--source replay` lacks a recording, that is another
    // error, which is reported elsewhere.
    let choice = choices.into_iter().find(|choice| choice.used_by & LIVE != NONE);
    let excluded_by_choice: Vec<_> = choice
        .into_iter()
        .flat_map(|choice| others.iter().filter(|other| !choice.shares_a_source_with(other)))
        .map(|other| ("source", other.option))
        .collect();

    // Conflicts are reported in the order of the table, not of `set`.
    others.sort_by_key(|rule| RULES.iter().position(|each| each.option == rule.option));
    let mut conflicts = Vec::new();
    for (index, one) in others.iter().enumerate() {
        let excluded = others[index + 1..].iter().filter(|other| one.excludes(other));
        conflicts.extend(excluded.map(|other| (one.option, other.option)));
    }
    conflicts.extend(excluded_by_choice);
    conflicts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options and values from a text such as `demo=true replay=f`.
    fn set(options: &str) -> Vec<(&str, &str)> {
        options
            .split_whitespace()
            .map(|option| option.split_once('=').unwrap())
            .collect()
    }

    fn conflicting(options: &str) -> Vec<String> {
        conflicts(&set(options))
            .into_iter()
            .map(|(one, other)| format!("{one} {other}"))
            .collect()
    }

    #[test]
    fn options_of_different_sources_conflict() {
        for (options, expected) in [
            ("demo=true replay=f", "demo replay"),
            ("record=f demo=true", "demo record"),
            ("record=f replay=g", "replay record"),
            ("fleetctl=f etcd=http://h:1", "etcd fleetctl"),
            ("endpoint=h etcd=http://h:1", "etcd endpoint"),
            ("tunnel=h etcd=http://h:1", "etcd tunnel"),
            ("api=http://h:1 etcd=http://h:1", "etcd api"),
            ("fleetctl=f source=api", "source fleetctl"),
            ("source=etcd tunnel=h", "source tunnel"),
            ("source=fleetctl etcd=http://h:1", "source etcd"),
            ("source=etcd demo=true", "source demo"),
            ("source=api replay=f", "source replay"),
        ] {
            assert_eq!(conflicting(options), [expected], "{options}");
        }
    }

    #[test]
    fn an_unused_option_is_an_error_only_if_source_names_a_live_source() {
        for (unused, named) in [
            ("fleetctl=f api=http://h:1", "source=fleetctl"),
            ("endpoint=h api=http://h:1", "source=fleetctl"),
            ("api=http://h:1 etcd_prefix=/p", "source=api"),
            ("tunnel=h etcd_ca=f", "source=fleetctl"),
        ] {
            assert_eq!(conflicting(unused), [""; 0], "{unused}");
            assert_eq!(conflicting(&format!("{unused} {named}")).len(), 1, "{unused} {named}");
        }
    }

    #[test]
    fn a_recording_conflicts_with_each_option_of_a_live_source() {
        for recording in ["demo", "replay"] {
            for live in ["fleetctl", "endpoint", "tunnel", "api", "etcd", "etcd_prefix", "record"] {
                let expected = [format!("{recording} {live}")];
                let options = format!("{live}=l {recording}=true");
                assert_eq!(conflicting(&options), expected, "{options}");
                let options = format!("{options} source=replay");
                assert_eq!(conflicting(&options), expected, "{options}");
            }
        }
    }

    #[test]
    fn a_default_value_restricts_no_source() {
        for options in [
            "demo=false replay=f",
            "source=auto fleetctl=f",
            "source=fleetctl etcd_prefix=/_coreos.com/fleet",
            "source=api port=1 unit_freq=1",
        ] {
            assert_eq!(conflicting(options), [""; 0], "{options}");
            let set = set(options);
            assert!(share_a_source(set[0], set[1]), "{options}");
        }
    }

    #[test]
    fn options_agree_if_one_source_uses_both() {
        for (one, other, expected) in [
            ("endpoint=h", "source=etcd", true),
            ("endpoint=h", "fleetctl=f", true),
            ("endpoint=h", "tunnel=h", true),
            ("etcd=http://h:1", "source=etcd", true),
            ("source=replay", "demo=true", true),
            ("record=f", "source=api", true),
            ("endpoint=h", "etcd=http://h:1", false),
            ("endpoint=h", "etcd_ca=f", false),
            ("fleetctl=f", "api=http://h:1", false),
            ("source=replay", "record=f", false),
            ("demo=true", "fleetctl=f", false),
        ] {
            let one = set(one)[0];
            let other = set(other)[0];
            assert_eq!(share_a_source(one, other), expected, "{one:?} {other:?}");
            assert_eq!(share_a_source(other, one), expected, "{other:?} {one:?}");
        }
    }
}
