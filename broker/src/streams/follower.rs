//! The follower's side of replication streams: which there are, who is on them, what they are to say.

use super::connected;
use super::outbox::Outbox;
use crate::broker::Broker;
use crate::config::RECONNECT;
use crate::partition::Command;
use dashmap::DashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use yak_core::partition::{Event, StreamClass};
use yak_protocol::ids::{BrokerId, SessionId, TopicPartition};
use yak_protocol::message::{Ack, Open};

/// Every stream to a leader.
#[derive(Default)]
pub(crate) struct FollowerStreams {
    streams: DashMap<(BrokerId, StreamClass), Arc<FollowerStream>>,
}

/// One stream to one leader, connected or not.
pub(super) struct FollowerStream {
    pub(super) leader: BrokerId,
    pub(super) class: StreamClass,
    pub(super) outbox: Outbox<Words>,
    /// Who is on it.
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    partitions: BTreeMap<TopicPartition, mpsc::WeakUnboundedSender<Command>>,
    /// The stream's task has ended; a newcomer makes another stream.
    over: bool,
}

/// What is to be said to the leader.
#[derive(Default)]
pub(super) struct Words {
    /// The newest of each partition: while the leader cannot be reached partitions ask again and again.
    pub(super) open: BTreeMap<TopicPartition, Open>,
    pub(super) ack: Vec<Ack>,
    pub(super) close: Vec<(TopicPartition, SessionId)>,
}

impl Words {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ack.is_empty() && self.close.is_empty()
    }
}

impl FollowerStreams {
    /// Opens a partition on the stream of that class to that leader, which is made as needed.
    pub(crate) fn open(
        &self,
        broker: &Arc<Broker>,
        leader: BrokerId,
        class: StreamClass,
        commands: mpsc::WeakUnboundedSender<Command>,
        open: Open,
    ) {
        let stream = self.joined(leader, class, open.id, &commands, |stream| {
            broker.tasks.spawn("replication from a leader", run(broker.clone(), stream));
        });
        stream.outbox.add(|words| words.open.insert(open.id, open));
    }

    /// The stream, with the partition on it; `begin` is called with one that had to be made.
    fn joined(
        &self,
        leader: BrokerId,
        class: StreamClass,
        id: TopicPartition,
        commands: &mpsc::WeakUnboundedSender<Command>,
        begin: impl Fn(Arc<FollowerStream>),
    ) -> Arc<FollowerStream> {
        loop {
            // Cloned in the same statement: the map's guard must be gone before the map is used again.
            let stream = self
                .streams
                .entry((leader, class))
                .or_insert_with(|| {
                    let stream = Arc::new(FollowerStream::new(leader, class));
                    begin(stream.clone());
                    stream
                })
                .clone();
            if stream.join(id, commands.clone()) {
                return stream;
            }
            // It has just ended for want of members.
            self.streams.remove_if(&(leader, class), |_, found| Arc::ptr_eq(found, &stream));
        }
    }

    /// Acknowledges.
    pub(crate) fn ack(&self, leader: BrokerId, class: StreamClass, ack: Ack) {
        if let Some(stream) = self.streams.get(&(leader, class)) {
            // Within a session an acknowledgement contains the earlier ones.
            stream.outbox.add(|words| match words.ack.last_mut() {
                Some(last) if last.id == ack.id && last.session == ack.session => *last = ack,
                _ => words.ack.push(ack),
            });
        }
    }

    /// Ends a session.
    pub(crate) fn close(&self, leader: BrokerId, class: StreamClass, id: TopicPartition, session: SessionId) {
        if let Some(stream) = self.streams.get(&(leader, class)) {
            stream.outbox.add(|words| words.close.push((id, session)));
        }
    }

    /// A partition needs the stream no more.
    pub(crate) fn leave(&self, leader: BrokerId, class: StreamClass, id: TopicPartition) {
        if let Some(stream) = self.streams.get(&(leader, class)) {
            stream.members().partitions.remove(&id);
            stream.outbox.add(|_| ());
        }
    }
}

impl FollowerStream {
    fn new(leader: BrokerId, class: StreamClass) -> Self {
        Self { leader, class, outbox: Outbox::default(), members: Mutex::default() }
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.members.lock().expect("nobody panics while holding it")
    }

    /// `false` = the stream has ended.
    fn join(&self, id: TopicPartition, commands: mpsc::WeakUnboundedSender<Command>) -> bool {
        let mut members = self.members();
        if members.over {
            return false;
        }
        members.partitions.insert(id, commands);
        true
    }

    /// Whether nobody is on it.
    pub(super) fn deserted(&self) -> bool {
        self.members().partitions.is_empty()
    }

    /// Ends it if nobody is on it.
    fn end_if_deserted(&self) -> bool {
        let mut members = self.members();
        members.over = members.partitions.is_empty();
        members.over
    }

    /// Tells one partition something.
    pub(super) fn tell(&self, id: TopicPartition, command: Command) {
        let commands = self.members().partitions.get(&id).and_then(mpsc::WeakUnboundedSender::upgrade);
        if let Some(commands) = commands {
            let _ = commands.send(command);
        }
    }

    /// Tells all partitions on it except some.
    pub(super) fn tell_others(&self, except: &BTreeSet<TopicPartition>, event: &Event) {
        let members = self.members();
        for (_, commands) in members.partitions.iter().filter(|(id, _)| !except.contains(id)) {
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Event(event.clone()));
            }
        }
    }
}

/// Keeps the stream connected while partitions are on it.
async fn run(broker: Arc<Broker>, stream: Arc<FollowerStream>) {
    let mut pause = RECONNECT.0;
    loop {
        if stream.end_if_deserted() {
            let key = (stream.leader, stream.class);
            broker.follower_streams.streams.remove_if(&key, |_, found| Arc::ptr_eq(found, &stream));
            return;
        }
        let connected = connected::run(&broker, &stream).await;
        match &connected {
            Ok(reason) => {
                pause = RECONNECT.0;
                tracing::info!(leader = stream.leader.0, class = ?stream.class, reason, "a replication stream ended");
                drop(stream.outbox.take());
                stream.tell_others(&BTreeSet::new(), &Event::StreamDown { leader: stream.leader });
            }
            Err(reason) => {
                // Words of sessions that are over, and there may be many before a connection is made.
                stream.outbox.add(|words| {
                    words.ack.clear();
                    words.close.clear();
                });
                tracing::debug!(leader = stream.leader.0, class = ?stream.class, reason, "no replication stream yet");
            }
        }
        wait(&broker, &stream, pause).await;
        pause = (pause * 2).min(RECONNECT.1);
    }
}

/// Waits before the next attempt, with jitter; news of the cluster (a leader that is back under
/// another address, say) or the last partition's leaving cuts it short.
async fn wait(broker: &Broker, stream: &FollowerStream, pause: Duration) {
    let mut news = broker.cluster.subscribe();
    let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
    let _ = timeout(jittered, async {
        let _ = news.changed().await;
    })
    .await;
    if stream.deserted() {
        tracing::debug!(leader = stream.leader.0, class = ?stream.class, "no partition is on this stream any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use yak_protocol::ids::{PartitionIndex, TopicId};

    const LEADER: BrokerId = BrokerId(1);
    const CLASS: StreamClass = StreamClass::InSync;
    const ID: TopicPartition = TopicPartition { topic: TopicId(7), partition: PartitionIndex(0) };

    #[test]
    fn a_partition_that_meets_a_stream_at_its_end_gets_another_one() {
        let (done, ended) = channel();
        // On a thread of its own: what went wrong once was that it waited for itself.
        std::thread::spawn(move || {
            let streams = FollowerStreams::default();
            let over = Arc::new(FollowerStream::new(LEADER, CLASS));
            assert!(over.end_if_deserted());
            streams.streams.insert((LEADER, CLASS), over.clone());
            let (commands, _received) = mpsc::unbounded_channel();
            let joined = streams.joined(LEADER, CLASS, ID, &commands.downgrade(), drop);
            let _ = done.send(!Arc::ptr_eq(&joined, &over) && !joined.deserted());
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
