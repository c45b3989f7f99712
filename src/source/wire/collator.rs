//! Joins the pages of a list, and detects when rows may be missing. It does not know what a row
//! contains.

use std::collections::{BTreeMap, BTreeSet};

use super::ApiRow;

/// Joins the pages of one list, and remembers the rows of the previous read.
///
/// fleetd reads its registry again for each page, and a page is "rows 101 to 200 as of now". So a
/// list that changes between the requests of two pages may be inconsistent:
///
/// - If a row appears on a page that was already read, the last row of that page is also the first
///   row of the next page. The duplicate shows it.
/// - If a row vanishes from a page that was already read, the first row of the next page moves to
///   that page, and is missing. The pages themselves do not show it. But this read still contains
///   the row that vanished, which the next read does not.
///
/// Hence the rule: a read of several pages is accepted if it has no row twice, and has **every row
/// of the previous read**, whether that was accepted or not. Otherwise the list is read again. As
/// long as no row vanishes, this costs nothing. When one has vanished, it costs a second read,
/// which is then accepted. To read each page twice would double the cost of every read.
///
/// So an accepted read has each row that has existed since the previous read. A newer row may be
/// missing in it, and is then in the next read; no row that was known is lost by that. Only a row
/// that appears and vanishes within one read can hide that another row is missing.
#[derive(Debug)]
pub(in crate::source) struct PageCollator<R: ApiRow> {
    /// The IDs of the rows of the previous read. `None` if there was none, or if it had several
    /// pages and a row twice.
    previous: Option<BTreeSet<R::Id>>,
}

impl<R: ApiRow> Default for PageCollator<R> {
    fn default() -> Self {
        Self { previous: None }
    }
}

impl<R: ApiRow> PageCollator<R> {
    /// Joins the pages of one read to a sorted list. If a row is there twice, the later one is
    /// used.
    ///
    /// A single page is always accepted. If the very first read has several pages, it is not
    /// accepted, since there is no previous read to compare it with.
    ///
    /// # Errors
    ///
    /// The read is not accepted: the list, which may lack rows.
    pub(in crate::source) fn collate(&mut self, pages: Vec<Vec<R>>) -> Result<Vec<R>, Vec<R>> {
        let is_single_page = pages.len() <= 1;
        let row_count: usize = pages.iter().map(Vec::len).sum();
        let rows: BTreeMap<R::Id, R> =
            pages.into_iter().flatten().map(|row| (row.id(), row)).collect();
        let ids: BTreeSet<R::Id> = rows.values().map(R::id).collect();

        let has_duplicates = rows.len() < row_count;
        let has_all_previous = self
            .previous
            .as_ref()
            .is_some_and(|previous| previous.is_subset(&ids));
        let is_accepted = is_single_page || !has_duplicates && has_all_previous;
        self.previous = (is_single_page || !has_duplicates).then_some(ids);

        let rows = rows.into_values().collect();
        if is_accepted { Ok(rows) } else { Err(rows) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builders;
    use crate::cluster::Machine;

    fn machines(ids: &[u16]) -> Vec<Machine> {
        ids.iter().map(|id| builders::machine(&format!("{id:05}"))).collect()
    }

    fn ids(rows: &[Machine]) -> Vec<u16> {
        rows.iter()
            .map(|row| row.id.parse().expect("an ID made by machines()"))
            .collect()
    }

    /// The IDs of the list, if it is accepted.
    fn collate(collator: &mut PageCollator<Machine>, pages: &[&[u16]]) -> Option<Vec<u16>> {
        let pages = pages.iter().map(|page| machines(page)).collect();
        collator.collate(pages).ok().map(|rows| ids(&rows))
    }

    #[test]
    fn a_single_page_is_accepted() {
        let mut collator = PageCollator::default();
        assert_eq!(collate(&mut collator, &[&[3, 1, 2]]), Some(vec![1, 2, 3]));
        assert_eq!(collate(&mut collator, &[&[2]]), Some(vec![2]));
        assert_eq!(collate(&mut collator, &[]), Some(vec![]));
    }

    #[test]
    fn several_pages_need_every_row_of_the_read_before() {
        type Read<'a> = (&'a [&'a [u16]], Option<&'a [u16]>, &'a str);
        let reads: [Read; 9] = [
            (&[&[1, 2], &[3, 4]], None, "there is no read before it"),
            (&[&[1, 2], &[3, 4]], Some(&[1, 2, 3, 4]), "nothing has changed"),
            (&[&[1, 2], &[3, 4], &[5]], Some(&[1, 2, 3, 4, 5]), "5 has appeared"),
            (&[&[1, 2], &[4, 5]], None, "1 vanished after the first page, 3 is missing"),
            (&[&[2, 3], &[4, 5]], None, "1 has vanished"),
            (&[&[2, 3], &[4, 5]], Some(&[2, 3, 4, 5]), "nothing has changed"),
            (&[&[2, 3], &[3, 4], &[5]], None, "3 is there twice"),
            (&[&[1, 2], &[3, 4], &[5]], None, "a read with a row twice proves nothing"),
            (&[&[1, 2], &[3, 4], &[5]], Some(&[1, 2, 3, 4, 5]), "nothing has changed"),
        ];
        let mut collator = PageCollator::default();
        for (pages, expected, why) in reads {
            assert_eq!(collate(&mut collator, pages).as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn of_a_row_that_is_there_twice_the_later_one_counts() {
        let machine = |id: &str, ip: &str| Machine { ip: Some(ip.into()), ..builders::machine(id) };
        let pages = vec![
            vec![machine("1", "a"), machine("3", "a")],
            vec![machine("3", "b"), machine("2", "b")],
        ];
        let expected = vec![machine("1", "a"), machine("2", "b"), machine("3", "b")];
        assert_eq!(PageCollator::default().collate(pages), Err(expected));
    }

    /// Before each page, maybe a row appears or vanishes (for good).
    type Change = Option<(bool, u16)>;

    fn any_changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop::option::weighted(0.4, (any::<bool>(), 0u16..200));
        prop::collection::vec(change, 1..200)
    }

    proptest! {
        #[test]
        fn an_accepted_list_has_every_row_that_existed_since_the_read_before(
            first in prop::collection::btree_set(0u16..200, 0..30),
            changes in any_changes(),
        ) {
            const PAGE: usize = 4;
            let mut registry = first.clone();
            let mut known = first.clone();
            // The rows that have existed since the read before.
            let mut lasting = first;
            let mut changes = changes.into_iter();
            let mut collator = PageCollator::default();

            'reads: loop {
                let mut at_start = registry.clone();
                let mut appeared = BTreeSet::new();
                let mut pages = Vec::new();
                loop {
                    let all: Vec<u16> = registry.iter().copied().collect();
                    let page = all.chunks(PAGE).nth(pages.len()).unwrap_or_default();
                    pages.push(machines(page));
                    let is_last = page.len() < PAGE;

                    match changes.next() {
                        None => break 'reads,
                        Some(Some((true, row))) if known.insert(row) => {
                            registry.insert(row);
                            appeared.insert(row);
                        }
                        Some(Some((false, row))) if !appeared.contains(&row) => {
                            registry.remove(&row);
                            lasting.remove(&row);
                            at_start.remove(&row);
                        }
                        _ => {}
                    }
                    if is_last {
                        break;
                    }
                }

                if let Ok(rows) = collator.collate(pages) {
                    let ids: BTreeSet<u16> = ids(&rows).into_iter().collect();
                    prop_assert_eq!(ids.len(), rows.len());
                    prop_assert!(lasting.is_subset(&ids), "{:?} lacks some of {:?}", ids, lasting);
                }
                lasting = at_start;
            }
        }
    }
}
