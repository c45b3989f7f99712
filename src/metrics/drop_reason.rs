//! Why a client was dropped, as a label of a metric.
//!
//! This module must not know how a client is dropped.

/// Why a client is no longer connected, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The client closed the connection.
    Closed,
    /// The client did not read a message in time.
    Slow,
    /// The client did not answer a ping in time.
    PongTimeout,
    /// The client sent too much in a short time.
    RateLimitExceeded,
    /// The client sent a message that is too large.
    Oversized,
    /// The client violated the WebSocket protocol.
    Protocol,
    /// The server is being stopped.
    Shutdown,
    /// There were as many clients as the options allow.
    Refused,
    /// There were too many connections of all kinds, or the memory budget for filters was
    /// exhausted.
    OverBudget,
}

impl DropReason {
    /// All reasons; the metric has a series for each.
    pub const ALL: [DropReason; 9] = [
        DropReason::Closed,
        DropReason::Slow,
        DropReason::PongTimeout,
        DropReason::RateLimitExceeded,
        DropReason::Oversized,
        DropReason::Protocol,
        DropReason::Shutdown,
        DropReason::Refused,
        DropReason::OverBudget,
    ];

    /// The value of the label `reason`.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::Closed => "closed",
            DropReason::Slow => "slow",
            DropReason::PongTimeout => "silent",
            DropReason::RateLimitExceeded => "flood",
            DropReason::Oversized => "oversized",
            DropReason::Protocol => "protocol",
            DropReason::Shutdown => "shutdown",
            DropReason::Refused => "refused",
            DropReason::OverBudget => "crowded",
        }
    }
}
