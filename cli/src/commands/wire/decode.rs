//! `yak decode`: captured bytes as frames.

use super::events::Ends;
use super::filter;
use super::printer::{Printer, Style};
use crate::context::Context;
use crate::exit::{self, Failure};
use anyhow::Context as _;
use clap::Args;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::PathBuf;
use yak_protocol::decode::capture::{Assembler, Form, Input, read};
use yak_protocol::decode::{Conversation, Direction};

/// Show captured bytes as frames: raw ones, hex dumps, base64, pcap and pcapng.
///
/// Nothing is guessed: bytes that cannot be read are named with their place, and the exit code is 3.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  tcpdump -i lo -w failover.pcap tcp port 9701 ; yak decode failover.pcap --bodies
  yak encode '{\"kind\":\"metadata\"}' | nc -N 127.0.0.1 9701 | yak decode
  yak decode --filter kind=publish topic=orders --json < failover.pcap | jq .latency_ms
  xclip -o | yak decode --hex
  yak decode --wireshark-dissector > ~/.local/lib/wireshark/plugins/yak.lua")]
pub struct DecodeArgs {
    /// The bytes; - or nothing: stdin
    file: Option<PathBuf>,
    /// The form of the bytes: raw, hex, base64 or pcap [default: what they look like]
    #[arg(long, value_name = "FORM")]
    input: Option<Form>,
    /// Of a pcap only connections with these ports, which are those of servers
    #[arg(long, value_name = "PORT,..", value_delimiter = ',')]
    port: Vec<u16>,
    /// One line of JSON for each frame (as --output json)
    #[arg(long, conflicts_with = "hex")]
    json: bool,
    /// Every byte of each frame in hex, with what it is
    #[arg(long)]
    hex: bool,
    /// Open the batches: checksum, codec, producer, every record
    #[arg(long)]
    bodies: bool,
    /// Only frames with these: kind=, topic=, id= (several values with commas), and the answers to them
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    filter: Vec<String>,
    /// Print a dissector for Wireshark instead
    #[arg(long, exclusive = true)]
    wireshark_dissector: bool,
}

/// Decodes a file or stdin.
///
/// # Errors
/// When it cannot be read; exit code 3 when not every byte of it is known.
pub async fn run(args: DecodeArgs, context: Context) -> anyhow::Result<()> {
    if args.wireshark_dissector {
        io::stdout().write_all(yak_protocol::decode::wireshark_dissector().as_bytes())?;
        return Ok(());
    }
    let filter = filter(&args.filter)?;
    let path = args.file.filter(|path| path.as_os_str() != "-");
    let name = path.as_ref().map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    let reading = tokio::task::spawn_blocking(move || match path {
        Some(path) => std::fs::read(path),
        None => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
    });
    let bytes = tokio::select! {
        bytes = reading => bytes?.with_context(|| format!("cannot read {name}"))?,
        () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
    };
    let form = args.input.unwrap_or_else(|| Form::of(&bytes));
    let input = read(bytes, form).with_context(|| format!("{name} as {form}"))?;

    let style = match (args.json || context.json(), args.hex) {
        (true, _) => Style::Json,
        (_, true) => Style::Hex,
        _ => Style::Text,
    };
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), style, args.bodies);
    let mut cut = None;
    match input {
        Input::Stream(bytes) => {
            let mut conversation = Conversation::new(filter);
            let mut events = conversation.push(Direction::Unknown, None, &bytes);
            events.extend(conversation.end(Direction::Unknown, None));
            events.iter().try_for_each(|event| printer.show(None, event, None))?;
        }
        Input::Packets { packets, cut_off } => {
            let mut assembler = Assembler::new(filter, args.port);
            let mut show = |sightings: Vec<yak_protocol::decode::capture::Sighting>| {
                sightings.iter().try_for_each(|sighting| {
                    let ends = Ends {
                        connection: sighting.connection,
                        client: sighting.client,
                        server: sighting.server,
                    };
                    let middle = (!sighting.from_its_beginning).then_some("captured from its middle on");
                    printer.show(Some(&ends), &sighting.event, middle)
                })
            };
            for packet in &packets {
                show(assembler.push(packet))?;
            }
            show(assembler.finish())?;
            cut = cut_off;
        }
    }
    printer.flush()?;
    let tally = printer.tally();
    tracing::info!("{name} ({form}): {}", tally.words());
    if tally.problems > 0 || tally.unknown_bytes > 0 || cut.is_some() {
        let cut = cut.map(|cut| format!("; {cut}")).unwrap_or_default();
        return Err(Failure::new(exit::CHECK_FAILED, format!("{name}: {}{cut}", tally.words())).into());
    }
    Ok(())
}
