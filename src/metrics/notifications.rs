//! Who is informed of problems, and what became of that, as labels.

use prometheus_client::metrics::gauge::Gauge;

/// Who is informed of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// The Alertmanagers, which get alerts.
    Alertmanager,
    /// The webhook, which gets events.
    Webhook,
}

impl Receiver {
    pub(super) const ALL: [Receiver; 2] = [Receiver::Alertmanager, Receiver::Webhook];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }
}

/// What became of an alert or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotificationOutcome {
    /// It was accepted.
    Sent,
    /// It was not accepted, or there was no answer. It is sent again.
    Failed,
    /// It is not sent, since too many wait.
    Dropped,
}

impl NotificationOutcome {
    const ALL: [NotificationOutcome; 3] = [
        NotificationOutcome::Sent,
        NotificationOutcome::Failed,
        NotificationOutcome::Dropped,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// The values of both labels of each series, in alphabetical order.
pub(super) fn all_pairs() -> Vec<[&'static str; 2]> {
    let mut pairs: Vec<[&str; 2]> = Receiver::ALL
        .iter()
        .flat_map(|to| NotificationOutcome::ALL.map(|outcome| [to.name(), outcome.name()]))
        .collect();
    pairs.sort_unstable();
    pairs
}

/// A part of a gauge that several tasks add to. It is taken back when it is dropped.
#[derive(Debug)]
pub(crate) struct WaitingGauge {
    gauge: Gauge,
    own: i64,
}

impl WaitingGauge {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self { gauge, own: 0 }
    }

    pub(crate) fn set(&mut self, waiting: usize) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.gauge.inc_by(waiting - self.own);
        self.own = waiting;
    }
}

impl Drop for WaitingGauge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_the_sum_of_its_parts() {
        let gauge = Gauge::default();
        let mut one = WaitingGauge::new(gauge.clone());
        let mut another = WaitingGauge::new(gauge.clone());

        one.set(3);
        another.set(2);
        one.set(1);
        assert_eq!(gauge.get(), 3);

        drop(another);
        assert_eq!(gauge.get(), 1);
    }
}
