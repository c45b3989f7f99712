//! Days and times of day in UTC, as text.
//!
//! Pure. It knows no clock, and no time zone but UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month, PlainDateTime, Time, UtcDateTime, UtcOffset};

/// The day, `2023-11-14`, of a time in seconds since 1970. No day is after the year 9999, which is
/// the last that RFC 3339 knows.
pub(crate) fn day(seconds: u64) -> String {
    let date = date_time(seconds).date();
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// The month and its day, `Nov 14`, of a time in seconds since 1970, as journalctl prints it.
pub(crate) fn month_and_day(seconds: u64) -> String {
    let date = date_time(seconds).date();
    format!("{:.3} {:02}", date.month().to_string(), date.day())
}

/// The time of day, `22:13:20`, of a time in seconds since 1970.
pub(crate) fn time_of_day(seconds: u64) -> String {
    let (hour, minute, second) = date_time(seconds).as_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
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
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let offset_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, offset) = rest.split_at(offset_at);

    let (seconds, fraction) = parse_time_of_day(time)?;
    let hour = u8::try_from(seconds / 3600).ok()?;
    let minute = u8::try_from(seconds / 60 % 60).ok()?;
    let second = u8::try_from(seconds % 60).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;

    let local = PlainDateTime::new(parse_date(date)?, time);
    let unix = local.assume_offset(parse_offset(offset)?).unix_timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).ok()?) + fraction)
}

/// The seconds since midnight of a time of day, `22:13` or `22:13:20.5`, and the fraction of a
/// second.
pub(crate) fn parse_time_of_day(text: &str) -> Option<(u64, Duration)> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let second = match parts.next() {
        // A leap second is the last one before it.
        Some(second) => digits(second, 2).filter(|second| *second <= 60)?.min(59),
        None => 0,
    };
    if parts.next().is_some() || text.ends_with('.') {
        return None;
    }

    let fraction = match fraction {
        "" => Duration::ZERO,
        digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            Duration::try_from_secs_f64(format!("0.{digits}").parse().ok()?).ok()?
        }
        _ => return None,
    };
    Some((hour * 3600 + minute * 60 + second, fraction))
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    if parts.next().is_some() {
        return None;
    }

    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()
}

fn parse_offset(text: &str) -> Option<UtcOffset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(UtcOffset::UTC);
    }

    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let hours = i8::try_from(digits(hours, 2).filter(|hours| *hours < 24)?).ok()?;
    let minutes = i8::try_from(digits(minutes, 2).filter(|minutes| *minutes < 60)?).ok()?;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let is_number = text.len() == count && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn date_time(seconds: u64) -> UtcDateTime {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| UtcDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(UtcDateTime::MAX)
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
