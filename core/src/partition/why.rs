//! What a replica knows of itself that says why things are as they are; see [`crate::why`].

use super::{Now, Replica, Role};
use crate::why::{FollowerFacts, LeaderFacts};
use yak_protocol::ids::BrokerId;

/// What a replica says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explained {
    /// As leader. How many bytes followers lack is not known in here.
    pub leader: Option<LeaderFacts>,
    /// As follower without a session: whom it is to follow, and why it does not.
    pub not_following: Option<(BrokerId, String)>,
    /// Why it has stopped itself.
    pub halted: Option<String>,
}

impl Replica {
    /// Looks at itself; changes nothing.
    #[must_use]
    pub fn explain(&self, now: Now) -> Explained {
        let local = &self.local;
        let halted = local.halted.as_ref().or(local.refused.as_ref()).cloned();
        let mut explained = Explained { halted, ..Explained::default() };
        match &self.role {
            Role::Leader(leader) => {
                let max = local.config.replica_lag_max;
                let followers = leader.table.iter().map(|(id, progress)| FollowerFacts {
                    id: *id,
                    acked: progress.acked,
                    streams: progress.is_open(),
                    bytes_behind: 0,
                    behind: progress.behind_for(now),
                    late: !progress.is_near(now, max),
                });
                explained.leader = Some(LeaderFacts {
                    high_watermark: local.high_watermark,
                    high_watermark_known: leader.high_watermark_known(local),
                    log_end: local.log.written_end().max(local.log.start()),
                    damaged: local.damage.ranges().to_vec(),
                    followers: followers.collect(),
                });
            }
            Role::Follower(follower) => {
                explained.not_following = follower.trouble().map(|why| (follower.leader, why));
            }
            Role::Resting(_) => {}
        }
        explained
    }
}
