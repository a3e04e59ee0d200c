//! What this broker is and does: `INFO`, `ROLE`, `RECOVERY`.

use crate::broker::Broker;
use std::sync::Arc;
use yak_core::partition::View;
use yak_protocol::ids::TopicPartition;
use yak_protocol::text::{Status, Table, Value};

/// How many partitions it leads, and follows.
pub(super) fn led_and_followed(broker: &Broker) -> (usize, usize) {
    let leads = broker.partitions.iter().filter(|handle| handle.view().leads).count();
    (leads, broker.partitions.len() - leads)
}

/// Name and value.
pub(super) async fn info(broker: &Arc<Broker>) -> Table {
    let of_task = broker.clone();
    let space = broker.tasks.blocking("space", move || of_task.store.space()).await;
    let free = space.and_then(Result::ok).map(|space| space.free_bytes);
    let identity = broker.store.identity();
    let (leads, follows) = led_and_followed(broker);
    let connections = &broker.observer.connections;
    let rows: [(&'static str, Value); 18] = [
        ("process", "broker".into()),
        ("software", env!("CARGO_PKG_VERSION").into()),
        ("broker_id", broker.id().into()),
        ("name", broker.config.name.as_str().into()),
        ("address", broker.address.as_str().into()),
        ("cluster_id", identity.cluster_id.into()),
        ("broker_epoch", broker.session().map(|session| session.broker_epoch).into()),
        ("coordinator", broker.config.coordinator.join(",").into()),
        ("coordinator_epoch", identity.coordinator_epoch.into()),
        ("lease_left_ms", Value::Number(broker.link.lease_left().as_millis().try_into().unwrap_or_default())),
        ("healthy", broker.unhealthy().is_none().into()),
        ("unhealthy", broker.unhealthy().into()),
        ("uptime_s", broker.counters.started().elapsed().as_secs().into()),
        ("leads", leads.into()),
        ("follows", follows.into()),
        ("connections", connections.count().into()),
        ("data", broker.config.data.display().to_string().into()),
        ("disk_free_bytes", free.into()),
    ];
    let mut table = Table::new(&["NAME", "VALUE"]);
    for (name, value) in rows {
        table.push([Value::from(name), value]);
    }
    table
}

/// The partitions here by name.
fn named(broker: &Broker) -> Vec<(String, Arc<View>)> {
    let mut named: Vec<(String, TopicPartition, Arc<View>)> = broker
        .partitions
        .iter()
        .map(|handle| (broker.cluster.topic_name(handle.id.topic), handle.id, handle.view()))
        .collect();
    named.sort_by(|a, b| (&a.0, a.1.partition).cmp(&(&b.0, b.1.partition)));
    named.into_iter().map(|(topic, id, view)| (format!("{topic}/{}", id.partition), view)).collect()
}

/// The replicas here.
pub(super) fn roles(broker: &Broker) -> Table {
    let mut table = Table::new(&[
        "PARTITION",
        "ROLE",
        "LEADER",
        "EPOCH",
        "LOG START",
        "HIGH WATERMARK",
        "LOG END",
        "SYNCED END",
        "ISR",
        "TROUBLE",
    ]);
    for (name, view) in named(broker) {
        let role = match (view.leads, view.leader) {
            (true, _) => "leader",
            (false, Some(_)) => "follower",
            (false, None) => "waiting",
        };
        table.push([
            Value::from(name),
            role.into(),
            view.leader.into(),
            view.leader_epoch.into(),
            view.log_start.into(),
            view.high_watermark.into(),
            view.log_end.into(),
            view.synced_end.into(),
            view.isr.clone().into(),
            view.trouble.clone().into(),
        ]);
    }
    table
}

/// The logs that were found when the broker started.
pub(super) fn recovered(broker: &Broker) -> Table {
    let mut table =
        Table::new(&["PARTITION", "LOG START", "LOG END", "EPOCHS", "PROMISED", "DAMAGED", "NOW"]);
    let mut found = broker.store.recovered();
    found.sort_by_key(|(id, _)| *id);
    for (id, log) in found {
        let now = match (broker.partition(id), broker.recovered_log(id)) {
            (Some(_), _) => "runs",
            (None, Some(_)) => "waits for the coordinator",
            (None, None) => "gone",
        };
        let damaged: Vec<String> = log.damaged.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        table.push([
            Value::from(broker.cluster.name_of(id)),
            log.log_start.into(),
            log.log_end.into(),
            log.epochs.len().into(),
            log.promise.map(|promise| promise.0).into(),
            damaged.into(),
            now.into(),
        ]);
    }
    table
}

/// How the data dir was left, and how long opening it took.
pub(super) fn recovery(broker: &Broker) -> Status {
    let recovery = broker.recovery;
    let damaged = broker.partitions.iter().filter(|handle| !handle.log.damaged().is_empty()).count();
    let status = Status::ok().with("clean_shutdown", recovery.clean).with("same_boot", recovery.same_boot);
    let status = status.with("partitions", recovery.partitions).with("damaged_now", damaged);
    status.with("took_ms", u64::try_from(recovery.took.as_millis()).unwrap_or(u64::MAX))
}
