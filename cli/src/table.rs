//! Results on stdout: a table for people, JSON for programs.

use crate::context::Context;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, Write as _};

/// Prints rows under upper-case headings, or `json` as one document.
///
/// # Errors
/// When stdout takes nothing.
pub fn print(
    context: &Context,
    headings: &[&str],
    rows: &[Vec<String>],
    json: &impl Serialize,
) -> io::Result<()> {
    if context.json() {
        return print_json(json);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table.add_rows(rows.iter().cloned());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    out.flush()
}

/// Prints one JSON document, indented for a person, on one line for a pipe.
///
/// # Errors
/// When stdout takes nothing.
pub fn print_json(json: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if io::IsTerminal::is_terminal(&out) {
        serde_json::to_writer_pretty(&mut out, json)?;
    } else {
        serde_json::to_writer(&mut out, json)?;
    }
    writeln!(out)?;
    out.flush()
}

/// Prints one line.
///
/// # Errors
/// When stdout takes nothing.
pub fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
