//! Which units are wrong for the same reason, as far as that can be seen: on one machine, or of one
//! template.
//!
//! It does not know how long they have been wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::ProblemCause;
use super::wrong_rows::row_key;
use crate::cluster::{RowKey, Unit};

/// Groups units by their causes, the largest groups first. Each unit is in one group. A group of
/// one has the unit itself as its cause.
pub(super) fn group(mut units: Vec<Arc<Unit>>) -> Vec<(ProblemCause, Vec<Arc<Unit>>)> {
    units.sort_by_key(|unit| row_key(unit));

    let mut candidates: BTreeMap<String, (ProblemCause, Vec<Arc<Unit>>)> = BTreeMap::new();
    for unit in &units {
        for cause in [ProblemCause::of_machine_of(unit), ProblemCause::of_template_of(unit)] {
            let candidate = candidates.entry(cause.key()).or_insert_with(|| (cause, Vec::new()));
            candidate.1.push(unit.clone());
        }
    }

    let mut candidates: Vec<(ProblemCause, Vec<Arc<Unit>>)> = candidates.into_values().collect();
    candidates.sort_by_key(|(_, units)| Reverse(units.len()));

    let mut grouped: HashSet<RowKey> = HashSet::new();
    let mut groups = Vec::new();
    for (cause, mut units) in candidates {
        units.retain(|unit| !grouped.contains(&row_key(unit)));
        if units.len() > 1 {
            grouped.extend(units.iter().map(|unit| row_key(unit)));
            groups.push((cause, units));
        }
    }

    let single = units.into_iter().filter(|unit| !grouped.contains(&row_key(unit)));
    groups.extend(single.map(|unit| (ProblemCause::of_unit(&unit), vec![unit])));
    groups
}
