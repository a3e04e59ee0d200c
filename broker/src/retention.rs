//! Looks after what partitions keep: closes segments for their age, and moves the log starts of those that this
//! broker leads. What goes is decided by [`yak_core::retention`]; here are the clocks, the segments and the settings.

use crate::broker::Broker;
use crate::clock;
use crate::partition::{Command, PartitionHandle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use yak_core::retention::{Book, Clock, Limits, Segment};
use yak_protocol::ids::{Offset, TopicPartition};
use yak_protocol::message::TopicConfig;
use yak_storage::Log;

/// How long settings that change wait for more such changes.
const SETTINGS_PAUSE: Duration = Duration::from_millis(50);

/// Works until the broker ends.
pub(crate) async fn run(broker: Arc<Broker>) {
    let mut keeper = Keeper::default();
    let mut news = broker.cluster.subscribe();
    let every = broker.config.retention_check;
    let mut due = Instant::now() + every;
    loop {
        tokio::select! {
            () = sleep_until(due) => {
                keeper.look(&broker).await;
                due = Instant::now() + every;
            }
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                settle(&broker);
                sleep(SETTINGS_PAUSE).await;
            }
        }
    }
}

fn partitions(broker: &Broker) -> Vec<(Arc<PartitionHandle>, TopicConfig)> {
    let running: Vec<_> = broker.partitions.iter().map(|found| found.clone()).collect();
    let of = |handle: Arc<PartitionHandle>| {
        let config = broker.cluster.topic_config(handle.id.topic)?;
        Some((handle, config))
    };
    running.into_iter().filter_map(of).collect()
}

/// Every log gets its topic's size of segments.
fn settle(broker: &Broker) {
    for (handle, config) in partitions(broker) {
        handle.log.set_segment_bytes(config.segment_bytes);
    }
}

#[derive(Default)]
struct Keeper {
    clock: Clock,
    books: BTreeMap<TopicPartition, Book>,
}

impl Keeper {
    async fn look(&mut self, broker: &Broker) {
        let wall_ms = (broker.config.wall_clock)();
        if let Some(jump_ms) = self.clock.look(clock::now(), wall_ms) {
            let hours = jump_ms / 3_600_000;
            tracing::warn!(jump_ms, "the wall clock jumped; nothing is deleted by age for a while");
            let text = format!("jumped by {jump_ms} ms ({hours} h): nothing is deleted by age for an hour");
            broker.observer.events.note("clock", text);
        }
        let found = partitions(broker);
        self.books.retain(|id, _| found.iter().any(|(handle, _)| handle.id == *id));
        for (handle, config) in found {
            handle.log.set_segment_bytes(config.segment_bytes);
            self.look_at(broker, &handle, &config, wall_ms).await;
        }
    }

    async fn look_at(
        &mut self,
        broker: &Broker,
        handle: &PartitionHandle,
        config: &TopicConfig,
        wall_ms: i64,
    ) {
        let of = |segment: &yak_storage::SegmentInfo| Segment {
            base: segment.base,
            end: segment.end,
            bytes: segment.bytes,
            max_timestamp_ms: segment.max_timestamp,
        };
        let segments: Vec<Segment> = handle.log.segments().iter().map(of).collect();
        let book = self.books.entry(handle.id).or_default();
        let mut began_ms = None;
        if let Some(last) = segments.last().filter(|last| last.end > last.base)
            && book.is_new()
        {
            let (log, base) = (handle.log.clone(), last.base);
            began_ms =
                broker.tasks.blocking("look at a segment", move || first_ms(&log, base)).await.flatten();
        }
        let limits = Limits {
            age_ms: config.retention_ms(),
            bytes: config.retention_bytes(),
            segment_ms: config.segment_ms,
        };
        let view = handle.view();
        let verdict =
            book.look(wall_ms, self.clock.is_trusted(), &segments, began_ms, view.high_watermark, &limits);
        if let Some(base) = verdict.close {
            handle.log.close_segment(base);
        }
        if let Some(to) = verdict.start.filter(|to| view.leads && *to > view.log_start) {
            let partition = broker.cluster.name_of(handle.id);
            tracing::info!(partition, from = view.log_start.0, to = to.0, "old records are deleted");
            handle.send(Command::Trim { to, answer: None });
        }
    }
}

/// The timestamp of a segment's first batch.
fn first_ms(log: &Log, base: Offset) -> Option<i64> {
    let header = log.heads(base, base.advance(1)).next()?.ok()?;
    Some(header.max_timestamp)
}
