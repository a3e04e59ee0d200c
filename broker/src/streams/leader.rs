//! The leader's side of replication streams: frames in go to partitions, their words go out.

use super::outbox::Outbox;
use crate::broker::Broker;
use crate::clock;
use crate::config::{HIGH_WATERMARK_LINGER, STREAM_ABANDONED, STREAM_FRAME_BYTES, STREAM_QUEUE_BYTES};
use crate::throttle::Room;
use bytes::Bytes;
use dashmap::DashMap;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use yak_core::partition::{Event, Now, StreamId};
use yak_protocol::defaults::{OPEN_PARK_MAX, STREAM_KEEP_ALIVE};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::TopicPartition;
use yak_protocol::message::{Message, Open, OpenAnswer, Opened, Push, Replicate, ReplicateReply};
use yak_protocol::net::Peer;

/// Every stream that followers have opened here.
#[derive(Default)]
pub(crate) struct LeaderStreams {
    streams: DashMap<StreamId, Arc<LeaderStream>>,
}

/// One connection on which a follower replicates from this broker.
pub(crate) struct LeaderStream {
    pub(crate) id: StreamId,
    peer: Peer,
    outbox: Outbox<Words>,
    /// Bytes in the outbox.
    queued: AtomicUsize,
    /// Wakes reads that wait for room.
    drained: Notify,
    /// Partitions that were opened on it: they are told when it ends.
    partitions: Mutex<BTreeSet<TopicPartition>>,
    /// Its connection has ended.
    over: AtomicBool,
    /// When the follower last said something, in ms of the broker's clock.
    heard: AtomicU64,
}

#[derive(Default)]
struct Words {
    opened: Vec<Opened>,
    pushes: Vec<(Push, Vec<Bytes>)>,
}

impl Words {
    fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.pushes.is_empty()
    }

    /// Whether somebody waits for it: news of the high watermark alone can wait for the next batches.
    fn is_urgent(&self) -> bool {
        !self.opened.is_empty() || self.pushes.iter().any(|(push, _)| push.bytes > 0)
    }

    fn push(&mut self, push: Push, batches: Vec<Bytes>) {
        match self.pushes.last_mut() {
            // Within a session a push says all that one without batches before it said.
            Some(last) if last.0.bytes == 0 && (last.0.id, last.0.session) == (push.id, push.session) => {
                *last = (push, batches);
            }
            _ => self.pushes.push((push, batches)),
        }
    }
}

impl LeaderStreams {
    /// The stream of that number, while it lives.
    pub(crate) fn get(&self, id: StreamId) -> Option<Arc<LeaderStream>> {
        self.streams.get(&id).map(|stream| stream.clone())
    }

    /// Sends the answer to an open.
    pub(crate) fn opened(&self, id: StreamId, opened: Opened) {
        if let Some(stream) = self.get(id) {
            stream.outbox.add(|words| words.opened.push(opened));
        }
    }

    /// Takes a follower's frame.
    ///
    /// # Errors
    /// When it comes from another cluster; the connection is to be closed then.
    pub(crate) fn take(&self, broker: &Arc<Broker>, peer: &Peer, frame: Replicate) -> Result<(), WireError> {
        broker.check_cluster(frame.cluster_id)?;
        let stream = self.stream(broker, peer);
        stream.heard.store(clock::now().0, Ordering::Relaxed);
        for (id, session) in frame.close {
            if let Some(partition) = broker.partition(id) {
                partition.event(Event::Closed { stream: stream.id, session: Some(session) });
            }
        }
        let follower = frame.broker_id;
        for ack in frame.ack {
            if let Some(partition) = broker.partition(ack.id) {
                partition.event(Event::Acked { stream: stream.id, follower, ack });
            }
        }
        for open in frame.open {
            stream.partitions.lock().expect("nobody panics while holding it").insert(open.id);
            match broker.partition(open.id) {
                Some(partition) => partition.event(Event::Opened { stream: stream.id, follower, open }),
                None => {
                    let parked = park(broker.clone(), stream.clone(), follower, open);
                    broker.tasks.spawn("park an open", parked);
                }
            }
        }
        Ok(())
    }

    fn stream(&self, broker: &Arc<Broker>, peer: &Peer) -> Arc<LeaderStream> {
        let id = StreamId(peer.id());
        if let Some(stream) = self.get(id) {
            return stream;
        }
        let stream = Arc::new(LeaderStream {
            id,
            peer: peer.clone(),
            outbox: Outbox::default(),
            queued: AtomicUsize::new(0),
            drained: Notify::new(),
            partitions: Mutex::default(),
            over: AtomicBool::new(false),
            heard: AtomicU64::new(clock::now().0),
        });
        self.streams.insert(id, stream.clone());
        broker.tasks.spawn("replication stream", write(stream.clone()));
        stream
    }

    /// The connection ended: so does every session on it.
    pub(crate) fn closed(&self, broker: &Broker, peer: &Peer) {
        let Some((id, stream)) = self.streams.remove(&StreamId(peer.id())) else { return };
        let partitions =
            std::mem::take(&mut *stream.partitions.lock().expect("nobody panics while holding it"));
        for partition in partitions {
            if let Some(partition) = broker.partition(partition) {
                partition.event(Event::Closed { stream: id, session: None });
            }
        }
        stream.over.store(true, Ordering::Relaxed);
        stream.drained.notify_waiters();
    }
}

impl Room for LeaderStream {
    fn has_room(&self) -> bool {
        self.queued.load(Ordering::Relaxed) + self.peer.queued_bytes() < STREAM_QUEUE_BYTES
    }

    /// `false` = the stream has ended.
    async fn room(&self) -> bool {
        while !self.has_room() {
            if self.over.load(Ordering::Relaxed) {
                return false;
            }
            // The writer wakes it; the time limit covers what waits in the connection itself.
            let _ = timeout(STREAM_KEEP_ALIVE, self.drained.notified()).await;
        }
        !self.over.load(Ordering::Relaxed)
    }
}

impl LeaderStream {
    /// Queues a push; returns how many bytes of batches it carries.
    pub(crate) fn push(&self, mut push: Push, batches: Vec<Bytes>) -> u64 {
        let bytes: usize = batches.iter().map(Bytes::len).sum();
        push.bytes = u32::try_from(bytes).expect("a push is read with a bound far below 4 GiB");
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        self.outbox.add(|words| words.push(push, batches));
        bytes as u64
    }

    /// Waits a moment for batches, unless there is something that cannot wait.
    async fn company(&self) {
        let urgent = async {
            while !self.outbox.look(Words::is_urgent) {
                self.outbox.filled().await;
            }
        };
        let _ = timeout(HIGH_WATERMARK_LINGER, urgent).await;
    }

    fn silent_too_long(&self) -> bool {
        clock::now().since(Now(self.heard.load(Ordering::Relaxed))) >= STREAM_ABANDONED
    }
}

/// Writes what partitions say, as it comes, and a keep-alive when they say nothing.
async fn write(stream: Arc<LeaderStream>) {
    let mut last = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stream.outbox.filled() => {
                if stream.outbox.look(Words::is_empty) {
                    continue;
                }
                stream.company().await;
                if !send(&stream, stream.outbox.take()) {
                    return;
                }
            }
            () = sleep_until(last + STREAM_KEEP_ALIVE) => {
                if stream.over.load(Ordering::Relaxed) {
                    return;
                }
                if stream.silent_too_long() {
                    tracing::info!(peer = %stream.peer.address(), "a follower's stream is silent: closing it");
                    stream.peer.close();
                    return;
                }
                if !frame(&stream, &ReplicateReply::default(), Vec::new()) {
                    return;
                }
            }
        }
        last = Instant::now();
    }
}

/// Sends the words in as few frames as their size allows; `false` = the connection has ended.
fn send(stream: &LeaderStream, words: Words) -> bool {
    let mut body = ReplicateReply { opened: words.opened, push: Vec::with_capacity(words.pushes.len()) };
    let mut bin = Vec::new();
    let mut bytes = 0;
    for (push, batches) in words.pushes {
        if bytes > 0 && bytes + push.bytes as usize > STREAM_FRAME_BYTES {
            if !frame(stream, &std::mem::take(&mut body), std::mem::take(&mut bin)) {
                return false;
            }
            stream.wrote(std::mem::take(&mut bytes));
        }
        bytes += push.bytes as usize;
        body.push.push(push);
        bin.extend(batches);
    }
    let sent = frame(stream, &body, bin);
    stream.wrote(bytes);
    sent
}

fn frame(stream: &LeaderStream, body: &ReplicateReply, bin: Vec<Bytes>) -> bool {
    stream.peer.send(0, Replicate::KIND, body, bin).is_ok()
}

impl LeaderStream {
    fn wrote(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        self.drained.notify_waiters();
    }
}

/// Waits a moment for a partition that this broker has yet to learn of, then says so.
async fn park(
    broker: Arc<Broker>,
    stream: Arc<LeaderStream>,
    follower: yak_protocol::ids::BrokerId,
    open: Open,
) {
    let mut news = broker.cluster.subscribe();
    let arrived = timeout(OPEN_PARK_MAX, async {
        loop {
            if let Some(partition) = broker.partition(open.id) {
                return Some(partition);
            }
            if news.changed().await.is_err() {
                return None;
            }
        }
    });
    match arrived.await {
        Ok(Some(partition)) => partition.event(Event::Opened { stream: stream.id, follower, open }),
        _ => {
            let answer = OpenAnswer::UnknownEpoch;
            let opened = Opened { id: open.id, session: open.session, answer };
            stream.outbox.add(|words| words.opened.push(opened));
        }
    }
}

/// What a stream is refused with.
pub(crate) fn wrong_cluster(mine: impl std::fmt::Display, theirs: impl std::fmt::Display) -> WireError {
    WireError::new(
        ErrorCode::WrongCluster,
        format!("this broker belongs to cluster {mine}, the sender to cluster {theirs}"),
    )
    .hint("check the addresses that both were started with")
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{Offset, PartitionIndex, SessionId, TopicId};

    fn push(session: u64, high_watermark: u64, bytes: u32) -> Push {
        let id = TopicPartition { topic: TopicId(7), partition: PartitionIndex(0) };
        let (from, log_start) = (Offset(9), Offset(0));
        let high_watermark = Offset(high_watermark);
        Push { id, session: SessionId(session), from, high_watermark, log_start, bytes }
    }

    #[test]
    fn a_high_watermark_goes_with_the_batches_that_follow_it() {
        let mut words = Words::default();
        words.push(push(1, 8, 0), Vec::new());
        assert!(!words.is_empty() && !words.is_urgent());
        words.push(push(1, 9, 3), vec![Bytes::from_static(b"abc")]);
        assert!(words.is_urgent());
        assert_eq!(words.pushes, [(push(1, 9, 3), vec![Bytes::from_static(b"abc")])]);
        words.push(push(1, 10, 0), Vec::new());
        words.push(push(2, 10, 0), Vec::new());
        assert_eq!(words.pushes.len(), 3, "nothing takes the place of batches, or of another session's word");
    }
}
