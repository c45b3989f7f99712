//! Days and times of day in UTC, as text.
//!
//! Pure. It knows no clock, and no time zone but UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::{self, DateTime};
use jiff::tz::Offset;

/// The day, `2023-11-14`, of a time in seconds since 1970. No day is after the year 9999, which is
/// the last that RFC 3339 knows.
pub(crate) fn day(seconds: u64) -> String {
    date_time(seconds).strftime("%Y-%m-%d").to_string()
}

/// The month and its day, `Nov 14`, of a time in seconds since 1970, as journalctl prints it.
pub(crate) fn month_and_day(seconds: u64) -> String {
    date_time(seconds).strftime("%b %d").to_string()
}

/// The time of day, `22:13:20`, of a time in seconds since 1970.
pub(crate) fn time_of_day(seconds: u64) -> String {
    date_time(seconds).strftime("%H:%M:%S").to_string()
}

/// A time in RFC 3339, to the millisecond: `2023-11-14T22:13:20.000Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    let milliseconds = since_epoch.subsec_millis();

    format!("{}T{}.{milliseconds:03}Z", day(seconds), time_of_day(seconds))
}

/// The time that a text in RFC 3339 stands for: `2023-11-14T22:13:20Z`, with or without fractions
/// of a second, and with any offset. A space may stand in place of the `T`. `None` if it is no such
/// text, or a time before 1970.
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let time: Timestamp = text.parse().ok()?;
    (time >= Timestamp::UNIX_EPOCH).then(|| SystemTime::from(time))
}

/// The seconds since midnight of a time of day, `22:13` or `22:13:20.5`, and the fraction of a
/// second.
pub(crate) fn parse_time_of_day(text: &str) -> Option<(u64, Duration)> {
    let is_time = |byte: u8| byte.is_ascii_digit() || byte == b':' || byte == b'.';
    let time: civil::Time = text.bytes().all(is_time).then(|| text.parse().ok())??;

    let seconds = time.duration_since(civil::Time::midnight());
    let since_midnight = Duration::try_from(seconds).ok()?;
    Some((
        since_midnight.as_secs(),
        Duration::from_nanos(since_midnight.subsec_nanos().into()),
    ))
}

fn date_time(seconds: u64) -> DateTime {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or(DateTime::MAX, |time| Offset::UTC.to_datetime(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_its_first_three_letters() {
        assert_eq!(month_and_day(1_700_000_000), "Nov 14");
        assert_eq!(month_and_day(951_782_400), "Feb 29");
        assert_eq!(month_and_day(0), "Jan 01");
    }

    #[test]
    fn a_time_is_read_as_it_was_written() {
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20.123Z");
        for text in [
            "2023-11-14T22:13:20.123Z",
            "2023-11-14t22:13:20.123z",
            "2023-11-14 23:13:20.123+01:00",
            "2023-11-14T16:43:20.123-05:30",
        ] {
            assert_eq!(parse_rfc3339(text), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.1x3Z",
            "2023-11-14T22:13:20+1:00",
            "23-11-14T22:13:20Z",
            "1969-12-31T23:59:59Z",
            "+023-11-14T22:13:20Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_after_the_year_9999_is_its_last_second() {
        for seconds in [253_402_300_799, 253_402_300_800, u64::MAX] {
            assert_eq!(day(seconds), "9999-12-31");
            assert_eq!(time_of_day(seconds), "23:59:59");
        }
    }
}
