//! `yak produce`, fed line by line while things break.

use super::{Cluster, Finished, Process, Record, until};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many keys the records have.
const KEYS: u64 = 16;
/// Time between two lines.
const PACE: Duration = Duration::from_millis(2);

/// A producer that publishes numbered lines until it is told to stop.
pub struct Publisher {
    process: Process,
    stop: Arc<AtomicBool>,
    feeding: Option<JoinHandle<u64>>,
}

/// Where a line was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub number: u64,
    pub partition: u64,
    pub offset: Option<u64>,
}

impl Publisher {
    /// Starts to publish to `topic`.
    pub fn start(cluster: &Cluster, topic: &str) -> Self {
        Self::start_with(cluster, topic, &[])
    }

    /// The same with these variables.
    pub fn start_with(cluster: &Cluster, topic: &str, variables: &[(String, String)]) -> Self {
        Self::start_as(cluster, topic, &[], variables)
    }

    /// The same with more options of `yak produce`, and these variables.
    pub fn start_as(
        cluster: &Cluster,
        topic: &str,
        options: &[&str],
        variables: &[(String, String)],
    ) -> Self {
        let brokers = cluster.all();
        let fixed = [
            "produce",
            topic,
            "-K",
            ":",
            "--output",
            "json",
            "-X",
            "delivery_timeout_ms=180000",
            "-b",
            &brokers,
        ];
        let mut process = Process::start_with(&[&fixed[..], options].concat(), variables);
        let mut stdin = process.stdin.take().expect("it is piped");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let feeding = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                if writeln!(stdin, "key{}:{number}", number % KEYS).is_err() {
                    break;
                }
                std::thread::sleep(PACE);
            }
            number
        });
        let publisher = Self { process, stop, feeding: Some(feeding) };
        publisher.goes_on(1);
        publisher
    }

    /// How many lines are acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.process.stdout.all().len()
    }

    /// Waits until so many more lines are acknowledged.
    pub fn goes_on(&self, more: usize) {
        let wanted = self.acknowledged() + more;
        until("publishing to go on", || (self.acknowledged() >= wanted).then_some(()));
    }

    /// Waits until it ends by itself, which is no success.
    pub fn fails(mut self) -> Finished {
        until("the producer to end", || (!self.process.runs()).then_some(()));
        self.stop.store(true, Ordering::Relaxed);
        self.feeding.take().expect("it is finished once").join().expect("it only writes");
        let finished = self.process.finish();
        assert_ne!(finished.code, Some(0), "{}", finished.stderr);
        finished
    }

    /// Stops, and returns where every line was acknowledged; panics if one was not.
    pub fn finish(mut self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        let fed = self.feeding.take().expect("it is finished once").join().expect("it only writes");
        let finished = self.process.finish().expect_code(0);
        let of = |line: &String| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            Acknowledged {
                number: line["number"].as_u64().expect("a number"),
                partition: line["partition"].as_u64().expect("a number"),
                offset: line["offset"].as_u64(),
            }
        };
        let acknowledged: Vec<_> = finished.stdout.iter().map(of).collect();
        assert_eq!(acknowledged.len() as u64, fed, "{}", finished.stderr);
        acknowledged
    }
}

/// Reads the topic until every acknowledged line is there, and checks that each is there once, where it
/// was said to be, and in order.
pub fn check_kept(cluster: &Cluster, topic: &str, acknowledged: &[Acknowledged]) {
    check_kept_beside(cluster, topic, acknowledged, &[]);
}

/// As [`check_kept`], beside these values that others have published, once each.
pub fn check_kept_beside(cluster: &Cluster, topic: &str, acknowledged: &[Acknowledged], others: &[&str]) {
    let mut records: Vec<Record> = until("everything acknowledged to be readable", || {
        let records = cluster.read(topic);
        (records.len() >= acknowledged.len() + others.len()).then_some(records)
    });
    for other in others {
        let found = records.iter().filter(|record| record.payload == *other).count();
        assert_eq!(found, 1, "{other}");
    }
    records.retain(|record| !others.contains(&record.payload.as_str()));
    let mut places = HashMap::new();
    let mut last: HashMap<u64, (u64, u64)> = HashMap::new();
    for record in &records {
        let number: u64 = record.payload.parse().expect("lines are numbers");
        assert_eq!(record.key.as_deref(), Some(format!("key{}", number % KEYS).as_str()));
        let twice = places.insert(number, (record.partition, record.offset));
        assert_eq!(twice, None, "line {number} is there twice");
        if let Some(before) = last.insert(record.partition, (record.offset, number)) {
            assert!(before < (record.offset, number) && before.1 < number, "reordered: {record:?}");
        }
    }
    for line in acknowledged {
        let place = places.get(&line.number).copied();
        assert_eq!(place.map(|(partition, _)| partition), Some(line.partition), "{line:?} is lost");
        if let (Some((_, found)), Some(said)) = (place, line.offset) {
            assert_eq!(found, said, "{line:?} is elsewhere");
        }
    }
    assert_eq!(records.len(), acknowledged.len(), "something was read that was never sent");
}
