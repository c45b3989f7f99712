//! The live screen: the loop that passes keys and messages to the model, and draws it.

use std::future::pending;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyEventKind};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::draw::{self, Theme};
use super::model::{Model, Request};
use super::terminal::{EndSignals, FullScreen, read_events};
use super::updates::Updates;
use crate::actions::Actions;
use crate::client::CommandError;
use crate::client::connection::{ClientError, MonitorClient, SubscriptionEvent};
use crate::report::{Message, TimeFormat, TimeZone};

/// The shortest time between two drawings because of messages.
const BETWEEN_UPDATES: Duration = Duration::from_millis(200);
/// The shortest time between two drawings because of keys.
const BETWEEN_KEYS: Duration = Duration::from_millis(20);
/// How often the ages on the screen grow.
const TICK: Duration = Duration::from_secs(1);

/// Shows the cluster until the reader leaves. Returns the exit status.
pub(super) async fn run(
    server: &MonitorClient,
    filter: &str,
    theme: Theme,
    (time_format, time_zone): (TimeFormat, TimeZone),
) -> Result<ExitCode, CommandError> {
    // A monitor that does not answer is reported in the shell, not on a screen.
    let subscribe = |filter: &str| Updates::of(server.subscribe(&super::query(filter)));
    let mut updates = subscribe(filter);
    let first = super::first_messages(&mut updates).await?;

    let mut model = Model::new(filter, Instant::now());
    model.set_times(time_format, time_zone);
    let mut actions = None;
    receive(&mut model, server, first, &mut actions)?;

    let mut signals = EndSignals::catch()?;
    let mut screen = FullScreen::enter()?;
    let mut events = read_events();
    let mut redraw = Redraw::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        tokio::select! {
            update = updates.next() => {
                model.set_now(Instant::now());
                redraw.within(BETWEEN_UPDATES);

                match update {
                    Ok(SubscriptionEvent::Messages(messages)) => {
                        receive(&mut model, server, messages, &mut actions)?;
                    }
                    Ok(SubscriptionEvent::Disconnected { error, wait }) => {
                        model.disconnect(error.to_string(), wait);
                    }
                    Err(ClientError::Query(message)) if model.awaits_filter() => {
                        model.refuse_filter(message);
                        updates = subscribe(model.filter.subscribed());
                    }
                    Err(error) => return Err(error.into()),
                }
            }

            event = events.recv() => {
                let Some(event) = event else { continue };
                model.set_now(Instant::now());
                redraw.within(BETWEEN_KEYS);

                let request = match event? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => model.press(key),
                    _ => None,
                };
                match request {
                    Some(Request::Quit) => return Ok(ExitCode::SUCCESS),
                    Some(Request::Suspend) => screen.suspend()?,
                    Some(Request::Subscribe) => updates = subscribe(model.filter.subscribed()),
                    None => {}
                }
            }

            answer = answered(&mut actions) => {
                model.actions = answer;
                redraw.within(BETWEEN_UPDATES);
            }

            _ = ticks.tick() => redraw.within(BETWEEN_UPDATES),

            () = sleep_until(redraw.due().into()), if redraw.is_due() => {
                model.set_now(Instant::now());
                model.prepare(draw::list_height(&model, screen.size()?.height));
                screen.draw(|frame| draw::draw(frame, &model, theme))?;
                redraw.done();
            }

            status = signals.next() => return Ok(status),
        }
    }
}

/// A request for what can be done next.
type ActionsRequest = AbortOnDropHandle<Result<Actions, ClientError>>;

/// Waits for the answer to a request, if there is one. Without an answer, what was known before
/// stays.
async fn answered(request: &mut Option<ActionsRequest>) -> Actions {
    if let Some(task) = request {
        let answer = task.await;
        *request = None;
        if let Ok(Ok(actions)) = answer {
            return actions;
        }
    }
    pending().await
}

/// Passes messages to the model. After each new connection the server is asked what can be done
/// next.
fn receive(
    model: &mut Model,
    server: &MonitorClient,
    messages: Vec<Message>,
    actions: &mut Option<ActionsRequest>,
) -> Result<(), CommandError> {
    if messages.iter().any(|message| matches!(message, Message::Hello(_))) {
        let server = server.clone();
        let request = tokio::spawn(async move { server.actions().await });
        *actions = Some(AbortOnDropHandle::new(request));
    }

    model.receive(messages).map_err(|error| {
        ClientError::NotFleetMonitor(server.address.clone(), error.to_string()).into()
    })
}

/// When the screen is to be drawn again.
struct Redraw {
    last: Instant,
    /// `None` if nothing has changed.
    due: Option<Instant>,
}

impl Redraw {
    fn now() -> Self {
        let now = Instant::now();
        Self { last: now, due: Some(now) }
    }

    /// Something has changed that is to be seen as soon as `interval` is over since the last
    /// drawing.
    fn within(&mut self, interval: Duration) {
        let due = self.last + interval;
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
    }

    fn is_due(&self) -> bool {
        self.due.is_some()
    }

    fn due(&self) -> Instant {
        self.due.unwrap_or(self.last)
    }

    fn done(&mut self) {
        *self = Self { last: Instant::now(), due: None };
    }
}
