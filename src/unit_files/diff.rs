//! What differs between two texts, line by line. Pure.
//!
//! It must not know what the lines mean, nor how a difference is displayed.

/// The longest tables of common lines that are computed, in cells. If more lines differ, all of
/// them count as replaced.
const MAX_CELLS: usize = 250_000;

/// A line of one of two texts, or of both, by its number in each, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineChange {
    /// Both texts have it. The number is that in the new text.
    Kept(usize),
    /// Only the old text has it.
    Removed(usize),
    /// Only the new text has it.
    Added(usize),
}

/// How the old lines become the new ones. In a place where lines were replaced, those that were
/// removed come first.
pub(super) fn changes(old: &[&str], new: &[&str]) -> Vec<LineChange> {
    let same = |(old, new): &(&&str, &&str)| old == new;
    let start = old.iter().zip(new).take_while(same).count();
    let end = old[start..]
        .iter()
        .rev()
        .zip(new[start..].iter().rev())
        .take_while(same)
        .count();
    let (old_end, new_end) = (old.len() - end, new.len() - end);

    let mut changes: Vec<LineChange> = (0..start).map(LineChange::Kept).collect();
    changes.extend(middle(&old[start..old_end], &new[start..new_end], start));
    changes.extend((new_end..new.len()).map(LineChange::Kept));
    changes
}

/// The changes of lines that differ at both ends. Both texts have `start` lines before them.
fn middle(old: &[&str], new: &[&str], start: usize) -> Vec<LineChange> {
    let removed = |line| LineChange::Removed(start + line);
    let added = |line| LineChange::Added(start + line);
    let width = new.len() + 1;
    let cells = (old.len() + 1).saturating_mul(width);
    if cells > MAX_CELLS {
        return (0..old.len()).map(removed).chain((0..new.len()).map(added)).collect();
    }

    // How many lines the rests of both texts have in common, from each pair of lines on.
    let mut common = vec![0_u32; cells];
    for row in (0..old.len()).rev() {
        for column in (0..new.len()).rev() {
            common[row * width + column] = if old[row] == new[column] {
                common[(row + 1) * width + column + 1] + 1
            } else {
                common[(row + 1) * width + column].max(common[row * width + column + 1])
            };
        }
    }

    let mut changes = Vec::new();
    let (mut row, mut column) = (0, 0);
    while row < old.len() && column < new.len() {
        if old[row] == new[column] {
            changes.push(LineChange::Kept(start + column));
            row += 1;
            column += 1;
        } else if common[(row + 1) * width + column] >= common[row * width + column + 1] {
            changes.push(removed(row));
            row += 1;
        } else {
            changes.push(added(column));
            column += 1;
        }
    }
    changes.extend((row..old.len()).map(removed));
    changes.extend((column..new.len()).map(added));
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both texts as the changes have them, and the difference with signs.
    fn applied(old: &[&str], new: &[&str]) -> (Vec<String>, Vec<String>, String) {
        let (mut before, mut after, mut signed) = (Vec::new(), Vec::new(), String::new());
        for change in changes(old, new) {
            match change {
                LineChange::Kept(line) => {
                    before.push(new[line].to_owned());
                    after.push(new[line].to_owned());
                    signed += &format!(" {}", new[line]);
                }
                LineChange::Removed(line) => {
                    before.push(old[line].to_owned());
                    signed += &format!("-{}", old[line]);
                }
                LineChange::Added(line) => {
                    after.push(new[line].to_owned());
                    signed += &format!("+{}", new[line]);
                }
            }
        }
        (before, after, signed)
    }

    #[test]
    fn lines_are_kept_removed_and_added() {
        for (old, new, signed) in [
            ("abc", "abc", " a b c"),
            ("", "ab", "+a+b"),
            ("ab", "", "-a-b"),
            ("abc", "adc", " a-b+d c"),
            ("abcd", "bxd", "-a b-c+x d"),
            ("aa", "a", " a-a"),
            ("ab", "ba", "-a b+a"),
        ] {
            let lines = |text: &'static str| -> Vec<&str> {
                text.split("").filter(|line| !line.is_empty()).collect()
            };
            assert_eq!(applied(&lines(old), &lines(new)).2, signed, "{old} {new}");
        }
    }

    #[test]
    fn texts_of_any_size_are_compared() {
        let old: Vec<String> = (0..40_000).map(|line| format!("old {line}")).collect();
        let new: Vec<String> = (0..40_000).map(|line| format!("new {line}")).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        let (before, after, _) = applied(&old, &new);
        assert_eq!((before, after), (strings(&old), strings(&new)));
    }

    fn strings(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    proptest! {
        #[test]
        fn the_changes_lead_from_the_old_text_to_the_new_one(
            old in proptest::collection::vec("[abc]", 0..12),
            new in proptest::collection::vec("[abc]", 0..12),
        ) {
            let old: Vec<&str> = old.iter().map(String::as_str).collect();
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            let (before, after, _) = applied(&old, &new);
            prop_assert_eq!(before, strings(&old));
            prop_assert_eq!(after, strings(&new));
        }
    }
}
