//! Golden scenarios of the cluster machine: `tests/scripts/cluster/<claim>.txt`.
//!
//! A script is a list of blocks: commands, a line `---`, and everything that the machine did. `UPDATE=1`
//! writes what it does now into the files; the difference is then to be read as carefully as code.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod command;
mod show;
mod verbs;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use world::World;

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/cluster");
    let mut scripts: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    scripts
}

/// The script with what the machine does now as its output.
fn play(script: &str) -> String {
    let mut world = World::new();
    let mut played = String::new();
    let mut output: Vec<String> = Vec::new();
    let mut in_output = false;
    for line in script.lines() {
        match line {
            "---" => {
                in_output = true;
                played.push_str("---\n");
                for line in output.drain(..) {
                    played.push_str(&line);
                    played.push('\n');
                }
            }
            "" => {
                in_output = false;
                played.push('\n');
            }
            _ if in_output => {}
            command => {
                assert!(output.is_empty() || !command.starts_with('#'), "a comment goes before its block");
                played.push_str(command);
                played.push('\n');
                if !command.starts_with('#') {
                    let lines = world.run(command).unwrap_or_else(|error| panic!("`{command}`: {error}"));
                    output.push(format!("> {command}"));
                    output.extend(lines);
                }
            }
        }
    }
    assert!(output.is_empty(), "the last block has no `---`");
    played
}

#[test]
fn every_script_plays_as_written() {
    let scripts = scripts();
    assert!(scripts.len() >= 15, "only {} scripts found", scripts.len());
    let mut different = Vec::new();
    for path in scripts {
        let written = fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if played == written {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &played).unwrap();
        }
        let line = written.lines().zip(played.lines()).position(|(a, b)| a != b).unwrap_or(0);
        different.push(format!(
            "{}:{}\n  written: {}\n  played:  {}",
            path.display(),
            line + 1,
            written.lines().nth(line).unwrap_or(""),
            played.lines().nth(line).unwrap_or("")
        ));
    }
    assert!(different.is_empty(), "scripts differ (UPDATE=1 rewrites them):\n{}", different.join("\n"));
}
