//! The arithmetic of the high watermark (rule R6).

use yak_protocol::ids::Offset;

/// What decides about a commit, apart from the replicas' ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// The high watermark so far.
    pub(super) high_watermark: Offset,
    /// Where the leader's epoch starts.
    pub(super) epoch_start: Offset,
    /// The leader's own durable end.
    pub(super) own_end: Offset,
    /// Whether the ISR, as the coordinator has it, is large enough.
    pub(super) enough_replicas: bool,
}

/// The new high watermark, if it moves. `others` are the ends of all members of the ISR or of a proposed
/// ISR but the leader; `None` = not seen in this epoch.
pub(super) fn advance(standing: Standing, others: impl Iterator<Item = Option<Offset>>) -> Option<Offset> {
    if !standing.enough_replicas {
        return None;
    }
    let mut least = standing.own_end;
    for end in others {
        least = least.min(end?);
    }
    (least > standing.high_watermark && least >= standing.epoch_start).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing {
        high_watermark: Offset(10),
        epoch_start: Offset(15),
        own_end: Offset(30),
        enough_replicas: true,
    };

    fn advance_to(standing: Standing, others: &[Option<u64>]) -> Option<u64> {
        advance(standing, others.iter().map(|end| end.map(Offset))).map(|end| end.0)
    }

    #[test]
    fn the_slowest_replica_decides() {
        assert_eq!(advance_to(STANDING, &[Some(20), Some(25)]), Some(20));
        assert_eq!(advance_to(STANDING, &[Some(40)]), Some(30), "the leader itself may be the slowest");
        assert_eq!(advance_to(STANDING, &[]), Some(30));
    }

    #[test]
    fn a_member_that_was_not_seen_in_this_epoch_holds_the_commit() {
        assert_eq!(advance_to(STANDING, &[Some(20), None]), None);
    }

    #[test]
    fn nothing_commits_below_the_start_of_the_epoch() {
        assert_eq!(advance_to(STANDING, &[Some(14)]), None);
        assert_eq!(advance_to(STANDING, &[Some(15)]), Some(15));
    }

    #[test]
    fn nothing_commits_with_too_few_replicas_and_it_never_goes_back() {
        assert_eq!(advance_to(Standing { enough_replicas: false, ..STANDING }, &[Some(20)]), None);
        let far = Standing { high_watermark: Offset(20), ..STANDING };
        assert_eq!(advance_to(far, &[Some(20)]), None);
        assert_eq!(advance_to(far, &[Some(16)]), None);
    }
}
