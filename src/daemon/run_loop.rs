//! The daemon's loop: it passes events of the source to the cluster, and publishes the results. It
//! also handles signals, and reports status and liveness to systemd.
//!
//! It does not know how anything is read, decided, encoded or sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use super::initial_problems::InitialProblems;
use super::reload::prepared;
use super::{Daemon, Failure};
use crate::cli::Cli;
use crate::cluster::{FleetList, Moment, Transition};
use crate::config::Environment;
use crate::feed::{self, FeedInput, PublishedList, SourceInfo};
use crate::lifecycle::{ProcessSignal, ServiceManager, Signals};
use crate::source::{SourceError, SourceEvent, SourceReport, reap_orphans};
use crate::telemetry;

/// How often the status line for systemd is written anew. It is only sent if it has changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How many events of the past are kept when a recording goes on at another place.
const MAX_PAST_EVENTS: usize = 1000;

impl Daemon {
    pub(super) async fn run(
        &mut self,
        cli: &Cli,
        environment: &Environment,
        signals: &mut Signals,
        service: &mut ServiceManager,
    ) -> Result<(), Failure> {
        let mut status = interval(STATUS_INTERVAL);
        let mut watchdog =
            interval(service.watchdog_interval().unwrap_or(Duration::from_secs(86_400)));
        for ticks in [&mut status, &mut watchdog] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }

        let mut reload = None;
        loop {
            tokio::select! {
                event = self.source.next() => self.handle(event)?,
                history = self.peers.next() => self.add_peer_history(history),
                signal = signals.next() => match signal {
                    ProcessSignal::Stop(name) => {
                        info!("{name}: stopping");
                        return Ok(());
                    }
                    ProcessSignal::Reload => {
                        service.notify_reloading();
                        // This replaces a pending reload, which may have read an older file.
                        reload = Some(self.prepare_reload(cli, environment));
                    }
                    ProcessSignal::ReapOrphans => reap_orphans(),
                },
                prepared = prepared(&mut reload) => {
                    self.finish_reload(prepared).await;
                    service.notify_ready();
                }
                _ = status.tick() => {
                    service.set_status(&self.status());
                    self.metrics.log_lines_dropped(self.log.dropped());
                    self.log_repeated_names();
                    self.open_due_problems();
                    self.save_state(&[], Moment::now());
                }
                _ = watchdog.tick(), if service.watchdog_interval().is_some() => {
                    // The watchdog guards this process: a source that keeps reporting errors is
                    // alive.
                    if self.source.liveness().is_alive() {
                        service.notify_watchdog();
                    } else {
                        error!(
                            "the source is stuck: systemd's watchdog will restart the program \
                             unless the source recovers"
                        );
                    }
                }
            }
        }
    }

    fn handle(&mut self, event: SourceEvent) -> Result<(), Failure> {
        self.publish_source_info();

        match event {
            SourceEvent::Report(report) => self.apply_report(report)?,
            // Nothing is published here: clients keep the last view until the next report.
            SourceEvent::Restarted => {
                self.cluster.reset();
                if let Some(recorder) = &mut self.recorder {
                    recorder.begin_new_run();
                }
            }
            SourceEvent::Sought => {
                self.cluster.reset();
                self.publisher.forget_events();
                // They are found again from what was recorded before that place.
                self.problems.clear();
                self.caught_up_with = Some(Vec::new());
            }
            SourceEvent::CatchingUp(report) => self.catch_up_with(report),
            SourceEvent::TimePassed(at) => {
                let has_changed = self.judge_problems(at);
                if has_changed && self.caught_up_with.is_none() {
                    self.publish(&[], &[]);
                }
            }
            SourceEvent::CaughtUp => {
                let transitions = self.caught_up_with.take().unwrap_or_default();
                self.publish_quietly(&transitions, &FleetList::ALL);
            }
            SourceEvent::PlaybackChanged => {
                // While it is paused, no list is overdue. A recorded clock stands still anyway.
                let playback = self.source.playback();
                if playback.is_some_and(|it| it.is_paused && it.time.is_none()) {
                    self.cluster.set_schedule(&FleetList::ALL, None);
                    self.publish(&[], &[]);
                }
            }
            SourceEvent::Rechecked { differences } => self.metrics.checked(differences),
            SourceEvent::Ended => {
                info!("the recording is over; what it showed last stays");
                self.cluster.set_schedule(&FleetList::ALL, None);
                self.publish(&[], &[]);
            }
        }

        self.update_fleet_version();
        Ok(())
    }

    /// Applies a report of the past, whose events are neither logged nor counted.
    fn catch_up_with(&mut self, report: SourceReport) {
        let at = report.at;
        let transitions = self.apply_to_cluster(report);

        self.has_reported = true;
        self.judge_problems(at);
        let known = self.caught_up_with.get_or_insert_default();
        known.extend(transitions);
        let excess = known.len().saturating_sub(MAX_PAST_EVENTS);
        known.drain(..excess);
    }

    fn apply_report(&mut self, report: SourceReport) -> Result<(), Failure> {
        self.record(&report);

        let SourceReport { lists, at, took, .. } = report;
        for list in lists {
            self.metrics.polled(*list, took, report.outcome.is_ok(), at.wall);
        }
        let read = match &report.outcome {
            Ok(_) => lists,
            Err(error) if error.is_unusable() && !self.has_reported => {
                return Err(Failure::Config(error.to_string()));
            }
            Err(error) => {
                debug!("the {} cannot be read: {error}", listed(lists));
                &[][..]
            }
        };
        let transitions = self.apply_to_cluster(report);

        self.has_reported = true;
        if self.source.is_recording() {
            self.judge_problems(at);
        }
        self.publish(&transitions, read);
        self.merge_peer_histories();
        self.log_initial_problems();
        Ok(())
    }

    fn apply_to_cluster(&mut self, report: SourceReport) -> Vec<Arc<Transition>> {
        let SourceReport { lists, at, took, outcome, schedule } = report;

        match outcome {
            Ok(reading) => {
                self.cluster.set_schedule(lists, schedule);
                self.cluster.apply(reading, at, took)
            }
            Err(error) => self.cluster.record_failure(lists, &one_line(&error), at),
        }
    }

    pub(super) fn publish(&mut self, transitions: &[Arc<Transition>], read: &[FleetList]) {
        // A recording that starts again begins with an empty cluster. The last view stays until the
        // units have been read.
        if self.source.is_recording()
            && self.cluster.health().list(FleetList::Units).read.is_none()
            && transitions.is_empty()
        {
            return;
        }

        // Those of a recording go by its clock, and nobody is called because of what was recorded
        // once.
        let now = self.now();
        let problem_changes = if self.source.is_recording() {
            None
        } else {
            self.restore_saved(now);
            Some(self.problems.update(self.cluster.view(), self.cluster.health(), now))
        };
        self.publish_quietly(transitions, read);
        self.save_state(transitions, now);

        // After publishing, so that an event in the journal is on the page already.
        if let Some(changes) = problem_changes {
            self.notifier.update(&changes, self.problems.open(), now);
        }
        for transition in transitions {
            self.metrics.transition(&transition.event);
            telemetry::log_transition(transition);
        }
    }

    /// Publishes events that are neither logged nor counted, with all that is shown.
    fn publish_quietly(&mut self, transitions: &[Arc<Transition>], read: &[FleetList]) {
        self.publisher.publish(FeedInput {
            view: self.cluster.view(),
            health: self.cluster.health(),
            problems: self.problems.open(),
            transitions,
            change: Some(self.cluster.change()),
            read,
            now: self.now(),
        });
    }

    /// The present, or that of the recording that is played.
    fn now(&self) -> Moment {
        self.publisher.last().now()
    }

    /// Opens problems whose time has come although nothing was read.
    fn open_due_problems(&mut self) {
        if self.source.is_recording() {
            return;
        }

        let now = Moment::now();
        let changes = self.problems.update(self.cluster.view(), self.cluster.health(), now);
        if !changes.is_empty() {
            self.publish_quietly(&[], &[]);
            self.notifier.update(&changes, self.problems.open(), now);
        }
    }

    /// Finds the problems at a moment of the recording that is played. Nobody is informed of them,
    /// but for those who look at it. Returns whether any have changed.
    fn judge_problems(&mut self, at: Moment) -> bool {
        let changes = self.problems.update(self.cluster.view(), self.cluster.health(), at);
        !changes.is_empty()
    }

    /// Ends all problems, since another cluster is watched. Nobody was informed of those of a
    /// recording.
    pub(super) fn close_problems(&mut self, was_live: bool) {
        let closed = self.problems.clear();

        if was_live {
            self.notifier.update(&closed, self.problems.open(), Moment::now());
        }
    }

    /// Logs units that are unhealthy since the start, which no event reports.
    fn log_initial_problems(&mut self) {
        let view = self.cluster.view();
        let unhealthy = match &mut self.initial_problems {
            Some(problems) => problems.missed(view),
            None if self.cluster.health().ready() => {
                info!("first reading: {}", self.status());
                let (problems, unhealthy) = InitialProblems::of(view);
                self.initial_problems = Some(problems);
                unhealthy
            }
            None => return,
        };

        for unit in unhealthy {
            let machine = unit.state.machine.as_deref();
            let ip = unit.state.ip.as_deref();
            let place = ip.or(machine).map(|place| format!(" on {place}"));

            warn!(
                fleet_unit = &*unit.state.unit,
                fleet_machine = machine,
                fleet_ip = ip,
                "{}{} is {}: {}",
                unit.state.unit,
                place.unwrap_or_default(),
                unit.verdict,
                unit.reason
            );
        }
    }

    /// Logs once that the prototype's dashboard, which identifies a row by its first column, cannot
    /// show the unit list, if that is probably a client: the list has a name in several rows, and
    /// all clients use the first protocol.
    fn log_repeated_names(&mut self) {
        if self.has_logged_repeated_names || !self.server.has_only_first_protocol_clients() {
            return;
        }

        let publication = self.publisher.last();
        let units = publication.unit_list.as_ref();
        if units.is_some_and(PublishedList::repeats_a_name) {
            self.has_logged_repeated_names = true;
            warn!(
                "several rows have the same name in the first column; a dashboard that identifies \
                 rows by it, as the prototype's does, shows none: \
                 set --unit-fields key,load,active,sub,machine"
            );
        }
    }

    fn record(&mut self, report: &SourceReport) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };

        let is_queued = recorder.write(report, &self.source.name());
        let dropped = recorder.take_dropped() + u64::from(!is_queued);
        self.metrics.recorded_polls_dropped(dropped);
        if !is_queued || recorder.takes_snapshot() {
            self.source.request_snapshot();
        }
    }

    pub(super) fn publish_source_info(&mut self) {
        let source = SourceInfo {
            name: self.source.name(),
            recording: self.source.is_recording(),
            ended: self.source.has_ended(),
            playback: self.source.playback(),
        };

        self.publisher.set_source(source);
    }

    pub(super) fn status(&self) -> String {
        feed::status_line(&self.publisher.last(), self.server.clients())
    }
}

fn listed(lists: &[FleetList]) -> String {
    lists.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An error as one line that is short enough for a status line. The error may contain output of
/// fleetctl, or a response of any length.
fn one_line(error: &SourceError) -> String {
    const LONGEST: usize = 600;
    let text = error.to_string();
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(LONGEST)
        .collect()
}
