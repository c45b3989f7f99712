//! Days and times of day in UTC, as text.
//!
//! Pure. It knows no clock, and no time zone but UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
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
    fn a_time_after_the_year_9999_is_its_last_second() {
        for seconds in [253_402_300_799, 253_402_300_800, u64::MAX] {
            assert_eq!(day(seconds), "9999-12-31");
            assert_eq!(time_of_day(seconds), "23:59:59");
        }
    }
}
