//! This process: what it is, what it was told, what it counts, and its metadata log.

use crate::metalog::Look;
use crate::server::Server;
use yak_protocol::defaults;
use yak_protocol::net::limits;
use yak_protocol::text::{Metrics, Settings, Table, Value};

fn named(rows: impl IntoIterator<Item = (&'static str, Value)>) -> Table {
    let mut table = Table::new(&["NAME", "VALUE"]);
    for (name, value) in rows {
        table.push([Value::from(name), value]);
    }
    table
}

/// How many brokers are alive, and how many partitions have no leader.
pub(super) fn health(server: &Server) -> (usize, usize) {
    let state = server.cluster.state();
    let alive = state.brokers().filter(|broker| !broker.info.fenced).count();
    (alive, state.partitions().filter(|info| info.leader.is_none()).count())
}

pub(super) fn info(server: &Server) -> Table {
    let state = server.cluster.state();
    let (alive, leaderless) = health(server);
    named([
        ("process", "coordinator".into()),
        ("software", env!("CARGO_PKG_VERSION").into()),
        ("address", server.portrait.address.as_str().into()),
        ("cluster_id", state.cluster_id().into()),
        ("coordinator_epoch", state.coordinator_epoch().into()),
        ("metadata_version", state.version().into()),
        ("uptime_s", server.portrait.started.elapsed().as_secs().into()),
        ("brokers", state.brokers().count().into()),
        ("brokers_alive", alive.into()),
        ("topics", state.topics().count().into()),
        ("partitions", state.partitions().count().into()),
        ("partitions_without_leader", leaderless.into()),
        ("clients", server.clients.iter().count().into()),
        ("connections", server.observer.connections.count().into()),
        ("data", server.portrait.config.data.display().to_string().into()),
    ])
}

pub(super) fn backend(log: &dyn Look) -> Table {
    named(log.describe())
}

/// Every setting but those of a listener alone.
pub(super) fn settings(server: &Server) -> Settings {
    let config = &server.portrait.config;
    let mut settings = Settings::default();
    let seconds = |duration: std::time::Duration| duration.as_secs_f64().to_string();
    for (name, value) in [
        ("name", config.name_at(&server.portrait.address)),
        ("listen", server.portrait.listen.clone()),
        ("advertise", server.portrait.address.clone()),
        ("data", config.data.display().to_string()),
        ("peers", config.backend.peers()),
        ("lease_backend", config.backend.lease_backend()),
        ("insecure", server.portrait.insecure.to_string()),
        ("lease_time_seconds", seconds(config.lease)),
        ("renew_interval_seconds", seconds(config.heartbeat)),
        ("default_partitions", config.partitions.to_string()),
        ("default_replicas", config.replicas.to_string()),
    ] {
        settings.given(&config.sources, name, value);
    }
    settings.built_in("probe_ms", config.probe.as_millis());
    settings.built_in("limit.producer_id_block", defaults::PRODUCER_ID_BLOCK);
    settings.built_in("limit.partitions", defaults::PARTITIONS_MAX);
    settings.built_in("limit.line_bytes", limits::LINE_BYTES_MAX);
    settings.built_in("limit.rows", limits::ROWS_MAX);
    settings
}

pub(super) fn metrics(server: &Server, log: &dyn Look) -> Metrics {
    let mut metrics = Metrics::default();
    let state = server.cluster.state();
    let (alive, leaderless) = health(server);
    let (elections, isr_changes, fences) = server.history.counts();
    let totals = log.totals();
    let below = state.partitions().filter(|info| info.isr.len() < info.min_isr as usize).count();
    let short = state.partitions().filter(|info| info.isr.len() < info.replicas.len()).count();
    metrics.gauge(
        "yak_uptime_seconds",
        "time since the coordinator was started",
        server.portrait.started.elapsed(),
    );
    metrics.gauge("yak_coordinator_epoch", "its term", state.coordinator_epoch().0);
    metrics.gauge("yak_metadata_version", "how many changes of metadata there were", state.version().0);
    metrics.gauge("yak_connections", "open connections", server.observer.connections.count());
    metrics.gauge(
        "yak_clients",
        "producers and consumers that have registered here",
        server.clients.iter().count(),
    );
    metrics.gauge("yak_brokers", "brokers that ever registered", state.brokers().count());
    metrics.gauge("yak_brokers_alive", "brokers that are not fenced", alive);
    metrics.gauge("yak_topics", "topics", state.topics().count());
    metrics.gauge("yak_partitions", "partitions", state.partitions().count());
    metrics.gauge("yak_partitions_without_leader", "partitions that nobody leads", leaderless);
    metrics.gauge("yak_partitions_below_min_isr", "partitions with fewer than min_isr in sync", below);
    metrics.gauge("yak_partitions_not_in_sync", "partitions with replicas that are not in sync", short);
    metrics.counter("yak_elections_total", "changes of a partition's leader", elections);
    metrics.counter("yak_isr_changes_total", "changes of a partition's ISR", isr_changes);
    metrics.counter("yak_fencings_total", "times that a broker was fenced", fences);
    metrics.gauge("yak_metadata_log_bytes", "size of the metadata log", totals.bytes);
    metrics.gauge(
        "yak_metadata_log_entries",
        "entries in it behind the last snapshot",
        totals.since_snapshot,
    );
    metrics.counter("yak_metadata_log_snapshots_total", "snapshots that were taken", totals.snapshots);
    metrics.counter("yak_metadata_log_syncs_total", "writes of it that were made durable", totals.syncs);
    metrics.counter("yak_metadata_log_sync_seconds_total", "time that those took", totals.sync_time);
    metrics
}
