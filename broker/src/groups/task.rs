//! The loop in which one coordinator of groups hears requests, its log, the cluster's topics and its clock.

use super::journal::{self, Entry, Outcome};
use super::{Asked, load};
use crate::broker::Broker;
use crate::clock;
use crate::config::COMMANDS_AT_ONCE;
use crate::partition::PartitionHandle;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use yak_core::group::{Clock, Effect, Event, GroupSet, Reply, Request, Ticket, Topics};
use yak_core::partition::View;
use yak_protocol::defaults::LEASE;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::LeaderEpoch;

/// Coordinates the groups of a partition for one leader epoch. Whoever waits for an answer when it ends is
/// told so by its end.
pub(super) async fn run(
    broker: Arc<Broker>,
    partition: Arc<PartitionHandle>,
    mut asked: mpsc::Receiver<Asked>,
) {
    let Some(mut desk) = Desk::open(&broker, &partition).await else { return };
    let mut views = partition.watch();
    let mut news = broker.cluster.subscribe();
    let mut taken = Vec::with_capacity(COMMANDS_AT_ONCE);
    loop {
        if !desk.write().await || !desk.leads(&partition.view()) {
            return;
        }
        let tick = desk.set.next_deadline();
        let until = tick.map_or_else(Instant::now, |deadline| Instant::now() + clock::until(deadline));
        tokio::select! {
            biased;
            changed = views.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some((seq, outcome)) = desk.appends.next() => match outcome {
                Ok(Ok(_)) => desk.step(Event::Committed(seq)),
                Ok(Err(error)) => {
                    tracing::info!(partition = %desk.name, %error, "gives its consumer groups up");
                    return;
                }
                Err(_) => return,
            },
            count = asked.recv_many(&mut taken, COMMANDS_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                taken.drain(..).for_each(|asked| desk.take(asked));
            }
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                desk.look_at_topics();
            }
            () = sleep_until(until), if tick.is_some() => desk.step(Event::Tick),
        }
    }
}

type Appends = FuturesOrdered<
    futures_util::future::Map<
        Outcome,
        Box<dyn FnOnce(<Outcome as Future>::Output) -> (u64, <Outcome as Future>::Output) + Send>,
    >,
>;

struct Desk {
    broker: Arc<Broker>,
    partition: Arc<PartitionHandle>,
    name: String,
    epoch: LeaderEpoch,
    set: GroupSet,
    topics: Topics,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<Reply, WireError>>>,
    last_ticket: u64,
    unwritten: Vec<Entry>,
    appends: Appends,
}

impl Desk {
    /// Waits until the leader knows what is committed, and reads it.
    async fn open(broker: &Arc<Broker>, partition: &Arc<PartitionHandle>) -> Option<Self> {
        let mut views = partition.watch();
        let epoch = views.borrow().leader_epoch;
        let settled =
            views.wait_for(|view| !view.leads || view.leader_epoch != epoch || view.high_watermark_known);
        let end = settled.await.ok()?.log_end;
        // What an earlier coordinator in this epoch has written, and did not live to see committed.
        let all_committed =
            views.wait_for(|view| !view.leads || view.leader_epoch != epoch || view.high_watermark >= end);
        let view = all_committed.await.ok()?.clone();
        if !view.leads || view.leader_epoch != epoch {
            return None;
        }
        let records = load::load(broker, partition, &view).await?;
        let name = broker.cluster.name_of(partition.id);
        tracing::debug!(partition = %name, records = records.len(), %epoch, "coordinates consumer groups");
        let topics = broker.cluster.group_topics();
        let mut effects = Vec::new();
        // A coordinator before this one may go on answering for as long as its lease runs, which is as long as
        // this one's when it is new.
        let grace = LEASE.max(broker.link.lease_left() * 2);
        let set = GroupSet::load(now(), grace, records, topics.clone(), &mut effects);
        let mut desk = Self {
            broker: broker.clone(),
            partition: partition.clone(),
            name,
            epoch,
            set,
            topics,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            unwritten: Vec::new(),
            appends: FuturesOrdered::new(),
        };
        desk.carry_out(effects);
        Some(desk)
    }

    fn leads(&self, view: &View) -> bool {
        view.leads && view.leader_epoch == self.epoch
    }

    fn take(&mut self, asked: Asked) {
        let Asked { request, host, answer } = asked;
        if writes(&request)
            && let Some(error) = self.cannot_write()
        {
            let _ = answer.send(Err(error));
            return;
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, answer);
        let vouched = self.broker.link.lease_held();
        self.step(Event::Request { ticket, request, vouched, host });
    }

    /// Too few in-sync replicas: that is known before anything is tried.
    fn cannot_write(&self) -> Option<WireError> {
        let view = self.partition.view();
        let (isr, min_isr) = (view.isr.len(), view.min_isr as usize);
        (isr < min_isr).then(|| {
            let what = format!(
                "{} has {isr} in-sync replicas, {min_isr} are needed to remember anything",
                self.name
            );
            WireError::new(ErrorCode::NotEnoughReplicas, what).hint("send it again once more brokers are up")
        })
    }

    fn look_at_topics(&mut self) {
        let topics = self.broker.cluster.group_topics();
        if topics != self.topics {
            self.topics = topics.clone();
            self.step(Event::Topics(topics));
        }
    }

    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.set.step(now(), event, &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { seq, key, value } => self.unwritten.push((seq, key, value)),
                Effect::Answer { ticket, outcome } => {
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        // Who asked may have gone.
                        let _ = answer.send(outcome);
                    }
                }
            }
        }
    }

    /// Appends what has come together; whether that is possible.
    async fn write(&mut self) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        let entries = std::mem::take(&mut self.unwritten);
        match journal::append(&self.broker, &self.partition, self.epoch, entries).await {
            Ok(outcomes) => {
                for (seq, outcome) in outcomes {
                    let with_seq: Box<dyn FnOnce(_) -> _ + Send> = Box::new(move |outcome| (seq, outcome));
                    self.appends.push_back(futures_util::FutureExt::map(outcome, with_seq));
                }
                true
            }
            Err(error) => {
                tracing::warn!(partition = %self.name, %error, "gives its consumer groups up");
                false
            }
        }
    }
}

/// Whether the request cannot be answered without a write.
fn writes(request: &Request) -> bool {
    match request {
        Request::Heartbeat(beat) => beat.generation.0 == 0 || beat.leave.is_some(),
        Request::Commit(_) | Request::Delete(_) => true,
        Request::Fetch(_) | Request::Describe(_) | Request::List => false,
    }
}

fn now() -> Clock {
    Clock { now: clock::now(), wall_ms: clock::wall_ms() }
}
