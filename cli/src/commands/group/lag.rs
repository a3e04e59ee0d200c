//! How far a group is behind, partition by partition.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Consume, ConsumeFrom, Format, GroupDescription, GroupMember};
use yak_protocol::net::Cluster;

/// How long one partition may take to answer.
const ASK: Duration = Duration::from_secs(2);

/// One partition of a group. What is not known is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) current_offset: Option<u64>,
    pub(super) log_end_offset: Option<u64>,
    pub(super) lag: Option<u64>,
    /// The age of the first record that was not read.
    pub(super) lag_seconds: Option<f64>,
    pub(super) metadata: String,
    pub(super) member: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) host: Option<String>,
    pub(super) client: Option<String>,
    pub(super) moved_why: Option<String>,
    pub(super) moved_at_ms: Option<i64>,
}

/// Everything that the group has read, or is to read.
pub(super) async fn rows(cluster: &Cluster, group: &GroupDescription) -> Vec<Row> {
    let mut rows: BTreeMap<(String, u32), Row> = BTreeMap::new();
    let mut row = |topic: &str, partition: PartitionIndex, change: &mut dyn FnMut(&mut Row)| {
        let new = || Row { topic: topic.to_owned(), partition: partition.0, ..Row::default() };
        change(rows.entry((topic.to_owned(), partition.0)).or_insert_with(new));
    };
    for found in &group.offsets {
        row(&found.topic, found.partition, &mut |row| {
            row.current_offset = found.offset.map(|offset| offset.0);
            row.metadata.clone_from(&found.metadata);
        });
    }
    for member in &group.members {
        for topic in member.assignment.iter().chain(&member.revoking) {
            for partition in &topic.partitions {
                row(&topic.topic, *partition, &mut |row| is_held(row, member));
            }
        }
    }
    for moved in &group.moves {
        row(&moved.topic, moved.partition, &mut |row| {
            row.moved_why = Some(moved.why.clone());
            row.moved_at_ms = Some(moved.at_ms);
        });
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    for row in &mut rows {
        measure(cluster, row).await;
    }
    rows
}

fn is_held(row: &mut Row, member: &GroupMember) {
    row.member = Some(member.member.clone());
    row.instance.clone_from(&member.instance);
    row.host = Some(member.host.clone());
    row.client = Some(member.client.clone());
}

async fn measure(cluster: &Cluster, row: &mut Row) {
    let partition = PartitionIndex(row.partition);
    let log = yak_consumer::offsets(cluster, &row.topic, partition, None, Instant::now() + ASK).await;
    let Ok(log) = log else { return };
    row.log_end_offset = Some(log.high_watermark.0);
    let Some(current) = row.current_offset else { return };
    let lag = log.high_watermark.distance_from(Offset(current));
    row.lag = Some(lag);
    row.lag_seconds = if lag == 0 { Some(0.0) } else { age(cluster, row, Offset(current)).await };
}

/// How old the record at this offset is, in seconds.
async fn age(cluster: &Cluster, row: &Row, offset: Offset) -> Option<f64> {
    let partition = PartitionIndex(row.partition);
    let consume = Consume {
        partitions: vec![ConsumeFrom { topic: row.topic.clone(), partition, offset }],
        format: Format::Records,
        bytes_max: 1,
        wait_ms: 0,
        forward: false,
    };
    let deadline = (Instant::now() + ASK).into();
    let found = cluster.request_leader(&row.topic, partition, &consume, Vec::new(), deadline).await.ok()?;
    let first = found.body.partitions.first()?.records.first()?.timestamp_ms?;
    let ms = Timestamp::now().as_millisecond().saturating_sub(first).max(0);
    Some(Duration::from_millis(ms.unsigned_abs()).as_secs_f64())
}
