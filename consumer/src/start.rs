use yak_protocol::ids::Offset;
use yak_protocol::message::OffsetsReply;

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Start {
    /// With the first record that is still there.
    #[default]
    Earliest,
    /// With what comes next.
    Latest,
    /// At this offset.
    Offset(Offset),
    /// So many records behind the first one that is still there, at most at the end.
    AfterStart(u64),
    /// So many records before the end, or with the first one if there are fewer.
    BeforeEnd(u64),
    /// With the first record that is at least this new, in ms since 1970; at the end if there is none.
    Time(i64),
}

impl Start {
    /// The offset, if it does not depend on the log.
    pub(crate) fn fixed(self) -> Option<Offset> {
        match self {
            Self::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// What to ask the leader for besides the log's bounds.
    #[must_use]
    pub fn at_ms(self) -> Option<i64> {
        match self {
            Self::Time(at) => Some(at),
            _ => None,
        }
    }

    /// The offset in a log with these bounds.
    #[must_use]
    pub fn resolve(self, log: &OffsetsReply) -> Offset {
        let (start, end) = (log.log_start, log.high_watermark);
        match self {
            Self::Earliest => start,
            Self::Latest => end,
            Self::Offset(offset) => offset,
            Self::AfterStart(count) => Offset(start.0.saturating_add(count)).min(end.max(start)),
            Self::BeforeEnd(count) => Offset(end.0.saturating_sub(count)).max(start),
            Self::Time(_) => log.at.unwrap_or(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::LeaderEpoch;

    #[test]
    fn every_form_of_start_stays_within_the_log() {
        let log = OffsetsReply {
            log_start: Offset(10),
            high_watermark: Offset(100),
            log_end: Offset(120),
            at: Some(Offset(42)),
            leader_epoch: LeaderEpoch(1),
        };
        let none_so_new = OffsetsReply { at: None, ..log };
        for (start, log, offset) in [
            (Start::Earliest, &log, 10),
            (Start::Latest, &log, 100),
            (Start::Offset(Offset(7)), &log, 7),
            (Start::AfterStart(5), &log, 15),
            (Start::AfterStart(500), &log, 100),
            (Start::BeforeEnd(30), &log, 70),
            (Start::BeforeEnd(500), &log, 10),
            (Start::Time(1), &log, 42),
            (Start::Time(1), &none_so_new, 100),
        ] {
            assert_eq!(start.resolve(log), Offset(offset), "{start:?}");
        }
    }
}
