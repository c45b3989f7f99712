//! One list on the screen: where the reader is in it, and which part of it is visible.
//!
//! Pure. It knows the keys of the rows alone, not what is in them.

use crate::report::UnitRowKey;

/// What identifies a row of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Unit(UnitRowKey),
    /// The machine's ID.
    Machine(String),
    /// The event's number.
    Event(u64),
}

/// A way through a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Movement {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
}

/// The rows of a list in their order, and the reader's place.
#[derive(Debug, Default)]
pub(super) struct List {
    keys: Vec<Key>,
    cursor: Cursor,
    /// The row with the cursor.
    index: usize,
    /// The first visible row.
    offset: usize,
    /// How many rows are visible.
    height: usize,
}

/// What the cursor stays on while rows move.
#[derive(Debug, Default, PartialEq)]
enum Cursor {
    /// On the first row, whichever that is: nobody has moved the cursor yet.
    #[default]
    Top,
    /// On the row with this key.
    On(Key),
}

impl List {
    /// Replaces the rows. The cursor stays on its row, and that row in its line of the screen. If
    /// the row is gone, the cursor stays where it is.
    pub(super) fn set_keys(&mut self, keys: Vec<Key>) {
        self.keys = keys;

        let Cursor::On(key) = &self.cursor else {
            self.index = 0;
            self.offset = 0;
            return;
        };
        let line = self.index - self.offset;
        match self.keys.iter().position(|other| other == key) {
            Some(index) => {
                self.index = index;
                self.offset = index.saturating_sub(line);
            }
            // The row of an empty list may come back.
            None if self.keys.is_empty() => self.index = 0,
            None => self.put(self.index),
        }
        self.show_cursor();
    }

    /// Changes how many rows are visible.
    pub(super) fn set_height(&mut self, height: usize) {
        self.height = height;
        self.show_cursor();
    }

    pub(super) fn go(&mut self, movement: Movement) {
        let page = self.height.saturating_sub(1).max(1);
        let index = match movement {
            Movement::Up => self.index.saturating_sub(1),
            Movement::Down => self.index + 1,
            Movement::PageUp => self.index.saturating_sub(page),
            Movement::PageDown => self.index + page,
            Movement::Bottom => usize::MAX,
            Movement::Top => {
                self.move_to_top();
                return;
            }
        };

        self.put(index);
        self.show_cursor();
    }

    /// Puts the cursor on the first row, to stay there.
    pub(super) fn move_to_top(&mut self) {
        self.cursor = Cursor::Top;
        self.index = 0;
        self.offset = 0;
    }

    /// The key of the row with the cursor; `None` if there is no row.
    pub(super) fn selected(&self) -> Option<&Key> {
        self.keys.get(self.index)
    }

    /// The visible rows, each with whether the cursor is on it.
    pub(super) fn visible(&self) -> impl Iterator<Item = (&Key, bool)> {
        let rows = self.keys.iter().enumerate().skip(self.offset).take(self.height);
        rows.map(|(index, key)| (key, index == self.index))
    }

    /// The numbers of the first and the last visible row, counted from 1, and of all rows. `None`
    /// if all rows are visible.
    pub(super) fn part(&self) -> Option<(usize, usize, usize)> {
        let count = self.keys.len();
        let last = count.min(self.offset + self.height);
        (last - self.offset < count).then_some((self.offset + 1, last, count))
    }

    /// Puts the cursor on the row at `index`, or on the last one.
    fn put(&mut self, index: usize) {
        self.index = index.min(self.keys.len().saturating_sub(1));
        if let Some(key) = self.keys.get(self.index) {
            self.cursor = Cursor::On(key.clone());
        }
    }

    /// Scrolls as little as possible, so that the cursor is visible and no line is left empty
    /// without need.
    fn show_cursor(&mut self) {
        let last_offset = self.keys.len().saturating_sub(self.height);
        let first = (self.index + 1).saturating_sub(self.height);

        self.offset = self.offset.min(last_offset).clamp(first.min(self.index), self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: impl IntoIterator<Item = u64>) -> Vec<Key> {
        numbers.into_iter().map(Key::Event).collect()
    }

    fn list(numbers: impl IntoIterator<Item = u64>) -> List {
        let mut list = List::default();
        list.set_keys(keys(numbers));
        list.set_height(4);
        list
    }

    /// The visible rows, with the cursor's row negative.
    fn visible(list: &List) -> Vec<i64> {
        list.visible()
            .map(|(key, is_selected)| match key {
                Key::Event(number) if is_selected => -i64::try_from(*number).unwrap(),
                Key::Event(number) => i64::try_from(*number).unwrap(),
                _ => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn the_cursor_moves_through_the_list_and_scrolls_it() {
        let mut list = list(1..=10);
        assert_eq!(visible(&list), [-1, 2, 3, 4]);
        for (movement, rows) in [
            (Movement::Up, [-1, 2, 3, 4]),
            (Movement::Down, [1, -2, 3, 4]),
            (Movement::PageDown, [2, 3, 4, -5]),
            (Movement::PageDown, [5, 6, 7, -8]),
            (Movement::Up, [5, 6, -7, 8]),
            (Movement::PageUp, [-4, 5, 6, 7]),
            (Movement::Bottom, [7, 8, 9, -10]),
            (Movement::Down, [7, 8, 9, -10]),
            (Movement::Top, [-1, 2, 3, 4]),
        ] {
            list.go(movement);
            assert_eq!(visible(&list), rows, "{movement:?}");
        }
    }

    #[test]
    fn a_row_under_the_cursor_stays_in_its_line_while_others_come_and_go() {
        let mut list = list(10..=19);
        list.go(Movement::PageDown);
        list.go(Movement::PageDown);
        list.go(Movement::Up);
        assert_eq!(visible(&list), [13, 14, -15, 16]);

        list.set_keys(keys([1, 2, 3, 10, 12, 14, 15, 16, 17]));
        assert_eq!(visible(&list), [12, 14, -15, 16]);

        list.set_keys(keys([15, 16, 17, 18, 19]));
        assert_eq!(visible(&list), [-15, 16, 17, 18], "there is nothing above it");

        list.set_keys(keys([1, 2, 3, 4, 15]));
        assert_eq!(visible(&list), [2, 3, 4, -15], "no line is left empty");
    }

    #[test]
    fn a_row_that_is_gone_leaves_the_cursor_where_it_is() {
        let mut list = list(1..=6);
        list.go(Movement::Down);

        list.set_keys(keys([1, 3, 4, 5, 6]));
        assert_eq!(visible(&list), [1, -3, 4, 5]);

        list.set_keys(keys([]));
        assert_eq!(list.selected(), None);

        list.set_keys(keys([1, 2, 3]));
        assert_eq!(visible(&list), [1, 2, -3], "it has come back");
    }

    #[test]
    fn before_anybody_moves_the_cursor_it_stays_at_the_top() {
        let mut list = list(5..=9);
        list.set_keys(keys(3..=9));
        assert_eq!(visible(&list), [-3, 4, 5, 6]);

        list.go(Movement::Down);
        list.set_keys(keys(2..=9));
        assert_eq!(visible(&list), [3, -4, 5, 6]);

        list.go(Movement::Top);
        list.set_keys(keys(1..=9));
        assert_eq!(visible(&list), [-1, 2, 3, 4]);
    }

    #[test]
    fn the_cursor_stays_visible_in_a_terminal_that_shrinks() {
        let mut list = list(1..=6);
        list.go(Movement::PageDown);

        list.set_height(2);
        assert_eq!(visible(&list), [3, -4]);
        assert_eq!(list.part(), Some((3, 4, 6)));

        list.set_height(0);
        assert!(visible(&list).is_empty());

        list.set_height(10);
        assert_eq!(visible(&list), [1, 2, 3, -4, 5, 6]);
        assert_eq!(list.part(), None);
    }
}
