//! `yak log verify`: what does not fit in files.

use super::there;
use crate::exit::{self, Failure};
use crate::text;
use anyhow::Context as _;
use clap::Args;
use std::io::{self, Write as _};
use std::path::PathBuf;
use yak_storage::inspect::{Report, verify};
use yak_storage::io::ReadOnlyIo;

/// Look for damage: checksums, offsets, leader epochs, indexes, ends of files.
///
/// Damage is named with its file and byte, and the exit code is then 3. What an unclean stop leaves is told
/// apart: `torn`. What is only worth to know is a `note`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Data dirs, folders in them, or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Open every batch and go through its records, too
    #[arg(long)]
    deep: bool,
    /// One line of JSON for each finding, and one for the counts (as --output json)
    #[arg(long)]
    json: bool,
}

/// Verifies what is at the paths.
pub(super) fn run(args: &VerifyArgs, json: bool) -> anyhow::Result<()> {
    let mut damages = 0;
    let mut out = io::stdout().lock();
    for path in &args.paths {
        there(path)?;
        let report = verify(&ReadOnlyIo, path, args.deep)
            .with_context(|| format!("cannot look through {}", path.display()))?;
        let Report { segments, batches, records, rounds, findings } = &report;
        for finding in findings {
            if args.json || json {
                writeln!(out, "{}", serde_json::to_string(finding)?)?;
            } else {
                writeln!(out, "{finding}")?;
            }
        }
        if args.json || json {
            let counts = serde_json::json!({
                "path": path, "segments": segments, "batches": batches, "records": records, "rounds": rounds,
                "damages": report.damages(),
            });
            writeln!(out, "{counts}")?;
        } else {
            let counts =
                [(*segments, "segment"), (*batches, "batch"), (*records, "record"), (*rounds, "round")];
            let counts: Vec<_> = counts.iter().map(|(number, noun)| counted(*number, noun)).collect();
            let damages = match report.damages() {
                0 => "no damage".to_owned(),
                number => text::count(number as u64, "damage"),
            };
            writeln!(out, "{}: {}: {damages}", path.display(), counts.join(", "))?;
        }
        damages += report.damages();
    }
    if damages > 0 {
        let what = format!(
            "{} found; a broker marks what it finds and fetches it from another replica: WHY topic/partition",
            text::count(damages as u64, "damage")
        );
        return Err(Failure::new(exit::CHECK_FAILED, what).into());
    }
    Ok(())
}

fn counted(number: u64, noun: &str) -> String {
    match (number, noun) {
        (1, _) | (_, "segment" | "record" | "round") => text::count(number, noun),
        _ => format!("{} batches", text::thousands(number)),
    }
}
