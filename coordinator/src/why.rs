//! `why`: what the coordinator knows about it, and what the leader or the broker itself adds.

use crate::clock::{now, wall_ms};
use crate::server::Server;
use std::time::Duration;
use yak_core::why::{self, BrokerFacts, PartitionFacts, Trouble};
use yak_protocol::error::WireError;
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{BrokerInfo, Cause, PartitionInfo, Why, WhyReply};
use yak_protocol::net::{ConnectOptions, Connection};

/// How long whoever knows more may take to answer.
const ASK_MAX: Duration = Duration::from_secs(2);

/// What is known here.
pub(crate) struct Known {
    subject: String,
    well: String,
    causes: Vec<Cause>,
    /// Who knows more, and where that is.
    better: Option<(BrokerId, String)>,
}

/// What the coordinator knows by itself.
///
/// # Errors
/// The topic, partition or broker does not exist: the nearest ones are named.
pub(crate) fn look(server: &Server, asked: &Why) -> Result<Known, WireError> {
    match (&asked.topic, asked.partition, asked.broker) {
        (Some(topic), Some(partition), _) => {
            let info = server.cluster.state().find(topic, partition)?;
            let facts = partition_facts(server, info);
            let leader = info.leader.and_then(|leader| reached(server, leader));
            let (well, causes) = (why::well(&facts), why::partition(&facts, wall_ms()));
            Ok(Known { subject: facts.title, well, causes, better: leader })
        }
        (Some(topic), None, _) => {
            let state = server.cluster.state();
            let topic = state.find_topic(topic)?;
            let causes = of_partitions(server, state.partitions_of(topic.id));
            let well = why::topic_well(topic.partitions);
            Ok(Known { subject: topic.name.clone(), well, causes, better: None })
        }
        (None, _, Some(id)) => {
            let facts = broker_facts(server, id).ok_or_else(|| unknown_broker(server, id))?;
            let lease = server.cluster.lease(id).and_then(|lease| lease.until);
            let heard = server.heard.get(&id);
            let lease = lease.zip(heard).map(|(until, heard)| (until.since(now()), now().since(*heard)));
            let (well, causes) = (facts.well(lease), why::broker(&facts, wall_ms()));
            Ok(Known { subject: format!("broker {id}"), well, causes, better: reached(server, id) })
        }
        (None, ..) => Ok(everything(server)),
    }
}

/// The whole cluster.
fn everything(server: &Server) -> Known {
    let state = server.cluster.state();
    let mut causes = of_partitions(server, state.partitions());
    let brokers: Vec<BrokerFacts> =
        state.brokers().filter_map(|it| broker_facts(server, it.info.id)).collect();
    // What is out of sync has been said partition by partition.
    let of_brokers = brokers.iter().flat_map(|facts| why::broker(facts, wall_ms()));
    let own = of_brokers.filter(|cause| cause.cause != Trouble::OutOfSync.name()).collect();
    causes = why::merge(causes, own);
    let well = why::cluster_well(brokers.len(), state.topics().count(), state.partitions().count());
    Known { subject: "the cluster".to_owned(), well, causes, better: None }
}

fn of_partitions<'a>(server: &Server, partitions: impl Iterator<Item = &'a PartitionInfo>) -> Vec<Cause> {
    let each = partitions.flat_map(|info| why::partition(&partition_facts(server, info), wall_ms()));
    why::merge(Vec::new(), each.collect())
}

/// Where the broker is reached, if it may be alive.
fn reached(server: &Server, id: BrokerId) -> Option<(BrokerId, String)> {
    let broker = server.cluster.state().broker(id).filter(|broker| !broker.info.fenced)?;
    Some((id, broker.info.address.clone()))
}

fn broker_facts(server: &Server, id: BrokerId) -> Option<BrokerFacts> {
    let state = server.cluster.state();
    let broker = state.broker(id)?;
    let BrokerInfo { name, address, fenced, draining, .. } = broker.info.clone();
    let links = server.cluster.broken_links().map(|(follower, leader, _)| (follower, leader));
    let mut facts = BrokerFacts {
        id,
        name,
        address,
        fenced,
        draining,
        fenced_past: server.history.fenced(id).cloned(),
        drain_requested: Some(broker.drain_requested),
        decommission: server.cluster.decommission_waits(id),
        broken_links: links.filter(|(follower, leader)| *follower == id || *leader == id).collect(),
        ..BrokerFacts::default()
    };
    for info in state.partitions().filter(|info| info.replicas.contains(&id)) {
        facts.replicas += 1;
        facts.leads += u32::from(info.leader == Some(id));
        facts.out_of_sync += u32::from(!info.isr.contains(&id));
        if state.damaged(id, info.id) {
            facts.damaged.push(state.title(info.id));
        }
        if state.halted(id, info.id) {
            facts.halted.push(state.title(info.id));
        }
    }
    Some(facts)
}

fn partition_facts(server: &Server, info: &PartitionInfo) -> PartitionFacts {
    let state = server.cluster.state();
    let takes =
        |broker: &BrokerInfo| !broker.fenced && !broker.draining && !info.replicas.contains(&broker.id);
    PartitionFacts {
        title: state.title(info.id),
        info: info.clone(),
        wanted_replicas: state.topic(info.id.topic).map_or(0, |topic| topic.wanted_replicas),
        brokers: info.replicas.iter().filter_map(|id| broker_facts(server, *id)).collect(),
        spare: state.brokers().filter(|broker| takes(&broker.info)).count(),
        leaderless: server.history.leaderless(info.id).cloned(),
        damaged: replicas_that(info, |broker| state.damaged(broker, info.id)),
        halted: replicas_that(info, |broker| state.halted(broker, info.id)),
        moving: server.cluster.move_waits(info.id),
        leader: None,
        not_following: None,
        own: None,
    }
}

fn replicas_that(info: &PartitionInfo, are: impl Fn(BrokerId) -> bool) -> Vec<BrokerId> {
    info.replicas.iter().copied().filter(|broker| are(*broker)).collect()
}

fn unknown_broker(server: &Server, id: BrokerId) -> WireError {
    let known: Vec<_> =
        server.cluster.state().brokers().map(|it| format!("{} ({})", it.info.id, it.info.name)).collect();
    let error = WireError::bad_request(format!("there is no broker {id}"));
    match known.is_empty() {
        true => error.hint("no broker has registered yet"),
        false => error.hint(format!("there are {}", known.join(", "))),
    }
}

impl Known {
    /// The answer, with what whoever knows more adds to it.
    pub(crate) async fn answer(self, asked: Why) -> WhyReply {
        let Self { subject, mut well, mut causes, better } = self;
        if let Some((id, address)) = better.filter(|_| asked.forward) {
            match ask(&address, Why { forward: false, ..asked }).await {
                Ok(told) => {
                    if told.causes.is_empty() && causes.is_empty() {
                        well = told
                            .text
                            .split_once(" is well: ")
                            .map_or(well, |(_, text)| text.trim_end_matches('.').to_owned());
                    }
                    causes = why::merge(told.causes, causes);
                }
                Err(error) => {
                    causes =
                        why::merge(Vec::new(), [vec![unreachable(id, &address, &error)], causes].concat())
                }
            }
        }
        WhyReply { text: why::paragraph(&subject, &well, &causes), causes }
    }
}

fn unreachable(id: BrokerId, address: &str, error: &str) -> Cause {
    let text = format!("broker {id} knows more and cannot be asked from the coordinator: {error}");
    let next = format!("check that {address} can be reached from where the coordinator runs");
    Trouble::Unreachable.cause(format!("broker {id}"), text, next)
}

async fn ask(address: &str, why: Why) -> Result<WhyReply, String> {
    let options = ConnectOptions { connect_timeout: ASK_MAX, ..ConnectOptions::default() };
    let (connection, _) = Connection::connect(address, &options).await.map_err(|error| error.to_string())?;
    let pending = connection.start(&why, Vec::new()).map_err(|error| error.to_string())?;
    let answered = pending.within(ASK_MAX).await;
    connection.close();
    answered.map(|answer| answer.body).map_err(|error| error.to_string())
}
