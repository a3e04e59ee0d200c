//! A term: the one task that owns the cluster machine. Here network, clock, log and decisions meet.

use crate::answers;
use crate::clients::{Client, ClientKind, Clients};
use crate::clock::{now, wall_ms};
use crate::front::{PROBE_IDS, connection};
use crate::history::History;
use crate::knock::knock;
use crate::metalog::{AnyLog, Lost, MetaLog, Standing, Term};
use crate::turns::Turns;
use crate::{CoordinatorConfig, RunError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use yak_core::cluster::{
    Cluster, ClusterConfig, ConnectionId, Effect, Event, Loss, Now, Record, Reply, Request, RequestId,
};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerEpoch, BrokerId, ProducerEpoch, ProducerId};
use yak_protocol::message::{
    Hello, HelloReply, LeaderInfoRequest, Message, Metadata, Probe, RegisterConsumer, RegisterConsumerReply,
    RegisterProducer, RegisterProducerReply,
};
use yak_protocol::net::{Observer, Peer, Replier};

/// How many inputs share one write of the log at most.
const INPUTS_PER_ROUND_MAX: usize = 1024;

/// Something for the task to do.
pub(crate) enum Input {
    /// A request arrived.
    Asked { peer: Peer, ask: Box<Ask>, reply: Replier },
    /// A broker answered a probe.
    ProbeAnswered { connection: ConnectionId, id: u64 },
    /// A connection ended.
    Closed { connection: ConnectionId, loss: Loss },
    /// Somebody looks at what is known, as it is after this round.
    Look(Look),
}

/// Looks, and says what it has seen to whom it wants; or why there is nothing to be seen here now.
pub(crate) type Look = Box<dyn FnOnce(Result<&Server, WireError>) + Send>;

/// What is asked.
pub(crate) enum Ask {
    Machine(Request),
    Metadata(Metadata),
    LeaderInfo(LeaderInfoRequest),
    Hello(Hello),
    RegisterProducer(RegisterProducer),
    RegisterConsumer(RegisterConsumer),
    /// A kind that brokers answer.
    OfBroker(String),
}

/// What this process says of itself.
pub(crate) struct SelfPortrait {
    /// Where others reach it.
    pub(crate) address: String,
    /// Where its listener is bound.
    pub(crate) listen: String,
    pub(crate) max_frame_bytes: u32,
    pub(crate) insecure: bool,
    pub(crate) config: CoordinatorConfig,
    pub(crate) started: Instant,
}

/// How a term ended.
pub(crate) enum Ended {
    /// As it was told to.
    Shutdown,
    /// Another one begins, here or elsewhere; why this one ended.
    Deposed(String),
}

/// What goes out once the log has kept what it follows from.
enum Outgoing {
    Machine(Effect),
    Read(Replier, Answer),
    Refuse(Replier, WireError),
    Look(Look),
}

/// An answer that the machine has no part in. It shows state that may be durable only with this round.
enum Answer {
    Metadata(Box<yak_protocol::message::MetadataReply>),
    LeaderInfo(Box<yak_protocol::message::LeaderInfo>),
    Hello(Box<HelloReply>),
    RegisterProducer(RegisterProducerReply),
    RegisterConsumer(RegisterConsumerReply),
}

pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    log: AnyLog,
    machine: ClusterConfig,
    standing: watch::Receiver<Standing>,
    pub(crate) portrait: Arc<SelfPortrait>,
    pub(crate) observer: Observer,
    pub(crate) history: History,
    pub(crate) clients: Clients,
    /// When each broker last registered or sent a heartbeat that was taken.
    pub(crate) heard: HashMap<BrokerId, Now>,
    inputs: mpsc::UnboundedReceiver<Input>,
    peers: HashMap<ConnectionId, Peer>,
    /// Who waits for the machine's answer, and whose sign of life the request is if it is taken.
    repliers: HashMap<RequestId, (Replier, Option<BrokerId>)>,
    last_request: u64,
    probes: HashMap<u64, (ConnectionId, BrokerId)>,
    last_probe: u64,
    /// Whether the brokers that this term waits for still listen; `None` = it does, or that is unknown.
    knocks: JoinSet<Option<(BrokerId, BrokerEpoch)>>,
    /// Producer ids of this process' own block: the next one, and the end.
    producer_ids: std::ops::Range<i64>,
    last_consumer: u64,
}

impl Server {
    /// Begins the term.
    pub(crate) fn begin(turns: Turns, term: &Term) -> Self {
        let Turns { log, inputs, portrait, observer, mut history, machine, standing } = turns;
        let cluster = Cluster::resume(now(), machine.clone(), &term.records);
        let state = cluster.state();
        tracing::info!(
            cluster_id = %state.cluster_id(),
            coordinator_epoch = %state.coordinator_epoch(),
            new = term.created,
            brokers = state.brokers().count(),
            topics = state.topics().count(),
            "active"
        );
        observer.events.note("active", format!("active in coordinator epoch {}", state.coordinator_epoch()));
        history.begin_term();
        // From an old copy of the journal, those who come back must be heard first (rule R15).
        let knocks = cluster.awaited().filter(|_| term.newest);
        let knocks = knocks.map(|broker| knock(broker.clone())).collect();
        Self {
            cluster,
            log,
            machine,
            standing,
            portrait,
            observer,
            history,
            clients: Clients::default(),
            heard: HashMap::new(),
            inputs,
            peers: HashMap::new(),
            repliers: HashMap::new(),
            last_request: 0,
            probes: HashMap::new(),
            last_probe: 0,
            knocks,
            producer_ids: 0..0,
            last_consumer: 0,
        }
    }

    /// Runs until the term is over.
    ///
    /// # Errors
    /// When the log fails: what was decided may not be kept, so nothing more may be said.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) -> Result<(Turns, Ended), RunError> {
        let mut round = Vec::new();
        loop {
            let due = self.cluster.next_deadline();
            let pause = due.map_or(Duration::MAX, |due| due.since(now()));
            let mut gone = None;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok((self.into_turns(), Ended::Shutdown)),
                lost = self.log.deposed() => return self.over(lost, round, Vec::new()),
                // Before the timer: after a pause of this process the sockets may hold signs of life.
                count = self.inputs.recv_many(&mut round, INPUTS_PER_ROUND_MAX) => {
                    if count == 0 {
                        return Ok((self.into_turns(), Ended::Shutdown));
                    }
                }
                Some(knocked) = self.knocks.join_next() => gone = knocked.ok().flatten(),
                () = sleep(pause) => {}
            }
            if !self.log.held() {
                return self.over(lease_over(), round, Vec::new());
            }
            let mut outgoing = Vec::new();
            for input in round.drain(..) {
                self.take(input, &mut outgoing);
            }
            if let Some((broker, broker_epoch)) = gone {
                self.step(Event::Refused { broker, broker_epoch }, &mut outgoing);
            }
            if due.is_some_and(|due| due <= now()) {
                self.step(Event::Tick, &mut outgoing);
            }
            if let Err(lost) = self.keep(&mut outgoing).await {
                return self.over(lost, round, outgoing);
            }
            for out in outgoing {
                self.send(out);
            }
            if let Err(lost) = self.log.compact(|| self.cluster.snapshot()).await {
                return self.over(lost, round, Vec::new());
            }
        }
    }

    /// The end of a term that others may have ended. What was not begun has had no effect; what was decided
    /// may have been kept or not, and nobody is told anything else.
    fn over(
        mut self,
        lost: Lost,
        unread: Vec<Input>,
        undone: Vec<Outgoing>,
    ) -> Result<(Turns, Ended), RunError> {
        let why = match lost {
            Lost::Deposed(why) => why,
            Lost::Fatal(error) => return Err(error),
        };
        // Before the answers: a broker whose connection ends asks again whoever is active then.
        for peer in self.peers.values() {
            peer.close();
        }
        let not_active = answers::not_active(&self.standing.borrow());
        for out in undone {
            match out {
                Outgoing::Read(reply, _) | Outgoing::Refuse(reply, _) => reply.refuse(&not_active),
                Outgoing::Look(look) => look(Err(not_active.clone())),
                Outgoing::Machine(_) => {}
            }
        }
        let unknown = WireError::new(
            ErrorCode::OutcomeUnknown,
            format!("this coordinator stopped being the active one while it worked on that: {why}"),
        );
        for (_, (reply, _)) in self.repliers.drain() {
            reply.refuse(&unknown.clone().hint("look whether it took effect before you send it again"));
        }
        for input in unread {
            crate::turns::refuse(input, &self.portrait, &self.standing.borrow());
        }
        Ok((self.into_turns(), Ended::Deposed(why)))
    }

    fn into_turns(self) -> Turns {
        let Self { log, inputs, portrait, observer, history, machine, standing, .. } = self;
        Turns { log, inputs, portrait, observer, history, machine, standing }
    }

    fn take(&mut self, input: Input, outgoing: &mut Vec<Outgoing>) {
        match input {
            Input::Asked { peer, ask, reply } => self.answer(&peer, *ask, reply, outgoing),
            Input::ProbeAnswered { connection, id } => {
                if let Some((expected, broker)) = self.probes.remove(&id)
                    && expected == connection
                {
                    self.step(Event::ProbeAnswered { broker }, outgoing);
                }
            }
            Input::Closed { connection, loss } => {
                self.peers.remove(&connection);
                self.clients.closed(connection);
                self.probes.retain(|_, (on, _)| *on != connection);
                self.step(Event::Disconnected { connection, loss }, outgoing);
            }
            Input::Look(look) => outgoing.push(Outgoing::Look(look)),
        }
    }

    fn answer(&mut self, peer: &Peer, ask: Ask, reply: Replier, outgoing: &mut Vec<Outgoing>) {
        let state = self.cluster.state();
        let answer = match ask {
            Ask::Machine(request) => return self.ask_machine(peer, request, reply, outgoing),
            Ask::OfBroker(kind) => Err(answers::wrong_process(state, &kind)),
            Ask::Metadata(request) => {
                Ok(Answer::Metadata(Box::new(answers::metadata(state, &self.portrait.address, &request))))
            }
            Ask::LeaderInfo(request) => {
                answers::leader_info(state, &request).map(|info| Answer::LeaderInfo(Box::new(info)))
            }
            Ask::Hello(hello) => {
                let hello = answers::hello(&hello, &self.portrait, Some(state.cluster_id()), None);
                Ok(Answer::Hello(Box::new(hello)))
            }
            Ask::RegisterProducer(request) => {
                tracing::debug!(client = %request.client, peer = peer.id(), "producer registered");
                let producer_id = self.next_producer_id(outgoing);
                self.client(peer, ClientKind::Producer, request.client, producer_id.0);
                let producer_epoch = ProducerEpoch(0);
                Ok(Answer::RegisterProducer(RegisterProducerReply { producer_id, producer_epoch }))
            }
            Ask::RegisterConsumer(request) => {
                tracing::debug!(client = %request.client, peer = peer.id(), "consumer registered");
                self.last_consumer += 1;
                let number = i64::try_from(self.last_consumer).unwrap_or(i64::MAX);
                self.client(peer, ClientKind::Consumer, request.client, number);
                Ok(Answer::RegisterConsumer(RegisterConsumerReply { consumer: self.last_consumer }))
            }
        };
        outgoing.push(match answer {
            Ok(answer) => Outgoing::Read(reply, answer),
            Err(error) => Outgoing::Refuse(reply, error),
        });
    }

    fn client(&mut self, peer: &Peer, kind: ClientKind, name: String, number: i64) {
        let address = peer.address().to_string();
        self.clients.add(connection(peer), Client { kind, name, number, address, since_ms: wall_ms() });
    }

    fn ask_machine(&mut self, peer: &Peer, request: Request, reply: Replier, outgoing: &mut Vec<Outgoing>) {
        let connection = connection(peer);
        if matches!(request, Request::RegisterBroker(_)) {
            self.peers.insert(connection, peer.clone());
        }
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let alive = match &request {
            Request::Heartbeat(heartbeat) => Some(heartbeat.broker_id),
            _ => None,
        };
        self.repliers.insert(id, (reply, alive));
        let entropy = uuid::Uuid::new_v4().as_u128();
        self.step(Event::Request { connection, id, request, entropy }, outgoing);
    }

    fn step(&mut self, event: Event, outgoing: &mut Vec<Outgoing>) {
        let mut effects = Vec::new();
        self.cluster.step(now(), event, &mut effects);
        outgoing.extend(effects.into_iter().map(Outgoing::Machine));
    }

    /// The next id of the own block; a new block goes through the log with this round first.
    fn next_producer_id(&mut self, outgoing: &mut Vec<Outgoing>) -> ProducerId {
        if self.producer_ids.is_empty() {
            let mut effects = Vec::new();
            let entropy = uuid::Uuid::new_v4().as_u128();
            let (from, count) = self.cluster.reserve_producer_ids(entropy, &mut effects);
            self.producer_ids = from..from + i64::from(count);
            outgoing.extend(effects.into_iter().map(Outgoing::Machine));
        }
        let id = ProducerId(self.producer_ids.start);
        self.producer_ids.start += 1;
        id
    }

    /// Makes everything that this round decided durable, with one sync. On success the term stands, too.
    async fn keep(&mut self, outgoing: &mut Vec<Outgoing>) -> Result<(), Lost> {
        let mut decisions: Vec<Vec<Record>> = Vec::new();
        outgoing.retain_mut(|out| match out {
            Outgoing::Machine(Effect::Journal(records)) => {
                decisions.push(std::mem::take(records));
                false
            }
            _ => true,
        });
        if !decisions.is_empty() {
            self.log.append(decisions).await?;
        }
        if self.log.held() { Ok(()) } else { Err(lease_over()) }
    }

    fn send(&mut self, out: Outgoing) {
        match out {
            Outgoing::Read(reply, answer) => match answer {
                Answer::Metadata(body) => reply.reply::<Metadata>(Ok(&body), Vec::new()),
                Answer::LeaderInfo(body) => reply.reply::<LeaderInfoRequest>(Ok(&body), Vec::new()),
                Answer::Hello(body) => reply.reply::<Hello>(Ok(&body), Vec::new()),
                Answer::RegisterProducer(body) => reply.reply::<RegisterProducer>(Ok(&body), Vec::new()),
                Answer::RegisterConsumer(body) => reply.reply::<RegisterConsumer>(Ok(&body), Vec::new()),
            },
            Outgoing::Refuse(reply, error) => reply.refuse(&error),
            Outgoing::Look(look) => look(Ok(self)),
            Outgoing::Machine(effect) => self.carry_out(effect),
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Journal(_) => {} // kept already
            Effect::Reply(id, outcome) => {
                if let Some((reply, alive)) = self.repliers.remove(&id) {
                    self.hear(alive, &outcome);
                    self.answer_request(reply, outcome);
                }
            }
            Effect::Push(connection, info) => self.send_to(connection, 0, LeaderInfoRequest::KIND, &info),
            Effect::Probe(connection, broker) => {
                self.last_probe += 1;
                let id = PROBE_IDS | self.last_probe;
                self.probes.insert(id, (connection, broker));
                self.send_to(connection, id, Probe::KIND, &Probe {});
            }
            Effect::Close(connection, why) => {
                if let Some(peer) = self.peers.remove(&connection) {
                    tracing::info!(peer = peer.id(), "connection closed: {why}");
                    peer.close();
                }
            }
            Effect::Note(note) => {
                tracing::info!(kind = note.kind(), "{note}");
                self.history.note(wall_ms(), &note);
                self.observer.events.note(note.kind(), note.to_string());
            }
        }
    }

    fn answer_request(&self, reply: Replier, outcome: Result<Reply, WireError>) {
        match outcome {
            Err(error) => reply.refuse(&error),
            Ok(Reply::RegisterBroker(mut body)) => {
                body.step_down = self.portrait.config.backend.steps_down();
                body.coordinators = self.standing.borrow().peers.clone();
                reply.reply_body(&*body, Vec::new());
            }
            Ok(Reply::Heartbeat(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::ProposeIsr(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::StreamSilent(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::RegisterProducer(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::ProducerIds(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::CreateTopic(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::DeleteTopic(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::AlterTopic(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::Elect(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::Drain(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::Moves(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::Decommission(body)) => reply.reply_body(&body, Vec::new()),
            Ok(Reply::ElectPreferred(body)) => reply.reply_body(&body, Vec::new()),
        }
    }

    /// Who has shown a sign of life with that.
    fn hear(&mut self, alive: Option<BrokerId>, outcome: &Result<Reply, WireError>) {
        let broker = match outcome {
            Ok(Reply::RegisterBroker(reply)) => Some(reply.broker_id),
            Ok(_) => alive,
            Err(_) => None,
        };
        self.heard.extend(broker.map(|broker| (broker, now())));
    }

    fn send_to<B: serde::Serialize>(&self, connection: ConnectionId, id: u64, kind: &str, body: &B) {
        if let Some(peer) = self.peers.get(&connection)
            && let Err(error) = peer.send(id, kind, body, Vec::new())
        {
            // Its end is on the way as an input of its own.
            tracing::debug!(peer = peer.id(), kind, %error, "not sent");
        }
    }
}

/// Sleeps so long; for ever if it is longer than timers go.
async fn sleep(pause: Duration) {
    if pause == Duration::MAX { std::future::pending().await } else { tokio::time::sleep(pause).await }
}

fn lease_over() -> Lost {
    Lost::Deposed("its hold on the log ran out; this process may have been paused".to_owned())
}
