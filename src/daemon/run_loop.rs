//! The daemon's loop: takes what the source yields, has the cluster judge it, and publishes;
//! answers signals, systemd's watchdog and the status line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use super::initial_problems::InitialProblems;
use super::reload::prepared;
use super::{Daemon, Failure};
use crate::cli::Cli;
use crate::cluster::{FleetList, Moment, Transition};
use crate::feed::{self, FeedInput, SourceInfo};
use crate::lifecycle::{ProcessSignal, ServiceManager, Signals};
use crate::source::{SourceError, SourceEvent, SourceReport, reap_orphans};
use crate::telemetry;

/// How often the status line is made anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

impl Daemon {
    pub(super) async fn watch(
        &mut self,
        cli: &Cli,
        environment: &BTreeMap<String, String>,
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
                said = self.source.next() => self.hear(said)?,
                signal = signals.next() => match signal {
                    ProcessSignal::Stop(name) => {
                        info!("{name}: stopping");
                        return Ok(());
                    }
                    ProcessSignal::Reload => {
                        service.notify_reloading();
                        // One that is under way has read what is older.
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
                }
                _ = watchdog.tick(), if service.watchdog_interval().is_some() => {
                    // The watchdog guards this process: a source that keeps reporting errors is
                    // alive.
                    if self.source.liveness().is_alive() {
                        service.notify_watchdog();
                    } else {
                        error!("the source is stuck: systemd's watchdog will act unless it moves again");
                    }
                }
            }
        }
    }

    fn hear(&mut self, said: SourceEvent) -> Result<(), Failure> {
        self.name_source();
        match said {
            SourceEvent::Report(report) => self.take(report)?,
            // What was there stays to be seen until the recording has said something.
            SourceEvent::Began => self.cluster.forget(),
            SourceEvent::Checked { differences } => self.metrics.checked(differences),
            SourceEvent::Ended => {
                info!("the recording is over; what it showed last stays");
                self.cluster.expect(&FleetList::ALL, None);
                self.publish(&[], &[]);
            }
        }
        Ok(())
    }

    fn take(&mut self, report: SourceReport) -> Result<(), Failure> {
        self.record(&report);
        let SourceReport { lists: topics, at, took, outcome, expected } = report;
        for topic in topics {
            self.metrics.polled(*topic, took, outcome.is_ok(), at.wall);
        }
        let (transitions, read) = match outcome {
            Ok(reading) => {
                self.cluster.expect(topics, expected);
                (self.cluster.read(reading, at, took), topics)
            }
            Err(error) if error.is_unusable() && !self.proved => {
                return Err(Failure::Config(error.to_string()));
            }
            Err(error) => {
                debug!("the {} cannot be read: {error}", listed(topics));
                (self.cluster.fail(topics, &one_line(&error), at), &[][..])
            }
        };
        self.proved = true;
        self.publish(&transitions, read);
        self.tell_what_is_wrong();
        Ok(())
    }

    pub(super) fn publish(&mut self, transitions: &[Arc<Transition>], read: &[FleetList]) {
        if self.source.is_recording()
            && self.cluster.health().topic(FleetList::Units).read.is_none()
            && transitions.is_empty()
        {
            return;
        }
        let (view, health) = (self.cluster.view(), self.cluster.health());
        let change = Some(self.cluster.change());
        self.publisher.publish(FeedInput {
            view,
            health,
            transitions,
            change,
            read,
            now: Moment::now(),
        });
        // Told last, so that whoever reads the journal and then looks sees what it says.
        for transition in transitions {
            self.metrics.transition(&transition.event);
            telemetry::log_transition(transition);
        }
    }

    /// What has been wrong since watching began is no transition, but belongs in the journal.
    fn tell_what_is_wrong(&mut self) {
        let view = self.cluster.view();
        let wrong = match &mut self.problems {
            Some(problems) => problems.missed(view),
            None if self.cluster.health().ready() => {
                info!("first reading: {}", self.status());
                let (problems, wrong) = InitialProblems::of(view);
                self.problems = Some(problems);
                wrong
            }
            None => return,
        };

        for unit in wrong {
            let (machine, ip) = (unit.state.machine.as_deref(), unit.state.ip.as_deref());
            warn!(
                fleet_unit = &*unit.state.unit,
                fleet_machine = machine,
                fleet_ip = ip,
                "{}{} is {}: {}",
                unit.state.unit,
                ip.or(machine).map(|place| format!(" on {place}")).unwrap_or_default(),
                unit.verdict,
                unit.reason
            );
        }
    }

    fn record(&mut self, report: &SourceReport) {
        if let Some(recorder) = &mut self.recorder
            && !recorder.write(report, &self.source.name())
        {
            self.metrics.recorded_poll_dropped();
            self.source.request_snapshot();
        }
    }

    pub(super) fn name_source(&mut self) {
        let (recording, ended) = (self.source.is_recording(), self.source.has_ended());
        self.publisher
            .name_source(SourceInfo { name: self.source.name(), recording, ended }, Moment::now());
    }

    pub(super) fn status(&self) -> String {
        feed::status_line(&self.publisher.last(), self.server.clients())
    }
}

fn listed(topics: &[FleetList]) -> String {
    topics.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An error as one line that is not too long for a status: part of it may be what somebody else
/// said.
fn one_line(error: &SourceError) -> String {
    const LONGEST: usize = 600;
    let text = error.to_string();
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(LONGEST)
        .collect()
}
