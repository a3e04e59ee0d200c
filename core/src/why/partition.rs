//! Why a partition does not do what it should.

use super::broker::{BrokerFacts, Own, alive, broken_link, halted};
use super::{Past, Trouble, brokers, size, span};
use std::time::Duration;
use yak_protocol::ids::{BrokerId, Offset};
use yak_protocol::message::{Cause, PartitionInfo};
use yak_protocol::text::count;

/// What the asked process knows of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionFacts {
    /// As people know it: `orders/2`.
    pub title: String,
    /// The coordinator's record, as far as it is known.
    pub info: PartitionInfo,
    /// How many replicas it is to have.
    pub wanted_replicas: u32,
    /// The brokers of its replicas; their links are those of this partition.
    pub brokers: Vec<BrokerFacts>,
    /// How many more live brokers could take a replica.
    pub spare: usize,
    /// When and why nobody leads any more.
    pub leaderless: Option<Past>,
    /// Replicas that are damaged.
    pub damaged: Vec<BrokerId>,
    /// Replicas that have stopped themselves, as the coordinator was told.
    pub halted: Vec<BrokerId>,
    /// What its move waits for, if the asked process knows of one.
    pub moving: Option<String>,
    /// What its leader knows, if that is the asked process.
    pub leader: Option<LeaderFacts>,
    /// Why the replica at the asked broker does not follow, if it does not: whom it is to follow, and why.
    pub not_following: Option<(BrokerId, String)>,
    /// The asked broker.
    pub own: Option<(BrokerId, Own)>,
}

/// What a leader knows of its partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaderFacts {
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// Whether that has reached what earlier leaders may have committed (rule R13).
    pub high_watermark_known: bool,
    /// The end of its log.
    pub log_end: Offset,
    /// Ranges of its log that are damaged.
    pub damaged: Vec<(Offset, Offset)>,
    /// Every follower.
    pub followers: Vec<FollowerFacts>,
}

/// What a leader knows of one follower.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FollowerFacts {
    /// Which broker.
    pub id: BrokerId,
    /// The end of what it has on disk; `None` = not seen in this epoch.
    pub acked: Option<Offset>,
    /// Whether it has a stream to the leader.
    pub streams: bool,
    /// About how many bytes it lacks.
    pub bytes_behind: u64,
    /// For how long it has not been caught up; `None` = it is.
    pub behind: Option<Duration>,
    /// Whether that is so long that it is out, or about to be put out, of the ISR (rule R8).
    pub late: bool,
}

/// What is wrong with a partition, the worst first.
#[must_use]
pub fn partition(facts: &PartitionFacts, now_ms: i64) -> Vec<Cause> {
    let mut causes = Vec::new();
    let info = &facts.info;
    if info.recovering {
        causes.push(facts.recovering());
    } else if info.leader.is_none() {
        causes.push(facts.no_leader(now_ms));
    } else if info.isr.len() < info.min_isr as usize {
        causes.push(facts.below_min());
    }
    for replica in &facts.brokers {
        causes.extend(alive(replica, now_ms));
        if !replica.fenced && !info.recovering {
            causes.extend(facts.replica(replica));
        }
    }
    causes.extend(facts.leader.iter().flat_map(|leader| facts.of_leader(leader)));
    if let Some((id, own)) = &facts.own {
        causes.extend(own.causes(*id));
    }
    causes.extend(facts.too_few());
    causes.extend(facts.moves());
    super::sort(&mut causes);
    causes
}

/// What is said of a partition with which nothing is wrong.
#[must_use]
pub fn well(facts: &PartitionFacts) -> String {
    let info = &facts.info;
    let leader = info.leader.map_or_else(|| "nobody".to_owned(), |id| format!("broker {id}"));
    let committed =
        facts.leader.as_ref().map(|log| format!(", everything below {} is committed", log.high_watermark));
    format!(
        "{leader} leads in epoch {}, {} of {} replicas are in sync{}",
        info.leader_epoch,
        info.isr.len(),
        info.replicas.len(),
        committed.unwrap_or_default()
    )
}

impl PartitionFacts {
    fn broker(&self, id: BrokerId) -> Option<&BrokerFacts> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    /// R15: nothing is decided about it.
    fn recovering(&self) -> Cause {
        let (title, info) = (&self.title, &self.info);
        let made_again = info.isr.is_empty() && info.elr.is_empty();
        let (text, next) = if made_again {
            let enough = info.quorum();
            let text = format!(
                "the coordinators' journal was made again, and nobody is known to have all of {title}; whoever has every \
                 acknowledged record leads as soon as {enough} of {} say how far they go, if that makes it clear",
                brokers(&info.replicas, "and"),
            );
            (
                text,
                format!(
                    "start the brokers of its replicas; or accept a loss: yak topic elect {title} --unclean"
                ),
            )
        } else {
            let text = format!(
                "a broker has seen a newer record of {title} than the coordinator's journal holds, so nothing is decided \
                 about it"
            );
            let next = "stop the coordinator and start it on the newest copy of its journal, or make that again from what \
                        the brokers know: yak coordinator rebuild";
            (text, next.to_owned())
        };
        Trouble::Recovering.cause(title, text, next)
    }

    fn no_leader(&self, now_ms: i64) -> Cause {
        let mut members: Vec<BrokerId> = self.info.isr.iter().chain(&self.info.elr).copied().collect();
        members.sort_unstable();
        let since = self.leaderless.as_ref().map(|past| format!(" {}", past.since(now_ms)));
        let since = since.unwrap_or_default();
        let title = &self.title;
        if members.is_empty() {
            let text = format!(
                "{title} has no leader{since}; no replica is left that has every acknowledged record"
            );
            let next = format!(
                "bring back a broker of its replicas with the disk that it had; what is lost if another one leads, `yak topic elect {title} --unclean --dry-run` says"
            );
            return Trouble::NoLeader.cause(title, text, next);
        }
        let text = format!(
            "{title} has no leader{since}; only {} may lead, any other replica may lack acknowledged records",
            brokers(&members, "or")
        );
        let (halted, away): (Vec<_>, Vec<_>) = members.iter().partition(|id| self.halted.contains(id));
        let next = if away.is_empty() {
            format!("see why {} has stopped its replica, then start it again", brokers(&halted, "or"))
        } else {
            format!("start {}", brokers(&away, "or"))
        };
        Trouble::NoLeader.cause(title, text, next)
    }

    fn below_min(&self) -> Cause {
        let PartitionInfo { isr, min_isr, replicas, .. } = &self.info;
        let missing: Vec<BrokerId> = replicas.iter().filter(|id| !isr.contains(id)).copied().collect();
        let title = &self.title;
        let text = format!(
            "{title} has {} in sync and needs {min_isr} (min_isr), without {}: publishes with acks=all are refused, reads go on",
            brokers(isr, "and"),
            brokers(&missing, "and")
        );
        Trouble::IsrBelowMin.cause(title, text, format!("bring {} back in sync", brokers(&missing, "or")))
    }

    /// What keeps a live replica from being in sync.
    fn replica(&self, replica: &BrokerFacts) -> Vec<Cause> {
        let (id, title) = (replica.id, &self.title);
        if self.halted.contains(&id) {
            return vec![halted(title, id)];
        }
        let Some(leader) = self.info.leader else { return Vec::new() };
        if id == leader {
            return Vec::new();
        }
        let mut causes = Vec::new();
        let to = self.broker(leader).map(|leader| leader.address.as_str());
        let broken = replica.broken_links.contains(&(id, leader));
        if broken {
            causes.push(broken_link(id, leader, to));
        }
        if self.damaged.contains(&id) {
            let text = format!(
                "the log of {title} on broker {id} is damaged and waits for a good copy from broker {leader}"
            );
            causes.push(Trouble::Damaged.cause(format!("{title} on broker {id}"), text, ""));
        }
        let follower = self.leader.as_ref().and_then(|log| log.followers.iter().find(|it| it.id == id));
        let in_sync = self.info.isr.contains(&id);
        let late = follower.is_some_and(|follower| follower.late || follower.acked.is_none());
        if !in_sync || late {
            causes.push(self.out_of_sync(id, leader, follower, broken));
        }
        if let Some((unheard, why)) =
            self.not_following.as_ref().filter(|_| self.own.as_ref().is_some_and(|(own, _)| *own == id))
        {
            let text = format!("broker {id} does not replicate {title} from broker {unheard}: {why}");
            let next =
                format!("check that broker {unheard} runs and can be reached from broker {id}{}", at(to));
            causes.push(Trouble::BrokenLink.cause(format!("broker {id} to broker {unheard}"), text, next));
        }
        causes
    }

    fn out_of_sync(
        &self,
        id: BrokerId,
        leader: BrokerId,
        follower: Option<&FollowerFacts>,
        broken: bool,
    ) -> Cause {
        let title = &self.title;
        let log_end = self.leader.as_ref().map(|log| log.log_end).unwrap_or_default();
        let place = if self.info.isr.contains(&id) { "in the ISR" } else { "alive, but not in sync" };
        let how = match follower {
            None => format!("only broker {leader}, which leads, knows how far it is behind"),
            Some(FollowerFacts { acked: None, streams: false, .. }) => {
                format!("it has no stream open to broker {leader}, which leads")
            }
            Some(follower) => {
                let lacks = log_end.0.saturating_sub(follower.acked.unwrap_or_default().0);
                let since = follower.behind.map(|behind| format!(", caught up last {} ago", span(behind)));
                let stream = if follower.streams { "" } else { ", and has no stream to the leader" };
                let (records, bytes) = (count(lacks, "record"), size(follower.bytes_behind));
                format!("it lacks {records} (about {bytes}){}{stream}", since.unwrap_or_default())
            }
        };
        let silent = follower.is_some_and(|follower| !follower.streams);
        let next = match (broken, silent) {
            (true, _) => String::new(),
            (false, true) => format!(
                "look at broker {id}: WHY there, and its network to broker {leader}{}",
                at(self.broker(leader).map(|leader| leader.address.as_str()))
            ),
            (false, false) => format!("it catches up by itself; if it does not, WHY broker {id}"),
        };
        let text = format!("broker {id} is {place} for {title}: {how}");
        Trouble::OutOfSync.cause(format!("{title} on broker {id}"), text, next)
    }

    fn of_leader(&self, log: &LeaderFacts) -> Vec<Cause> {
        let (title, mut causes) = (&self.title, Vec::new());
        let Some(leader) = self.info.leader else { return causes };
        if !log.high_watermark_known {
            let text = format!(
                "broker {leader} has just become leader of {title} and does not know yet what is committed"
            );
            causes.push(Trouble::HighWatermarkUnknown.cause(title, text, ""));
        }
        for (from, to) in &log.damaged {
            let text = format!(
                "the log of {title} on broker {leader} is damaged from {from} to {to} and waits for a good copy; reads of that are refused"
            );
            let next = "bring another replica of it back in sync";
            causes.push(Trouble::Damaged.cause(format!("{title} on broker {leader}"), text, next));
        }
        causes
    }

    fn moves(&self) -> Option<Cause> {
        let (waits, moving) = (self.moving.as_ref()?, self.info.moving.as_ref()?);
        let title = &self.title;
        let (from, to) = (brokers(&moving.from, "and"), brokers(&moving.to, "and"));
        let text = format!("{title} moves from {from} to {to}, and {waits}");
        Some(Trouble::Moving.cause(title, text, format!("`yak topic move {title} --cancel` lets it go back")))
    }

    fn too_few(&self) -> Option<Cause> {
        let (has, wanted) = (self.info.replicas.len(), self.wanted_replicas as usize);
        if has >= wanted {
            return None;
        }
        let title = &self.title;
        let (why, next) = match self.spare {
            0 => (
                "no other live broker can take one",
                "start another broker; it gets the missing replicas by itself",
            ),
            _ => ("they are added as brokers come or stop draining", ""),
        };
        let text =
            format!("{title} has {} of the {wanted} that are wanted: {why}", count(has as u64, "replica"));
        Some(Trouble::TooFewReplicas.cause(title, text, next))
    }
}

fn at(address: Option<&str>) -> String {
    address.map(|address| format!(" at {address}")).unwrap_or_default()
}
