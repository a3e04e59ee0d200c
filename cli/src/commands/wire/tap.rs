//! `yak tap`: the frames of a running server.

use super::lines::clock;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::text;
use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, Write as _};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use yak_protocol::defaults::BROKER_PORT;

/// How long the server may take to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Show the frames of a running server as they come and go.
///
/// The server sends copies of at most --rate frames a second and says how many more there were. What people
/// sent (keys, values, headers) stays hidden without --payload.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak tap 127.0.0.1:9701
  yak tap 127.0.0.1:9701 topic=orders --payload
  yak tap 127.0.0.1:9700 conn=3 --json | jq .message.kind")]
pub struct TapArgs {
    /// Which server: a broker or the coordinator; the port defaults to 9701
    #[arg(value_name = "HOST[:PORT]")]
    server: String,
    /// Only one connection (`CONNS` lists them), or one topic: conn=3, topic=orders
    #[arg(value_name = "conn=N|topic=NAME")]
    what: Option<String>,
    /// Show what people sent, too
    #[arg(long)]
    payload: bool,
    /// How many frames a second at most [default: the server's]
    #[arg(long, value_name = "FRAMES")]
    rate: Option<u32>,
    /// End after so many frames
    #[arg(short = 'n', long, value_name = "FRAMES")]
    count: Option<u64>,
    /// One line of JSON for each frame (as --output json)
    #[arg(long)]
    json: bool,
}

/// A frame, as the server tells of it.
#[derive(Deserialize)]
struct Tapped<'a> {
    time: String,
    connection: u64,
    direction: String,
    bytes: usize,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// Anything else that it says.
#[derive(Deserialize)]
struct Said {
    ok: Option<bool>,
    /// How many frames it has shown, at the end.
    frames: Option<u64>,
    /// How many more there were.
    #[serde(default)]
    dropped: u64,
    /// A note between frames.
    line: Option<String>,
    error: Option<String>,
    message: Option<String>,
    hint: Option<String>,
}

/// Shows frames until it is stopped.
///
/// # Errors
/// When the server cannot be reached, refuses, or goes away.
pub async fn run(args: TapArgs, context: Context) -> anyhow::Result<()> {
    let command = command(&args)?;
    let address = if args.server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        args.server.clone()
    } else {
        format!("{}:{BROKER_PORT}", args.server)
    };
    let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&address));
    let stream = match connecting.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(Failure::new(exit::UNREACHABLE, format!("cannot reach {address}: {error}")).into());
        }
        Err(_) => return Err(Failure::new(exit::UNREACHABLE, format!("{address} does not answer")).into()),
    };
    let (read, mut write) = stream.into_split();
    write.write_all(command.as_bytes()).await?;
    let mut lines = BufReader::new(read).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.with_context(|| format!("reading from {address}"))?,
            () = context.shutdown.cancelled() => return Ok(()),
        };
        let Some(line) = line else {
            return Err(
                Failure::new(exit::UNREACHABLE, format!("{address} has closed the connection")).into()
            );
        };
        if let Ok(tapped) = serde_json::from_str(&line) {
            show(&tapped, &line, args.json || context.json())?;
            continue;
        }
        let said: Said =
            serde_json::from_str(&line).with_context(|| format!("{address} answers with {line:?}"))?;
        if let Some(note) = &said.line {
            tracing::warn!("{}", note.trim_start_matches("# "));
        }
        match (said.ok, said.frames) {
            (Some(false), _) => return Err(refused(&address, &said).into()),
            (Some(true), Some(frames)) => {
                tracing::info!(
                    "{} shown, {} dropped",
                    text::count(frames, "frame"),
                    text::thousands(said.dropped)
                );
                return Ok(());
            }
            _ => {}
        }
    }
}

fn refused(address: &str, said: &Said) -> Failure {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    let hint = said.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::new(exit::FAILURE, format!("{address}: {}: {}{hint}", of(&said.error), of(&said.message)))
}

/// What is sent: two lines of text.
fn command(args: &TapArgs) -> anyhow::Result<String> {
    let wrong =
        |what: &str| Failure::new(exit::USAGE, format!("{what:?} is neither conn=NUMBER nor topic=NAME"));
    let what = match &args.what {
        None => "*",
        Some(what) => match what.split_once('=') {
            Some(("conn", number)) if number.parse::<u64>().is_ok() => number,
            Some(("topic", name)) if yak_protocol::names::check_topic(name).is_ok() => name,
            _ => return Err(wrong(what).into()),
        },
    };
    let mut command = format!("FORMAT json\nTAP {what}");
    if let Some(count) = args.count {
        command.push_str(&format!(" {count}"));
    }
    if let Some(rate) = args.rate {
        command.push_str(&format!(" rate={rate}"));
    }
    if args.payload {
        command.push_str(" payload=on");
    }
    command.push('\n');
    Ok(command)
}

fn show(tapped: &Tapped<'_>, line: &str, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{line}")?;
        return out.flush();
    }
    let Tapped { time, connection, direction, bytes, message } = tapped;
    let arrow = if direction == "in" { "->" } else { "<-" };
    let time = time.parse::<jiff::Timestamp>().ok();
    let since = time.and_then(|time| Duration::try_from(time.as_duration()).ok());
    let time = since.map_or_else(|| tapped.time.clone(), clock);
    writeln!(out, "#{connection} {arrow} {time}  length {bytes} (0x{bytes:x})  {}", message.get())?;
    out.flush()
}
