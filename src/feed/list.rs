//! The lists of the first protocol, which are whole: each is encoded once, and only when somebody
//! takes it.
//!
//! It knows the columns that were chosen. It does not know who takes a list.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::fields::{MachineField, UnitField};
use super::frame::Frame;
use super::message;
use crate::cluster::{Change, Delta, Moment, Unit, View};

/// The least time between two lists, for each row of them: whoever takes lists of many rows that
/// change all the time would take nothing else. The list of a small cluster follows each change.
const PER_ROW: Duration = Duration::from_micros(20);
/// Up to so many rows a cluster is small.
const SMALL: usize = 1000;

/// A list of the first protocol, and when it last changed.
#[derive(Clone, Debug)]
pub struct List {
    /// The revision of the publication in which it was new.
    pub revision: u64,
    made: Moment,
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    view: Arc<View>,
    columns: Columns,
    frame: OnceLock<Frame>,
}

/// The columns of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    Units(Arc<[UnitField]>),
    Machines(Arc<[MachineField]>),
}

impl List {
    pub(super) fn new(revision: u64, view: &Arc<View>, columns: &Columns, made: Moment) -> Self {
        let content = Content {
            view: view.clone(),
            columns: columns.clone(),
            frame: OnceLock::new(),
        };
        Self { revision, made, content: Arc::new(content) }
    }

    /// The message.
    pub fn frame(&self) -> &Frame {
        let Content { view, columns, frame } = &*self.content;

        frame.get_or_init(|| {
            Frame::text(&match columns {
                Columns::Units(fields) => message::units(view, fields),
                Columns::Machines(fields) => message::machines(view, fields),
            })
        })
    }

    pub(super) fn has(&self, columns: &Columns) -> bool {
        self.content.columns == *columns
    }

    /// Whether a newer list has to wait, for what this one costs those who take it.
    pub(super) fn holds_back(&self, now: Moment) -> bool {
        let view = &self.content.view;
        let rows = match self.content.columns {
            Columns::Units(_) => view.units.len(),
            Columns::Machines(_) => view.machines.len(),
        };
        rows > SMALL
            && now.since(self.made)
                < PER_ROW.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX))
    }
}

impl Columns {
    /// Whether a list with these columns is another one after a change.
    pub(super) fn show(&self, delta: &Delta) -> bool {
        match self {
            Columns::Units(fields) => {
                let names_targets =
                    fields.contains(&UnitField::Target) && !delta.machines.is_empty();
                names_targets || delta.units.iter().any(|change| shows_unit(change, fields))
            }
            Columns::Machines(fields) => delta.machines.iter().any(|Change { before, after }| {
                let row = |member| message::machine_row(member, fields);
                before.as_deref().and_then(row) != after.as_deref().and_then(row)
            }),
        }
    }
}

fn shows_unit(change: &Change<Unit>, fields: &[UnitField]) -> bool {
    let row = |unit| message::unit_row(unit, fields);
    change.before.as_deref().and_then(row) != change.after.as_deref().and_then(row)
}
