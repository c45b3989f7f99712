//! The filter language: a text of terms, and which units, machines and events it selects.
//!
//! It knows neither who filters nor how rows are sent. The page has the same language in
//! `src/page/filter.js`, and `tests/fixtures/filter/cases.json` has the cases for both.
//!
//! A term is `PATTERN` or `KEY:PATTERN`, with a `-` in front of it if it excludes. A key applies
//! only to what has such a thing: `state:failed` says nothing about a machine, which passes.

mod error;
mod pattern;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::iter;
use std::str::FromStr;

use self::pattern::Pattern;
use crate::cluster::{Event, MachineDetails, MachineId, Member, Text, Unit, Verdict};
use crate::problems::{Problem, ProblemCause};

pub use self::error::FilterError;

/// The state of a unit that no machine has reported, and that fleet does not want started.
const SUBMITTED: &str = "submitted";

/// The state of a unit that fleet wants, and that a machine has some time left to report.
const EXPECTED: &str = "expected";

/// What the pattern of a term is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FilterKey {
    /// The name of a unit.
    Unit,
    /// The ID or the address of a machine.
    Machine,
    /// A load, active or sub state, or a verdict.
    State,
    /// A verdict.
    Verdict,
    /// A pair of a machine's metadata, or the key of a pair.
    Meta,
}

impl FilterKey {
    const ALL: [FilterKey; 5] = [
        FilterKey::Unit,
        FilterKey::Machine,
        FilterKey::State,
        FilterKey::Verdict,
        FilterKey::Meta,
    ];

    fn name(self) -> &'static str {
        match self {
            FilterKey::Unit => "unit",
            FilterKey::Machine => "machine",
            FilterKey::State => "state",
            FilterKey::Verdict => "verdict",
            FilterKey::Meta => "meta",
        }
    }
}

/// One word of a filter.
#[derive(Clone, Debug, PartialEq)]
struct FilterTerm {
    /// `None` for a bare word, which is compared with everything.
    key: Option<FilterKey>,
    pattern: Pattern,
    excludes: bool,
}

impl FilterTerm {
    /// Parses a word, which is in lower case.
    fn parse(word: &str) -> Result<Self, FilterError> {
        let (excludes, term) = match word.strip_prefix('-') {
            Some(term) if !term.is_empty() => (true, term),
            _ => (false, word),
        };
        let Some((name, text)) = split_key(term) else {
            return Ok(Self { key: None, pattern: Pattern::new(term), excludes });
        };

        let key = FilterKey::ALL
            .into_iter()
            .find(|key| key.name() == name)
            .ok_or_else(|| FilterError::unknown_key(name))?;
        if text.is_empty() {
            return Err(FilterError::NoPattern { key: key.name() });
        }

        let text = match key {
            FilterKey::Verdict => Cow::Owned(text.replace('-', "_")),
            _ => Cow::Borrowed(text),
        };
        Ok(Self { key: Some(key), pattern: Pattern::new(&text), excludes })
    }
}

/// The key of a term and what is behind it; `None` for a bare word.
///
/// A key consists of letters. `dead:beef::1` has none: nothing but hexadecimal digits, dots and
/// glob characters around two colons or more is an IPv6 address.
fn split_key(term: &str) -> Option<(&str, &str)> {
    let (name, pattern) = term.split_once(':')?;
    let is_word = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphabetic());
    let is_address = pattern.contains(':')
        && term
            .chars()
            .all(|character| character.is_ascii_hexdigit() || ":.*?".contains(character));

    (is_word && !is_address).then_some((name, pattern))
}

impl fmt::Display for FilterTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.excludes {
            f.write_str("-")?;
        }
        if let Some(key) = self.key {
            write!(f, "{}:", key.name())?;
        }
        f.write_str(self.pattern.text())
    }
}

/// Selects units, machines and events. Letters of ASCII are equal in both cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All terms in lower case, sorted, so that filters with the same terms are equal.
    text: String,
    /// Of each of these lists one term must match. The terms of a list have the same key; a bare
    /// word is alone in its list.
    required: Vec<Vec<FilterTerm>>,
    /// None of these terms may match.
    excluded: Vec<FilterTerm>,
}

impl Filter {
    /// The longest filter, in bytes. A longer one takes more time for every row.
    const MAX_LENGTH: usize = 256;

    /// Whether everything passes, because it has no terms.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a unit passes. A unit that no machine reports counts as on its target.
    pub(super) fn unit(&self, unit: &Unit) -> bool {
        let MachineDetails { ip, metadata } = &unit.machine;
        let ip = ip.as_ref().or(unit.state.ip.as_ref());
        let metadata = metadata.as_ref();

        self.passes(|FilterTerm { key, pattern, .. }| {
            Some(match key {
                None => unit_texts(unit).any(|text| pattern.is_in(&text)),
                Some(FilterKey::Unit) => pattern.is(&unit.state.unit),
                Some(FilterKey::Machine) => {
                    matches_machine(pattern, unit.machine_id(), ip, metadata)
                }
                Some(FilterKey::State) => {
                    current_states(unit).any(|state| pattern.is(&state))
                        || pattern.is(unit.verdict.name())
                }
                Some(FilterKey::Verdict) => pattern.is(unit.verdict.name()),
                Some(FilterKey::Meta) => matches_metadata(pattern, metadata),
            })
        })
    }

    /// Whether a machine passes.
    pub(super) fn machine(&self, member: &Member) -> bool {
        let machine = &member.machine;
        let id = Some(&machine.id);
        let texts = [
            Some(&*machine.id),
            machine.ip.as_deref(),
            machine.metadata.as_deref(),
            machine.version.as_deref(),
        ];

        self.passes(|FilterTerm { key, pattern, .. }| match key {
            None => Some(texts.into_iter().flatten().any(|text| pattern.is_in(text))),
            Some(FilterKey::Machine) => {
                let metadata = machine.metadata.as_ref();
                Some(matches_machine(pattern, id, machine.ip.as_ref(), metadata))
            }
            Some(FilterKey::Meta) => Some(matches_metadata(pattern, machine.metadata.as_ref())),
            Some(FilterKey::Unit | FilterKey::State | FilterKey::Verdict) => None,
        })
    }

    /// Whether a problem passes: if it is about the source, or if one of its units or its machine
    /// passes.
    pub(super) fn problem(&self, problem: &Problem) -> bool {
        let Problem { cause, units, machine, .. } = problem;
        let is_of_source = matches!(cause, ProblemCause::Source(_));
        let is_of_machine = || machine.as_ref().is_some_and(|member| self.machine(member));

        self.is_empty()
            || is_of_source
            || units.iter().any(|unit| self.unit(unit))
            || is_of_machine()
    }

    /// Whether an event passes. It has neither a verdict nor metadata.
    pub(super) fn event(&self, event: &Event) -> bool {
        let unit = event.place().map(|place| &*place.unit);
        let machine = event.machine();
        let has_machine = unit.is_some() || machine.is_some();
        let has_states = event.from().is_some() || event.to().is_some();

        self.passes(|FilterTerm { key, pattern, .. }| match key {
            None => Some(event_texts(event).any(|text| pattern.is_in(&text))),
            Some(FilterKey::Unit) => unit.map(|unit| pattern.is(unit)),
            Some(FilterKey::Machine) => {
                has_machine.then(|| matches_machine(pattern, machine, event.ip(), None))
            }
            Some(FilterKey::State) => {
                has_states.then(|| event_states(event).any(|state| pattern.is(state)))
            }
            Some(FilterKey::Verdict | FilterKey::Meta) => None,
        })
    }

    /// Whether a line of a unit's log passes. It has neither a state, a verdict nor metadata.
    pub(crate) fn log_line(
        &self,
        unit: &str,
        machine: &MachineId,
        ip: Option<&Text>,
        texts: [&str; 2],
    ) -> bool {
        self.passes(|FilterTerm { key, pattern, .. }| match key {
            None => Some(texts.iter().any(|text| pattern.is_in(text))),
            Some(FilterKey::Unit) => Some(pattern.is(unit)),
            Some(FilterKey::Machine) => Some(matches_machine(pattern, Some(machine), ip, None)),
            Some(FilterKey::State | FilterKey::Verdict | FilterKey::Meta) => None,
        })
    }

    /// Whether something passes. `matches` is `None` for a term that does not apply to it.
    fn passes(&self, matches: impl Fn(&FilterTerm) -> Option<bool>) -> bool {
        let allows = |term: &FilterTerm| matches(term) != Some(false);
        let excludes = |term: &FilterTerm| matches(term) == Some(true);

        self.required.iter().all(|terms| terms.iter().any(allows))
            && !self.excluded.iter().any(excludes)
    }

    fn add(&mut self, term: FilterTerm) {
        if term.excludes {
            self.excluded.push(term);
            return;
        }

        let alternatives = self
            .required
            .iter_mut()
            .find(|terms| term.key.is_some() && terms[0].key == term.key);
        match alternatives {
            Some(terms) => terms.push(term),
            None => self.required.push(vec![term]),
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > Self::MAX_LENGTH {
            return Err(FilterError::TooLong { most: Self::MAX_LENGTH });
        }

        let mut terms = BTreeMap::new();
        for word in text.split_whitespace() {
            let term = FilterTerm::parse(&word.to_ascii_lowercase())?;
            terms.insert(term.to_string(), term);
        }

        let text = Vec::from_iter(terms.keys().map(String::as_str)).join(" ");
        let mut filter = Self { text, ..Self::default() };
        for term in terms.into_values() {
            filter.add(term);
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

/// What a bare word is compared with.
fn unit_texts(unit: &Unit) -> impl Iterator<Item = Cow<'_, str>> {
    let description = unit.file.as_ref().and_then(|file| file.description.as_deref());
    let texts = [
        Some(&*unit.state.unit),
        description,
        Some(unit.verdict.name()),
        unit.machine_id().map(|machine| &**machine),
        unit.state.ip.as_deref(),
        unit.machine.ip.as_deref(),
        unit.machine.metadata.as_deref(),
    ];

    texts
        .into_iter()
        .flatten()
        .map(Cow::Borrowed)
        .chain(last_known_states(unit))
}

/// The states of a unit now: none if they are only the last known ones. A unit that systemd cannot
/// load has no active state: it is `failed`, which is its verdict.
fn current_states(unit: &Unit) -> impl Iterator<Item = Cow<'_, str>> {
    let state = &unit.state;
    let cannot_be_loaded =
        unit.verdict == Verdict::Failed && state.active.as_deref() != Some(Verdict::Failed.name());
    let active = state.active.as_deref().filter(|_| !cannot_be_loaded);

    let is_current = unit.verdict.has_current_state();
    is_current.then(|| states(unit, active)).into_iter().flatten()
}

/// The last known states of a unit.
fn last_known_states(unit: &Unit) -> impl Iterator<Item = Cow<'_, str>> {
    states(unit, unit.state.active.as_deref())
}

/// Load, active and sub state, active and sub together, as in `active/running`, or why there is no
/// state.
fn states<'a>(unit: &'a Unit, active: Option<&'a str>) -> impl Iterator<Item = Cow<'a, str>> {
    let state = &unit.state;
    let states = [state.load.as_deref(), active, state.sub.as_deref(), absence(unit)];
    let both = move || Some(format!("{}/{}", active?, state.sub.as_ref()?));

    states
        .into_iter()
        .flatten()
        .map(Cow::Borrowed)
        .chain(iter::once_with(both).flatten().map(Cow::Owned))
}

/// Why no machine reports a unit although nothing is wrong with it; `None` if one does.
fn absence(unit: &Unit) -> Option<&'static str> {
    if unit.state.active.is_some() || unit.verdict != Verdict::Ok {
        return None;
    }

    let is_wanted = unit.file.as_ref().is_some_and(|file| file.is_wanted());
    Some(if is_wanted { EXPECTED } else { SUBMITTED })
}

/// What a bare word is compared with.
fn event_texts(event: &Event) -> impl Iterator<Item = Cow<'_, str>> {
    let texts = [
        Some(event.name()),
        event.place().map(|place| &*place.unit),
        event.machine().map(|machine| &**machine),
        event.ip().map(|ip| &**ip),
    ];
    let text = iter::once_with(|| event.to_string());

    texts
        .into_iter()
        .flatten()
        .map(Cow::Borrowed)
        .chain(text.map(Cow::Owned))
}

/// The states before and after an event: `failed/failed (not-found)` as a whole, and its parts.
fn event_states(event: &Event) -> impl Iterator<Item = &str> {
    const BETWEEN_PARTS: [char; 4] = ['/', ' ', '(', ')'];

    [event.from(), event.to()]
        .into_iter()
        .flatten()
        .flat_map(|state| iter::once(state).chain(state.split(BETWEEN_PARTS)))
}

/// Whether a machine has this ID or address. The beginning of an ID is enough, and that of an
/// address if the pattern ends with a dot. A pattern with `=` may also be a pair of its metadata.
fn matches_machine(
    pattern: &Pattern,
    id: Option<&MachineId>,
    ip: Option<&Text>,
    metadata: Option<&Text>,
) -> bool {
    id.is_some_and(|id| pattern.is(id) || pattern.begins_id(id))
        || ip.is_some_and(|ip| pattern.is(ip) || pattern.is_network_of(ip))
        || (pattern.text().contains('=') && matches_metadata(pattern, metadata))
}

/// Whether a pair, or the key of a pair, matches.
fn matches_metadata(pattern: &Pattern, metadata: Option<&Text>) -> bool {
    let text = metadata.map_or("", |metadata| metadata);

    text.split(',').filter(|pair| !pair.is_empty()).any(|pair| {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        pattern.is(pair) || pattern.is(key)
    })
}
