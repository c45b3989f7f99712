//! What differs between two lists of rows. Pure.
//!
//! It must not know what the rows mean. The order of rows has no meaning, so lists that were put
//! together from differences are sorted by key.

use crate::cluster::{Machine, MachineId, UnitFile, UnitName, UnitState};

/// A row of a list, with the key that identifies it there.
pub(super) trait KeyedRow: Clone + PartialEq {
    type Key<'a>: Ord
    where
        Self: 'a;

    /// The key as it is recorded for a row that is gone.
    type OwnedKey;

    fn key(&self) -> Self::Key<'_>;
    fn owned_key(&self) -> Self::OwnedKey;
    fn key_of(owned: &Self::OwnedKey) -> Self::Key<'_>;
}

impl KeyedRow for UnitState {
    type Key<'a> = (&'a str, Option<&'a str>);
    type OwnedKey = (UnitName, Option<MachineId>);

    fn key(&self) -> Self::Key<'_> {
        (&self.unit, self.machine.as_deref())
    }

    fn owned_key(&self) -> Self::OwnedKey {
        (self.unit.clone(), self.machine.clone())
    }

    fn key_of((unit, machine): &Self::OwnedKey) -> Self::Key<'_> {
        (unit, machine.as_deref())
    }
}

impl KeyedRow for Machine {
    type Key<'a> = &'a str;
    type OwnedKey = MachineId;

    fn key(&self) -> &str {
        &self.id
    }

    fn owned_key(&self) -> MachineId {
        self.id.clone()
    }

    fn key_of(owned: &MachineId) -> &str {
        owned
    }
}

impl KeyedRow for UnitFile {
    type Key<'a> = &'a str;
    type OwnedKey = UnitName;

    fn key(&self) -> &str {
        &self.unit
    }

    fn owned_key(&self) -> UnitName {
        self.unit.clone()
    }

    fn key_of(owned: &UnitName) -> &str {
        owned
    }
}

/// The rows that differ between two lists.
#[derive(Debug)]
pub(super) struct RowChanges<R: KeyedRow> {
    pub(super) changed: Vec<R>,
    pub(super) removed: Vec<R::OwnedKey>,
}

impl<R: KeyedRow> RowChanges<R> {
    /// What has to be changed in `before` to get `after`. `None` if a key is in one of the lists
    /// twice: such a list can only be recorded as a whole.
    pub(super) fn between(before: &[R], after: &[R]) -> Option<Self> {
        let before = sorted(before)?;
        let after = sorted(after)?;
        let mut old = before.into_iter().peekable();
        let mut changed = Vec::new();
        let mut removed = Vec::new();

        for row in after {
            while let Some(gone) = old.next_if(|old| old.key() < row.key()) {
                removed.push(gone.owned_key());
            }
            let same = old.next_if(|old| old.key() == row.key());
            if same.is_none_or(|old| old != row) {
                changed.push(row.clone());
            }
        }
        removed.extend(old.map(KeyedRow::owned_key));

        Some(Self { changed, removed })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }

    /// Changes the rows. They are sorted by key after that.
    pub(super) fn apply(self, rows: &mut Vec<R>) {
        rows.sort_by(|one, other| one.key().cmp(&other.key()));

        for key in &self.removed {
            if let Ok(index) = rows.binary_search_by(|row| row.key().cmp(&R::key_of(key))) {
                rows.remove(index);
            }
        }
        for row in self.changed {
            match rows.binary_search_by(|old| old.key().cmp(&row.key())) {
                Ok(index) => rows[index] = row,
                Err(index) => rows.insert(index, row),
            }
        }
    }
}

/// The rows in the order of their keys; `None` if a key occurs twice.
fn sorted<R: KeyedRow>(rows: &[R]) -> Option<Vec<&R>> {
    let mut sorted: Vec<&R> = rows.iter().collect();
    sorted.sort_by(|one, other| one.key().cmp(&other.key()));

    let is_unique = sorted.windows(2).all(|pair| pair[0].key() != pair[1].key());
    is_unique.then_some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders::unit_state;

    fn states(rows: &[(&str, &str)]) -> Vec<UnitState> {
        rows.iter()
            .map(|(unit, state)| unit_state(unit, "m1", state))
            .collect()
    }

    #[test]
    fn the_difference_of_two_lists_makes_one_of_the_other() {
        let before = states(&[("c", "a/b"), ("a", "a/b"), ("b", "a/b")]);
        let after = states(&[("d", "a/b"), ("b", "x/y"), ("a", "a/b")]);

        let changes = RowChanges::between(&before, &after).unwrap();
        assert_eq!(changes.changed, states(&[("b", "x/y"), ("d", "a/b")]));
        assert_eq!(changes.removed, [("c".into(), Some("m1".into()))]);

        let mut rows = before;
        changes.apply(&mut rows);
        assert_eq!(rows, states(&[("a", "a/b"), ("b", "x/y"), ("d", "a/b")]));
    }

    #[test]
    fn another_order_is_no_difference() {
        let changes = RowChanges::between(
            &states(&[("a", "a/b"), ("b", "a/b")]),
            &states(&[("b", "a/b"), ("a", "a/b")]),
        );
        assert!(changes.unwrap().is_empty());
    }

    #[test]
    fn a_list_with_a_key_twice_has_no_difference() {
        let twice = states(&[("a", "a/b"), ("a", "x/y")]);
        let once = states(&[("a", "a/b")]);
        assert!(RowChanges::between(&once, &twice).is_none());
        assert!(RowChanges::between(&twice, &once).is_none());
    }
}
