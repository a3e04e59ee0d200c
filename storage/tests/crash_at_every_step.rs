//! Append, truncate, append other bytes at the same offsets, with the machine stopping at every single
//! call to the file system: the log that is found afterwards is what it was after some operation that was
//! not before the last one reported as synced, and stays so.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset};
use yak_storage::io::sim::{Crash, Fault, SimDisk};
use yak_storage::{LogOp, Store, StoreConfig};

/// What a log holds: its start, its records, its epochs, its promise.
#[derive(Clone, PartialEq, Debug, Default)]
struct Model {
    start: u64,
    end: u64,
    records: Vec<(u64, String)>,
    epochs: Vec<EpochStart>,
    promise: Option<(LeaderEpoch, BrokerId)>,
}

/// An operation of the script, with the values of an append.
#[derive(Clone)]
enum Step {
    Append(u32, Vec<String>),
    Truncate(u64),
    Reset(u64),
    Start(u64),
    Promise(u32),
    Epoch(u32),
    /// Wait until everything so far is synced before going on.
    Sync,
}

impl Model {
    fn after(&self, step: &Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Append(epoch, values) => {
                next.start_epoch(*epoch);
                for value in values {
                    next.records.push((next.end, value.clone()));
                    next.end += 1;
                }
            }
            Step::Truncate(to) => {
                next.end = *to;
                next.records.retain(|(offset, _)| offset < to);
                next.epochs.retain(|epoch| epoch.start.0 < *to);
            }
            Step::Reset(start) => {
                let promise = next.promise;
                next = Self { start: *start, end: *start, promise, ..Self::default() };
            }
            Step::Start(to) => {
                next.start = *to;
                next.records.retain(|(offset, _)| offset >= to);
                let covering = next.epochs.iter().rposition(|epoch| epoch.start.0 <= *to).unwrap_or(0);
                next.epochs.drain(..covering);
            }
            Step::Promise(epoch) => next.promise = Some((LeaderEpoch(*epoch), BrokerId(1))),
            Step::Epoch(epoch) => next.start_epoch(*epoch),
            Step::Sync => {}
        }
        next
    }

    fn start_epoch(&mut self, epoch: u32) {
        if self.epochs.last().is_none_or(|last| last.epoch.0 < epoch) {
            self.epochs.retain(|entry| entry.start.0 < self.end);
            self.epochs.push(EpochStart { epoch: LeaderEpoch(epoch), start: Offset(self.end) });
        }
    }

    fn op(&self, step: &Step) -> Option<LogOp> {
        Some(match step {
            Step::Append(epoch, values) => LogOp::Append {
                base: Offset(self.end),
                leader_epoch: Some(LeaderEpoch(*epoch)),
                batches: batch(&values.iter().map(String::as_str).collect::<Vec<_>>()),
            },
            Step::Truncate(to) => LogOp::Truncate { to: Offset(*to) },
            Step::Reset(start) => LogOp::Reset { start: Offset(*start), epochs: Vec::new() },
            Step::Start(to) => LogOp::MoveLogStart { to: Offset(*to) },
            Step::Promise(epoch) => LogOp::Promise { epoch: LeaderEpoch(*epoch), leader: BrokerId(1) },
            Step::Epoch(epoch) => {
                LogOp::StartEpoch(EpochStart { epoch: LeaderEpoch(*epoch), start: Offset(self.end) })
            }
            Step::Sync => return None,
        })
    }
}

/// Appends of two records each, until the end is `to`.
fn appends(from: u64, to: u64, epoch: u32, name: &str) -> Vec<Step> {
    (from..to)
        .step_by(2)
        .map(|n| {
            Step::Append(epoch, vec![format!("{name}{n} in epoch {epoch}"), format!("{name}{} too", n + 1)])
        })
        .collect()
}

fn script(name: &str) -> Vec<Step> {
    let mut steps = vec![Step::Promise(1), Step::Epoch(1)];
    steps.extend(appends(0, 10, 1, name));
    steps.extend([Step::Sync, Step::Promise(2), Step::Truncate(6), Step::Sync]);
    steps.extend(appends(6, 14, 2, name));
    steps.extend([Step::Sync, Step::Promise(3), Step::Truncate(4), Step::Sync]);
    steps.extend(appends(4, 8, 3, name));
    steps.extend([Step::Sync, Step::Start(4), Step::Sync]);
    steps.extend(appends(8, 12, 3, name));
    steps.extend([Step::Truncate(8), Step::Sync]);
    steps.extend(appends(8, 10, 4, name));
    steps.extend([Step::Sync, Step::Reset(8), Step::Sync]);
    steps.extend(appends(8, 12, 5, name));
    steps.push(Step::Sync);
    steps
}

/// How one log fared: the models after each operation, and how many are known to be synced.
struct Run {
    models: Vec<Model>,
    synced: usize,
}

/// Runs the script on two logs at once until it is through or the machine stops.
fn run(disk: &SimDisk, config: StoreConfig) -> Vec<Run> {
    let fresh = |_| Run { models: vec![Model::default()], synced: 0 };
    let mut runs: Vec<Run> = (0..2).map(fresh).collect();
    let (fatal, _) = note_fatal();
    let Ok(store) = Store::open(Path::new("/data"), config, Arc::new(disk.clone()), fatal) else {
        return runs;
    };
    let mut writers: Vec<_> = (0..2).map(|p| Writer::new(&store, partition(p))).collect();
    let scripts = [script("left "), script("right ")];
    for (left, right) in scripts[0].iter().zip(&scripts[1]) {
        for ((step, writer), run) in [left, right].into_iter().zip(&mut writers).zip(&mut runs) {
            let model = run.models.last().unwrap();
            match model.op(step) {
                Some(op) => {
                    writer.submit(op);
                    run.models.push(model.after(step));
                }
                None => wait_for(|| disk.is_dead() || writer.ear.heard().synced == writer.seq),
            }
        }
    }
    // The machine may stop while the store ends: what was synced before that counts.
    for (writer, run) in writers.iter().zip(&mut runs) {
        run.synced = usize::try_from(writer.ear.heard().synced).unwrap();
    }
    if !disk.is_dead() {
        let _ = store.close();
    }
    runs
}

fn found(store: &Store, p: u32) -> Model {
    let Some((_, recovered)) = store.recovered().iter().find(|(id, _)| *id == partition(p)) else {
        return Model::default();
    };
    assert!(recovered.damaged.is_empty(), "nothing is damaged: {recovered:?}");
    Model {
        start: recovered.log_start.0,
        end: recovered.log_end.0,
        records: read_all(&Writer::new(store, partition(p)).log).unwrap(),
        epochs: recovered.epochs.clone(),
        promise: recovered.promise,
    }
}

/// Opens what is left, looks whether it is legal, goes on from there, and looks again.
fn check(disk: &SimDisk, runs: &[Run], config: &StoreConfig, what: &str) {
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config.clone());
    let mut now = Vec::new();
    for (p, run) in (0..).zip(runs) {
        let model = found(&store, p);
        let legal = &run.models[run.synced..];
        assert!(legal.contains(&model), "{what}, log {p}: found {model:#?}\ninstead of one of {legal:#?}");
        now.push(model);
    }
    let mut writers: Vec<_> = (0..2).map(|p| Writer::new(&store, partition(p))).collect();
    for (writer, model) in writers.iter_mut().zip(&mut now) {
        let step = Step::Append(9, vec!["after the crash".to_owned()]);
        writer.submit(model.op(&step).unwrap());
        writer.sync();
        *model = model.after(&step);
    }
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config.clone());
    for (p, model) in (0..).zip(&now) {
        assert_eq!(&found(&store, p), model, "{what}, log {p}, after going on");
    }
}

fn at_every_step(config: &StoreConfig, how: impl Fn(u64) -> Crash) {
    let disk = SimDisk::new();
    let runs = run(&disk, config.clone());
    let calls = disk.calls();
    assert!(runs.iter().all(|run| run.synced == run.models.len() - 1), "without a crash all is synced");
    assert!(calls > 100, "{calls}");
    check(&disk, &runs, config, "no crash");
    for at in 0..calls {
        let disk = SimDisk::new();
        disk.fault(at..at + 1, Fault::Death);
        let runs = run(&disk, config.clone());
        disk.crash(how(at));
        check(&disk, &runs, config, &format!("call {at} of {calls}"));
    }
}

/// The flusher works all the time.
fn eager() -> StoreConfig {
    StoreConfig { checkpoint: Duration::ZERO, write_behind_bytes: 1, tail_bytes: 0, ..small() }
}

#[test]
fn losing_all_that_was_not_synced() {
    at_every_step(&small(), |_| Crash::LoseUnsynced);
}

#[test]
fn losing_all_that_was_not_synced_with_checkpoints_all_the_time() {
    at_every_step(&eager(), |_| Crash::LoseUnsynced);
}

#[test]
fn losing_some_sectors_of_what_was_not_synced() {
    at_every_step(&eager(), |seed| Crash::KeepSome { seed });
}

#[test]
fn losing_nothing_but_the_process() {
    at_every_step(&eager(), |_| Crash::KeepAll);
}
