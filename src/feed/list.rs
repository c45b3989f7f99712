//! The lists of the first protocol. Each is sent as a whole; it is encoded once, when the first
//! client needs it.
//!
//! It knows the columns that the configuration selects. It does not know which clients get a list.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::fields::{MachineField, UnitField};
use super::filter::Filter;
use super::frame::Frame;
use super::input::{FeedInput, Publish};
use super::message;
use crate::cluster::{Change, Delta, FleetList, Moment, Unit, View};

/// The least time between two versions of a list, for each row in it. Without it, a client would
/// spend all its time on lists with many rows that change all the time.
const INTERVAL_PER_ROW: Duration = Duration::from_micros(20);
/// A list of at most so many rows is sent after each change.
const MAX_UNLIMITED_ROWS: usize = 1000;

/// A version of a list of the first protocol.
#[derive(Clone, Debug)]
pub struct PublishedList {
    revision: u64,
    published: Moment,
    content: Arc<ListContent>,
}

#[derive(Debug)]
struct ListContent {
    view: Arc<View>,
    columns: Columns,
    /// Encoded when the first client needs it.
    frame: OnceLock<Frame>,
}

/// The columns of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    Units(Arc<[UnitField]>),
    Machines(Arc<[MachineField]>),
}

/// Decides when one of the lists is published again.
#[derive(Debug)]
pub(super) struct ListPublisher {
    list: FleetList,
    columns: Columns,
    /// The rows differ from the last version.
    is_outdated: bool,
}

impl PublishedList {
    fn new(revision: u64, view: &Arc<View>, columns: &Columns, now: Moment) -> Self {
        let content = ListContent {
            view: view.clone(),
            columns: columns.clone(),
            frame: OnceLock::new(),
        };

        Self { revision, published: now, content: Arc::new(content) }
    }

    /// The revision of the publication in which this version was new.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The list as a WebSocket frame; encoded at the first call.
    pub fn frame(&self) -> &Frame {
        let frame = &self.content.frame;

        frame.get_or_init(|| Frame::text(&self.filtered(&Filter::default())))
    }

    /// The list as JSON, with the rows alone that pass a filter; encoded at each call.
    pub(crate) fn filtered(&self, filter: &Filter) -> Vec<u8> {
        let view = &self.content.view;

        match &self.content.columns {
            Columns::Units(fields) => message::unit_list(view, fields, filter),
            Columns::Machines(fields) => message::machine_list(view, fields, filter),
        }
    }

    /// Whether the first column is the unit's name and has the same name in several rows. A client
    /// that identifies a row by its first column then fails.
    pub(crate) fn repeats_a_name(&self) -> bool {
        match &self.content.columns {
            Columns::Units(fields) => message::repeats_a_name(&self.content.view, fields),
            Columns::Machines(_) => false,
        }
    }

    /// Whether it is too early for the next version.
    fn is_recent(&self, now: Moment) -> bool {
        let view = &self.content.view;
        let rows = match self.content.columns {
            Columns::Units(_) => view.units.len(),
            Columns::Machines(_) => view.machines.len(),
        };

        let interval = INTERVAL_PER_ROW.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX));
        rows > MAX_UNLIMITED_ROWS && now.since(self.published) < interval
    }
}

impl ListPublisher {
    pub(super) fn new(list: FleetList, columns: Columns) -> Self {
        Self { list, columns, is_outdated: false }
    }

    pub(super) fn set_columns(&mut self, columns: Columns) {
        self.columns = columns;
    }

    /// Records that the view has changed.
    pub(super) fn apply(&mut self, delta: &Delta) {
        self.is_outdated |= self.columns.show(delta);
    }

    /// The list in the next publication, which has this revision: the last version or a new one.
    /// `None` until the list has been read.
    pub(super) fn next_list(
        &mut self,
        last: Option<&PublishedList>,
        publish: Publish,
        revision: u64,
        input: &FeedInput<'_>,
    ) -> Option<PublishedList> {
        input.health.list(self.list).read?;

        let is_polled = publish == Publish::Polls && input.read.contains(&self.list);
        let last = last.filter(|last| last.content.columns == self.columns);
        match last {
            Some(last) if !is_polled && (!self.is_outdated || last.is_recent(input.now)) => {
                Some(last.clone())
            }
            _ => {
                self.is_outdated = false;
                Some(PublishedList::new(revision, input.view, &self.columns, input.now))
            }
        }
    }
}

impl Columns {
    /// Whether a list with these columns differs after a change of the view.
    fn show(&self, delta: &Delta) -> bool {
        match self {
            Columns::Units(fields) => {
                // The column of the target has the machine's address.
                let target_may_differ =
                    fields.contains(&UnitField::Target) && !delta.machines.is_empty();
                target_may_differ || delta.units.iter().any(|change| shows_unit(change, fields))
            }
            Columns::Machines(fields) => delta.machines.iter().any(|Change { before, after }| {
                let cells = |member| message::machine_cells(member, fields);
                before.as_deref().and_then(cells) != after.as_deref().and_then(cells)
            }),
        }
    }
}

fn shows_unit(change: &Change<Unit>, fields: &[UnitField]) -> bool {
    let cells = |unit| message::unit_cells(unit, fields);
    change.before.as_deref().and_then(cells) != change.after.as_deref().and_then(cells)
}
