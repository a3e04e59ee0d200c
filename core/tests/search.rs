//! Exhaustive search, within bounds, over the real machines: one partition on three brokers.
//!
//! `YAK_SEARCH_STATES=1000000` looks at more states than the test command does.

#[path = "search/explore.rs"]
mod explore;
mod harness;

use explore::{Bounds, State, search};
use harness::{Setup, World};

/// How many states each search of the test command looks at.
const STATES: usize = 12_000;

fn explore(name: &str, bounds: Bounds) {
    let states = std::env::var("YAK_SEARCH_STATES").ok().map_or(STATES, |s| s.parse().expect("a number"));
    let world = World::new(Setup::default());
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
    explore("crashes", Bounds { publishes: 2, holds: 1, crashes: 1, fences: 0, lags: 0 });
}

#[test]
fn fences_with_held_news() {
    explore("fences", Bounds { publishes: 1, holds: 1, crashes: 0, fences: 2, lags: 0 });
}

#[test]
fn shrunk_and_fenced_and_crashed() {
    explore("shrinks", Bounds { publishes: 1, holds: 1, crashes: 1, fences: 1, lags: 1 });
}
