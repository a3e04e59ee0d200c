//! The cluster as only the coordinator knows it.

use crate::clock::now;
use crate::server::Server;
use yak_core::cluster::Link;
use yak_protocol::ids::BrokerId;
use yak_protocol::text::{Status, Table, Value, rfc3339};

/// How many changes `HISTORY` shows unless more are asked for.
pub(super) const HISTORY: usize = 20;

/// How long until the lease is over, in ms; nothing if it is.
fn lease_left(server: &Server, id: BrokerId) -> Value {
    let until = server.cluster.lease(id).and_then(|lease| lease.until);
    until.map(|until| millis(until.since(now()))).into()
}

/// How long ago the broker registered or sent a heartbeat, in ms.
fn heard(server: &Server, id: BrokerId) -> Value {
    server.heard.get(&id).map(|heard| millis(now().since(*heard))).into()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn brokers(server: &Server) -> Table {
    let state = server.cluster.state();
    let mut table =
        Table::new(&["ID", "NAME", "ADDRESS", "RACK", "EPOCH", "STATE", "LEADS", "HEARTBEAT MS", "LEASE MS"]);
    for broker in state.brokers() {
        let info = &broker.info;
        let leads = state.partitions().filter(|partition| partition.leader == Some(info.id)).count();
        let rack = Some(info.rack.as_str()).filter(|rack| !rack.is_empty());
        table.push([
            Value::from(info.id),
            info.name.as_str().into(),
            info.address.as_str().into(),
            rack.into(),
            info.broker_epoch.into(),
            match (info.fenced, info.draining) {
                (true, _) => "fenced",
                (false, true) => "draining",
                (false, false) => "alive",
            }
            .into(),
            leads.into(),
            heard(server, info.id),
            lease_left(server, info.id),
        ]);
    }
    table
}

pub(super) fn leases(server: &Server) -> Table {
    let mut table =
        Table::new(&["BROKER", "NAME", "EPOCH", "LEASE MS", "HEARTBEAT MS", "LINK", "CONNECTION", "PROBED"]);
    for broker in server.cluster.state().brokers() {
        let info = &broker.info;
        let lease = server.cluster.lease(info.id);
        let (link, connection) = match lease.map(|lease| lease.link) {
            None => ("none", None),
            Some(Link::Awaited) => ("awaited", None),
            Some(Link::Lost) => ("lost", None),
            Some(Link::Connected(connection)) => ("connected", Some(connection.0)),
        };
        table.push([
            Value::from(info.id),
            info.name.as_str().into(),
            info.broker_epoch.into(),
            lease_left(server, info.id),
            heard(server, info.id),
            link.into(),
            connection.into(),
            lease.is_some_and(|lease| lease.probing).into(),
        ]);
    }
    table
}

pub(super) fn epoch(server: &Server) -> Status {
    let state = server.cluster.state();
    let status = Status::ok().with("coordinator_epoch", state.coordinator_epoch());
    let status = status.with("metadata_version", state.version());
    status.with("last_broker_epoch", state.last_broker_epoch()).with("cluster_id", state.cluster_id())
}

pub(super) fn clients(server: &Server) -> Table {
    let mut table = Table::new(&["KIND", "NUMBER", "CLIENT", "CONNECTION", "ADDRESS", "SINCE"]);
    for (connection, client) in server.clients.iter() {
        table.push([
            Value::from(client.kind.name()),
            client.number.into(),
            Some(client.name.as_str()).filter(|name| !name.is_empty()).into(),
            connection.0.into(),
            client.address.as_str().into(),
            rfc3339(client.since_ms).into(),
        ]);
    }
    table
}

pub(super) fn history(server: &Server, count: usize) -> Table {
    let mut table = Table::new(&["TIME", "PARTITION", "WHAT", "LEADER", "EPOCH", "ISR", "WAS", "WHY"]);
    for (at_ms, change) in server.history.recent(count) {
        let moved = change.leader.changed();
        let was: Value = if moved { change.leader.before.into() } else { change.isr.before.clone().into() };
        table.push([
            Value::from(rfc3339(*at_ms)),
            change.title.as_str().into(),
            if moved { "election" } else { "isr" }.into(),
            change.leader.after.into(),
            change.leader_epoch.into(),
            change.isr.after.clone().into(),
            was,
            change.why.as_str().into(),
        ]);
    }
    table
}
