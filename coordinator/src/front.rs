//! From frames to what the coordinator's one task understands. Nothing is decided here.

use crate::metalog::{Look, Standing};
use crate::quorum::QuorumService;
use crate::server::{Ask, Input, Server};
use crate::{verbs, why};
use std::sync::Arc;
use tokio::sync::mpsc::{self, error::SendError};
use tokio::sync::{oneshot, watch};
use yak_core::cluster::{ConnectionId, Loss, Request};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{
    AlterTopic, CancelMoves, ChangePeers, Consume, CreateTopic, DecommissionBroker, DeleteRecords,
    DeleteTopic, Drain, Elect, ElectPreferred, GroupCommit, GroupDelete, GroupDescribe, GroupFetch,
    GroupHeartbeat, GroupList, Heartbeat, Hello, LeaderInfoRequest, ListMoves, Message, Metadata,
    MovePartitions, Offsets, Probe, ProbeReply, ProducerIds, ProposeIsr, Publish, ReadRange, Recollect,
    RegisterBroker, RegisterConsumer, RegisterProducer, ReplaceBroker, Replicate, StreamSilent, Why,
};
use yak_protocol::net::{Closed, CommandError, Incoming, Observer, Peer, Replier, Service, TextSession};
use yak_protocol::text::{Command, Status, Verb, Word};

/// Ids with this bit are chosen by the coordinator: a frame that has it answers a probe.
pub(crate) const PROBE_IDS: u64 = 1 << 63;

/// Takes the frames of all connections and queues them for the coordinator's task.
pub(crate) struct Front {
    /// What each connection may have unanswered is limited, so the queue is, too.
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    pub(crate) observer: Observer,
    /// For what can be said in any role.
    pub(crate) log: Arc<dyn Look>,
    pub(crate) standing: watch::Receiver<Standing>,
    /// What the other coordinators of a quorum are answered by.
    pub(crate) quorum: Option<QuorumService>,
}

impl Front {
    fn queue(&self, input: Input) {
        match self.inputs.send(input) {
            Err(SendError(Input::Asked { reply, .. })) => reply.refuse(&shutting_down()),
            Err(SendError(Input::Look(look))) => look(Err(shutting_down())),
            _ => {}
        }
    }
}

impl Front {
    /// What `look` sees in the coordinator's task, after the round that is under way and durable as that is.
    ///
    /// # Errors
    /// `NOT_ACTIVE` on standby, `SHUTTING_DOWN` when the task has ended.
    pub(crate) async fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Server) -> R + Send + 'static,
    ) -> Result<R, WireError> {
        let (tell, told) = oneshot::channel();
        self.queue(Input::Look(Box::new(move |server| {
            // Whoever wanted to know may have gone.
            let _ = tell.send(server.map(look));
        })));
        told.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// [`Self::look`], at the log as well.
    pub(crate) async fn look_with_log<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Server, &dyn Look) -> R + Send + 'static,
    ) -> Result<R, WireError> {
        let log = self.log.clone();
        self.look(move |server| look(server, &*log)).await
    }

    /// Looks here, and asks elsewhere beside everything else.
    fn why(&self, request: &Incoming, reply: Replier) {
        let asked: Why = match request.parse() {
            Ok(asked) => asked,
            Err(error) => return reply.refuse(&error),
        };
        let reply = reply.if_dropped(shutting_down());
        self.queue(Input::Look(Box::new(move |server| match server.and_then(|it| why::look(it, &asked)) {
            Err(error) => reply.refuse(&error),
            Ok(known) => drop(tokio::spawn(async move {
                let answer = known.answer(asked).await;
                reply.reply::<Why>(Ok(&answer), Vec::new());
            })),
        })));
    }
}

impl Service for Front {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        if &*request.kind == Probe::KIND {
            if request.id & PROBE_IDS != 0 {
                self.queue(Input::ProbeAnswered { connection: connection(peer), id: request.id });
                reply.discard();
            } else {
                reply.reply::<Probe>(Ok(&ProbeReply {}), Vec::new());
            }
            return;
        }
        if let Some(quorum) = self.quorum.as_ref().filter(|_| QuorumService::answers(&request.kind)) {
            return quorum.handle(request, reply);
        }
        if &*request.kind == ChangePeers::KIND {
            return reply.refuse(&no_quorum());
        }
        if &*request.kind == Why::KIND {
            return self.why(&request, reply);
        }
        match parse(&request) {
            Ok(ask) => self.queue(Input::Asked { peer: peer.clone(), ask: Box::new(ask), reply }),
            Err(error) => reply.refuse(&error),
        }
    }

    fn closed(&self, peer: &Peer, how: Closed) {
        let loss = match how {
            Closed::PeerClosed => Loss::PeerClosed,
            Closed::Other(_) => Loss::Unknown,
        };
        self.queue(Input::Closed { connection: connection(peer), loss });
    }

    fn verbs(&self) -> &'static [Verb] {
        verbs::VERBS
    }

    async fn command(&self, session: &mut TextSession, command: &Command) -> Result<Status, CommandError> {
        verbs::run(session, self, command).await
    }

    async fn word(&self, word: Word) -> String {
        verbs::word(self, word).await
    }

    fn observer(&self) -> Option<&Observer> {
        Some(&self.observer)
    }
}

/// To requests that the coordinator's task did not take before it ended.
pub(crate) fn shutting_down() -> WireError {
    WireError::new(ErrorCode::ShuttingDown, "the coordinator shuts down")
}

/// To whoever wants to see or change a quorum where a Redis stands in its place.
fn no_quorum() -> WireError {
    let what = "the metadata is in a Redis: the coordinators that share it make no quorum";
    WireError::new(ErrorCode::NotApplied, what)
        .hint("start or stop coordinators with the same --lease-backend, nothing else is needed")
}

pub(crate) fn connection(peer: &Peer) -> ConnectionId {
    ConnectionId(peer.id())
}

fn parse(request: &Incoming) -> Result<Ask, WireError> {
    Ok(match &*request.kind {
        RegisterBroker::KIND => Ask::Machine(Request::RegisterBroker(request.parse()?)),
        Heartbeat::KIND => Ask::Machine(Request::Heartbeat(request.parse()?)),
        ProposeIsr::KIND => Ask::Machine(Request::ProposeIsr(request.parse()?)),
        StreamSilent::KIND => Ask::Machine(Request::StreamSilent(request.parse()?)),
        ProducerIds::KIND => Ask::Machine(Request::ProducerIds(request.parse()?)),
        CreateTopic::KIND => Ask::Machine(Request::CreateTopic(request.parse()?)),
        DeleteTopic::KIND => Ask::Machine(Request::DeleteTopic(request.parse()?)),
        AlterTopic::KIND => Ask::Machine(Request::AlterTopic(request.parse()?)),
        Elect::KIND => Ask::Machine(Request::Elect(request.parse()?)),
        Drain::KIND => Ask::Machine(Request::Drain(request.parse()?)),
        MovePartitions::KIND => Ask::Machine(Request::MovePartitions(request.parse()?)),
        CancelMoves::KIND => Ask::Machine(Request::CancelMoves(request.parse()?)),
        ListMoves::KIND => Ask::Machine(Request::ListMoves(request.parse()?)),
        ReplaceBroker::KIND => Ask::Machine(Request::ReplaceBroker(request.parse()?)),
        DecommissionBroker::KIND => Ask::Machine(Request::DecommissionBroker(request.parse()?)),
        ElectPreferred::KIND => Ask::Machine(Request::ElectPreferred(request.parse()?)),
        Metadata::KIND => Ask::Metadata(request.parse()?),
        LeaderInfoRequest::KIND => Ask::LeaderInfo(request.parse()?),
        Hello::KIND => Ask::Hello(request.parse()?),
        RegisterProducer::KIND => match request.parse::<RegisterProducer>()? {
            named if named.name.is_some() => Ask::Machine(Request::RegisterProducer(named)),
            unnamed => Ask::RegisterProducer(unnamed),
        },
        RegisterConsumer::KIND => Ask::RegisterConsumer(request.parse()?),
        kind @ (Publish::KIND
        | GroupHeartbeat::KIND
        | GroupCommit::KIND
        | GroupFetch::KIND
        | GroupDescribe::KIND
        | GroupList::KIND
        | GroupDelete::KIND
        | Consume::KIND
        | Offsets::KIND
        | DeleteRecords::KIND
        | Replicate::KIND
        | ReadRange::KIND
        | Recollect::KIND) => Ask::OfBroker(kind.to_owned()),
        kind => {
            let what = format!("the coordinator does not answer `{kind}`");
            return Err(WireError::new(ErrorCode::UnknownKind, what));
        }
    })
}
