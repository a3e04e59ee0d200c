//! Where to begin and where to stop, as people type it.

use crate::time;
use jiff::Timestamp;
use yak_consumer::Start;
use yak_protocol::ids::Offset;

/// One `-o`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetArg {
    /// Where to begin.
    Start(Start),
    /// In front of which time to stop, in ms since 1970.
    StopAt(i64),
}

/// `beginning`, `end`, `N`, `-N` (before the end), `+N` (behind the start), `s@TIME`, `e@TIME`.
pub(super) fn offset(text: &str) -> Result<OffsetArg, String> {
    let number = |digits: &str| digits.parse::<u64>().ok();
    let start = match text {
        "beginning" | "earliest" | "start" => Start::Earliest,
        "end" | "latest" => Start::Latest,
        "stored" => return Err("a group (-g) goes on at its stored offset by itself".to_owned()),
        _ => {
            if let Some(at) = text.strip_prefix("s@") {
                Start::Time(time::timestamp_ms(at, Timestamp::now())?)
            } else if let Some(at) = text.strip_prefix("e@") {
                return Ok(OffsetArg::StopAt(time::timestamp_ms(at, Timestamp::now())?));
            } else if let Some(count) = text.strip_prefix('-').and_then(number) {
                Start::BeforeEnd(count)
            } else if let Some(count) = text.strip_prefix('+').and_then(number) {
                Start::AfterStart(count)
            } else if let Some(offset) = number(text) {
                Start::Offset(Offset(offset))
            } else {
                return Err(format!(
                    "{text:?} is no offset; write beginning, end, N, -N (before the end), +N (behind the start), \
                     s@TIME or e@TIME"
                ));
            }
        }
    };
    Ok(OffsetArg::Start(start))
}

/// A time, or so long ago: `2h`.
pub(super) fn since(text: &str) -> Result<i64, String> {
    let now = Timestamp::now();
    if text.parse::<i64>().is_err()
        && let Ok(ago) = time::duration(text)
    {
        return Ok(now.as_millisecond().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    time::timestamp_ms(text, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_offset() {
        for (text, start) in [
            ("beginning", Start::Earliest),
            ("start", Start::Earliest),
            ("end", Start::Latest),
            ("47", Start::Offset(Offset(47))),
            ("-3", Start::BeforeEnd(3)),
            ("+2", Start::AfterStart(2)),
            ("s@1700000000000", Start::Time(1_700_000_000_000)),
            ("s@2023-11-14T22:13:20Z", Start::Time(1_700_000_000_000)),
        ] {
            assert_eq!(offset(text), Ok(OffsetArg::Start(start)), "{text}");
        }
        assert_eq!(offset("e@1700000000000"), Ok(OffsetArg::StopAt(1_700_000_000_000)));
        for wrong in ["", "x", "--3", "s@", "e@soon", "1.5", "stored"] {
            assert!(offset(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn since_is_a_time_or_so_long_ago() {
        assert_eq!(since("1700000000000"), Ok(1_700_000_000_000));
        let now = Timestamp::now().as_millisecond();
        let ago = since("2h").expect("legal");
        assert!((now - 7_200_000..=Timestamp::now().as_millisecond() - 7_200_000).contains(&ago));
        assert!(since("x").is_err());
    }
}
