//! Golden scenarios of one replica. Each file in `scripts/partition` is named after its claim: lines that
//! start with `>` are events, the indented lines below them are what the replica does.
//!
//! `YAK_UPDATE=1 cargo test -p yak-core --test scripts_partition` writes the outcome into the files; read
//! the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod input;
mod output;

use input::Bench;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The script as it should be: its own events with what they lead to.
fn run(script: &str) -> String {
    let mut bench = Bench::default();
    let mut text = String::new();
    for (number, line) in script.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        writeln!(text, "{line}").unwrap();
        if let Some(command) = line.strip_prefix("> ") {
            let outcome = bench.run(command).unwrap_or_else(|error| panic!("line {}: {error}", number + 1));
            for line in outcome {
                writeln!(text, "  {line}").unwrap();
            }
        }
    }
    text
}

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/partition");
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(paths.len() > 50, "the scripts are there");
    paths
}

/// The first line in which the two differ, with what is there.
fn difference(expected: &str, actual: &str) -> String {
    let mut expected_lines = expected.lines();
    for (number, actual) in actual.lines().enumerate() {
        let expected = expected_lines.next().unwrap_or("(end of script)");
        if expected != actual {
            return format!("line {}:\n  script: {expected}\n  replica: {actual}", number + 1);
        }
    }
    format!("the script goes on with: {}", expected_lines.next().unwrap_or("nothing"))
}

#[test]
fn every_script_says_what_the_replica_does() {
    let update = std::env::var_os("YAK_UPDATE").is_some();
    let mut failures = Vec::new();
    for path in scripts() {
        let script = fs::read_to_string(&path).unwrap();
        assert!(script.contains("\n> "), "{} has no events", path.display());
        let actual = run(&script);
        if actual == script {
            continue;
        }
        if update {
            fs::write(&path, actual).unwrap();
        } else {
            failures.push(format!("{}: {}", path.display(), difference(&script, &actual)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
