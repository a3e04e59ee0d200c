//! Notes on stderr: time, level, sentence, fields.

use crate::arguments::Global;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to stderr. `YAK_LOG` (a tracing filter such as `debug` or `yak_broker=trace`) wins
/// over everything; otherwise servers say what happens, clients only notes to a person (`-v` for more)
/// and warnings to a pipe.
pub fn start(global: &Global, server: bool) {
    let person = std::io::stderr().is_terminal();
    let filter = match std::env::var("YAK_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        _ => default_filter(global, server || person).to_owned(),
    };
    let filter = EnvFilter::builder().parse_lossy(filter);
    let colour = person && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(global.verbose > 0)
        .init();
}

fn default_filter(global: &Global, notes: bool) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) if notes => "info",
        (_, 0) => "warn",
        (_, 1) => "info,yak=debug",
        (_, 2) => "debug",
        _ => "trace",
    }
}
