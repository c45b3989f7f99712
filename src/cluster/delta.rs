//! What differs between two views.
//!
//! It knows neither why something changed nor who uses the difference.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Member, Unit, View};

/// A row in two views. Without `before` it was added, without `after` it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// The row in the older view; `None` if it was not there.
    pub before: Option<Arc<T>>,
    /// The row in the newer view; `None` if it is not there.
    pub after: Option<Arc<T>>,
}

impl<T> Change<T> {
    /// The older and the newer row, as far as they are there.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<T>> {
        self.before.iter().chain(&self.after)
    }

    /// The newer row, or the one that was removed.
    pub(crate) fn latest(&self) -> Option<&Arc<T>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Whether the older or the newer row meets a condition.
    pub fn any(&self, condition: impl Fn(&T) -> bool) -> bool {
        self.rows().any(|row| condition(row))
    }
}

/// The changes of both lists, each in the order of its list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The changed rows; a row is one unit on one machine.
    pub units: Vec<Change<Unit>>,
    /// The changed machines, by their own IDs.
    pub machines: Vec<Change<Member>>,
}

impl Delta {
    /// The difference between two views.
    pub fn between(before: &View, after: &View) -> Self {
        let by_key = |a: &Unit, b: &Unit| {
            (&a.state.unit, &a.state.machine).cmp(&(&b.state.unit, &b.state.machine))
        };
        Self {
            units: changes(before.units.iter(), after.units.iter(), by_key),
            machines: Self::of_machines(&before.machines, &after.machines),
        }
    }

    /// The difference between two lists of machines, sorted by ID.
    pub(crate) fn of_machines(
        before: &[Arc<Member>],
        after: &[Arc<Member>],
    ) -> Vec<Change<Member>> {
        changes(before.iter(), after.iter(), |a, b| a.machine.id.cmp(&b.machine.id))
    }
}

/// Merges both sorted lists. Most unchanged rows are shared by both views, so that pointers are
/// compared first.
fn changes<'a, T: PartialEq + 'a>(
    before: impl Iterator<Item = &'a Arc<T>>,
    after: impl Iterator<Item = &'a Arc<T>>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Vec<Change<T>> {
    let mut before = before.peekable();
    let mut after = after.peekable();
    let mut changes = Vec::new();

    loop {
        let order_of_heads = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Ordering::Equal,
            (Some(old), Some(new)) => order(old, new),
        };

        let old = before.next_if(|_| order_of_heads.is_le());
        let new = after.next_if(|_| order_of_heads.is_ge());
        let is_changed = old
            .zip(new)
            .is_none_or(|(old, new)| !Arc::ptr_eq(old, new) && old != new);
        if is_changed {
            changes.push(Change { before: old.cloned(), after: new.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::builders;
    use crate::cluster::{Machine, MachineId};

    /// Machines by ID, each with its metadata.
    type MetadataById = BTreeMap<u8, u8>;

    fn view(members: &MetadataById) -> View {
        let member = |(id, metadata): (&u8, &u8)| {
            let id = format!("{id:03}");
            let machine = Machine {
                metadata: Some(metadata.to_string().into()),
                ..builders::machine(&id)
            };
            Arc::new(builders::member(machine))
        };

        View {
            machines: members.iter().map(member).collect(),
            ..View::default()
        }
    }

    fn by_id(view: &View) -> BTreeMap<MachineId, Arc<Member>> {
        view.machines
            .iter()
            .map(|member| (member.machine.id.clone(), member.clone()))
            .collect()
    }

    proptest! {
        /// It is compared with the difference of the two sets.
        #[test]
        fn a_delta_contains_exactly_what_differs(before: MetadataById, after: MetadataById) {
            let before = view(&before);
            let after = view(&after);
            let changes = Delta::between(&before, &after).machines;

            let old = by_id(&before);
            let new = by_id(&after);
            let ids: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
            let expected: Vec<Change<Member>> = ids
                .iter()
                .map(|id| Change { before: old.get(id).cloned(), after: new.get(id).cloned() })
                .filter(|change| change.before != change.after)
                .collect();
            prop_assert_eq!(changes, expected);
        }
    }
}
