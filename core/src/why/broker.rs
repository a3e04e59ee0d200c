//! Why a broker does not do what it should.

use super::{Past, Trouble, span};
use std::time::Duration;
use yak_protocol::ids::BrokerId;
use yak_protocol::message::Cause;
use yak_protocol::text::count;

/// What the asked process knows of a broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrokerFacts {
    /// Its number.
    pub id: BrokerId,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Whether it may not lead.
    pub fenced: bool,
    /// When and why it was fenced; the coordinator knows, if it was since its start.
    pub fenced_past: Option<Past>,
    /// Whether it hands over what it leads.
    pub draining: bool,
    /// Whether somebody asked for that by hand; `None` = the asked process does not know.
    pub drain_requested: Option<bool>,
    /// Brokers that it does not hear, or that do not hear it, though both are alive: (follower, leader).
    pub broken_links: Vec<(BrokerId, BrokerId)>,
    /// How many replicas it has.
    pub replicas: u32,
    /// How many of them lead.
    pub leads: u32,
    /// How many are not in sync.
    pub out_of_sync: u32,
    /// Partitions whose replica on it is damaged.
    pub damaged: Vec<String>,
    /// Partitions whose replica on it has stopped itself, as the coordinator was told.
    pub halted: Vec<String>,
    /// How far its decommission is, if it is to go and the asked process knows.
    pub decommission: Option<String>,
    /// What it knows of itself; `None` = another process is asked.
    pub own: Option<Own>,
}

/// What a broker knows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Own {
    /// Why it cannot reach the coordinator, and since when.
    pub coordinator_lost: Option<String>,
    /// Where it looks for the coordinator.
    pub coordinator: String,
    /// Whether its lease has run out.
    pub lease_over: bool,
    /// Whether its disk takes nothing more.
    pub disk_full: bool,
    /// Replicas that have stopped themselves, and why.
    pub halted: Vec<(String, String)>,
}

/// What is wrong with a broker.
#[must_use]
pub fn broker(facts: &BrokerFacts, now_ms: i64) -> Vec<Cause> {
    let mut causes = alive(facts, now_ms);
    causes.extend(facts.own.iter().flat_map(|own| own.causes(facts.id)));
    causes.extend(facts.broken_links.iter().map(|(follower, leader)| broken_link(*follower, *leader, None)));
    let id = facts.id;
    for title in &facts.damaged {
        let text = format!("the log of {title} on broker {id} is damaged and waits for a good copy");
        causes.push(Trouble::Damaged.cause(format!("{title} on broker {id}"), text, format!("WHY {title}")));
    }
    causes.extend(facts.halted.iter().map(|title| halted(title, id)));
    if facts.out_of_sync > 0 && !facts.fenced {
        let (behind, all) = (facts.out_of_sync, count(facts.replicas.into(), "replica"));
        let text = format!("{behind} of its {all} are not in sync");
        causes.push(Trouble::OutOfSync.cause(
            format!("broker {id}"),
            text,
            "ISR and WHY <topic>/<p> say which",
        ));
    }
    if let Some(waits) = &facts.decommission {
        let text = format!("broker {id} is decommissioned: {waits}");
        let next = format!("`yak broker decommission {id} --cancel` lets it stay");
        causes.push(Trouble::Decommissioning.cause(format!("broker {id}"), text, next));
    }
    super::sort(&mut causes);
    causes
}

/// What follows from whether it is alive, for it and for its partitions.
pub(super) fn alive(facts: &BrokerFacts, now_ms: i64) -> Vec<Cause> {
    let BrokerFacts { id, name, address, .. } = facts;
    let mut causes = Vec::new();
    if facts.fenced {
        let past = facts.fenced_past.as_ref().map(|past| format!(" {}", past.since(now_ms)));
        let text = format!("broker {id} ({name} at {address}) is fenced{}", past.unwrap_or_default());
        let next = format!("start broker {id}, or check its network to the coordinator if it runs");
        causes.push(Trouble::Fenced.cause(format!("broker {id}"), text, next));
    }
    if facts.draining && facts.decommission.is_none() {
        let (why, next) = match facts.drain_requested {
            Some(true) => {
                ("by request, so it leads only what nobody else can", format!("UNDRAIN {id} ends that"))
            }
            Some(false) => ("because it is to stop", String::new()),
            None => ("so it leads only what nobody else can", String::new()),
        };
        causes.push(Trouble::Draining.cause(
            format!("broker {id}"),
            format!("broker {id} drains {why}"),
            next,
        ));
    }
    causes
}

/// A replica that has stopped itself, for whoever does not know why.
pub(super) fn halted(title: &str, id: BrokerId) -> Cause {
    let text = format!("the replica of {title} on broker {id} has stopped itself and counts as away");
    Trouble::Halted.cause(format!("{title} on broker {id}"), text, format!("WHY {title} on broker {id}"))
}

/// One bad link; `to` is where the leader is reached.
pub(super) fn broken_link(follower: BrokerId, leader: BrokerId, to: Option<&str>) -> Cause {
    let text = format!(
        "broker {follower} does not hear broker {leader} though the coordinator reaches both: one bad link"
    );
    let to = to.map(|address| format!(" at {address}")).unwrap_or_default();
    let next = format!("check the network from broker {follower} to broker {leader}{to}");
    Trouble::BrokenLink.cause(format!("broker {follower} to broker {leader}"), text, next)
}

impl Own {
    /// What is wrong with the process itself, whatever it is asked about.
    pub(super) fn causes(&self, id: BrokerId) -> Vec<Cause> {
        let mut causes = Vec::new();
        if let Some(lost) = &self.coordinator_lost {
            let text = format!(
                "broker {id} cannot reach the coordinator: {lost}; what it says of the cluster is from before"
            );
            let next = format!(
                "start the coordinator, or check its address {} and the network to it",
                self.coordinator
            );
            causes.push(Trouble::CoordinatorLost.cause("coordinator", text, next));
        }
        let subject = format!("broker {id}");
        if self.lease_over {
            let text = format!(
                "the lease of broker {id} is over, so it takes only acks=all and answers no question for the latest offset"
            );
            causes.push(Trouble::LeaseOver.cause(&subject, text, ""));
        }
        if self.disk_full {
            let text = format!("the disk of broker {id} is full, so it appends nothing; reads go on");
            causes.push(Trouble::DiskFull.cause(
                &subject,
                text,
                format!("make room on the disk of broker {id}, it goes on by itself"),
            ));
        }
        for (title, why) in &self.halted {
            let text = format!("the replica of {title} on broker {id} has stopped itself: {why}");
            let next = format!(
                "keep the data dir of broker {id} for an inspection and start the broker on an empty one"
            );
            causes.push(Trouble::Halted.cause(format!("{title} on broker {id}"), text, next));
        }
        causes
    }
}

impl BrokerFacts {
    /// What is said if nothing is wrong; `lease_left` and `heard` as the coordinator knows them.
    #[must_use]
    pub fn well(&self, lease: Option<(Duration, Duration)>) -> String {
        let (name, address, leads) = (&self.name, &self.address, self.leads);
        let lease = lease.map(|(left, heard)| {
            format!(", its lease has {} left, its last heartbeat came {} ago", span(left), span(heard))
        });
        let all = count(self.replicas.into(), "replica");
        format!("{name} at {address} leads {leads} of its {all}{}", lease.unwrap_or_default())
    }
}
