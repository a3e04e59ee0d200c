//! Brokers and the coordinator die, lose power, stop and come back in an order that a seed decides, while
//! idempotent publishers go on. In the end every acknowledged record is there once, in order, on every
//! replica. `YAK_CHAOS_SEED` and `YAK_CHAOS_ROUNDS` run another story.

use crate::harness::{Client, Cluster, eventually, stamped};
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_protocol::error::Action;
use yak_protocol::ids::ProducerId;
use yak_protocol::message::{Acked, Publish, RegisterProducer};
use yak_storage::io::sim::{Crash, SimDisk};

const PARTITIONS: u32 = 2;

/// Where brokers can be reached now.
pub type Addresses = Arc<RwLock<Vec<String>>>;

/// One publisher: sends one record at a time, again and again until its fate is known.
pub struct Publisher {
    pub partition: u32,
    pub producer: ProducerId,
    pub addresses: Addresses,
    pub acked: Vec<(Option<Acked>, String)>,
}

impl Publisher {
    pub async fn run(mut self, stop: CancellationToken) -> Self {
        let mut sequence = 0;
        while !stop.is_cancelled() {
            let value = format!("{}-{sequence}", self.producer.0);
            let acked = eventually("a record is acknowledged", || self.attempt(sequence, &value)).await;
            self.acked.push((Some(acked), value));
            sequence += 1;
        }
        self
    }

    /// Tries every broker once.
    async fn attempt(&self, sequence: i32, value: &str) -> Option<Acked> {
        let addresses = self.addresses.read().expect("no panic").clone();
        for address in addresses {
            let Some(client) = Client::try_to(&address).await else { continue };
            let batches = vec![("orders", self.partition, stamped(self.producer, sequence, value))];
            let publish = Publish { timeout_ms: 2000, ..Publish::default() };
            let Ok(results) = client.publish_with(publish, batches).await else { continue };
            match (results[0].ack.clone(), &results[0].error) {
                (Some(acked), _) => return Some(acked),
                (None, Some(error)) => {
                    assert_ne!(error.code.action(), Action::GiveUp, "record {value}: {error}");
                }
                other => panic!("a result says either: {other:?}"),
            }
        }
        None
    }
}

/// What happens to the cluster in one round.
async fn disturb(cluster: &mut Cluster, disks: &[SimDisk], random: &mut fastrand::Rng) {
    let victim = random.usize(0..disks.len());
    match random.u8(0..6) {
        0 | 1 => {
            cluster.kill_broker(victim).await;
            cluster.start_broker(victim).await;
        }
        2 | 3 => {
            cluster.kill_broker(victim).await;
            disks[victim].crash(Crash::KeepSome { seed: random.u64(..) });
            cluster.start_broker(victim).await;
        }
        4 => {
            cluster.stop_broker(victim).await;
            cluster.start_broker(victim).await;
        }
        _ => {
            cluster.kill_coordinator().await;
            cluster.start_coordinator().await;
        }
    }
}

async fn story(seed: u64, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let disks = [SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let mut cluster = Cluster::on_disks(3, &disks).await;
    cluster.topic("orders", PARTITIONS, 3).await;
    let addresses: Addresses = Arc::default();
    let learn = |cluster: &Cluster| {
        *addresses.write().expect("no panic") =
            cluster.brokers.iter().map(|node| node.address.clone()).collect();
    };
    learn(&cluster);
    let stop = CancellationToken::new();
    let mut publishers: Vec<JoinHandle<Publisher>> = Vec::new();
    for number in 0..4 {
        let client = cluster.client(cluster.any()).await;
        let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
        let partition = number % PARTITIONS;
        let publisher = Publisher { partition, producer, addresses: addresses.clone(), acked: Vec::new() };
        publishers.push(tokio::spawn(publisher.run(stop.clone())));
    }
    for _ in 0..rounds {
        disturb(&mut cluster, &disks, &mut random).await;
        learn(&cluster);
        if random.bool() {
            for partition in 0..PARTITIONS {
                cluster
                    .partition_when("all are in sync", "orders", partition, |info| info.isr.len() == 3)
                    .await;
            }
        }
    }
    stop.cancel();
    let mut done = Vec::new();
    for publisher in publishers {
        done.push(publisher.await.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    for partition in 0..PARTITIONS {
        cluster.partition_when("all are in sync", "orders", partition, |info| info.isr.len() == 3).await;
        check(&cluster, partition, done.iter().filter(|publisher| publisher.partition == partition), seed)
            .await;
    }
    compare(&mut cluster, seed).await;
}

async fn read(cluster: &Cluster, partition: u32) -> Vec<(u64, String)> {
    let client = cluster.leader_client("orders", partition).await;
    let end = eventually("the leader knows its end", || async {
        let offsets = client.offsets("orders", partition).await.ok()?;
        (offsets.high_watermark == offsets.log_end).then_some(offsets.log_end)
    })
    .await;
    let read = client.read_all("orders", partition).await;
    assert_eq!(read.len() as u64, end.0);
    read
}

pub async fn check<'a>(
    cluster: &Cluster,
    partition: u32,
    publishers: impl Iterator<Item = &'a Publisher>,
    seed: u64,
) {
    let read = read(cluster, partition).await;
    let distinct: BTreeSet<_> = read.iter().map(|(_, value)| value).collect();
    assert_eq!(distinct.len(), read.len(), "seed {seed}: a record is there twice");
    let mut acked = 0;
    for publisher in publishers {
        let prefix = format!("{}-", publisher.producer.0);
        let mine: Vec<_> = read.iter().filter(|(_, value)| value.starts_with(&prefix)).collect();
        for ((found, read), (ack, value)) in mine.iter().map(|(at, value)| (at, value)).zip(&publisher.acked)
        {
            assert_eq!(read, value, "seed {seed}: partition {partition} lost a record or its order");
            if let Some(offset) = ack.as_ref().and_then(|ack| ack.offset) {
                assert_eq!(offset.0, *found, "seed {seed}: {value} is not where it was acknowledged");
            }
        }
        assert!(
            mine.len() >= publisher.acked.len(),
            "seed {seed}: acknowledged records are missing at the end"
        );
        acked += publisher.acked.len();
    }
    assert!(acked > 0, "seed {seed}: the publishers did nothing");
}

/// Every replica leads once, and shows the same.
async fn compare(cluster: &mut Cluster, seed: u64) {
    let mut seen: Option<Vec<(u64, String)>> = None;
    let mut leaders = BTreeSet::new();
    while leaders.len() < 2 {
        let leader = cluster.leader("orders", 0).await;
        let found = read(cluster, 0).await;
        if let Some(before) = &seen {
            assert_eq!(before, &found, "seed {seed}: broker {leader} has something else");
        }
        seen = Some(found);
        leaders.insert(leader);
        cluster.stop_broker(leader).await;
        cluster.start_broker(leader).await;
        cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_power_cuts_and_restarts_lose_duplicate_and_reorder_nothing() {
    let rounds = number("YAK_CHAOS_ROUNDS").and_then(|rounds| usize::try_from(rounds).ok()).unwrap_or(12);
    match number("YAK_CHAOS_SEED") {
        Some(seed) => story(seed, rounds).await,
        None => {
            for seed in [1, 2] {
                story(seed, rounds).await;
            }
        }
    }
}
