//! A bar for whoever watches.

use super::BenchArgs;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

/// A bar on a terminal, nothing elsewhere. Clones draw the same one.
#[derive(Clone)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar of so many records; without an end if there is only a time limit.
    pub(super) fn start(args: &BenchArgs, mode: &'static str, records: u64) -> Self {
        if args.no_progress || args.json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (bar, template) = if records == u64::MAX {
            (ProgressBar::new_spinner(), "{msg:11} {spinner} {human_pos} records, {per_sec}, {elapsed}")
        } else {
            (ProgressBar::new(records), "{msg:11} {bar:30} {percent}%, {per_sec}, {eta} left")
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(mode);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// So many more are done.
    pub(super) fn add(&self, records: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(records);
        }
    }

    /// So many are done.
    pub(super) fn at(&self, records: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(records);
        }
    }

    /// Takes the bar away: the report comes in its place.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
