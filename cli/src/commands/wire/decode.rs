//! `yak decode`: captured bytes as frames.

use super::events::Ends;
use super::filter;
use super::printer::{Printer, Style};
use crate::context::Context;
use crate::exit::{self, Failure};
use anyhow::Context as _;
use clap::Args;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use yak_protocol::decode::capture::{Assembler, CaptureReader, Form, Input, Sighting, read};
use yak_protocol::decode::{Conversation, Direction, Filter};

/// Read at once.
const READ_BYTES: usize = 64 << 10;
/// Frames and captures are told by so many bytes.
const TELLING_BYTES: usize = 4;

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

/// Decodes a file or stdin. Frames and captures are shown as they come.
///
/// # Errors
/// When it cannot be read; exit code 3 when not every byte of it is known.
pub async fn run(args: DecodeArgs, context: Context) -> anyhow::Result<()> {
    if args.wireshark_dissector {
        io::stdout().write_all(yak_protocol::decode::wireshark_dissector().as_bytes())?;
        return Ok(());
    }
    let filter = filter(&args.filter)?;
    let json = args.json || context.json();
    let decoding = tokio::task::spawn_blocking(move || decode(args, filter, json));
    tokio::select! {
        outcome = decoding => outcome?,
        () = context.shutdown.cancelled() => Err(Failure::interrupted().into()),
    }
}

fn decode(args: DecodeArgs, filter: Filter, json: bool) -> anyhow::Result<()> {
    let path = args.file.filter(|path| path.as_os_str() != "-");
    let name = path.as_ref().map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    let cannot = || format!("cannot read {name}");
    let mut source: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path).with_context(cannot)?),
        None => Box::new(io::stdin().lock()),
    };
    let style = match (json, args.hex) {
        (true, _) => Style::Json,
        (_, true) => Style::Hex,
        _ => Style::Text,
    };
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), style, args.bodies);
    let mut begin = Vec::new();
    let known = loop {
        if matches!(args.input, Some(Form::Raw | Form::Pcap)) {
            break args.input;
        }
        // With four bytes all that can be read as it comes can be told.
        let told = args.input.is_none().then(|| Form::of_stream(&begin)).flatten();
        if told.is_some()
            || begin.len() >= TELLING_BYTES
            || !more(&mut *source, &mut begin).with_context(cannot)?
        {
            break told;
        }
    };
    let (form, cut) = if let Some(form) = known {
        let mut live = Live::new(form, filter, args.port);
        let mut bytes = begin;
        loop {
            let ended = bytes.is_empty() && !more(&mut *source, &mut bytes).with_context(cannot)?;
            live.take(&bytes, &mut printer).with_context(|| format!("{name} as {form}"))?;
            // Whoever watches sees it now.
            printer.flush()?;
            bytes.clear();
            if ended {
                break;
            }
        }
        (form, live.end(&mut printer).with_context(|| format!("{name} as {form}"))?)
    } else {
        while more(&mut *source, &mut begin).with_context(cannot)? {}
        let form = args.input.unwrap_or_else(|| Form::of(&begin));
        let input = read(begin, form).with_context(|| format!("{name} as {form}"))?;
        (form, all(input, filter, args.port, &mut printer)?)
    };
    printer.flush()?;
    let tally = printer.tally();
    tracing::info!("{name} ({form}): {}", tally.words());
    if tally.problems > 0 || tally.unknown_bytes > 0 || cut.is_some() {
        let cut = cut.map(|cut| format!("; {cut}")).unwrap_or_default();
        return Err(Failure::new(exit::CHECK_FAILED, format!("{name}: {}{cut}", tally.words())).into());
    }
    Ok(())
}

/// Reads some more; whether there was any.
fn more(source: &mut dyn Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut some = vec![0; READ_BYTES];
    loop {
        match source.read(&mut some) {
            Ok(count) => {
                into.extend_from_slice(&some[..count]);
                return Ok(count > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What was read as a whole.
fn all<W: Write>(
    input: Input,
    filter: Filter,
    ports: Vec<u16>,
    printer: &mut Printer<W>,
) -> anyhow::Result<Option<String>> {
    match input {
        Input::Stream(bytes) => {
            let mut live = Live::new(Form::Raw, filter, ports);
            live.take(&bytes, printer)?;
            live.end(printer)
        }
        Input::Packets { packets, cut_off } => {
            let mut assembler = Assembler::new(filter, ports);
            packets.iter().try_for_each(|packet| show(printer, &assembler.push(packet)))?;
            show(printer, &assembler.finish())?;
            Ok(cut_off)
        }
    }
}

/// Something that is read while it still comes.
enum Live {
    Stream(Box<Conversation>),
    Capture(CaptureReader, Box<Assembler>),
}

impl Live {
    fn new(form: Form, filter: Filter, ports: Vec<u16>) -> Self {
        match form {
            Form::Pcap => Self::Capture(CaptureReader::default(), Box::new(Assembler::new(filter, ports))),
            _ => Self::Stream(Box::new(Conversation::new(filter))),
        }
    }

    fn take<W: Write>(&mut self, bytes: &[u8], printer: &mut Printer<W>) -> anyhow::Result<()> {
        match self {
            Self::Stream(conversation) => {
                let events = conversation.push(Direction::Unknown, None, bytes);
                events.iter().try_for_each(|event| printer.show(None, event, None))?;
            }
            Self::Capture(reader, assembler) => {
                reader.push(bytes);
                while let Some(packet) = reader.next_packet()? {
                    show(printer, &assembler.push(&packet))?;
                }
            }
        }
        Ok(())
    }

    /// Says what is left, and why the capture is not whole.
    fn end<W: Write>(self, printer: &mut Printer<W>) -> anyhow::Result<Option<String>> {
        match self {
            Self::Stream(mut conversation) => {
                let events = conversation.end(Direction::Unknown, None);
                events.iter().try_for_each(|event| printer.show(None, event, None))?;
                Ok(None)
            }
            Self::Capture(reader, mut assembler) => {
                let cut_off = reader.end()?;
                show(printer, &assembler.finish())?;
                Ok(cut_off)
            }
        }
    }
}

fn show<W: Write>(printer: &mut Printer<W>, sightings: &[Sighting]) -> io::Result<()> {
    sightings.iter().try_for_each(|sighting| {
        let Sighting { connection, client, server, .. } = *sighting;
        let middle = (!sighting.from_its_beginning).then_some("captured from its middle on");
        printer.show(Some(&Ends { connection, client, server }), &sighting.event, middle)
    })
}
