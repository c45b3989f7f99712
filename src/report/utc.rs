//! Times as text. Pure: it knows neither a clock nor a time zone but UTC.

use super::wire::Milliseconds;

/// A time in UTC as RFC 3339 writes it, such as `2023-11-14T22:13:20Z`.
pub fn utc(time: Milliseconds) -> String {
    let seconds = time / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let second = seconds % 86_400;

    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The date of a day that is so many days after 1 January 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    // After 400 years the calendar repeats.
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let mut year = 1970 + days / DAYS_OF_400_YEARS * 400;
    days %= DAYS_OF_400_YEARS;

    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }

    let february = days_of_year(year) - 337;
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn days_of_year(year: u64) -> u64 {
    let is_leap_year =
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if is_leap_year { 366 } else { 365 }
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
