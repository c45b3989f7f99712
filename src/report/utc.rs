//! Times as text. Pure: it knows neither a clock nor a time zone but UTC.

use super::wire::Milliseconds;
use crate::utc::{day, time_of_day};

/// A time in UTC as RFC 3339 writes it, such as `2023-11-14T22:13:20Z`.
pub fn utc(time: Milliseconds) -> String {
    let seconds = time / 1000;
    format!("{}T{}Z", day(seconds), time_of_day(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_in_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (13_574_563_199, "2400-02-28T23:59:59Z"),
        ] {
            assert_eq!(utc(seconds * 1000 + 999), text);
        }
    }
}
