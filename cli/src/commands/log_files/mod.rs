//! `yak log`: the files of a broker, without the broker. Nothing is written.

mod diff;
mod dump;
mod records;
mod verify;

use crate::context::Context;
use crate::exit::{self, Failure};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use yak_storage::inspect::Link;

/// Look at the files of a broker: batches, indexes, the write-ahead log.
///
/// A path is a data dir, a folder in it (a topic, a partition, wal), or one file. The broker need not run, and
/// nothing is written.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak log dump data/b1/topics/5f0c.../0 --offsets 100..110 --payload
  yak log verify data/b1
  yak log diff b1/topics/5f0c.../0 b2/topics/5f0c.../0
  yak log dump --json data/b1/wal | jq 'select(.what == \"round\")'")]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand, Debug)]
enum LogCommand {
    /// Show every batch with its records, or what else the files hold
    Dump(dump::DumpArgs),
    /// Look for damage: checksums, offsets, leader epochs, indexes, ends of files
    Verify(verify::VerifyArgs),
    /// Find the first offset at which two replicas of a partition differ
    Diff(diff::DiffArgs),
}

/// Looks at files.
///
/// # Errors
/// When they cannot be read; exit code 3 when something is wrong with them.
pub async fn run(args: LogArgs, context: Context) -> anyhow::Result<()> {
    let json = context.json();
    let looking = tokio::task::spawn_blocking(move || match args.command {
        LogCommand::Dump(args) => dump::run(&args, json),
        LogCommand::Verify(args) => verify::run(&args, json),
        LogCommand::Diff(args) => diff::run(&args, json),
    });
    tokio::select! {
        outcome = looking => outcome?,
        () = context.shutdown.cancelled() => Err(Failure::interrupted().into()),
    }
}

/// A path that is not there has its own exit code.
fn there(path: &Path) -> anyhow::Result<()> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(exit::NOT_FOUND, format!("{} is not there", path.display())).into()),
        Err(error) => Err(anyhow::Error::from(error).context(format!("cannot look at {}", path.display()))),
    }
}

/// Where a piece lies, in words.
fn place(link: &Link) -> String {
    match link {
        Link::File(path) => path.display().to_string(),
        Link::Round(lsn) => format!("round {lsn} of the write-ahead log, not in its segment for certain"),
    }
}

/// The file of a place, for programs.
fn file(link: &Link) -> Option<PathBuf> {
    match link {
        Link::File(path) => Some(path.clone()),
        Link::Round(_) => None,
    }
}
