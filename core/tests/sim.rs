//! Deterministic simulation of the real machines under faults: each seed is one run, and prints itself
//! when an invariant breaks.
//!
//! `YAK_SIM_SEED=7` runs that seed alone (`YAK_SIM_TRACE=1` prints every step), `YAK_SIM_SEEDS=10000` sets
//! how many are run, `YAK_SIM_FROM=5000` where they start.

mod harness;
#[path = "sim/nemesis.rs"]
mod nemesis;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/run.rs"]
mod run;

use harness::coverage::Coverage;
use run::{Outcome, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use yak_core::rules::{Rule, Rules};

/// How many seeds the test command runs.
const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs seeds on all cores; outcomes in the order of the seeds.
fn run_all(seeds: &[u64], rules: Rules) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(*seed, rules);
                    outcomes.lock().expect("no thread panics").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no thread panics");
    outcomes.sort_by_key(|o| o.seed);
    outcomes
}

/// Seeds that once failed; they are run for ever.
fn regressions() -> Vec<u64> {
    let lines = include_str!("sim/seeds.txt").lines();
    let seeds = lines.map(|l| l.split('#').next().unwrap_or_default().trim()).filter(|l| !l.is_empty());
    seeds.map(|l| l.parse().expect("a seed")).collect()
}

#[test]
fn no_fault_breaks_an_invariant() {
    let seeds = match number("YAK_SIM_SEED") {
        Some(seed) => vec![seed],
        None => {
            let from = number("YAK_SIM_FROM").unwrap_or(1);
            let count = number("YAK_SIM_SEEDS").unwrap_or(SEEDS);
            regressions().into_iter().chain(from..from + count).collect()
        }
    };
    let outcomes = run_all(&seeds, Rules::all());
    let mut coverage = Coverage::default();
    outcomes.iter().for_each(|o| coverage.add(&o.coverage));
    let (steps, simulated, acked) =
        outcomes.iter().fold((0, 0, 0), |(s, m, a), o| (s + o.steps, m + o.simulated_ms, a + o.acked));
    println!(
        "{} seeds, {steps} steps, {} simulated seconds, {acked} acknowledged",
        seeds.len(),
        simulated / 1000
    );
    for (case, count) in &coverage.0 {
        println!("{count:>9} {case}");
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
    if let Some(first) = failed.iter().min_by_key(|o| o.steps) {
        let others: Vec<u64> = failed.iter().map(|o| o.seed).collect();
        for outcome in &failed {
            let text = outcome.failure.as_deref().unwrap_or_default();
            println!(
                "seed {} ({} steps): {}",
                outcome.seed,
                outcome.steps,
                text.lines().next().unwrap_or_default()
            );
        }
        panic!(
            "{} of {} seeds fail: {others:?}\nYAK_SIM_SEED={} cargo test -p yak-core --test sim\n{}",
            failed.len(),
            seeds.len(),
            first.seed,
            first.failure.as_deref().unwrap_or_default()
        );
    }
    if seeds.len() as u64 >= SEEDS {
        for case in MUST_HAPPEN {
            assert!(coverage.count(case) > 0, "in {} runs it never happened that {case}", seeds.len());
        }
    }
}

/// Which removed rules the simulation notices by itself, and after how many seeds. A measurement, not a
/// test: `cargo test -p yak-core --test sim -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement of minutes; each rule has a directed script in tests/rules"]
fn which_removed_rules_are_noticed() {
    let count = number("YAK_SIM_SEEDS").unwrap_or(5_000);
    let mut missed = Vec::new();
    for rule in Rule::ALL {
        let found = (0..count.div_ceil(BLOCK)).find_map(|block| {
            let first = 1 + block * BLOCK;
            let seeds: Vec<u64> = (first..first + BLOCK.min(count)).collect();
            run_all(&seeds, Rules::without(*rule)).into_iter().find(|outcome| outcome.failure.is_some())
        });
        match found {
            Some(outcome) => {
                let text = outcome.failure.unwrap_or_default();
                let what: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
                println!("{:<28} seed {:>5}: {what}", rule.name(), outcome.seed);
            }
            None => missed.push(rule.name()),
        }
    }
    println!("not noticed in {count} seeds: {missed:?}");
}

/// Seeds that are run before their outcomes are looked at.
const BLOCK: u64 = 100;

/// Cases that the whole run must reach, or it tests less than it says.
const MUST_HAPPEN: &[&str] = &[
    "a leader is elected",
    "a leader is elected from the ELR",
    "a partition is left without a leader",
    "an ISR shrinks",
    "an ISR grows",
    "a log is truncated",
    "logs are found to diverge",
    "a log is set aside",
    "a follower restarts at the leader's log start",
    "a write fails for lack of space",
    "damage is repaired",
    "a session is resumed",
    "a silent leader is probed",
    "a stream falls silent",
    "a broker restarts",
    "a broker stops cleanly",
    "a broker loses power",
    "all brokers lose power",
    "a broker is frozen",
    "the coordinator is frozen",
    "the coordinator is killed",
    "the coordinator starts on an old journal",
    "a partition waits for its coordinator to be rebuilt",
    "coordinator dies between two effects",
    "a way is cut",
    "connections break",
    "what somebody says is late",
    "a disk is wiped",
    "an old backup is restored",
    "a bit flips",
    "another coordinator takes over",
    "a deposed coordinator answers",
    "the journal refuses a deposed coordinator",
    "a move is asked for",
    "a move is completed",
    "a move is cancelled",
    "a leader moves away",
    "a copy is deleted after a move",
    "a leader drops old records",
    "min_isr is changed",
    "a publish is sent again",
    "a publish has definitely failed",
    "an id is used again",
    "a repeated id is not stored again",
];
