//! Consumer groups under faults: members that join, leave, freeze, die and come back, coordinators that are
//! replaced and do not know it, messages that are lost, late and doubled.
//!
//! Checked after every step: no partition is in the hands of two members at one time; no record is handed out
//! by two members in one generation; no commit goes back; nothing below a commit was never handed out. At the
//! end, when the faults are over, every partition is somebody's.
//!
//! A failure prints its seed: `YAK_SIM_SEED=7 cargo test --workspace --test groups`.

mod coordinator;
mod member;
mod net;
mod scripts;
mod world;

use world::World;

/// How many stories are told, and how long each is with faults, in ms.
const STORIES: u64 = 60;
const FAULTS_MS: u64 = 90_000;

#[test]
fn a_group_survives_everything() {
    if let Ok(seed) = std::env::var("YAK_SIM_SEED") {
        return tell(seed.parse().expect("a number"));
    }
    let stories = std::env::var("YAK_SIM_STORIES").ok().and_then(|text| text.parse().ok());
    let first = fastrand::u64(..) >> 16;
    for seed in first..first + stories.unwrap_or(STORIES) {
        tell(seed);
    }
}

fn tell(seed: u64) {
    let outcome = std::panic::catch_unwind(|| {
        let mut world = World::new(seed);
        world.run_until(FAULTS_MS);
        world.faults_end();
        world.settle();
        world.handed_out()
    });
    match outcome {
        Ok(handed_out) => assert!(handed_out > 0, "seed {seed}: nothing was ever handed out"),
        Err(panic) => {
            eprintln!("YAK_SIM_SEED={seed} tells it again");
            std::panic::resume_unwind(panic);
        }
    }
}
