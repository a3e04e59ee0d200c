use crate::ask::{self, ASK_TIMEOUT, Asked, Done, Key, LeaderLink};
use crate::batch::Batch;
use crate::config::ConsumerConfig;
use crate::error::ConsumeError;
use crate::event::{Event, EventHook};
use crate::position::{LeaderDoubt, Position, Verdict};
use crate::start::Start;
use crate::wait::Trouble;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use yak_protocol::error::{Action, ErrorCode};
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::net::{Cluster, ClusterError};

/// What [`Consumer::next`] found.
#[derive(Clone, Debug)]
pub enum Polled {
    /// Records.
    Records(Batch),
    /// Everything that is committed in this partition has been handed out; told once each time.
    End {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// Where the next record will be.
        offset: Offset,
    },
}

/// Reads the partitions that are assigned to it. Nothing is read ahead of the first [`Consumer::next`].
pub struct Consumer {
    cluster: Cluster,
    config: ConsumerConfig,
    hook: EventHook,
    assigned: Vec<Assigned>,
    work: JoinSet<Done>,
    /// Requests for records under way, by address.
    requests: BTreeMap<String, usize>,
    /// Whose turn it is to hand out.
    turn: usize,
    /// Whether there may be something to ask for.
    look: bool,
    /// Counts assignments and seeks: each begins another life of a partition here.
    lives: u64,
}

/// A partition that is being read.
struct Assigned {
    topic: Arc<str>,
    partition: PartitionIndex,
    generation: u64,
    start: Start,
    /// `None` until the start is an offset.
    position: Option<Position>,
    leader: Option<LeaderLink>,
    /// Whether a question about it is under way.
    asking: bool,
    trouble: Trouble,
    cause: Option<String>,
    damaged_since: Option<Instant>,
    /// Since when only a leader of an earlier epoch says that the position is out of range.
    doubted_since: Option<Instant>,
}

/// How many requests for records to one broker may be under way: partitions that have been read up to
/// their buffers need not wait for others whose broker waits for new records.
const REQUESTS_MAX: usize = 4;

/// Nobody who has been replaced goes on speaking as leader for longer than that: it is several leases. An
/// older epoch after that is another life of the topic.
const DEPOSED_MAX: Duration = Duration::from_secs(10);

impl Consumer {
    /// A consumer with nothing assigned; needs a tokio runtime around it.
    #[must_use]
    pub fn new(cluster: Cluster, config: ConsumerConfig, hook: EventHook) -> Self {
        Self {
            cluster,
            config,
            hook,
            assigned: Vec::new(),
            work: JoinSet::new(),
            requests: BTreeMap::new(),
            turn: 0,
            look: true,
            lives: 0,
        }
    }

    /// Assigns partitions of a topic, all of them or those named. One that is assigned already is moved.
    ///
    /// # Errors
    /// When there is no such topic or partition, or nobody can be asked.
    pub async fn assign(
        &mut self,
        topic: &str,
        partitions: Option<&[PartitionIndex]>,
        start: Start,
    ) -> Result<(), ConsumeError> {
        let name: Arc<str> = topic.into();
        let deadline = Instant::now() + self.cluster.options().timeout;
        let info = self.cluster.topic(topic, deadline.into()).await.map_err(|error| match error {
            ClusterError::Refused(refusal) if refusal.code == ErrorCode::UnknownTopic => {
                ConsumeError::UnknownTopic { topic: Arc::clone(&name), nearest: self.nearest(topic) }
            }
            other => ConsumeError::Unreachable(other.to_string()),
        })?;
        let all: Vec<_> = (0..info.partitions).map(PartitionIndex).collect();
        let wanted = partitions.unwrap_or(&all);
        if let Some(unknown) = wanted.iter().find(|partition| partition.0 >= info.partitions) {
            let (partition, partitions) = (*unknown, info.partitions);
            return Err(ConsumeError::UnknownPartition { topic: name, partition, partitions });
        }
        for partition in wanted {
            if self.seek(topic, *partition, start).is_err() {
                self.lives += 1;
                let new = Assigned::new(Arc::clone(&name), *partition, start);
                self.assigned.push(Assigned { generation: self.lives, ..new });
            }
        }
        self.look = true;
        Ok(())
    }

    /// Goes on elsewhere in an assigned partition; what was read ahead is dropped.
    ///
    /// # Errors
    /// When the partition is not assigned.
    pub fn seek(&mut self, topic: &str, partition: PartitionIndex, start: Start) -> Result<(), ConsumeError> {
        let found = self.assigned.iter_mut().find(|a| *a.topic == *topic && a.partition == partition);
        let Some(assigned) = found else {
            return Err(ConsumeError::NotAssigned { topic: topic.into(), partition });
        };
        self.lives += 1;
        let generation = self.lives;
        *assigned = Assigned { generation, ..Assigned::new(Arc::clone(&assigned.topic), partition, start) };
        self.look = true;
        Ok(())
    }

    /// Reads a partition no more; what was read ahead of it is dropped.
    pub fn unassign(&mut self, topic: &str, partition: PartitionIndex) {
        self.assigned.retain(|assigned| *assigned.topic != *topic || assigned.partition != partition);
        self.look = true;
    }

    /// The offset of the next record that will be handed out; `None` while that is being found out.
    #[must_use]
    pub fn position(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        let assigned = self.assigned.iter().find(|a| *a.topic == *topic && a.partition == partition)?;
        assigned.position.as_ref().map(Position::position)
    }

    /// The assigned partitions.
    pub fn assignment(&self) -> impl Iterator<Item = (&Arc<str>, PartitionIndex)> {
        self.assigned.iter().map(|assigned| (&assigned.topic, assigned.partition))
    }

    /// The next records, or the end of a partition. Waits as long as there are none. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// What stops one of the partitions, told once; the others go on with the next call. A stopped
    /// partition goes on after a [`Consumer::seek`]. When all are stopped, the error of the first again.
    pub async fn next(&mut self) -> Result<Polled, ConsumeError> {
        if self.assigned.is_empty() {
            return Err(ConsumeError::NothingAssigned);
        }
        loop {
            while let Some(Ok(done)) = self.work.try_join_next() {
                self.absorb(done);
            }
            if std::mem::take(&mut self.look) {
                self.ask();
            }
            if let Some(polled) = self.hand_out() {
                return polled;
            }
            if self.look {
                continue;
            }
            if let Some(error) = self.all_halted() {
                return Err(error);
            }
            let note = self.note_waits();
            tokio::select! {
                Some(done) = self.work.join_next(), if !self.work.is_empty() => {
                    if let Ok(done) = done {
                        self.absorb(done);
                    }
                }
                () = tokio::time::sleep_until(note.into()) => {}
            }
        }
    }

    fn nearest(&self, topic: &str) -> Option<String> {
        let known = self.cluster.cached()?;
        let said = known.unknown.iter().find(|unknown| unknown.topic == topic);
        said.and_then(|unknown| unknown.nearest.clone()).or_else(|| {
            let names = known.topics.iter().map(|info| info.name.as_str());
            yak_protocol::names::nearest(topic, names).map(str::to_owned)
        })
    }

    /// Hands out what is there, the partitions taking turns.
    fn hand_out(&mut self) -> Option<Result<Polled, ConsumeError>> {
        let count = self.assigned.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let assigned = &mut self.assigned[index];
            let Some(position) = &mut assigned.position else { continue };
            let wanted = position.wants_more(&self.config);
            if let Some(found) = position.hand_out(&self.config) {
                self.look |= !wanted && position.wants_more(&self.config);
                self.turn = (index + 1) % count;
                return Some(found.map(Polled::Records));
            }
            if let Some(offset) = position.reached_end() {
                self.turn = (index + 1) % count;
                let (topic, partition) = (Arc::clone(&assigned.topic), assigned.partition);
                return Some(Ok(Polled::End { topic, partition, offset }));
            }
        }
        None
    }

    fn all_halted(&self) -> Option<ConsumeError> {
        let halted = |assigned: &Assigned| assigned.position.as_ref().and_then(Position::halted).cloned();
        if self.assigned.iter().all(|assigned| halted(assigned).is_some()) {
            return self.assigned.first().and_then(halted);
        }
        None
    }

    /// Says which partitions have been waiting too long; returns when to look again.
    fn note_waits(&mut self) -> Instant {
        let now = Instant::now();
        let mut next = now + ASK_TIMEOUT;
        for assigned in &mut self.assigned {
            if assigned.position.as_ref().is_some_and(|position| position.halted().is_some()) {
                continue;
            }
            let (topic, partition) = (&assigned.topic, assigned.partition);
            // For how long is said beside it.
            let trouble = self.cluster.trouble(topic, partition).map(|trouble| trouble.cause);
            let why = trouble.or_else(|| assigned.cause.clone());
            assigned.trouble.note(&self.hook, topic, partition, now, || {
                why.unwrap_or_else(|| "no answer from the leader".to_owned())
            });
            next = next.min(assigned.trouble.next_note());
        }
        next
    }

    /// Asks for everything that is wanted and not asked for yet.
    fn ask(&mut self) {
        let mut by_address: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in 0..self.assigned.len() {
            let assigned = &mut self.assigned[index];
            if assigned.asking {
                continue;
            }
            let (cluster, topic) = (self.cluster.clone(), Arc::clone(&assigned.topic));
            let (key, partition) = (Key { index, generation: assigned.generation }, assigned.partition);
            match (&assigned.position, &assigned.leader) {
                (None, _) => {
                    self.work.spawn(ask::resolve(cluster, key, topic, partition, assigned.start));
                    assigned.asking = true;
                }
                (Some(position), _) if !position.wants_more(&self.config) => {}
                (Some(_), None) => {
                    self.work.spawn(ask::find_leader(cluster, key, topic, partition));
                    assigned.asking = true;
                }
                (Some(_), Some(leader)) => {
                    by_address.entry(leader.connection.address().to_owned()).or_default().push(index);
                }
            }
        }
        for (address, indexes) in by_address {
            let under_way = self.requests.get(&address).copied().unwrap_or_default();
            if under_way < REQUESTS_MAX {
                self.fetch(address, &indexes);
            }
        }
    }

    fn fetch(&mut self, address: String, indexes: &[usize]) {
        let mut asked = Vec::with_capacity(indexes.len());
        let mut connection = None;
        for index in indexes {
            let assigned = &mut self.assigned[*index];
            let (Some(position), Some(leader)) = (&assigned.position, &assigned.leader) else { continue };
            connection = Some(leader.connection.clone());
            asked.push(Asked {
                key: Key { index: *index, generation: assigned.generation },
                topic: Arc::clone(&assigned.topic),
                partition: assigned.partition,
                offset: position.ask_from(),
                leader: leader.known.clone(),
            });
            assigned.asking = true;
        }
        let Some(connection) = connection else { return };
        let wait = self.config.fetch_wait;
        let request = ask::request(&asked, self.config.fetch_bytes, wait);
        *self.requests.entry(address).or_default() += 1;
        match connection.start(&request, Vec::new()) {
            Ok(answer) => {
                self.work.spawn(ask::fetched(asked, answer, wait));
            }
            Err(error) => self.absorb(Done::Fetched { asked, answer: Err(error) }),
        }
    }

    fn absorb(&mut self, done: Done) {
        self.look = true;
        match done {
            Done::Started { key, offset } => self.started(key, offset),
            Done::Found { key, leader } => self.found(key, leader),
            Done::Fetched { asked, answer } => {
                if let Some(first) = asked.first()
                    && let Some(count) = self.requests.get_mut(&*first.leader.address)
                {
                    *count = count.saturating_sub(1);
                }
                let parts =
                    answer.map_err(|error| error.to_string()).and_then(|answer| ask::split(&asked, answer));
                match parts {
                    Ok(parts) => {
                        for (asked, (found, bytes)) in asked.iter().zip(parts) {
                            self.answered(asked, &found, bytes);
                        }
                    }
                    Err(why) => asked.iter().for_each(|asked| self.unanswered(asked, &why)),
                }
            }
        }
    }

    /// The partition, unless it has been moved since the question.
    fn current(&mut self, key: Key) -> Option<&mut Assigned> {
        let same = |assigned: &Assigned| assigned.generation == key.generation;
        // It stands elsewhere once one before it has been taken out.
        let index = match self.assigned.get(key.index) {
            Some(assigned) if same(assigned) => key.index,
            _ => self.assigned.iter().position(same)?,
        };
        self.assigned.get_mut(index)
    }

    fn started(&mut self, key: Key, offset: Result<Offset, ClusterError>) {
        let Some(assigned) = self.current(key) else { return };
        assigned.asking = false;
        match offset {
            Ok(offset) => assigned.begin_at(offset),
            Err(error) => assigned.failed(&error),
        }
    }

    fn found(&mut self, key: Key, leader: Result<LeaderLink, ClusterError>) {
        let Some(assigned) = self.current(key) else { return };
        assigned.asking = false;
        match leader {
            Ok(leader) => assigned.leader = Some(leader),
            Err(error) => assigned.failed(&error),
        }
    }

    fn unanswered(&mut self, asked: &Asked, why: &str) {
        self.cluster.note_failure(&asked.topic, asked.partition, Some(&asked.leader), why);
        if let Some(assigned) = self.current(asked.key) {
            assigned.asking = false;
            assigned.leader = None;
            assigned.cause = Some(why.to_owned());
        }
    }

    fn answered(&mut self, asked: &Asked, found: &yak_protocol::message::Consumed, bytes: bytes::Bytes) {
        let (config, hook, cluster) = (self.config.clone(), Arc::clone(&self.hook), self.cluster.clone());
        let Some(assigned) = self.current(asked.key) else { return };
        assigned.asking = false;
        let Some(position) = &mut assigned.position else { return };
        let (topic, partition) = (&assigned.topic, assigned.partition);
        let now = Instant::now();
        let (why, doubt) = match position.answered(asked.offset, found, bytes, &config) {
            Verdict::Later { why, leader } => (why, leader),
            verdict => {
                if let Verdict::Moved(from) = verdict {
                    hook(Event::Moved { topic: Arc::clone(topic), partition, from, to: position.ask_from() });
                }
                cluster.note_ok(topic, partition);
                assigned.trouble.over(&hook, topic, partition, now);
                assigned.cause = None;
                assigned.damaged_since = None;
                assigned.doubted_since = None;
                return;
            }
        };
        if let LeaderDoubt::NotLeader(hint) = &doubt {
            cluster.note_not_leader(topic, partition, hint.as_ref());
        } else {
            cluster.note_failure(topic, partition, Some(&asked.leader), &why);
        }
        let code = found.error.as_ref().map(|error| error.code);
        if code == Some(ErrorCode::Damaged) {
            let since = *assigned.damaged_since.get_or_insert(now);
            if now.duration_since(since) >= config.damage_patience {
                let (topic, offset) = (Arc::clone(topic), asked.offset);
                position.halt(ConsumeError::Damaged { topic, partition, offset, why: why.clone() });
            }
        }
        if code == Some(ErrorCode::OffsetOutOfRange) {
            let since = *assigned.doubted_since.get_or_insert(now);
            if now.duration_since(since) >= DEPOSED_MAX {
                position.start_over_in(found.leader_epoch);
            }
        }
        // Who leads is asked again in any case: that is also what paces the next attempt.
        assigned.leader = None;
        assigned.cause = Some(why);
    }
}

impl Assigned {
    fn new(topic: Arc<str>, partition: PartitionIndex, start: Start) -> Self {
        let position = start.fixed().map(|offset| Position::new(Arc::clone(&topic), partition, offset));
        Self {
            topic,
            partition,
            generation: 0,
            start,
            position,
            leader: None,
            asking: false,
            trouble: Trouble::new(Instant::now()),
            cause: None,
            damaged_since: None,
            doubted_since: None,
        }
    }

    fn begin_at(&mut self, offset: Offset) {
        self.position = Some(Position::new(Arc::clone(&self.topic), self.partition, offset));
    }

    /// A question about it failed; it is asked again unless that makes no sense.
    fn failed(&mut self, error: &ClusterError) {
        self.cause = Some(error.to_string());
        if let ClusterError::Refused(refusal) = error
            && (refusal.code.action() == Action::GiveUp
                || matches!(refusal.code, ErrorCode::UnknownTopic | ErrorCode::UnknownPartition))
        {
            let (topic, partition) = (Arc::clone(&self.topic), self.partition);
            let mut position = self
                .position
                .take()
                .unwrap_or_else(|| Position::new(Arc::clone(&topic), partition, Offset::ZERO));
            position.halt(ConsumeError::Refused { topic, partition, why: error.to_string() });
            self.position = Some(position);
        }
    }
}
