//! `yak encode`: messages in JSON as frames.

use crate::exit::{self, Failure};
use anyhow::Context as _;
use clap::Args;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use yak_protocol::decode::{annotate, render};
use yak_protocol::json::read_message;

/// Turn messages in JSON into frames, for nc and for files.
///
/// A message has a `kind`, an `id` (1 if absent), the keys of its body, and `bin` for batches. Strings stand
/// for bytes too; {"b64": ".."} and {"hex": ".."} are bytes. docs/PROTOCOL.md lists all kinds and keys.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak encode '{\"kind\":\"metadata\",\"id\":1}' | nc -N 127.0.0.1 9701 | yak decode
  yak encode --hex '{\"kind\":\"hello\",\"client\":\"me\"}'
  yak decode --json capture | jq -c .message | yak encode > again.bin")]
pub struct EncodeArgs {
    /// The message; - or nothing: one on each line of stdin
    message: Option<String>,
    /// Hex with what each byte is, as `yak decode --hex` has it, also into a pipe
    #[arg(long)]
    hex: bool,
    /// Take bodies as they are: unknown kinds, wrong keys, other versions
    #[arg(long)]
    as_is: bool,
}

/// Encodes one message, or lines of them.
///
/// # Errors
/// Exit code 2 for a message that is none, naming line, column and key.
pub fn run(args: EncodeArgs) -> anyhow::Result<()> {
    let out = io::stdout();
    // Raw bytes are no use to a terminal.
    let hex = args.hex || out.is_terminal();
    let mut out = out.lock();
    let mut at = 0;
    let mut write = |message: &[u8], place: &str| {
        let frame = encode(message, args.as_is)
            .map_err(|what| Failure::new(exit::USAGE, format!("{place}{what}")))?;
        if hex {
            out.write_all(render(at, &frame, &annotate(&frame)).as_bytes())?;
        } else {
            out.write_all(&frame)?;
        }
        at += frame.len() as u64;
        anyhow::Ok(out.flush()?)
    };
    match args.message.filter(|message| message != "-") {
        Some(message) => write(message.as_bytes(), ""),
        None => {
            for (index, line) in io::stdin().lock().split(b'\n').enumerate() {
                let line = line.context("cannot read stdin")?;
                let line = line.trim_ascii();
                if !line.is_empty() && !line.starts_with(b"#") {
                    write(line, &format!("line {} of stdin: ", index + 1))?;
                }
            }
            Ok(())
        }
    }
}

fn encode(message: &[u8], as_is: bool) -> Result<bytes::Bytes, String> {
    let message = read_message(message).map_err(|error| with_hint(&error))?;
    let frame = if as_is {
        message.to_frame_as_it_is().map_err(|error| error.to_string())?
    } else {
        message.to_frame().map_err(|error| with_hint(&error))?
    };
    Ok(frame.to_bytes())
}

fn with_hint(error: &yak_protocol::error::WireError) -> String {
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{}{hint}", error.message)
}
