//! `group_list`: every coordinator knows its own groups.

use super::requests::{here, leading};
use crate::broker::Broker;
use crate::requests::forward_to;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use yak_core::group::{Reply, Request};
use yak_protocol::defaults::GROUP_OFFSETS_TOPIC;
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerId, PartitionIndex, TopicPartition};
use yak_protocol::message::{GroupList, GroupListReply, GroupSummary};
use yak_protocol::net::{Incoming, Replier};

/// How long another broker may take to list its groups.
const ANSWER: Duration = Duration::from_secs(8);

/// Answers beside the connection.
pub(crate) fn list(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let list: GroupList = match request.parse() {
        Ok(list) => list,
        Err(error) => return reply.refuse(&error),
    };
    let broker_of_task = broker.clone();
    broker.tasks.spawn("list groups", async move {
        let found = all(&broker_of_task, list.forward).await;
        reply.reply::<GroupList>(Ok(&found), Vec::new());
    });
}

/// The groups of this broker, and with `everywhere` those of the others, too.
pub(crate) async fn all(broker: &Arc<Broker>, everywhere: bool) -> GroupListReply {
    let mut found = GroupListReply::default();
    // No topic, no groups.
    let Ok(topic) = broker.cluster.topic(GROUP_OFFSETS_TOPIC) else { return found };
    let mut mine = Vec::new();
    let mut others: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
    for partition in (0..topic.partitions).map(PartitionIndex) {
        let id = TopicPartition { topic: topic.id, partition };
        match (leading(broker, id), broker.cluster.leader(id)) {
            (Some(partition), _) => mine.push(partition),
            (None, Some(hint)) if Some(hint.leader) != broker.id() => {
                others.entry(hint.leader).or_default().push(id);
            }
            (None, _) if everywhere => {
                found.missing.push(format!("{} has no leader now", broker.cluster.name_of(id)));
            }
            (None, _) => {}
        }
    }
    let local = join_all(mine.iter().map(|partition| here(broker, partition, Request::List, String::new())));
    let asked =
        others.keys().filter(|_| everywhere).copied().map(|id| async move {
            (id, forward_to(broker, id, &GroupList { forward: false }, ANSWER).await)
        });
    let (local, remote) = tokio::join!(local, join_all(asked));
    for outcome in local {
        match outcome {
            Ok(Reply::List(groups)) => {
                let me = broker.id();
                found
                    .groups
                    .extend(groups.into_iter().map(|group| GroupSummary { coordinator: me, ..group }));
            }
            Ok(_) => {}
            Err(error) => found.missing.push(said("this broker", &error)),
        }
    }
    for (id, outcome) in remote {
        match outcome {
            Ok(reply) => {
                found.groups.extend(reply.groups);
                found.missing.extend(reply.missing);
            }
            Err(error) => found.missing.push(said(&format!("broker {id}"), &error)),
        }
    }
    found.groups.sort_by(|a, b| a.group.cmp(&b.group));
    found
}

fn said(who: &str, error: &WireError) -> String {
    format!("{who} cannot list its groups: {error}")
}
