//! One partition from its first batch to its last: segment by segment, and then what has not reached one.

use super::dir::{DataDir, within};
use super::{Batch, Piece, Pieces, What};
use crate::io::Io;
use crate::layout::{PartitionFile, parse_partition, parse_topic};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use yak_protocol::batch::BatchHeader;
use yak_protocol::ids::{EpochStart, Offset, TopicPartition};

/// A segment's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentView {
    /// The offset that names it; `None` if its name does not say.
    pub base: Option<u64>,
    /// The file.
    pub path: PathBuf,
    /// How many bytes of it count, and the offset after them; `None` if only the file can tell.
    pub counts: Option<(u64, u64)>,
}

/// What has been appended and is not in its segment for certain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Recent {
    pub(super) lsn: u64,
    pub(super) bytes: bytes::Bytes,
    pub(super) damaged: bool,
}

/// One partition, or one segment on its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogView {
    /// Which one, where a data dir says so.
    pub id: Option<TopicPartition>,
    /// Its segments.
    pub segments: Vec<SegmentView>,
    /// Its epoch history, where a data dir says so.
    pub epochs: Vec<EpochStart>,
    /// Offsets that the store knows to be damaged.
    pub damaged: Vec<(Offset, Offset)>,
    /// The first offset that counts, where a data dir says so.
    pub start: Option<Offset>,
    pub(super) recent: Vec<Recent>,
}

/// Where a piece lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// In a segment's file.
    File(PathBuf),
    /// Only in this round of the write-ahead log.
    Round(u64),
}

/// The data dir that a partition's folder lies in, and which partition it is.
fn around(io: &dyn Io, folder: &Path) -> io::Result<Option<(PathBuf, TopicPartition)>> {
    let folder = std::path::absolute(folder)?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let up = |steps| folder.ancestors().nth(steps).map(Path::to_owned);
    let (Some(topic_dir), Some(root)) = (up(1), up(3)) else { return Ok(None) };
    let partition = name(&folder).and_then(|name| parse_partition(&name));
    let topic = name(&topic_dir).and_then(|name| parse_topic(&name));
    let (Some(partition), Some(topic)) = (partition, topic) else { return Ok(None) };
    let is_dir = What::of(io, &root).is_ok_and(|what| what == What::DataDir);
    Ok(is_dir.then_some((root, TopicPartition { topic, partition })))
}

impl LogView {
    /// The partition at this path: its folder, or one segment of it. Where the folder lies in a data dir, that
    /// says what counts.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn open(io: &dyn Io, path: &Path) -> io::Result<Self> {
        if let What::File(_) = What::of(io, path)? {
            return Ok(Self { segments: vec![SegmentView::alone(path)], ..Self::default() });
        }
        if let Some((root, id)) = around(io, path)? {
            let dir = DataDir::look(io, &root)?;
            if let Some(view) =
                Self::all(&dir, path.ancestors().nth(3)).into_iter().find(|view| view.id == Some(id))
            {
                return Ok(view);
            }
        }
        let mut segments: Vec<_> = io
            .list(path)?
            .iter()
            .filter(|entry| matches!(PartitionFile::parse(&entry.name), Some(PartitionFile::Segment(_))))
            .map(|entry| SegmentView::alone(&path.join(&entry.name)))
            .collect();
        segments.sort_by_key(|segment| segment.base);
        Ok(Self { segments, ..Self::default() })
    }

    /// Every partition of a data dir. Paths begin as `root` does, or as the dir's.
    #[must_use]
    pub fn all(dir: &DataDir, root: Option<&Path>) -> Vec<Self> {
        let root = root.filter(|root| !root.as_os_str().is_empty()).unwrap_or(&dir.root);
        let view = |(id, log): (&TopicPartition, &super::dir::Log)| {
            let state = &log.state;
            let segment = |segment: &crate::segment::Segment| SegmentView {
                base: Some(segment.base),
                path: crate::layout::partition_file(root, *id, PartitionFile::Segment(segment.base)),
                counts: Some(state.in_file(segment).map_or((0, segment.base), |(end, bytes)| (bytes, end))),
            };
            Self {
                id: Some(*id),
                segments: state.segments.iter().map(segment).collect(),
                epochs: state.epochs.clone(),
                damaged: state.damaged.ranges().to_vec(),
                start: Some(state.start),
                recent: state
                    .unflushed()
                    .map(|batch| Recent {
                        lsn: batch.lsn,
                        bytes: batch.bytes.clone(),
                        damaged: batch.damaged,
                    })
                    .collect(),
            }
        };
        dir.logs.iter().map(view).collect()
    }

    /// Its pieces, in order.
    pub fn chain<'a>(&self, io: &'a dyn Io) -> Chain<'a> {
        Chain { io, segments: self.segments.clone().into(), recent: self.recent.clone().into(), open: None }
    }
}

impl SegmentView {
    fn alone(path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let base = match PartitionFile::parse(&name) {
            Some(PartitionFile::Segment(base)) => Some(base),
            _ => None,
        };
        Self { base, path: path.to_owned(), counts: None }
    }

    /// Its pieces.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn pieces(&self, io: &dyn Io) -> io::Result<Pieces> {
        let pieces = match self.counts {
            Some((bytes, _)) => Pieces::counted(io, &self.path, bytes),
            None => Pieces::of_file(io, &self.path),
        };
        pieces.map_err(|error| within(&self.path, &error))
    }
}

/// The pieces of a partition, in order.
pub struct Chain<'a> {
    io: &'a dyn Io,
    segments: VecDeque<SegmentView>,
    recent: VecDeque<Recent>,
    open: Option<(PathBuf, Pieces)>,
}

impl Iterator for Chain<'_> {
    type Item = io::Result<(Link, Piece)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((path, pieces)) = &mut self.open {
                match pieces.next_piece() {
                    Ok(Some(piece)) => return Some(Ok((Link::File(path.clone()), piece))),
                    Ok(None) => self.open = None,
                    Err(error) => return Some(Err(within(path, &error))),
                }
            }
            let Some(segment) = self.segments.pop_front() else { return self.next_recent() };
            if segment.counts.is_some_and(|(bytes, _)| bytes == 0) {
                continue;
            }
            match segment.pieces(self.io) {
                Ok(pieces) => self.open = Some((segment.path, pieces)),
                // What is missing is for `verify` to say.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Chain<'_> {
    fn next_recent(&mut self) -> Option<io::Result<(Link, Piece)>> {
        let Recent { lsn, bytes, damaged } = self.recent.pop_front()?;
        let length = bytes.len() as u64;
        let piece = match BatchHeader::parse(&bytes) {
            Ok(header) if !damaged => Piece::Batch(Batch { at: 0, header, bytes, problem: None }),
            _ => {
                let what = "these bytes of the round are damaged".to_owned();
                Piece::Bad(super::Bad { at: 0, length, what, torn: false })
            }
        };
        Some(Ok((Link::Round(lsn), piece)))
    }
}
