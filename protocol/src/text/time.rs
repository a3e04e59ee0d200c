/// A point in time as people read it: `2026-11-20T20:31:05.123Z`. `ms` are milliseconds since 1970, UTC.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (days, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (seconds, millis) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms": the year begins in March, so that the leap day is its last).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The point in time that somebody typed, in milliseconds since 1970: `2026-11-20T20:31:05.123Z` (the day
/// alone will do, and `+01:00` in the place of `Z`), milliseconds since 1970, or how long before `now_ms` it
/// was: `-90s`, `-15m`, `-2h`, `-7d`.
#[must_use]
pub fn moment(text: &str, now_ms: i64) -> Option<i64> {
    if let Some(ago) = text.strip_prefix('-') {
        let unit = ago.chars().next_back()?;
        let unit_ms = match unit {
            's' => 1000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        let count: i64 = digits(&ago[..ago.len() - 1])?;
        return now_ms.checked_sub(count.checked_mul(unit_ms)?);
    }
    if let Some(ms) = digits(text) {
        return Some(ms);
    }
    let (day, time) = text.split_once(['T', 't']).unwrap_or((text, "00:00:00Z"));
    let mut date = day.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year > 9999 {
        return None;
    }
    let days = days_of(year, month, day);
    // The 31st of a short month is no day.
    if civil(days) != (year, month, day) {
        return None;
    }
    Some(days * 86_400_000 + of_day(time)?)
}

/// `20:31:05.123Z` in milliseconds; the seconds may be left out.
fn of_day(text: &str) -> Option<i64> {
    let (time, zone_ms) = match text.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let (at, sign) = match (text.rfind('+'), text.rfind('-')) {
                (Some(at), None) => (at, 1),
                (None, Some(at)) => (at, -1),
                _ => return None,
            };
            let (hours, minutes) = text[at + 1..].split_once(':')?;
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (&text[..at], sign * (hours * 60 + minutes) * 60_000)
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.splitn(3, ':').map(digits);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if hours > 23 || minutes > 59 || seconds > 59 || digits(fraction).is_none() {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    Some((hours * 3600 + minutes * 60 + seconds) * 1000 + ms - zone_ms)
}

fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// The number of days since 1970: the inverse of [`civil`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_moment() {
        for ms in [0, 1_700_000_000_123, 951_782_400_000, 4_107_542_399_999] {
            assert_eq!(moment(&rfc3339(ms), 0), Some(ms));
        }
        for (text, ms) in [
            ("1970-01-02", 86_400_000),
            ("1970-01-01T01:00Z", 3_600_000),
            ("1970-01-01T01:00:00.5+01:00", 500),
            ("1970-01-01T00:00:00-00:30", 1_800_000),
            ("1700000000000", 1_700_000_000_000),
            ("-90s", 910_000),
            ("-1d", 1_000_000 - 86_400_000),
        ] {
            assert_eq!(moment(text, 1_000_000), Some(ms), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "-",
            "-5",
            "-x",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01T25:00Z",
            "2026-01-01T10",
        ] {
            assert_eq!(moment(text, 0), None, "{text}");
        }
    }

    #[test]
    fn known_moments() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
        assert!(rfc3339(i64::MIN).ends_with('Z') && rfc3339(i64::MAX).ends_with('Z'));
    }
}
