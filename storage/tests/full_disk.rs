//! A disk without room: appends are refused definitely, nothing acknowledged is lost, nothing refused
//! appears, reads go on, and all resumes by itself when there is room again.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{BrokerId, LeaderEpoch, Offset};
use yak_storage::io::sim::{Crash, Fault, SimDisk};
use yak_storage::{LogOp, Store, StoreConfig};

/// A submitter that does what a partition does: goes on after each refusal where the log then ends.
struct Publisher {
    writer: Writer,
    name: char,
    /// What has been submitted and not been refused, by sequence number.
    pending: Vec<(u64, String)>,
    refusals: usize,
}

impl Publisher {
    fn new(store: &Store, p: u32) -> Self {
        let name = if p == 0 { 'a' } else { 'b' };
        Self { writer: Writer::new(store, partition(p)), name, pending: Vec::new(), refusals: 0 }
    }

    fn publish(&mut self, n: usize) {
        let value = format!("{}{n}", self.name);
        let seq = self.writer.append(self.pending.len() as u64, 1, batch(&[&value]));
        self.pending.push((seq, value));
    }

    /// Takes note of refusals: what they cover will never be there.
    fn settle(&mut self) {
        let heard = self.writer.ear.heard();
        for (seq, code) in &heard.failed[self.refusals..] {
            assert_eq!(*code, ErrorCode::StorageFull);
            self.pending.retain(|(pending, _)| pending < seq);
            self.writer.log.resume();
        }
        self.refusals = heard.failed.len();
    }

    /// Waits until everything is synced or refused.
    fn wait(&mut self) {
        loop {
            let known = self.refusals;
            let last = self.pending.last().map_or(0, |(seq, _)| *seq);
            self.writer.ear.until(|heard| heard.synced >= last || heard.failed.len() > known);
            if self.writer.ear.heard().failed.len() == known {
                return;
            }
            self.settle();
        }
    }

    fn expected(&self) -> Vec<(u64, String)> {
        (0..).zip(&self.pending).map(|(offset, (_, value))| (offset, value.clone())).collect()
    }
}

fn eager() -> StoreConfig {
    StoreConfig { checkpoint: Duration::ZERO, write_behind_bytes: 1, tail_bytes: 0, ..small() }
}

/// Two publishers under load, with these calls failing for lack of room.
fn under_load(disk: &SimDisk, config: StoreConfig) -> Vec<Publisher> {
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config.clone());
    let mut publishers = vec![Publisher::new(&store, 0), Publisher::new(&store, 1)];
    for n in 0..20 {
        for publisher in &mut publishers {
            publisher.publish(n);
            publisher.settle();
        }
        if n % 3 == 0 {
            publishers.iter_mut().for_each(Publisher::wait);
        }
    }
    publishers.iter_mut().for_each(Publisher::wait);
    disk.heal();
    // All resumes by itself. The store's background thread may still be about to say that it met a fault before
    // the disk was healed: one call, so one refusal.
    let mut late_refusals = 0;
    for publisher in &mut publishers {
        loop {
            wait_for(|| !store.is_full());
            publisher.publish(99);
            publisher.wait();
            if publisher.pending.last().is_some_and(|(_, value)| value.ends_with("99")) {
                break;
            }
            late_refusals += 1;
            assert!(late_refusals <= 1, "a healed disk has room");
        }
        assert_eq!(read_all(&publisher.writer.log).unwrap(), publisher.expected());
    }
    drop(store);
    publishers
}

fn check(disk: &SimDisk, publishers: &[Publisher], what: &str) {
    disk.crash(Crash::LoseUnsynced);
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    for (p, publisher) in (0..).zip(publishers) {
        let log = Writer::new(&store, partition(p)).log;
        assert_eq!(read_all(&log).unwrap(), publisher.expected(), "{what}");
    }
}

#[test]
fn no_room_at_every_single_call() {
    let disk = SimDisk::new();
    let publishers = under_load(&disk, eager());
    let calls = disk.calls();
    check(&disk, &publishers, "no fault");
    let opening = {
        let disk = SimDisk::new();
        drop(open_on(Arc::new(disk.clone()), Path::new("/data"), eager()));
        disk.calls()
    };
    let mut refused = 0;
    for at in opening..calls {
        let disk = SimDisk::new();
        disk.fault(at..at + 1, Fault::NoSpace);
        let publishers = under_load(&disk, eager());
        refused += publishers.iter().map(|publisher| publisher.refusals).sum::<usize>();
        check(&disk, &publishers, &format!("no room at call {at} of {calls}"));
    }
    assert!(refused > 0, "some of these calls are appends");
}

#[test]
fn no_room_from_every_call_on_for_a_while() {
    for at in (20..200).step_by(7) {
        let disk = SimDisk::new();
        disk.fault(at..at + 12, Fault::NoSpace);
        let publishers = under_load(&disk, eager());
        check(&disk, &publishers, &format!("no room from call {at}"));
    }
}

#[test]
fn short_writes_are_carried_on() {
    let disk = SimDisk::new();
    disk.fault(0..u64::MAX, Fault::Short);
    let publishers = under_load(&disk, eager());
    assert_eq!(publishers.iter().map(|publisher| publisher.refusals).sum::<usize>(), 0);
    check(&disk, &publishers, "short writes");
}

#[test]
fn a_write_error_is_rolled_back_even_if_the_bytes_arrived() {
    let opening = {
        let disk = SimDisk::new();
        drop(open_on(Arc::new(disk.clone()), Path::new("/data"), small()));
        disk.calls()
    };
    for after in 0..12 {
        let disk = SimDisk::new();
        let (fatal, noted) = note_fatal();
        let store = Store::open(Path::new("/data"), small(), Arc::new(disk.clone()), fatal).unwrap();
        disk.fault(opening + after..opening + after + 1, Fault::ErrorAfter);
        let mut publisher = Publisher::new(&store, 0);
        for n in 0..4 {
            publisher.publish(n);
            let seq = publisher.writer.seq;
            wait_for(|| {
                let heard = publisher.writer.ear.heard();
                heard.synced >= seq
                    || heard.failed.len() > publisher.refusals
                    || noted.lock().unwrap().is_some()
            });
            publisher.settle();
            wait_for(|| !store.is_full() || noted.lock().unwrap().is_some());
        }
        let fatal = noted.lock().unwrap().clone();
        drop(store);
        disk.crash(Crash::KeepAll);
        let store = open_on(Arc::new(disk), Path::new("/data"), small());
        let found = read_all(&Writer::new(&store, partition(0)).log).unwrap();
        match fatal {
            None => assert_eq!(found, publisher.expected(), "call {after}"),
            // A sync failed: what it covered is unknown, what came before is there.
            Some(_) => {
                let synced = publisher.writer.ear.heard().synced;
                let sure = publisher.pending.iter().filter(|(seq, _)| *seq <= synced).count();
                assert_eq!(found[..sure], publisher.expected()[..sure], "call {after}");
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_and_takes_promises_and_truncations() {
    let disk = SimDisk::new();
    // The write-ahead log comes to at most six files, of which one may be given back later: too little for
    // appends to be taken again. And the reserve is larger than what is written before it is looked at again.
    let config = StoreConfig {
        reserve_bytes: Some(256 << 10),
        wal_file_bytes: 32 << 10,
        ballast_bytes: 128 << 10,
        checkpoint: Duration::ZERO,
        ..small()
    };
    disk.set_capacity(Some(544 << 10));
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config.clone());
    let mut publisher = Publisher::new(&store, 0);
    let mut n = 0;
    while publisher.refusals == 0 {
        publisher.publish(n);
        publisher.wait();
        wait_for(|| disk.read(Path::new("/data/ballast")).is_ok());
        n += 1;
        assert!(n < 10_000, "the disk fills up");
    }
    let acknowledged = publisher.pending.len();
    assert!(store.is_full());
    assert!(store.space().unwrap().full);
    // The disk fills up by other hands, too.
    disk.set_capacity(Some(disk.used()));
    publisher.publish(0);
    publisher.wait();
    assert_eq!(publisher.pending.len(), acknowledged, "refused again");
    assert_eq!(read_all(&publisher.writer.log).unwrap(), publisher.expected(), "reads go on");
    for epoch in 2..40 {
        let op = LogOp::Promise { epoch: LeaderEpoch(epoch), leader: BrokerId(1) };
        publisher.writer.submit(op);
        publisher.writer.sync_after(publisher.refusals);
    }
    publisher.writer.truncate(acknowledged as u64 - 1);
    publisher.writer.sync_after(publisher.refusals);
    publisher.pending.pop();

    disk.set_capacity(None);
    wait_for(|| !store.is_full());
    publisher.publish(7);
    publisher.wait();
    assert_eq!(publisher.pending.len(), acknowledged);
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    let store = open_on(Arc::new(disk), Path::new("/data"), config);
    assert_eq!(store.recovered()[0].1.promise, Some((LeaderEpoch(39), BrokerId(1))));
    assert_eq!(store.recovered()[0].1.log_end, Offset(acknowledged as u64));
    assert_eq!(read_all(&Writer::new(&store, partition(0)).log).unwrap(), publisher.expected());
}
