//! `yak log dump`: what files hold.

use super::records::{bad_line, bad_object, open};
use super::{file, place, there};
use crate::commands::wire::Payload;
use crate::exit::{self, Failure};
use crate::text;
use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use yak_protocol::batch::batches;
use yak_storage::inspect::{
    Batch, DataDir, FileKind, Link, LogSummary, LogView, Piece, RoundEntry, WalEnd, What, checkpoint_copy,
    files, identity_copy, index_lines, rounds,
};
use yak_storage::io::{Io as _, ReadOnlyIo};

/// Show every batch with its records, or what else the files hold.
///
/// Keys, values and headers are masked unless asked for. The exit code is 3 if something could not be read.
#[derive(Args, Debug)]
pub struct DumpArgs {
    /// A data dir, a folder in it, or a file
    path: PathBuf,
    /// Only batches with offsets in this range: 100..200, 100.., ..200
    #[arg(long, value_name = "FROM..TO", value_parser = offsets)]
    offsets: Option<Range<u64>>,
    /// Show keys, values and headers
    #[arg(long)]
    payload: bool,
    /// One line of JSON for each thing (as --output json)
    #[arg(long)]
    json: bool,
}

fn offsets(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text} is no range of offsets; 100..200 is one, and 100.. and ..200");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str, open| if text.is_empty() { Ok(open) } else { text.parse() };
    let range = number(from, 0).and_then(|from| Ok(from..number(to, u64::MAX)?)).map_err(|_| wrong())?;
    if range.is_empty() { Err(format!("{text} is an empty range")) } else { Ok(range) }
}

/// Dumps what is at the path.
pub(super) fn run(args: &DumpArgs, json: bool) -> anyhow::Result<()> {
    there(&args.path)?;
    let mut dump = Dump {
        out: BufWriter::new(io::stdout().lock()),
        json: args.json || json,
        payload: if args.payload { Payload::Shown } else { Payload::Masked },
        offsets: args.offsets.clone().unwrap_or(0..u64::MAX),
        wrong: 0,
        headed: None,
    };
    dump.path(&args.path).with_context(|| format!("cannot dump {}", args.path.display()))?;
    dump.out.flush()?;
    if dump.wrong > 0 {
        let what = format!("{}: {}", args.path.display(), text::count(dump.wrong, "problem"));
        return Err(Failure::new(exit::CHECK_FAILED, format!("{what}; yak log verify says more")).into());
    }
    Ok(())
}

struct Dump<W> {
    out: W,
    json: bool,
    payload: Payload,
    offsets: Range<u64>,
    /// Things that could not be read.
    wrong: u64,
    /// The place whose heading was printed last.
    headed: Option<String>,
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<T: Serialize> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    what: &'static str,
    #[serde(flatten)]
    thing: T,
}

impl<W: Write> Dump<W> {
    fn path(&mut self, path: &Path) -> io::Result<()> {
        let io = &ReadOnlyIo;
        match What::of(io, path)? {
            What::DataDir => {
                for (path, kind) in files(io, path)? {
                    if matches!(kind, FileKind::Identity | FileKind::Checkpoint | FileKind::Wal) {
                        self.file(&path, kind)?;
                    }
                }
                let dir = DataDir::look(io, path)?;
                LogView::all(&dir, Some(path)).iter().try_for_each(|view| self.view(view))
            }
            What::Partition => self.view(&LogView::open(io, path)?),
            What::Wal => files(io, path)?.iter().try_for_each(|(path, kind)| self.file(path, *kind)),
            What::Folder => {
                let entries = io.list(path)?;
                let folders = entries.iter().filter(|entry| entry.is_dir);
                folders.map(|entry| path.join(&entry.name)).try_for_each(|inner| self.path(&inner))
            }
            What::File(kind) => self.file(path, kind),
        }
    }

    fn file(&mut self, path: &Path, kind: FileKind) -> io::Result<()> {
        match kind {
            FileKind::Segment => self.view(&LogView::open(&ReadOnlyIo, path)?),
            FileKind::Wal => self.wal(path),
            FileKind::Index => self.index(path, false),
            FileKind::TimeIndex => self.index(path, true),
            FileKind::Checkpoint => self.checkpoint(path),
            FileKind::Identity => self.identity(path),
            FileKind::Producers | FileKind::Other => {
                let what = format!("{} is nothing that can be shown here", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
        }
    }

    /// Says where what follows lies, once.
    fn head(&mut self, place: String) -> io::Result<()> {
        if !self.json && self.headed.as_ref() != Some(&place) {
            writeln!(self.out, "{place}")?;
            self.headed = Some(place);
        }
        Ok(())
    }

    fn line<T: Serialize>(&mut self, file: Option<PathBuf>, what: &'static str, thing: T) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &Line { file, what, thing })?;
        self.out.write_all(b"\n")
    }

    fn view(&mut self, view: &LogView) -> io::Result<()> {
        for found in view.chain(&ReadOnlyIo) {
            let (link, piece) = found?;
            match piece {
                Piece::Batch(batch) => self.batch(&link, "", &batch, "  ")?,
                Piece::Bad(bad) => {
                    self.wrong += u64::from(!bad.torn);
                    self.head(place(&link))?;
                    if self.json {
                        self.line(file(&link), "bad", bad_object(&bad))?;
                    } else {
                        writeln!(self.out, "  {}", bad_line(&bad))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, link: &Link, partition: &str, batch: &Batch, indent: &str) -> io::Result<()> {
        let header = &batch.header;
        if header.base_offset.0 >= self.offsets.end || header.next_offset().0 <= self.offsets.start {
            return Ok(());
        }
        let opened = open(partition, batch);
        self.wrong += u64::from(!opened.is_sound());
        self.head(place(link))?;
        if self.json {
            return self.line(file(link), "batch", opened.object(self.payload));
        }
        opened.lines(self.payload).iter().try_for_each(|line| writeln!(self.out, "{indent}{line}"))
    }

    fn wal(&mut self, path: &Path) -> io::Result<()> {
        self.head(path.display().to_string())?;
        let link = Link::File(path.to_owned());
        let (header, end) = rounds(&ReadOnlyIo, path, |round| {
            self.wrong += u64::from(!round.whole);
            if self.json {
                self.line(Some(path.to_owned()), "round", &round)?;
            } else {
                let state = if round.whole { "whole" } else { "DAMAGED" };
                let length = text::count(round.bytes.into(), "byte");
                let synced = round.synced_lsn;
                writeln!(
                    self.out,
                    "  round {}  byte {}  {length}  {state}  synced to {synced}",
                    round.lsn, round.at
                )?;
            }
            round.entries.iter().try_for_each(|entry| self.entry(&link, entry))
        })?;
        if self.json {
            return match header {
                Some(header) => self.line(Some(path.to_owned()), "wal", header),
                None => Ok(()),
            };
        }
        if let Some(header) = header {
            writeln!(self.out, "  file id {}, from round {} on", header.id, header.first_lsn)?;
        }
        match end {
            WalEnd::Clean | WalEnd::LeftOver(_) | WalEnd::NoHeader { unused: true } => Ok(()),
            WalEnd::Torn(at) => {
                writeln!(self.out, "  !! byte {at}: torn: a round was begun and not finished")
            }
            WalEnd::Damaged(what) => {
                self.wrong += 1;
                writeln!(self.out, "  !! {what}")
            }
            WalEnd::NoHeader { unused: false } => {
                self.wrong += 1;
                writeln!(self.out, "  !! byte 0: neither copy of the header can be read")
            }
        }
    }

    fn entry(&mut self, link: &Link, entry: &RoundEntry) -> io::Result<()> {
        let partition = entry.partition.as_deref().unwrap_or("?");
        if !self.json {
            let state = if entry.sound { "" } else { "  DAMAGED" };
            writeln!(self.out, "    {partition}  {}{state}", entry.change)?;
        }
        let mut walk = batches(&entry.batches);
        let mut position = 0;
        while let Some(found) = walk.next() {
            let Ok((header, bytes)) = found else {
                self.wrong += u64::from(entry.sound);
                break;
            };
            let bytes = entry.batches.slice_ref(bytes);
            let at = entry.batches_at + position as u64;
            self.batch(link, partition, &Batch { at, header, bytes, problem: None }, "      ")?;
            position = walk.position();
        }
        Ok(())
    }

    fn index(&mut self, path: &Path, times: bool) -> io::Result<()> {
        let (lines, rest) = index_lines(&ReadOnlyIo, path, times)?;
        self.head(path.display().to_string())?;
        let base: u64 = path.file_stem().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
        for line in lines {
            if self.json {
                self.line(Some(path.to_owned()), "index", line)?;
                continue;
            }
            let offset = base + u64::from(line.relative_offset);
            match (line.position, line.max_timestamp_before, line.leader_epoch) {
                (Some(position), ..) => writeln!(self.out, "  offset {offset}  byte {position}")?,
                (_, Some(time), Some(epoch)) => {
                    writeln!(
                        self.out,
                        "  offset {offset}  leader epoch {epoch}  nothing before is newer than {time}"
                    )?;
                }
                _ => {}
            }
        }
        if rest > 0 && !self.json {
            writeln!(self.out, "  !! torn: {rest} bytes, fewer than an entry")?;
        }
        Ok(())
    }

    fn not_whole(&mut self, path: &Path) -> io::Result<()> {
        self.wrong += 1;
        let problem = "it is not whole";
        if self.json {
            return self.line(Some(path.to_owned()), "bad", serde_json::json!({ "problem": problem }));
        }
        writeln!(self.out, "  !! {problem}")
    }

    fn checkpoint(&mut self, path: &Path) -> io::Result<()> {
        let copy = checkpoint_copy(&ReadOnlyIo, path)?;
        self.head(path.display().to_string())?;
        let Some((generation, lsn, logs)) = copy else { return self.not_whole(path) };
        if self.json {
            let thing = serde_json::json!({ "generation": generation, "lsn": lsn, "logs": logs });
            return self.line(Some(path.to_owned()), "checkpoint", thing);
        }
        writeln!(
            self.out,
            "  generation {generation}  up to round {lsn}  {}",
            text::count(logs.len() as u64, "log")
        )?;
        logs.iter().try_for_each(|log| self.log(log))
    }

    fn log(&mut self, log: &LogSummary) -> io::Result<()> {
        let LogSummary { topic, partition, lsn, log_start, log_end, high_watermark_hint, .. } = log;
        let epochs: Vec<_> =
            log.epochs.iter().map(|start| format!("{}@{}", start.epoch, start.start)).collect();
        writeln!(
            self.out,
            "    {topic}/{partition}  offsets {log_start} to {log_end}  high watermark at least \
             {high_watermark_hint}  round {lsn}  leader epochs {}",
            epochs.join(" ")
        )?;
        for segment in &log.segments {
            let bytes = text::count(segment.bytes, "byte");
            writeln!(self.out, "      segment {:020}  to offset {}  {bytes}", segment.base, segment.end)?;
        }
        for (from, to) in &log.damaged {
            writeln!(self.out, "      damaged: offsets {from} to {to}")?;
        }
        Ok(())
    }

    fn identity(&mut self, path: &Path) -> io::Result<()> {
        let copy = identity_copy(&ReadOnlyIo, path)?;
        self.head(path.display().to_string())?;
        let Some((generation, identity)) = copy else { return self.not_whole(path) };
        if self.json {
            let thing = serde_json::json!({
                "generation": generation, "data_dir": identity.data_dir, "cluster_id": identity.cluster_id,
                "broker_id": identity.broker_id, "name": identity.name, "broker_epoch": identity.broker_epoch,
                "coordinator_epoch": identity.coordinator_epoch, "clean_shutdown": identity.clean_shutdown,
            });
            return self.line(Some(path.to_owned()), "identity", thing);
        }
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        writeln!(
            self.out,
            "  generation {generation}  data dir {}  cluster {}  broker {} ({})  broker epoch {}  coordinator \
             epoch {}  {}",
            identity.data_dir,
            or_none(identity.cluster_id.map(|id| id.to_string())),
            or_none(identity.broker_id.map(|id| id.to_string())),
            or_none(identity.name),
            identity.broker_epoch,
            identity.coordinator_epoch,
            if identity.clean_shutdown { "stopped cleanly" } else { "in use, or not stopped cleanly" },
        )
    }
}
