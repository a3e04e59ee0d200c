//! `yak log diff`: where two replicas of a partition part.

use super::records::{bad_line, bad_object, open};
use super::{file, place, there};
use crate::commands::wire::Payload;
use crate::exit::{self, Failure};
use crate::text;
use anyhow::Context as _;
use clap::Args;
use std::cmp::Ordering;
use std::io::{self, Write as _};
use std::path::PathBuf;
use yak_storage::inspect::{Difference, Side, diff};
use yak_storage::io::ReadOnlyIo;

/// Find the first offset at which two replicas of a partition differ.
///
/// Replicas hold the same bytes. One that only ends earlier has not come so far, which is no difference. The
/// exit code is 3 if they differ.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The folder of a partition, or a segment
    a: PathBuf,
    /// The same of another replica
    b: PathBuf,
    /// Show keys, values and headers
    #[arg(long)]
    payload: bool,
    /// One line of JSON (as --output json)
    #[arg(long)]
    json: bool,
}

/// Compares both.
pub(super) fn run(args: &DiffArgs, json: bool) -> anyhow::Result<()> {
    let DiffArgs { a, b, payload, .. } = args;
    there(a)?;
    there(b)?;
    let payload = if *payload { Payload::Shown } else { Payload::Masked };
    let found = diff(&ReadOnlyIo, a, b)
        .with_context(|| format!("cannot compare {} and {}", a.display(), b.display()))?;
    let Difference { same: (from, to), batches, diverge, ends } = &found;
    let mut out = io::stdout().lock();
    if args.json || json {
        let side = |side: &Side| object(side, payload);
        let diverge = diverge
            .as_ref()
            .map(|(at, one, other)| serde_json::json!({ "offset": at, "a": side(one), "b": side(other) }));
        let line = serde_json::json!({
            "same_from": from, "same_to": to, "batches": batches, "end_a": ends.0, "end_b": ends.1,
            "diverge": diverge,
        });
        writeln!(out, "{line}")?;
    } else {
        let batches = if *batches == 1 {
            "1 batch".to_owned()
        } else {
            format!("{} batches", text::thousands(*batches))
        };
        writeln!(out, "the same: offsets {from} to {to}, {batches}")?;
    }
    let Some((at, one, other)) = diverge else {
        if !(args.json || json) {
            let says = match ends.0.cmp(&ends.1) {
                Ordering::Equal => format!("both end at {}", ends.0),
                Ordering::Less => {
                    format!("a ends at {}, b goes on to {}: a has not come so far", ends.0, ends.1)
                }
                Ordering::Greater => {
                    format!("b ends at {}, a goes on to {}: b has not come so far", ends.1, ends.0)
                }
            };
            writeln!(out, "{says}")?;
        }
        return Ok(());
    };
    if !(args.json || json) {
        for (name, side) in [("a", one), ("b", other)] {
            lines(name, side, payload).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
    }
    Err(Failure::new(exit::CHECK_FAILED, format!("they differ from offset {at} on")).into())
}

fn lines(name: &str, side: &Side, payload: Payload) -> Vec<String> {
    match side {
        Side::Batch(link, batch) => {
            let inner = open("", batch).lines(payload);
            let head = format!("{name}: {}", place(link));
            std::iter::once(head).chain(inner.iter().map(|line| format!("  {line}"))).collect()
        }
        Side::Bad(link, bad) => vec![format!("{name}: {}", place(link)), format!("  {}", bad_line(bad))],
        Side::End => vec![format!("{name}: its log ends here")],
    }
}

fn object(side: &Side, payload: Payload) -> serde_json::Value {
    let (link, inner) = match side {
        Side::Batch(link, batch) => (link, serde_json::to_value(open("", batch).object(payload))),
        Side::Bad(link, bad) => (link, serde_json::to_value(bad_object(bad))),
        Side::End => return serde_json::Value::Null,
    };
    serde_json::json!({ "file": file(link), "has": inner.unwrap_or_default() })
}
