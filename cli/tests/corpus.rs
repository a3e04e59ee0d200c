//! The seeds of the fuzz targets, through the very functions that the targets are.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

#[test]
fn every_seed_of_every_target_runs_through() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (name, target) in fuzz::TARGETS {
        let folder = std::fs::read_dir(seeds.join(name)).expect(name);
        let mut ran = 0;
        for seed in folder {
            let path = seed.expect("an entry").path();
            // Which one it is says the output of a test that fails.
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("a file"));
            ran += 1;
        }
        assert!(ran > 0, "{name} has no seeds");
    }
}

/// A target without seeds here, or seeds without a target, would be dead.
#[test]
fn targets_and_seeds_belong_together() {
    let fuzz_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let names = |folder: &str| {
        let entries = std::fs::read_dir(fuzz_dir.join(folder)).expect(folder);
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let mut targets: Vec<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
}
