//! What the publisher is given: its settings, and the state that is to be published.
//!
//! It does not know what becomes of them.

use std::sync::Arc;

use super::fields::{MachineField, UnitField};
use crate::cluster::{Delta, FleetList, Health, Moment, Transition, View};
use crate::problems::OpenProblems;

/// When a list of the first protocol is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// When it has changed.
    #[default]
    Changes,
    /// After every poll, as the prototype of 2014 did.
    Polls,
}

/// What the first protocol sends, and when.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// The columns of the unit list, in the order in which they are sent.
    pub unit_fields: Vec<UnitField>,
    /// The columns of the machine list, in the order in which they are sent.
    pub machine_fields: Vec<MachineField>,
    /// When a list is sent again.
    pub publish: Publish,
}

/// The state that is to be published.
#[derive(Clone, Copy, Debug)]
pub struct FeedInput<'a> {
    /// The view to publish.
    pub view: &'a Arc<View>,
    /// The state of the source.
    pub health: &'a Health,
    /// What is wrong and has lasted.
    pub problems: &'a OpenProblems,
    /// What has happened since the last publication, oldest first.
    pub transitions: &'a [Arc<Transition>],
    /// An older view and what differs from it in `view`, if the caller knows that already. If the
    /// older view is the one that was published last, the publisher need not compare all rows.
    pub change: Option<(&'a Arc<View>, &'a Delta)>,
    /// The lists that have just been read with success.
    pub read: &'a [FleetList],
    /// The time of this publication.
    pub now: Moment,
}
