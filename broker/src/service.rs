//! Where requests come in: each kind goes to its own file.

use crate::broker::Broker;
use crate::groups;
use crate::requests;
use crate::verbs;
use std::sync::Arc;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{
    AlterTopic, CancelMoves, ChangePeers, Consume, CoordinatorHello, CreateTopic, DecommissionBroker,
    DeleteRecords, DeleteTopic, Drain, Elect, ElectPreferred, GroupCommit, GroupDelete, GroupDescribe,
    GroupFetch, GroupHeartbeat, GroupList, Heartbeat, Hello, LeaderInfoRequest, ListMoves, Message, Metadata,
    MovePartitions, Offsets, Probe, ProducerIds, ProposeIsr, Publish, RaftAppend, RaftSnapshot, RaftVote,
    ReadRange, Recollect, RegisterBroker, RegisterConsumer, RegisterProducer, ReplaceBroker, Replicate,
    StreamSilent, Why,
};
use yak_protocol::net::{Closed, CommandError, Incoming, Observer, Peer, Replier, Service, TextSession};
use yak_protocol::text::{Command, Status, Verb, Word};

/// Answers the requests of one broker's listener.
pub(crate) struct BrokerService(pub(crate) Arc<Broker>);

impl Service for BrokerService {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        let broker = &self.0;
        broker.counters.request(&request.kind);
        match request.kind.as_str() {
            // The two that carry the load come first.
            Publish::KIND => requests::publish(broker, request, reply).await,
            Replicate::KIND => replicate(broker, peer, &request, reply),
            Consume::KIND => requests::consume(broker, &request, reply),
            GroupHeartbeat::KIND => groups::serve::<GroupHeartbeat>(broker, &request, reply),
            GroupCommit::KIND => groups::serve::<GroupCommit>(broker, &request, reply),
            GroupFetch::KIND => groups::serve::<GroupFetch>(broker, &request, reply),
            GroupDescribe::KIND => groups::serve::<GroupDescribe>(broker, &request, reply),
            GroupList::KIND => groups::list(broker, &request, reply),
            GroupDelete::KIND => groups::serve::<GroupDelete>(broker, &request, reply),
            Hello::KIND => answer(&request, reply, |hello| requests::hello(broker, &hello)),
            Metadata::KIND => answer(&request, reply, |metadata| requests::metadata(broker, &metadata)),
            LeaderInfoRequest::KIND => answer(&request, reply, |wanted: LeaderInfoRequest| {
                broker.cluster.leader_info(wanted.topic.as_deref())
            }),
            RegisterProducer::KIND => requests::register_producer(broker, &request, reply),
            RegisterConsumer::KIND => {
                answer(&request, reply, |hello| Ok(requests::register_consumer(broker, &hello)))
            }
            Offsets::KIND => requests::offsets(broker, &request, reply),
            ReadRange::KIND => requests::read_range(broker, &request, reply),
            Recollect::KIND => answer(&request, reply, |_: Recollect| requests::recollect(broker)),
            CreateTopic::KIND => requests::create_topic(broker, &request, reply),
            DeleteTopic::KIND => requests::delete_topic(broker, &request, reply),
            AlterTopic::KIND => requests::alter_topic(broker, &request, reply),
            DeleteRecords::KIND => requests::delete_records(broker, &request, reply),
            Elect::KIND => requests::to_coordinator::<Elect>(broker, &request, reply),
            Drain::KIND => requests::to_coordinator::<Drain>(broker, &request, reply),
            MovePartitions::KIND => requests::to_coordinator::<MovePartitions>(broker, &request, reply),
            CancelMoves::KIND => requests::to_coordinator::<CancelMoves>(broker, &request, reply),
            ListMoves::KIND => requests::to_coordinator::<ListMoves>(broker, &request, reply),
            ReplaceBroker::KIND => requests::to_coordinator::<ReplaceBroker>(broker, &request, reply),
            DecommissionBroker::KIND => {
                requests::to_coordinator::<DecommissionBroker>(broker, &request, reply)
            }
            ElectPreferred::KIND => requests::to_coordinator::<ElectPreferred>(broker, &request, reply),
            Why::KIND => requests::why(broker, &request, reply),
            RegisterBroker::KIND
            | Heartbeat::KIND
            | ProposeIsr::KIND
            | StreamSilent::KIND
            | Probe::KIND
            | ProducerIds::KIND
            | CoordinatorHello::KIND
            | ChangePeers::KIND
            | RaftVote::KIND
            | RaftAppend::KIND
            | RaftSnapshot::KIND => reply.refuse(&wrong_process(broker, request.kind.as_str())),
            other => reply
                .refuse(&WireError::new(ErrorCode::UnknownKind, format!("there is no request {other:?}"))),
        }
    }

    fn closed(&self, peer: &Peer, _how: Closed) {
        self.0.leader_streams.closed(&self.0, peer);
    }

    fn verbs(&self) -> &'static [Verb] {
        verbs::VERBS
    }

    async fn command(&self, session: &mut TextSession, command: &Command) -> Result<Status, CommandError> {
        verbs::run(session, self, command).await
    }

    async fn word(&self, word: Word) -> String {
        verbs::word(&self.0, word).await
    }

    fn observer(&self) -> Option<&Observer> {
        Some(&self.0.observer)
    }
}

/// Answers at once.
fn answer<M: Message>(
    request: &Incoming,
    reply: Replier,
    act: impl FnOnce(M) -> Result<M::Reply, WireError>,
) {
    let outcome = request.parse::<M>().and_then(act);
    reply.reply::<M>(outcome.as_ref().map_err(Clone::clone), Vec::new());
}

/// A frame of a follower's stream. Only a refusal is answered; it ends the stream.
fn replicate(broker: &Arc<Broker>, peer: &Peer, request: &Incoming, reply: Replier) {
    let taken = request.parse().and_then(|frame| broker.leader_streams.take(broker, peer, frame));
    match taken {
        Ok(()) => reply.discard(),
        Err(error) => {
            reply.refuse(&error);
            peer.close();
        }
    }
}

fn wrong_process(broker: &Broker, kind: &str) -> WireError {
    WireError::new(ErrorCode::WrongProcess, format!("a broker does not answer {kind}; the coordinator does"))
        .hint(format!("the coordinator of this cluster is at {}", broker.config.coordinator.join(" or ")))
}
