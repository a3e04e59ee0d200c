//! Durations and points in time as people type them.

use jiff::{SignedDuration, Timestamp, Zoned, civil};
use std::time::Duration;

/// A duration: `500ms`, `2h`, `1h30m`, `10` (seconds).
///
/// # Errors
/// When it is none, or negative.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it as 500ms, 10 (seconds), 2h or 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// A point in time in ms since 1970: ms, seconds with `s`, RFC 3339, `2026-01-31`, `2026-01-31T10:00`
/// (local time), or `-2h` (so long ago).
///
/// # Errors
/// When it is none.
pub fn timestamp_ms(text: &str, now: Timestamp) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>()
        && !text.starts_with('-')
    {
        return Ok(ms);
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = i64::try_from(duration(ago)?.as_millis()).unwrap_or(i64::MAX);
        return Ok(now.as_millisecond().saturating_sub(ago));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let local =
        text.parse::<civil::DateTime>().or_else(|_| text.parse::<civil::Date>().map(civil::DateTime::from));
    let at = local.and_then(|local| local.to_zoned(jiff::tz::TimeZone::system()));
    at.map(|at: Zoned| at.timestamp().as_millisecond()).map_err(|_| {
        format!("{text:?} is no time; write ms since 1970, 2026-01-31, 2026-01-31T10:00, RFC 3339, or -2h for so long ago")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("10", 10_000), ("0.5", 500), ("500ms", 500), ("2h", 7_200_000), ("1h30m", 5_400_000)]
        {
            assert_eq!(duration(text).expect(text), Duration::from_millis(ms), "{text}");
        }
        for wrong in ["", "x", "-1", "-2h", "2 parsecs"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn points_in_time() {
        let now = Timestamp::from_millisecond(10_000_000).expect("legal");
        for (text, ms) in [
            ("1700000000000", 1_700_000_000_000),
            ("-2h", 10_000_000 - 7_200_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ] {
            assert_eq!(timestamp_ms(text, now).expect(text), ms, "{text}");
        }
        assert!(timestamp_ms("2023-11-14", now).is_ok());
        assert!(timestamp_ms("2023-11-14T10:00", now).is_ok());
        assert!(timestamp_ms("yesterday", now).expect_err("no time").contains("RFC 3339"));
    }
}
