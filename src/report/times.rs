//! Times as text: how long ago they were, and when that was, in UTC or in the reader's time zone.
//!
//! Every time in a text for people passes here. It is pure: it knows neither a clock nor where the
//! reader is; both are passed in.

use jiff::Timestamp;
use jiff::civil::DateTime;
pub use jiff::tz::TimeZone;

use super::duration::age;
use super::since::Since;
use super::wire::Milliseconds;

/// How a reader wants times to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// How long ago they were.
    #[default]
    Relative,
    /// In the reader's time zone; in sentences also how long ago they were.
    Local,
    /// In UTC; in sentences also how long ago they were.
    Utc,
}

/// Writes times as one reader wants them, at one moment.
#[derive(Clone, Debug)]
pub struct Times {
    now: Milliseconds,
    format: TimeFormat,
    /// The zone of the format: UTC unless it is the reader's own.
    zone: TimeZone,
}

impl TimeFormat {
    /// The next one, for a key that switches.
    pub fn next(self) -> Self {
        match self {
            TimeFormat::Relative => TimeFormat::Local,
            TimeFormat::Local => TimeFormat::Utc,
            TimeFormat::Utc => TimeFormat::Relative,
        }
    }
}

impl Times {
    /// Times as they are written at `now`, by the server's clock, for a reader in a time zone.
    pub fn new(now: Milliseconds, format: TimeFormat, local: &TimeZone) -> Self {
        let zone = match format {
            TimeFormat::Local => local.clone(),
            TimeFormat::Relative | TimeFormat::Utc => TimeZone::UTC,
        };
        Self { now, format, zone }
    }

    /// Times in UTC, for whoever reads them somewhere else.
    pub fn utc(now: Milliseconds) -> Self {
        Self::new(now, TimeFormat::Utc, &TimeZone::UTC)
    }

    /// The present, by the server's clock.
    pub fn now(&self) -> Milliseconds {
        self.now
    }

    /// Whether times are written, and not only how long ago they were.
    pub fn are_absolute(&self) -> bool {
        self.format != TimeFormat::Relative
    }

    /// How long something has lasted: `60 s`, or `60 s, since 22:13:20 UTC`.
    pub fn lasting(&self, since: Since) -> String {
        let age = since.age(self.now);
        if !self.are_absolute() {
            return age;
        }

        let at = self.at(since.time);
        if since.is_exact {
            format!("{age}, since {at}")
        } else {
            format!("{age}, since {at} or earlier")
        }
    }

    /// When something happened: `60 s ago`, or `60 s ago, at 22:13:20 UTC`.
    pub fn ago(&self, time: Milliseconds) -> String {
        let age = age(time, self.now, true);
        if self.are_absolute() {
            format!("{age} ago, at {}", self.at(time))
        } else {
            format!("{age} ago")
        }
    }

    /// A time with its zone, and with its date unless that is today's: `22:13:20 UTC`.
    pub fn at(&self, time: Milliseconds) -> String {
        let (local, zone) = self.in_zone(time);
        let is_today = local.date() == self.in_zone(self.now).0.date();
        let format = if is_today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        format!("{} {zone}", local.strftime(format))
    }

    /// Since when something has been so, for a cell of a table whose zone is named elsewhere: its
    /// age, or the time. An older time is less exact, as `ls -l` writes it: `22:13:20`,
    /// `Nov 13 22:13`, `2022-11-14`. It has 14 characters at most.
    pub fn brief(&self, since: Since) -> String {
        if !self.are_absolute() {
            return since.age(self.now);
        }

        let (local, _) = self.in_zone(since.time);
        let (now, _) = self.in_zone(self.now);
        let format = if local.date() == now.date() {
            "%H:%M:%S"
        } else if local.year() == now.year() {
            "%b %d %H:%M"
        } else {
            "%Y-%m-%d"
        };
        let bound = if since.is_exact { "" } else { "≤ " };
        format!("{bound}{}", local.strftime(format))
    }

    /// A time for a line that is kept, as RFC 3339 writes it, such as `2023-11-14T22:13:20Z`.
    pub fn rfc_3339(&self, time: Milliseconds) -> String {
        let (local, zone) = self.in_zone(time);
        let zone = if zone == UTC { "Z" } else { &zone };
        format!("{}{zone}", local.strftime("%Y-%m-%dT%H:%M:%S"))
    }

    /// The zone at present: `UTC`, or the offset from it, such as `+01:00`.
    pub fn zone(&self) -> String {
        self.in_zone(self.now).1
    }

    /// A time in the zone, and the name of the zone at that time. What is after the year 9999 is
    /// its last second.
    fn in_zone(&self, time: Milliseconds) -> (DateTime, String) {
        let time = i64::try_from(time / 1000).ok();
        let Some(time) = time.and_then(|seconds| Timestamp::from_second(seconds).ok()) else {
            return (DateTime::MAX, UTC.to_owned());
        };

        let offset = self.zone.to_offset(time);
        let name = match offset.seconds() {
            0 => UTC.to_owned(),
            seconds => {
                let sign = if seconds < 0 { '-' } else { '+' };
                let minutes = seconds.unsigned_abs() / 60;
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        };
        (offset.to_datetime(time), name)
    }
}

const UTC: &str = "UTC";

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14 22:13:20 UTC, 23:13:20 in Berlin.
    const NOW: Milliseconds = 1_700_000_000_000;
    const MINUTE: Milliseconds = 60_000;
    const DAY: Milliseconds = 86_400_000;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn times(format: TimeFormat) -> Times {
        Times::new(NOW, format, &berlin())
    }

    fn exact(time: Milliseconds) -> Since {
        Since::seen_at(time)
    }

    fn at_least(time: Milliseconds) -> Since {
        Since { time, is_exact: false }
    }

    #[test]
    fn a_sentence_has_the_age_and_unless_that_is_enough_the_time_with_its_zone() {
        for (format, lasting, ago) in [
            (TimeFormat::Relative, "2 min", "2 min ago"),
            (
                TimeFormat::Local,
                "2 min, since 23:11:20 +01:00",
                "2 min ago, at 23:11:20 +01:00",
            ),
            (TimeFormat::Utc, "2 min, since 22:11:20 UTC", "2 min ago, at 22:11:20 UTC"),
        ] {
            let times = times(format);
            assert_eq!(times.lasting(exact(NOW - 2 * MINUTE)), lasting);
            assert_eq!(times.ago(NOW - 2 * MINUTE), ago);
        }
    }

    #[test]
    fn what_began_before_it_was_seen_is_at_least_so_old_in_all_formats() {
        for (format, lasting, brief) in [
            (TimeFormat::Relative, "≥ 2 min", "≥ 2 min"),
            (TimeFormat::Local, "≥ 2 min, since 23:11:20 +01:00 or earlier", "≤ 23:11:20"),
            (TimeFormat::Utc, "≥ 2 min, since 22:11:20 UTC or earlier", "≤ 22:11:20"),
        ] {
            let times = times(format);
            assert_eq!(times.lasting(at_least(NOW - 2 * MINUTE)), lasting);
            assert_eq!(times.brief(at_least(NOW - 2 * MINUTE)), brief);
        }
    }

    #[test]
    fn a_day_begins_in_the_zone_of_the_reader() {
        // It is still the 14th in UTC, and the 15th in Berlin.
        let now = NOW + 60 * MINUTE;
        let [local, utc] = [TimeFormat::Local, TimeFormat::Utc]
            .map(|format| Times::new(now, format, &berlin()).at(NOW));

        assert_eq!(local, "2023-11-14 23:13:20 +01:00");
        assert_eq!(utc, "22:13:20 UTC");
    }

    #[test]
    fn a_time_has_the_offset_that_its_zone_had_then() {
        let times = times(TimeFormat::Local);
        assert_eq!(times.at(NOW - 30 * DAY), "2023-10-16 00:13:20 +02:00");
        assert_eq!(times.zone(), "+01:00");

        let elsewhere = Times::new(NOW, TimeFormat::Local, &TimeZone::posix("NST3:30").unwrap());
        assert_eq!(elsewhere.at(NOW), "18:43:20 -03:30");
        let london = Times::new(NOW, TimeFormat::Local, &TimeZone::posix("GMT0").unwrap());
        assert_eq!(london.at(NOW), "22:13:20 UTC");
    }

    #[test]
    fn an_old_time_in_a_cell_is_less_exact() {
        let times = times(TimeFormat::Utc);
        for (time, brief) in
            [(NOW, "22:13:20"), (NOW - DAY, "Nov 13 22:13"), (NOW - 365 * DAY, "2022-11-14")]
        {
            assert_eq!(times.brief(exact(time)), brief);
        }
    }

    #[test]
    fn a_line_that_is_kept_has_the_time_as_in_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (13_574_563_199, "2400-02-28T23:59:59Z"),
            (u64::MAX / 1000 - 1, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(times(TimeFormat::Relative).rfc_3339(seconds * 1000 + 999), text);
        }
        assert_eq!(times(TimeFormat::Local).rfc_3339(NOW), "2023-11-14T23:13:20+01:00");
    }
}
