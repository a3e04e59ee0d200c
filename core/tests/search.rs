//! Exhaustive search, within bounds, over the real machines: one partition on three brokers, or
//! on its way from three of four to others.
//!
//! `YAK_SEARCH_STATES=1000000` looks at more states than the test command does.

#[path = "search/explore.rs"]
mod explore;
mod harness;

use explore::{Bounds, State, search};
use harness::{Setup, World};

/// How many states each search of the test command looks at.
const STATES: usize = 16_000;

const NOTHING: Bounds = Bounds {
    publishes: 0,
    holds: 0,
    crashes: 0,
    fences: 0,
    lags: 0,
    takeovers: 0,
    moves: 0,
    min_isrs: 0,
    trims: 0,
};

fn explore(name: &str, bounds: Bounds) {
    explore_on(name, 3, bounds);
}

fn explore_on(name: &str, brokers: u32, bounds: Bounds) {
    let states = std::env::var("YAK_SEARCH_STATES").ok().map_or(STATES, |s| s.parse().expect("a number"));
    let world = World::new(Setup { brokers, ..Setup::default() });
    let found = search(State::new(world, bounds), states);
    println!(
        "{name}: {} states, {} moves, depth {}, complete {}",
        found.states, found.moves, found.deepest, found.complete
    );
    found.reached.iter().for_each(|(case, count)| println!("{count:>6} {case}"));
    if let Some((violation, path)) = found.violation {
        panic!("{violation}\nafter {path:?}");
    }
}

#[test]
fn crashes_with_held_frames() {
    explore("crashes", Bounds { publishes: 2, holds: 1, crashes: 1, ..NOTHING });
}

#[test]
fn fences_with_held_news() {
    explore("fences", Bounds { publishes: 1, holds: 1, fences: 2, ..NOTHING });
}

#[test]
fn shrunk_and_fenced_and_crashed() {
    explore("shrinks", Bounds { publishes: 1, holds: 1, crashes: 1, fences: 1, lags: 1, ..NOTHING });
}

/// A coordinator that has been replaced and goes on talking.
#[test]
fn taken_over_with_held_news() {
    explore("takeover", Bounds { publishes: 1, holds: 1, fences: 1, takeovers: 1, ..NOTHING });
}

#[test]
fn taken_over_and_crashed() {
    explore("takeover, crashes", Bounds { publishes: 1, holds: 1, crashes: 1, takeovers: 1, ..NOTHING });
}

/// The partition leaves its leader for a broker that has nothing of it, and perhaps comes back.
#[test]
fn moved_with_held_frames() {
    explore_on("moves", 4, Bounds { publishes: 2, holds: 1, moves: 2, ..NOTHING });
}

#[test]
fn moved_and_crashed_and_shrunk() {
    explore_on(
        "moves, crashes",
        4,
        Bounds { publishes: 1, holds: 1, crashes: 1, lags: 1, moves: 1, ..NOTHING },
    );
}

#[test]
fn moved_and_taken_over() {
    explore_on("moves, takeover", 4, Bounds { publishes: 1, holds: 1, takeovers: 1, moves: 2, ..NOTHING });
}

/// R9: `min_isr` goes down and up again while nobody knows who has heard of it.
#[test]
fn min_isr_is_changed_with_held_news() {
    explore("min_isr", Bounds { publishes: 2, holds: 1, min_isrs: 2, fences: 1, ..NOTHING });
}

#[test]
fn min_isr_is_changed_and_machines_lose_power() {
    explore(
        "min_isr, crashes",
        Bounds { publishes: 1, holds: 1, crashes: 1, min_isrs: 2, lags: 1, ..NOTHING },
    );
}

/// R4: the log start passes followers that are behind.
#[test]
fn dropped_with_held_frames() {
    explore("trims", Bounds { publishes: 2, holds: 1, crashes: 1, trims: 1, lags: 1, ..NOTHING });
}
