//! Logs that a receiver does not accept what it is sent, and that it does so again: once each, and
//! not for each attempt.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::metrics::Receiver;
use crate::net::http::PostError;

/// Whether one receiver accepts what it is sent.
#[derive(Debug)]
pub(super) struct DeliveryLog {
    receiver: Receiver,
    /// Where it is, and when it failed first; `None` while it accepts everything.
    failing: Option<(String, Instant)>,
}

impl DeliveryLog {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self { receiver, failing: None }
    }

    pub(super) fn failed(&mut self, error: &PostError) {
        if self.failing.is_none() {
            self.failing = Some((error.target.to_string(), Instant::now()));
            warn!("{}", failure(self.receiver, error));
        }
    }

    pub(super) fn succeeded(&mut self) {
        if let Some((target, since)) = self.failing.take() {
            info!("{}", recovery(self.receiver, &target, since.elapsed()));
        }
    }
}

fn what(receiver: Receiver) -> &'static str {
    match receiver {
        Receiver::Alertmanager => "alerts",
        Receiver::Webhook => "events",
    }
}

fn failure(receiver: Receiver, error: &PostError) -> String {
    format!("{} are not accepted, and are sent again: {error}", what(receiver))
}

fn recovery(receiver: Receiver, target: &str, after: Duration) -> String {
    let seconds = after.as_secs();
    format!("{target}: {} are accepted again, after {seconds} s", what(receiver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::PostFailure;
    use crate::snapshots::assert_catalogue;

    #[test]
    fn a_failure_and_a_recovery_are_logged_once() {
        let error = |url: &str| PostError {
            target: url.parse().unwrap(),
            reason: Box::new(PostFailure::Refused),
        };
        let alertmanager = "http://alertmanager:9093";
        let webhook = "https://hooks.example.com";
        assert_catalogue(
            "notification-log",
            [
                ("alerts fail", failure(Receiver::Alertmanager, &error(alertmanager))),
                (
                    "and are accepted",
                    recovery(Receiver::Alertmanager, alertmanager, Duration::from_secs(90)),
                ),
                ("events fail", failure(Receiver::Webhook, &error(webhook))),
                (
                    "and are accepted",
                    recovery(Receiver::Webhook, webhook, Duration::from_millis(1900)),
                ),
            ],
        );
    }
}
