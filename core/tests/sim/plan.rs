//! What one seed simulates: the shape of the cluster, its load and which kinds of faults it meets. Each
//! run meets only some kinds, so that no kind hides another.

use crate::harness::Setup;
use std::time::Duration;
use yak_core::rules::Rules;
use yak_protocol::message::Durability;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// A broker's process dies; the machine goes on.
    Kill,
    /// A broker's machine loses power.
    PowerOff,
    /// All brokers lose power at once.
    Blackout,
    FreezeBroker,
    FreezeCoordinator,
    KillCoordinator,
    /// One way between two places is cut, or both.
    Cut,
    /// A broker is cut off from all others.
    Isolate,
    /// A connection breaks.
    Sever,
    /// What one place says to another waits for a while, and then arrives.
    Stall,
    DiskFull,
    DiskSlow,
    ClockJump,
    /// A broker is drained, stopped cleanly and started again.
    Rolling,
    /// Old records are dropped by retention on one broker while it is down.
    Retention,
    /// A bit flips on a broker's disk.
    BitFlip,
    Wipe,
    RestoreBackup,
    /// Another coordinator takes over; the one before lives on for a while.
    TakeOver,
    /// A partition is moved to other brokers, or a move goes back.
    Move,
    /// A leader drops old records.
    Trim,
    /// The topic gets another `min_isr`.
    MinIsr,
}

pub const FAULTS: [Fault; 22] = [
    Fault::Kill,
    Fault::PowerOff,
    Fault::Blackout,
    Fault::FreezeBroker,
    Fault::FreezeCoordinator,
    Fault::KillCoordinator,
    Fault::Cut,
    Fault::Isolate,
    Fault::Sever,
    Fault::Stall,
    Fault::DiskFull,
    Fault::DiskSlow,
    Fault::ClockJump,
    Fault::Rolling,
    Fault::Retention,
    Fault::BitFlip,
    Fault::Wipe,
    Fault::RestoreBackup,
    Fault::TakeOver,
    Fault::Move,
    Fault::Trim,
    Fault::MinIsr,
];

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub setup: Setup,
    pub faults: Vec<Fault>,
    /// How long faults happen, in milliseconds of simulated time.
    pub chaos_ms: u64,
    /// The mean pause between faults.
    pub pause_ms: u64,
    pub producers: usize,
    /// Producers give ids to their records, and one has nothing else to be recognised by.
    pub ids: bool,
    pub batches: u32,
    /// In the end the coordinator starts on an old copy of its journal.
    pub old_journal: bool,
    /// In the end the journal is lost, and made again from what brokers know.
    pub lost_journal: bool,
}

impl Plan {
    pub fn of(seed: u64, rules: Rules) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5EED_0FA9_1A11);
        let brokers = [3, 3, 4, 4, 2, 5][rng.usize(0..6)];
        let replicas = brokers.min(3);
        let durability =
            if rng.u32(0..6) == 0 && replicas == 3 { Durability::Replicated } else { Durability::Fsync };
        let min_isr = match rng.u32(0..8) {
            0 if durability == Durability::Fsync => Some(1),
            1 => Some(2),
            _ => None,
        };
        let setup = Setup {
            brokers,
            partitions: rng.u32(1..4),
            replicas,
            min_isr,
            durability,
            dedupe_window_ms: if seed.is_multiple_of(4) { 1_500 } else { 600_000 },
            rules,
            seed,
            delay_ms: [1, 2, 5, 20][rng.usize(0..4)],
            give_back: Duration::from_millis([1_000, 4_000][rng.usize(0..2)]),
        };
        let kinds = rng.usize(1..7);
        let mut faults = FAULTS.to_vec();
        rng.shuffle(&mut faults);
        faults.truncate(kinds);
        // What is late is behind most of the rules, so it joins in often, and with weight.
        if rng.bool() {
            faults.extend([Fault::Stall; 3]);
        }
        // Two that meet all others.
        if rng.u32(0..3) == 0 {
            faults.push(Fault::Move);
        }
        if rng.u32(0..6) == 0 {
            faults.push(Fault::TakeOver);
        }
        Self {
            setup,
            faults,
            chaos_ms: rng.u64(4_000..16_000),
            pause_ms: [150, 500, 1_500][rng.usize(0..3)],
            producers: rng.usize(1..4),
            ids: seed.is_multiple_of(2),
            batches: rng.u32(10..40),
            old_journal: rng.u32(0..8) == 0,
            lost_journal: rng.u32(0..6) == 0,
        }
    }

    /// How many copies of an acknowledged record there are at least.
    pub fn least_copies(&self) -> u32 {
        self.setup.min_isr.unwrap_or(yak_protocol::defaults::min_isr(self.setup.replicas))
    }
}
