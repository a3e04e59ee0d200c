//! Brings a partition to life from what its log holds.

use super::disk::{Awaited, Reports};
use super::task::Task;
use super::trims::Trims;
use super::{Command, PartitionHandle};
use crate::broker::Broker;
use crate::producers::Snapshots;
use crate::repair::Repairs;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, watch};
use yak_core::partition::{RecoveredLog, Replica, ReplicaConfig};
use yak_core::rules::Rules;
use yak_protocol::defaults;
use yak_protocol::ids::{BrokerId, SessionId, TopicPartition};
use yak_storage::{Recovered, StoreError};

/// Opens the log (blocking) and starts the task. The partition does nothing until it is told the
/// coordinator's record.
///
/// # Errors
/// When the log cannot be opened or made.
pub(crate) fn start(
    broker: &Arc<Broker>,
    me: BrokerId,
    id: TopicPartition,
    recovered: Option<Recovered>,
) -> Result<Arc<PartitionHandle>, StoreError> {
    let (commands, received) = mpsc::unbounded_channel::<Command>();
    let awaited = Awaited::default();
    let observer = Arc::new(Reports::new(commands.downgrade(), awaited.clone()));
    let log = broker.store.log(id, observer)?;
    if let Some(settings) = broker.cluster.topic_config(id.topic) {
        log.set_segment_bytes(settings.segment_bytes);
    }
    let config = ReplicaConfig {
        id,
        broker: me,
        replica_lag_max: broker.config.replica_lag_max,
        proposal_retry: defaults::PROPOSAL_RETRY,
        open_park_max: defaults::OPEN_PARK_MAX,
        window_bytes: defaults::REPLICATION_WINDOW_BYTES,
        sessions_after: SessionId(broker.replicas_made.fetch_add(1, Ordering::Relaxed) << 32),
        rules: Rules::all(),
    };
    let replica = Replica::recover(config, recovered.map(recovered_log).unwrap_or_default());
    let (view, seen) = watch::channel(Arc::new(replica.view()));
    let handle = Arc::new(PartitionHandle { id, log: log.clone(), commands: commands.clone(), view: seen });
    let task = Task {
        id,
        broker: broker.clone(),
        replica,
        log,
        view,
        commands: commands.downgrade(),
        waiting: BTreeMap::new(),
        last_ticket: 0,
        unwritten: VecDeque::new(),
        awaited,
        kept_when_written: false,
        followups: VecDeque::new(),
        stream: None,
        throttled: None,
        repairs: Repairs::default(),
        snapshots: Snapshots::default(),
        cut: None,
        trims: Trims::default(),
        rebuilding: None,
        halted: false,
        effects: Vec::new(),
    };
    broker.tasks.spawn("partition", task.run(received));
    Ok(handle)
}

fn recovered_log(recovered: Recovered) -> RecoveredLog {
    RecoveredLog {
        log_start: recovered.log_start,
        log_end: recovered.log_end,
        epochs: recovered.epochs,
        promise: recovered.promise,
        high_watermark_hint: recovered.high_watermark_hint,
        damaged: recovered.damaged,
    }
}
