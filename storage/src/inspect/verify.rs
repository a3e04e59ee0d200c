//! What does not fit in files, and where.

use super::chain::{Link, LogView, SegmentView};
use super::dir::{DataDir, within};
use super::index::{Indexed, check};
use super::{FileKind, Finding, Level, Piece, WalEnd, What, files, rounds};
use crate::io::{Io, read_whole};
use crate::layout::{TOPICS, WAL, parse_wal};
use crate::{checkpoint, identity, producers};
use serde::Serialize;
use std::io;
use std::path::Path;
use yak_protocol::batch::{BatchHeader, OwnedRecords};
use yak_protocol::defaults::UNPACKED_BATCH_BYTES_MAX;

/// What was looked at, and what was found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Batches with a good checksum.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Rounds of the write-ahead log that are whole.
    pub rounds: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are damage.
    #[must_use]
    pub fn damages(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Damage).count()
    }

    fn put(&mut self, level: Level, file: &Path, at: u64, what: impl Into<String>) {
        self.findings.push(Finding { level, file: file.to_owned(), at, what: what.into() });
    }
}

/// Looks through everything below `path`: checksums, offsets, leader epochs, indexes, and how files end. With
/// `deep`, every batch is opened and its records are gone through.
///
/// # Errors
/// When something cannot be read.
pub fn verify(io: &dyn Io, path: &Path, deep: bool) -> io::Result<Report> {
    let mut report = Report::default();
    let mut verifier = Verifier { io, deep, report: &mut report };
    match What::of(io, path)? {
        What::DataDir => {
            let mut dir = DataDir::look(io, path)?;
            verifier.report.findings.append(&mut dir.findings);
            verifier.wal_files(&path.join(WAL))?;
            for view in LogView::all(&dir, Some(path)) {
                verifier.log(&view)?;
            }
            let topics = path.join(TOPICS);
            if dir.logs.is_empty() && io.exists(&topics)? {
                let below = verify(io, &topics, deep)?;
                verifier.add(below);
            }
        }
        What::Partition => verifier.log(&LogView::open(io, path)?)?,
        What::Wal => verifier.wal_files(path)?,
        What::Folder => {
            let mut inner = io.list(path)?;
            inner.retain(|entry| entry.is_dir);
            for entry in inner {
                let below = verify(io, &path.join(entry.name), deep)?;
                verifier.add(below);
            }
        }
        What::File(kind) => verifier.file(path, kind)?,
    }
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Ok(report)
}

struct Verifier<'a> {
    io: &'a dyn Io,
    deep: bool,
    report: &'a mut Report,
}

impl Verifier<'_> {
    fn add(&mut self, other: Report) {
        self.report.segments += other.segments;
        self.report.batches += other.batches;
        self.report.records += other.records;
        self.report.rounds += other.rounds;
        self.report.findings.extend(other.findings);
    }

    fn file(&mut self, path: &Path, kind: FileKind) -> io::Result<()> {
        let whole = |what: &dyn Fn(&[u8]) -> bool| read_whole(self.io, path).map(|bytes| what(&bytes));
        let sound = match kind {
            FileKind::Segment => return self.log(&LogView::open(self.io, path)?),
            FileKind::Wal => return self.wal_file(path, true),
            FileKind::Index | FileKind::TimeIndex => {
                let view = LogView::open(self.io, &path.with_extension("log"))?;
                return self.log(&view);
            }
            FileKind::Checkpoint => whole(&|bytes| checkpoint::decode(bytes).is_some())?,
            FileKind::Identity => whole(&|bytes| identity::decode(bytes).is_ok())?,
            FileKind::Producers => whole(&producers::is_whole)?,
            FileKind::Other => {
                let what = format!("{} is no file of a store", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        };
        if !sound {
            self.report.put(Level::Damage, path, 0, "it is not whole");
        }
        Ok(())
    }

    /// The rounds that no start would look at any more, too: those before the checkpoint.
    fn wal_files(&mut self, folder: &Path) -> io::Result<()> {
        if !self.io.exists(folder)? {
            return Ok(());
        }
        let mut known = Vec::new();
        for (path, _) in files(self.io, folder)?.into_iter().filter(|(_, kind)| *kind == FileKind::Wal) {
            let (header, _) = rounds(self.io, &path, |_| Ok(()))?;
            known.push((header.map(|header| header.id), path));
        }
        known.sort();
        let newest = known.len().saturating_sub(1);
        for (number, (_, path)) in known.iter().enumerate() {
            self.wal_file(path, number == newest)?;
        }
        Ok(())
    }

    fn wal_file(&mut self, path: &Path, newest: bool) -> io::Result<()> {
        let report = &mut *self.report;
        let (_, end) = rounds(self.io, path, |round| {
            if round.whole {
                report.rounds += 1;
            } else {
                let what = format!("round {} was synced and is damaged", round.lsn);
                let known = report.findings.iter().any(|found| found.file == path && found.at == round.at);
                if !known {
                    report.put(Level::Damage, path, round.at, what);
                }
            }
            Ok(())
        })?;
        let named = path.file_name().is_some_and(|name| parse_wal(&name.to_string_lossy()).is_some());
        match end {
            WalEnd::Clean | WalEnd::NoHeader { unused: true } => {}
            WalEnd::NoHeader { unused: false } if newest && named => {
                report.put(Level::Damage, path, 0, "neither copy of its header can be read");
            }
            WalEnd::NoHeader { .. } => report.put(Level::Damage, path, 0, "it has no header"),
            WalEnd::Torn(at) if newest => {
                report.put(Level::Torn, path, at, "a round was begun here and not finished");
            }
            WalEnd::LeftOver(at) if newest => {
                let what = "no round begins here: what follows is unfinished, or left from an earlier use";
                report.put(Level::Note, path, at, what);
            }
            // Rounds went on in a later file.
            WalEnd::Torn(_) | WalEnd::LeftOver(_) => {}
            WalEnd::Damaged(what) => report.put(Level::Damage, path, 0, what),
        }
        Ok(())
    }

    fn log(&mut self, view: &LogView) -> io::Result<()> {
        let mut so_far = SoFar { next: None, epoch: 0 };
        let last = view.segments.len().saturating_sub(1);
        for (number, segment) in view.segments.iter().enumerate() {
            self.segment(view, segment, number == last, &mut so_far)?;
        }
        for piece in (LogView { segments: Vec::new(), ..view.clone() }).chain(self.io) {
            if let (Link::Round(_), Piece::Batch(batch)) = piece? {
                self.count(&batch.header, &batch.bytes, Path::new(WAL), 0);
            }
        }
        self.producer_snapshots(view)
    }

    fn segment(
        &mut self,
        view: &LogView,
        segment: &SegmentView,
        last: bool,
        so_far: &mut SoFar,
    ) -> io::Result<()> {
        let path = &segment.path;
        let counted = segment.counts.map(|(bytes, _)| bytes);
        if counted == Some(0) {
            return Ok(());
        }
        let length = match self.io.open(path) {
            Ok(file) => file.len()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && counted.is_some() => {
                let bytes = counted.unwrap_or_default();
                self.report.put(Level::Damage, path, 0, format!("it is not there; it had {bytes} bytes"));
                return Ok(());
            }
            Err(error) => return Err(within(path, &error)),
        };
        self.report.segments += 1;
        if let (Some(base), Some(next)) = (segment.base, so_far.next)
            && base != next
        {
            let what = format!("the segment before it ends at {next}, it begins at {base}");
            self.report.put(Level::Damage, path, 0, what);
        }
        so_far.next = segment.base.or(so_far.next);
        let mut batches = Vec::new();
        let mut before = i64::MIN;
        let mut pieces = segment.pieces(self.io)?;
        while let Some(piece) = pieces.next_piece().map_err(|error| within(path, &error))? {
            match piece {
                Piece::Batch(batch) => {
                    let (at, header) = (batch.at, batch.header);
                    so_far.follow(view, &header, path, at, self.report);
                    batches.push(Indexed { at, header, before });
                    before = before.max(header.max_timestamp);
                    match batch.problem {
                        None => self.count(&header, &batch.bytes, path, at),
                        Some(what) => {
                            let (from, to) = (header.base_offset, header.next_offset());
                            let known = known(view, from.0);
                            let what = format!("the batch of offsets {from} to {to}: {what}{known}");
                            self.report.put(Level::Damage, path, at, what);
                        }
                    }
                }
                Piece::Bad(bad) => {
                    let torn = bad.torn && last;
                    let level = if torn { Level::Torn } else { Level::Damage };
                    let offset = so_far.next.unwrap_or_default();
                    let what = if torn {
                        bad.what
                    } else {
                        format!("{}; offsets from {offset} on are lost here{}", bad.what, known(view, offset))
                    };
                    self.report.put(level, path, bad.at, what);
                    so_far.next = None;
                }
            }
        }
        self.end_of(segment, length, so_far);
        if let Some(base) = segment.base {
            check(self.io, path, base, &batches, &mut self.report.findings)?;
        }
        Ok(())
    }

    /// Holds what a file holds against what it should.
    fn end_of(&mut self, segment: &SegmentView, length: u64, so_far: &mut SoFar) {
        let Some((bytes, end)) = segment.counts else { return };
        let path = &segment.path;
        if length < bytes {
            let what = format!("the file ends here, {bytes} bytes should be there");
            self.report.put(Level::Damage, path, length, what);
        } else if length > bytes {
            let what = format!(
                "{} bytes that do not count yet: the write-ahead log brings them again, or they were cut",
                length - bytes
            );
            self.report.put(Level::Note, path, bytes, what);
        } else if so_far.next.is_some_and(|next| next != end) {
            let next = so_far.next.unwrap_or_default();
            self.report.put(Level::Damage, path, bytes, format!("it ends at {next}, it should end at {end}"));
        }
        so_far.next = Some(end);
    }

    fn count(&mut self, header: &BatchHeader, bytes: &bytes::Bytes, path: &Path, at: u64) {
        if self.deep {
            let opened = OwnedRecords::open(bytes, UNPACKED_BATCH_BYTES_MAX);
            let read = opened.and_then(|records| records.iter().try_for_each(|record| record.map(drop)));
            if let Err(error) = read {
                let what = format!("the batch of offset {}: {}", header.base_offset, error.problem);
                return self.report.put(Level::Damage, path, at, what);
            }
        }
        self.report.batches += 1;
        self.report.records += u64::from(header.record_count);
    }

    fn producer_snapshots(&mut self, view: &LogView) -> io::Result<()> {
        let Some(folder) = view.segments.first().and_then(|segment| segment.path.parent()) else {
            return Ok(());
        };
        if view.id.is_none() || !self.io.exists(folder)? {
            return Ok(());
        }
        for (path, _) in files(self.io, folder)?.iter().filter(|(_, kind)| *kind == FileKind::Producers) {
            if !producers::is_whole(&read_whole(self.io, path)?) {
                // They are written without a sync, and what is not whole is not used.
                self.report.put(Level::Torn, path, 0, "it is not whole, and not used: the log rebuilds it");
            }
        }
        Ok(())
    }
}

fn known(view: &LogView, offset: u64) -> &'static str {
    let marked = view.damaged.iter().any(|(from, to)| (from.0..to.0).contains(&offset));
    if marked { " (the store knows, and fetches it from another replica)" } else { "" }
}

/// Where a log stands while it is gone through.
struct SoFar {
    /// The offset that comes next, if that is known.
    next: Option<u64>,
    /// The leader epoch of the last batch.
    epoch: u32,
}

impl SoFar {
    fn follow(&mut self, view: &LogView, header: &BatchHeader, path: &Path, at: u64, report: &mut Report) {
        let (base, epoch) = (header.base_offset.0, header.leader_epoch.0);
        if let Some(next) = self.next.filter(|next| *next != base) {
            let how = if base < next { "goes back" } else { "leaves a gap" };
            report.put(Level::Damage, path, at, format!("offset {base} {how}: {next} should come here"));
        }
        let after = view.epochs.partition_point(|start| start.start.0 <= base);
        let says = after.checked_sub(1).map(|at| view.epochs[at].epoch.0);
        if let Some(says) = says.filter(|says| *says != epoch) {
            let what = format!("offset {base} says leader epoch {epoch}, the epoch history says {says}");
            report.put(Level::Damage, path, at, what);
        } else if epoch < self.epoch {
            let what = format!("leader epoch {epoch} of offset {base} goes back: {} came before", self.epoch);
            report.put(Level::Damage, path, at, what);
        }
        // What contradicts the history says nothing about what follows.
        self.epoch = self.epoch.max(says.unwrap_or(epoch));
        self.next = Some(header.next_offset().0);
    }
}
