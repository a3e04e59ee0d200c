//! How fast a store appends durably here: `cargo run --release -p yak-storage --example append_rate [DIR]`.
//! First one append at a time, then many in flight over many partitions.

use bytes::Bytes;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
use yak_protocol::error::WireError;
use yak_protocol::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use yak_storage::io::RealIo;
use yak_storage::{Log, LogOp, Observer, Store, StoreConfig};

struct Tell(Mutex<Sender<u64>>);

impl Observer for Tell {
    fn written(&self, _: u64) {}
    fn synced(&self, seq: u64) {
        let _ = self.0.lock().map(|sender| sender.send(seq));
    }
    fn failed(&self, seq: u64, error: WireError) {
        panic!("append {seq} failed: {error}");
    }
}

fn batch(records: u32, bytes: usize) -> Bytes {
    let value = vec![b'x'; bytes];
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(&value), headers: &[] });
    }
    builder.build().expect("a small batch")
}

struct Partition {
    log: Log,
    synced: Receiver<u64>,
    seq: u64,
    next: u64,
}

impl Partition {
    fn open(store: &Store, n: u32) -> Self {
        let (sender, synced) = channel();
        let id = TopicPartition { topic: TopicId(1), partition: PartitionIndex(n) };
        Self { log: store.log(id, Arc::new(Tell(Mutex::new(sender)))), synced, seq: 0, next: 0 }
    }

    fn append(&mut self, batches: &Bytes, records: u64) {
        self.seq += 1;
        let leader_epoch = Some(LeaderEpoch(1));
        self.log.submit(
            self.seq,
            LogOp::Append { base: Offset(self.next), leader_epoch, batches: batches.clone() },
        );
        self.next += records;
    }

    fn wait(&self, seq: u64) {
        while self.synced.recv().expect("the store is open") < seq {}
    }
}

/// Keeps so many appends in flight in each partition for a while.
fn run(store: &Store, first: u32, partitions: u32, in_flight: u64, batch: &Bytes, records: u64) {
    let mut all: Vec<_> = (first..first + partitions).map(|n| Partition::open(store, n)).collect();
    let begin = Instant::now();
    let mut waits = Vec::new();
    while begin.elapsed() < Duration::from_secs(2) {
        let sent = Instant::now();
        for partition in &mut all {
            for _ in 0..in_flight {
                partition.append(batch, records);
            }
        }
        all.iter().for_each(|partition| partition.wait(partition.seq));
        waits.push(sent.elapsed());
    }
    let took = begin.elapsed().as_secs_f64();
    let appends: u64 = all.iter().map(|partition| partition.seq).sum();
    waits.sort();
    println!(
        "{partitions:4} partitions, {in_flight:2} in flight, {:7} B a batch: {:9.0} appends/s, {:10.0} records/s, \
         {:7.1} MB/s, round trip p50 {:?} p99 {:?}",
        batch.len(),
        appends as f64 / took,
        (appends * records) as f64 / took,
        appends as f64 * batch.len() as f64 / took / 1e6,
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
    );
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(|| "yak-append-rate".into(), std::path::PathBuf::from);
    let fatal = Arc::new(|what: &str| panic!("{what}"));
    let store = Store::open(&dir, StoreConfig::default(), Arc::new(RealIo), fatal).expect("the dir opens");
    run(&store, 0, 1, 1, &batch(1, 100), 1);
    run(&store, 1, 1, 16, &batch(100, 100), 100);
    run(&store, 100, 128, 1, &batch(1, 100), 1);
    run(&store, 300, 128, 1, &batch(100, 100), 100);
    run(&store, 500, 3, 8, &batch(1000, 100), 1000);
    store.close().expect("all is written");
    let _ = std::fs::remove_dir_all(dir);
}
