//! What the broker counts: one struct of relaxed atomics, touched at most a few times a batch.

use crate::broker::Broker;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use yak_protocol::message::KINDS;
use yak_protocol::text::{MetricKind, Metrics};

/// A number that only goes up.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted as it happens. What the broker knows anyway is looked up when somebody asks.
pub(crate) struct Counters {
    /// In the order of [`KINDS`].
    requests: [Counter; KINDS.len()],
    pub(crate) published_records: Counter,
    pub(crate) published_bytes: Counter,
    pub(crate) consumed_records: Counter,
    pub(crate) consumed_bytes: Counter,
    /// Changes of leader that its partitions have seen.
    pub(crate) elections: Counter,
    pub(crate) isr_changes: Counter,
    /// Damaged ranges that were fetched again.
    pub(crate) repairs: Counter,
    pub(crate) coordinator_losses: Counter,
    pub(crate) fencings: Counter,
    pub(crate) disk_full: Counter,
    started: Instant,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| Counter::default()),
            published_records: Counter::default(),
            published_bytes: Counter::default(),
            consumed_records: Counter::default(),
            consumed_bytes: Counter::default(),
            elections: Counter::default(),
            isr_changes: Counter::default(),
            repairs: Counter::default(),
            coordinator_losses: Counter::default(),
            fencings: Counter::default(),
            disk_full: Counter::default(),
            started: Instant::now(),
        }
    }
}

impl Counters {
    /// A request of this kind has come.
    pub(crate) fn request(&self, kind: &str) {
        let place = KINDS.iter().position(|(known, _)| *known == kind);
        if let Some(counter) = place.and_then(|place| self.requests.get(place)) {
            counter.add(1);
        }
    }

    /// When the process' broker was made.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.iter().map(Counter::get).sum()
    }
}

/// All numbers of this broker, now. Looks at the disk: blocks for a moment.
pub(crate) fn gather(broker: &Broker) -> Metrics {
    let mut metrics = Metrics::default();
    process(broker, &mut metrics);
    traffic(broker, &mut metrics);
    cluster(broker, &mut metrics);
    disk(broker, &mut metrics);
    partitions(broker, &mut metrics);
    metrics
}

fn process(broker: &Broker, metrics: &mut Metrics) {
    let uptime = broker.counters.started.elapsed();
    metrics.gauge("yak_uptime_seconds", "time since the broker was started", uptime);
    metrics.gauge(
        "yak_healthy",
        "whether it can do its job (1 = ruok says imok)",
        broker.unhealthy().is_none(),
    );
    let connections = &broker.observer.connections;
    let totals = connections.totals();
    metrics.gauge("yak_connections", "open connections", connections.count());
    metrics.counter("yak_connections_total", "connections that were accepted", totals.opened);
    metrics.counter("yak_received_bytes_total", "bytes of requests that came", totals.bytes_in);
    metrics.counter("yak_sent_bytes_total", "bytes that were sent to clients and brokers", totals.bytes_out);
}

fn traffic(broker: &Broker, metrics: &mut Metrics) {
    let counters = &broker.counters;
    for ((kind, _), counter) in KINDS.iter().zip(&counters.requests) {
        let labels = vec![("kind", (*kind).to_owned())];
        let about = "requests that came, by kind";
        metrics.add(MetricKind::Counter, "yak_requests_total", about, labels, counter.get());
    }
    for (name, about, counter) in [
        (
            "yak_published_records_total",
            "records that this broker appended as leader",
            &counters.published_records,
        ),
        ("yak_published_bytes_total", "bytes of their batches", &counters.published_bytes),
        (
            "yak_consumed_records_total",
            "records in the batches that consumers were sent from here",
            &counters.consumed_records,
        ),
        ("yak_consumed_bytes_total", "bytes of those batches", &counters.consumed_bytes),
    ] {
        metrics.counter(name, about, counter.get());
    }
}

fn cluster(broker: &Broker, metrics: &mut Metrics) {
    let counters = &broker.counters;
    metrics.gauge(
        "yak_coordinator_connected",
        "whether the coordinator can be reached",
        broker.link.lost().is_none(),
    );
    metrics.gauge("yak_lease_held", "whether the lease of this broker runs", broker.link.lease_held());
    metrics.gauge("yak_fenced", "whether this broker may not lead", broker.fenced());
    metrics.gauge(
        "yak_metadata_version",
        "the newest metadata that is applied here",
        broker.cluster.version().0,
    );
    for (name, about, counter) in [
        ("yak_elections_total", "changes of leader that partitions here have seen", &counters.elections),
        ("yak_isr_changes_total", "changes of the ISR of partitions led here", &counters.isr_changes),
        ("yak_coordinator_losses_total", "times the coordinator was lost", &counters.coordinator_losses),
        ("yak_fencings_total", "times this broker was fenced", &counters.fencings),
    ] {
        metrics.counter(name, about, counter.get());
    }
}

fn disk(broker: &Broker, metrics: &mut Metrics) {
    let counters = &broker.counters;
    if let Ok(wal) = broker.store.wal() {
        metrics.counter("yak_wal_rounds_total", "rounds of the write-ahead log", wal.rounds);
        metrics.counter("yak_wal_syncs_total", "rounds that were synced to disk", wal.syncs);
        metrics.counter("yak_wal_bytes_total", "bytes written to the write-ahead log", wal.bytes);
        metrics.counter("yak_wal_sync_seconds_total", "time that those syncs took", wal.sync_time);
    }
    if let Ok(space) = broker.store.space() {
        metrics.gauge("yak_disk_free_bytes", "room on the disk of the data dir", space.free_bytes);
        metrics.gauge("yak_disk_total_bytes", "size of that disk", space.total_bytes);
        metrics.gauge(
            "yak_disk_reserve_bytes",
            "below so much room appends are refused",
            space.reserve_bytes,
        );
        metrics.gauge("yak_disk_full", "whether appends are refused for lack of room", space.full);
    }
    metrics.counter("yak_disk_full_total", "times the disk became full", counters.disk_full.get());
    metrics.counter("yak_repairs_total", "damaged ranges that were fetched again", counters.repairs.get());
    let recovery = &broker.recovery;
    metrics.gauge(
        "yak_recovered_partitions",
        "logs that were found when the broker started",
        recovery.partitions,
    );
    metrics.gauge("yak_recovered_unclean", "whether it had not been stopped cleanly", !recovery.clean);
    metrics.gauge("yak_recovery_seconds", "how long opening the data dir took", recovery.took);
}

fn partitions(broker: &Broker, metrics: &mut Metrics) {
    let mut here: Vec<_> = broker
        .partitions
        .iter()
        .map(|handle| (broker.cluster.topic_name(handle.id.topic), handle.id.partition, handle.clone()))
        .collect();
    here.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let views: Vec<_> =
        here.iter().map(|(topic, partition, handle)| (topic, partition, handle.view())).collect();
    let leading = views.iter().filter(|(.., view)| view.leads).count();
    metrics.gauge("yak_partitions", "partitions of which a replica is here", views.len());
    metrics.gauge("yak_partitions_led", "partitions that this broker leads", leading);
    type Look = fn(&yak_core::partition::View) -> u64;
    let looks: [(&'static str, &'static str, Look); 7] = [
        ("yak_partition_leads", "whether this broker leads it", |view| view.leads.into()),
        ("yak_partition_leader_epoch", "the term of its leader", |view| view.leader_epoch.0.into()),
        ("yak_partition_log_start", "the first offset that is still here", |view| view.log_start.0),
        ("yak_partition_high_watermark", "everything below is committed", |view| view.high_watermark.0),
        ("yak_partition_log_end", "the end of the log here", |view| view.log_end.0),
        ("yak_partition_synced_end", "the end of what is on disk here", |view| view.synced_end.0),
        ("yak_partition_isr", "how many replicas are in sync", |view| view.isr.len() as u64),
    ];
    let labels = |topic: &String, partition: &dyn ToString| {
        vec![("topic", topic.clone()), ("partition", partition.to_string())]
    };
    for (name, about, look) in looks {
        for (topic, partition, view) in &views {
            metrics.add(MetricKind::Gauge, name, about, labels(topic, partition), look(view));
        }
    }
    for (topic, partition, handle) in &here {
        let about = "bytes of its segments here";
        metrics.add(
            MetricKind::Gauge,
            "yak_partition_bytes",
            about,
            labels(topic, partition),
            handle.log.bytes(),
        );
    }
}
