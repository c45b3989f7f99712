//! Durations for people: `12 s`, `3 min`, `2 h`, `4 d`.

use super::wire::Milliseconds;

/// The time from `since` to `now`. If it `is_exact` is false, it began before `since`: `≥ 12 s`.
pub fn age(since: Milliseconds, now: Milliseconds, is_exact: bool) -> String {
    let age = duration(now.saturating_sub(since) / 1000);
    if is_exact { age } else { format!("≥ {age}") }
}

/// A number of seconds.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_unit() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(age(1_000, 61_000, true), "60 s");
        assert_eq!(age(1_000, 61_000, false), "≥ 60 s");
        assert_eq!(age(61_000, 1_000, true), "0 s", "clocks may differ");
    }
}
