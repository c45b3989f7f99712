//! What differs between two views.
//!
//! It knows neither why something changed nor who wants to know.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Member, Unit, View};

/// A row as it was and as it is: without `before` it is new, without `after` it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// The row in the older view.
    pub before: Option<Arc<T>>,
    /// The row in the newer view.
    pub after: Option<Arc<T>>,
}

impl<T> Change<T> {
    /// Whether the row as it was, or as it is, is such a one.
    pub fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        self.before.iter().chain(&self.after).any(|row| is(row))
    }
}

/// What changed of each list, in the order of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Of the units; a row is one unit on one machine.
    pub units: Vec<Change<Unit>>,
    /// Of the machines.
    pub machines: Vec<Change<Member>>,
}

impl Delta {
    /// The difference between two views.
    pub fn between(before: &View, after: &View) -> Self {
        let by_place = |a: &Unit, b: &Unit| {
            (&a.state.unit, &a.state.machine).cmp(&(&b.state.unit, &b.state.machine))
        };
        Self {
            units: changes(before.units.iter(), after.units.iter(), by_place),
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

/// Walks both lists at once. A row that did not change is the same in memory in most views, which
/// is seen first.
fn changes<'a, T: PartialEq + 'a>(
    before: impl Iterator<Item = &'a Arc<T>>,
    after: impl Iterator<Item = &'a Arc<T>>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Vec<Change<T>> {
    let mut before = before.peekable();
    let mut after = after.peekable();
    let mut changes = Vec::new();
    loop {
        let first = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Ordering::Equal,
            (Some(old), Some(new)) => order(old, new),
        };
        let old = before.next_if(|_| first.is_le());
        let new = after.next_if(|_| first.is_ge());
        if old
            .zip(new)
            .is_none_or(|(old, new)| !Arc::ptr_eq(old, new) && old != new)
        {
            changes.push(Change { before: old.cloned(), after: new.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::builders;
    use crate::cluster::{Machine, MachineId};

    type Members = BTreeMap<u8, u8>;

    fn view(members: &Members) -> View {
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
        /// The oracle is the difference of the two sets.
        #[test]
        fn a_delta_has_what_differs_and_nothing_else(before: Members, after: Members) {
            let (before, after) = (view(&before), view(&after));
            let changes = Delta::between(&before, &after).machines;
            let (old, new) = (by_id(&before), by_id(&after));
            let ids: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
            let expected: Vec<Change<Member>> = ids
                .iter()
                .map(|id| Change { before: old.get(id).cloned(), after: new.get(id).cloned() })
                .filter(|change| change.before != change.after)
                .collect();
            prop_assert_eq!(changes, expected);
        }
    }
}
