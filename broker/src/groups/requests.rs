//! Requests about one group: found its coordinator, asked or passed on.

use super::Asked;
use crate::broker::Broker;
use crate::partition::PartitionHandle;
use crate::requests::{ensure_groups_topic, forward_to};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use yak_core::group::{Reply, Request};
use yak_protocol::defaults::GROUP_OFFSETS_TOPIC;
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::TopicPartition;
use yak_protocol::message::{GroupCommit, GroupDelete, GroupDescribe, GroupFetch, GroupHeartbeat, Message};
use yak_protocol::names;
use yak_protocol::net::{Incoming, Replier};
use yak_protocol::partitioner;

/// How long a coordinator may take to answer: it may have to read its log first.
const ANSWER: Duration = Duration::from_secs(8);

/// How long a request that may be passed on waits for a coordinator that is about to take over, and how often it
/// looks.
const TAKE_OVER: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(20);

/// A request about one group.
pub(crate) trait GroupRequest: Message + Clone + Sync {
    /// Which group.
    fn group(&self) -> &str;
    /// Whether it may be passed on; it may be only once.
    fn take_forward(&mut self) -> bool;
    /// As the machine takes it.
    fn into_request(self) -> Request;
    /// What the machine answered, naming the coordinator.
    fn reply(reply: Reply, coordinator: Option<LeaderHint>) -> Option<Self::Reply>;
}

macro_rules! group_request {
    ($message:ident, $variant:ident, |$reply:ident, $coordinator:ident| $out:expr) => {
        impl GroupRequest for $message {
            fn group(&self) -> &str {
                &self.group
            }
            fn take_forward(&mut self) -> bool {
                std::mem::take(&mut self.forward)
            }
            fn into_request(self) -> Request {
                Request::$variant(self)
            }
            fn reply(reply: Reply, $coordinator: Option<LeaderHint>) -> Option<Self::Reply> {
                match reply {
                    Reply::$variant($reply) => Some($out),
                    _ => None,
                }
            }
        }
    };
}
group_request!(GroupHeartbeat, Heartbeat, |reply, coordinator| {
    yak_protocol::message::GroupHeartbeatReply { coordinator, ..reply }
});
group_request!(GroupCommit, Commit, |reply, coordinator| {
    yak_protocol::message::GroupCommitReply { coordinator, ..reply }
});
group_request!(GroupFetch, Fetch, |reply, coordinator| {
    yak_protocol::message::GroupFetchReply { coordinator, ..reply }
});
group_request!(GroupDescribe, Describe, |reply, coordinator| {
    yak_protocol::message::GroupDescription { coordinator, ..*reply }
});
group_request!(GroupDelete, Delete, |reply, _coordinator| reply);

/// Answers beside the connection.
pub(crate) fn serve<M: GroupRequest>(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let message: M = match request.parse() {
        Ok(message) => message,
        Err(error) => return reply.refuse(&error),
    };
    let host = reply.peer().address().ip().to_string();
    let broker_of_task = broker.clone();
    broker.tasks.spawn("group request", async move {
        let outcome = ask(&broker_of_task, message, host).await;
        reply.reply::<M>(outcome.as_ref().map_err(Clone::clone), Vec::new());
    });
}

/// Asks the group's coordinator, here or elsewhere.
///
/// # Errors
/// What it says, or `NOT_COORDINATOR` with where it is.
pub(crate) async fn ask<M: GroupRequest>(
    broker: &Arc<Broker>,
    mut message: M,
    host: String,
) -> Result<M::Reply, WireError> {
    names::check_group(message.group())?;
    if !broker.cluster.has_topic(GROUP_OFFSETS_TOPIC) {
        if [GroupHeartbeat::KIND, GroupCommit::KIND, GroupFetch::KIND].contains(&M::KIND) {
            ensure_groups_topic(broker).await?;
        } else {
            let what = format!("there is no group {}: there are none yet", message.group());
            return Err(WireError::new(ErrorCode::UnknownGroup, what));
        }
    }
    let id = place(broker, message.group())?;
    let forward = message.take_forward();
    let until = Instant::now() + TAKE_OVER;
    loop {
        let outcome = attempt(broker, id, message.clone(), forward, &host).await;
        // The topic was just made, or its partition has another leader: whoever wants a detour waits for that.
        let coming = |error: &WireError| error.code == ErrorCode::NotCoordinator;
        if !forward || Instant::now() >= until || !outcome.as_ref().is_err_and(coming) {
            return outcome;
        }
        sleep(LOOK).await;
    }
}

async fn attempt<M: GroupRequest>(
    broker: &Arc<Broker>,
    id: TopicPartition,
    message: M,
    forward: bool,
    host: &str,
) -> Result<M::Reply, WireError> {
    if let Some(partition) = leading(broker, id) {
        let reply = here(broker, &partition, message.into_request(), host.to_owned()).await?;
        let odd = || WireError::new(ErrorCode::Internal, "the coordinator answered something else");
        return M::reply(reply, broker.cluster.leader(id)).ok_or_else(odd);
    }
    match broker.cluster.leader(id).filter(|hint| Some(hint.leader) != broker.id()) {
        Some(hint) if forward => forward_to(broker, hint.leader, &message, ANSWER).await,
        _ => Err(not_coordinator(broker, id)),
    }
}

/// The partition that says who coordinates the group.
fn place(broker: &Broker, group: &str) -> Result<TopicPartition, WireError> {
    let topic = broker.cluster.topic(GROUP_OFFSETS_TOPIC)?;
    let partition = partitioner::partition_for_key(group.as_bytes(), topic.partitions);
    Ok(TopicPartition { topic: topic.id, partition })
}

pub(super) fn leading(broker: &Broker, id: TopicPartition) -> Option<Arc<PartitionHandle>> {
    broker.partition(id).filter(|partition| partition.view().leads)
}

/// Asks the coordinator of a partition that this broker leads.
pub(super) async fn here(
    broker: &Arc<Broker>,
    partition: &Arc<PartitionHandle>,
    request: Request,
    host: String,
) -> Result<Reply, WireError> {
    broker.link.may_serve()?;
    let (answer, answered) = oneshot::channel();
    broker.groups.hand_over(broker, partition, Asked { request, host, answer })?;
    match timeout(ANSWER, answered).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(not_coordinator(broker, partition.id)),
        Err(_) => {
            let name = broker.cluster.name_of(partition.id);
            let what = format!(
                "the coordinator of the group has not answered in {ANSWER:?}: {name} is being read, or cannot be written"
            );
            Err(WireError::new(ErrorCode::NotReady, what).hint("send it again in a moment"))
        }
    }
}

/// Another broker leads the partition, or this one will, or nobody does.
fn not_coordinator(broker: &Broker, id: TopicPartition) -> WireError {
    let name = broker.cluster.name_of(id);
    let hint = broker.cluster.leader(id).filter(|hint| Some(hint.leader) != broker.id());
    match hint {
        Some(hint) => {
            let what = format!("broker {} coordinates the group: it leads {name}", hint.leader);
            WireError::new(ErrorCode::NotCoordinator, what).hint(format!("ask {}", hint.address)).leader(hint)
        }
        None => {
            let what =
                format!("the group has no coordinator now: {name} has no leader, or has just been given one");
            WireError::new(ErrorCode::NotCoordinator, what).hint("send it again in a moment")
        }
    }
}
