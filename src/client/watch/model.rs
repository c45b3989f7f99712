//! What is on the screen, as data: the cluster, the connection, and what the reader has chosen.
//!
//! Pure. It knows keys and messages, but neither a terminal nor a connection; the present is
//! passed in.

use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;

use super::edit_line::EditLine;
use super::keys::{self, FilterCommand, KeyCommand};
use super::list::{Key, List};
use super::order::{self, Order, Tab};
use crate::actions::Actions;
use crate::report::{
    ClusterState, EventRow, InvalidMessage, Message, Milliseconds, Pending, SourceHealth,
    TimeFormat, TimeZone, Times,
};

/// The whole screen.
#[derive(Debug)]
pub(super) struct Model {
    /// The cluster, as far as messages have arrived.
    pub(super) cluster: ClusterState,
    /// What can be done next, as the server last said.
    pub(super) actions: Actions,
    pub(super) connection: Connection,
    /// When the last message arrived; `None` before the first.
    pub(super) last_message: Option<Instant>,
    pub(super) filter: ChosenFilter,
    pub(super) mode: Mode,
    pub(super) tab: Tab,
    /// What is wrong, but not for long enough to be a problem.
    pub(super) pending: Pending,
    /// How times are written in lists.
    pub(super) time_format: TimeFormat,
    /// The zone of the terminal.
    time_zone: TimeZone,
    /// The lists of the tabs, in the order of [`Tab::ALL`].
    lists: [SortedList; 3],
    /// Whether the cluster has changed since the rows were sorted.
    is_changed: bool,
    /// The server's clock; `None` before the first `status`.
    server_clock: Option<ServerClock>,
    /// The present, as far as the model knows.
    now: Instant,
}

/// What is known of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// No message has arrived since the last subscription.
    Connecting,
    /// Messages arrive.
    Live,
    /// The connection is lost.
    Lost {
        /// Why the last attempt to connect failed, or why the connection was lost.
        reason: String,
        next_attempt: Instant,
    },
}

/// Which rows the server sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChosenFilter {
    /// The filter of the rows on the screen; empty if all rows are.
    pub(super) applied: String,
    /// A filter that has been sent, while its rows have not arrived yet.
    pub(super) requested: Option<String>,
    /// The last filter that was typed, if the server has refused it.
    pub(super) refusal: Option<Refusal>,
}

/// A filter that the server has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) filter: String,
    /// Why, in the server's words.
    pub(super) message: String,
}

/// What keys do, and what is shown besides the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    List,
    /// All that is known of one row.
    Details(Key),
    /// A filter is being typed.
    Filter(EditLine),
    /// The keys, over what was shown before.
    Help(Box<Mode>),
}

/// What the model cannot do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    /// Stop the process until the shell continues it.
    Suspend,
    /// Subscribe again, with [`ChosenFilter::subscribed`].
    Subscribe,
}

/// A list with its order.
#[derive(Debug, Default)]
struct SortedList {
    list: List,
    /// The place in [`Tab::orders`].
    order: usize,
    is_reversed: bool,
}

impl ChosenFilter {
    /// The filter of the current subscription.
    pub(super) fn subscribed(&self) -> &str {
        self.requested.as_deref().unwrap_or(&self.applied)
    }
}

/// The server's clock: what it shows at a moment of this one, and how fast it runs. That of a
/// recording runs at the speed at which it is played.
#[derive(Clone, Copy, Debug)]
struct ServerClock {
    time: Milliseconds,
    received: Instant,
    rate: f64,
}

impl ServerClock {
    fn of(health: &SourceHealth, received: Instant) -> Self {
        let recorded = health.replay.as_ref().filter(|replay| replay.clock);
        Self {
            time: health.time,
            received,
            rate: recorded.map_or(1.0, |replay| replay.rate.max(0.0)),
        }
    }

    fn at(&self, now: Instant) -> Milliseconds {
        let elapsed = now.saturating_duration_since(self.received).as_secs_f64() * self.rate;
        let elapsed = Duration::try_from_secs_f64(elapsed).unwrap_or_default().as_millis();
        self.time.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

impl Model {
    /// A screen without rows. `filter` is that of the subscription.
    pub(super) fn new(filter: &str, now: Instant) -> Self {
        Self {
            cluster: ClusterState::default(),
            actions: Actions::default(),
            connection: Connection::Connecting,
            last_message: None,
            filter: ChosenFilter { applied: filter.to_owned(), ..ChosenFilter::default() },
            mode: Mode::List,
            tab: Tab::Units,
            pending: Pending::default(),
            time_format: TimeFormat::default(),
            time_zone: TimeZone::UTC,
            lists: Default::default(),
            is_changed: true,
            server_clock: None,
            now,
        }
    }

    /// Sets how times are written, until a key changes it, and the zone of the terminal.
    pub(super) fn set_times(&mut self, format: TimeFormat, zone: TimeZone) {
        self.time_format = format;
        self.time_zone = zone;
    }

    /// Moves the present on.
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Applies messages that have arrived.
    ///
    /// # Errors
    ///
    /// If one does not have the form that `docs/protocol.md` defines.
    pub(super) fn receive(&mut self, messages: Vec<Message>) -> Result<(), InvalidMessage> {
        self.connection = Connection::Live;
        self.last_message = Some(self.now);
        self.is_changed = true;

        if let Some(filter) = self.filter.requested.take() {
            self.filter.applied = filter;
        }

        for message in messages {
            if let Message::Status { health, .. } = &message {
                self.server_clock = Some(ServerClock::of(health, self.now));
            }
            self.cluster.apply(message)?;
        }
        Ok(())
    }

    /// Records that the connection is lost, and that another attempt follows after `wait`.
    pub(super) fn disconnect(&mut self, reason: String, wait: Duration) {
        self.connection = Connection::Lost { reason, next_attempt: self.now + wait };
    }

    /// Whether the server may have refused a filter that was typed, so that the one before is
    /// still valid.
    pub(super) fn awaits_filter(&self) -> bool {
        self.filter.requested.is_some()
    }

    /// Records that the server has refused the filter that was typed, and returns to the one
    /// before.
    pub(super) fn refuse_filter(&mut self, message: String) {
        let filter = self.filter.requested.take().unwrap_or_default();
        self.filter.refusal = Some(Refusal { filter, message });
        self.connection = Connection::Connecting;
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Request> {
        if let Mode::Filter(line) = &mut self.mode {
            match keys::filter_command(key)? {
                FilterCommand::Edit(edit) => line.apply(edit),
                FilterCommand::Cancel => self.mode = Mode::List,
                FilterCommand::Apply => {
                    let filter = line.text().trim().to_owned();
                    self.mode = Mode::List;
                    return self.request_filter(filter);
                }
                FilterCommand::Quit => return Some(Request::Quit),
            }
            return None;
        }

        let command = keys::command(key)?;
        let refusal = self.filter.refusal.take();
        match (&mut self.mode, command) {
            (_, KeyCommand::Quit) => return Some(Request::Quit),
            (_, KeyCommand::Suspend) => return Some(Request::Suspend),

            (Mode::Help(behind), _) => self.mode = (**behind).clone(),
            (mode, KeyCommand::Help) => *mode = Mode::Help(Box::new(mode.clone())),

            (Mode::Details(_), KeyCommand::Back | KeyCommand::Open) => self.mode = Mode::List,
            (Mode::Details(_), KeyCommand::Move(movement)) => {
                self.list_mut().go(movement);
                self.open();
            }

            (_, KeyCommand::Move(movement)) => self.list_mut().go(movement),
            (_, KeyCommand::Open) => self.open(),
            (_, KeyCommand::Back) => {}
            (_, KeyCommand::Show(tab)) => self.show(tab),
            (_, KeyCommand::NextTab) => self.show_next(1),
            (_, KeyCommand::PreviousTab) => self.show_next(Tab::ALL.len() - 1),
            (_, KeyCommand::Sort) => self.sort_by_next(),
            (_, KeyCommand::Reverse) => self.reverse(),
            (_, KeyCommand::Times) => self.time_format = self.time_format.next(),
            (_, KeyCommand::Filter) => {
                let text = refusal.map(|refusal| refusal.filter);
                let text = text.as_deref().unwrap_or(self.filter.subscribed());
                self.mode = Mode::Filter(EditLine::new(text));
            }
        }
        None
    }

    /// Sorts the rows of the tab, if anything has changed. `height` is how many are visible.
    pub(super) fn prepare(&mut self, height: usize) {
        if std::mem::take(&mut self.is_changed) {
            self.sort();
            self.pending = Pending::of(&self.cluster);
        }
        self.list_mut().set_height(height);
    }

    fn sort(&mut self) {
        let (order, is_reversed) = self.order();
        let keys = match self.tab {
            Tab::Units => order::units(&self.cluster, order, is_reversed),
            Tab::Machines => order::machines(&self.cluster, order, is_reversed),
            Tab::Events => order::events(&self.cluster, is_reversed),
        };
        self.list_mut().set_keys(keys);
    }

    /// The list of the tab.
    pub(super) fn list(&self) -> &List {
        &self.lists[self.tab as usize].list
    }

    /// What the list of the tab is sorted by, and whether its order is reversed.
    pub(super) fn order(&self) -> (Order, bool) {
        let sorted = &self.lists[self.tab as usize];
        (self.tab.orders()[sorted.order], sorted.is_reversed)
    }

    /// The event with this number; `None` if it is not kept any more.
    pub(super) fn event(&self, number: u64) -> Option<&EventRow> {
        let events = &self.cluster.events;
        let index = events.binary_search_by_key(&number, |event| event.number).ok()?;
        events.get(index)
    }

    /// The present, by the server's clock.
    pub(super) fn server_now(&self) -> Milliseconds {
        self.server_clock.as_ref().map_or(0, |clock| clock.at(self.now))
    }

    /// Writes times in lists, and wherever there is little room.
    pub(super) fn times(&self) -> Times {
        Times::new(self.server_now(), self.time_format, &self.time_zone)
    }

    /// Writes times in details, which always have room for more than an age.
    pub(super) fn detail_times(&self) -> Times {
        match self.time_format {
            TimeFormat::Relative => Times::utc(self.server_now()),
            TimeFormat::Local | TimeFormat::Utc => self.times(),
        }
    }

    /// How long ago something happened on this machine.
    pub(super) fn elapsed(&self, since: Instant) -> Duration {
        self.now.saturating_duration_since(since)
    }

    /// How long it takes until something happens on this machine.
    pub(super) fn remaining(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.now)
    }

    fn sorted_mut(&mut self) -> &mut SortedList {
        &mut self.lists[self.tab as usize]
    }

    fn list_mut(&mut self) -> &mut List {
        &mut self.sorted_mut().list
    }

    fn show(&mut self, tab: Tab) {
        self.mode = Mode::List;
        self.tab = tab;
        self.sort();
    }

    fn show_next(&mut self, steps: usize) {
        self.show(Tab::ALL[(self.tab as usize + steps) % Tab::ALL.len()]);
    }

    fn sort_by_next(&mut self) {
        let count = self.tab.orders().len();
        let sorted = self.sorted_mut();
        sorted.order = (sorted.order + 1) % count;
        sorted.is_reversed = false;
        self.sort();
    }

    fn reverse(&mut self) {
        let sorted = self.sorted_mut();
        sorted.is_reversed = !sorted.is_reversed;
        self.sort();
    }

    /// Shows the details of the row with the cursor. For an event, these are the details of its
    /// unit, if there is such a row.
    fn open(&mut self) {
        let Some(key) = self.list().selected().cloned() else {
            return;
        };
        let unit = match &key {
            Key::Event(number) => self.unit_of_event(*number),
            Key::Unit(_) | Key::Machine(_) => None,
        };
        self.mode = Mode::Details(unit.unwrap_or(key));
    }

    fn unit_of_event(&self, number: u64) -> Option<Key> {
        let event = self.event(number)?;
        let key = (event.unit.clone()?, event.machine.clone());
        self.cluster.units.contains_key(&key).then_some(Key::Unit(key))
    }

    /// Asks for other rows. Those on the screen stay until the new ones arrive.
    fn request_filter(&mut self, filter: String) -> Option<Request> {
        if filter == self.filter.subscribed() {
            return None;
        }

        self.filter.requested = Some(filter);
        self.connection = Connection::Connecting;
        Some(Request::Subscribe)
    }
}

#[cfg(test)]
mod tests;
