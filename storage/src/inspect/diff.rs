//! Two replicas of one partition, side by side: what a leader appended is the same bytes on each.

use super::chain::{Chain, Link, LogView};
use super::{Batch, Piece, What};
use crate::io::Io;
use std::io;
use std::path::Path;
use yak_protocol::ids::Offset;

/// What one replica has at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// A batch, and where it lies.
    Batch(Link, Batch),
    /// Bytes that are no batch.
    Bad(Link, super::Bad),
    /// Its log ends here.
    End,
}

/// How two replicas differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The offsets that both have, and have the same: from the later start on.
    pub same: (Offset, Offset),
    /// Batches among them.
    pub batches: u64,
    /// The first offset at which they differ, with what the one and the other has there. One that only ends
    /// earlier does not differ: it has not come so far.
    pub diverge: Option<(Offset, Side, Side)>,
    /// Where each ends, as far as they were looked at.
    pub ends: (Offset, Offset),
}

struct Reader<'a> {
    chain: Chain<'a>,
    ahead: Option<(Link, Piece)>,
    /// The offset after the last batch.
    next: u64,
}

impl<'a> Reader<'a> {
    fn new(io: &'a dyn Io, path: &Path) -> io::Result<Self> {
        if matches!(What::of(io, path)?, What::DataDir | What::Wal | What::Folder) {
            let what = format!("{} is not one partition; name its folder, or a segment", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut reader = Self { chain: LogView::open(io, path)?.chain(io), ahead: None, next: 0 };
        reader.advance()?;
        Ok(reader)
    }

    fn advance(&mut self) -> io::Result<()> {
        if let Some((_, Piece::Batch(batch))) = &self.ahead {
            self.next = batch.header.next_offset().0;
        }
        self.ahead = self.chain.next().transpose()?;
        // What an unclean stop left was never told to anybody.
        if let Some((_, Piece::Bad(bad))) = &self.ahead
            && bad.torn
        {
            self.ahead = None;
        }
        Ok(())
    }

    fn base(&self) -> Option<u64> {
        match &self.ahead {
            Some((_, Piece::Batch(batch))) => Some(batch.header.base_offset.0),
            _ => None,
        }
    }

    /// Leaves out what ends at or before `offset`.
    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        while let Some((_, Piece::Batch(batch))) = &self.ahead
            && batch.header.next_offset().0 <= offset
        {
            self.advance()?;
        }
        Ok(())
    }

    fn side(self) -> Side {
        match self.ahead {
            Some((link, Piece::Batch(batch))) => Side::Batch(link, batch),
            Some((link, Piece::Bad(bad))) => Side::Bad(link, bad),
            None => Side::End,
        }
    }

    fn is_good(&self) -> bool {
        matches!(&self.ahead, Some((_, Piece::Batch(batch))) if batch.problem.is_none())
    }
}

/// Compares two partitions (folders, or segments) batch by batch, from the first offset that both have.
///
/// # Errors
/// When something cannot be read, or is not one partition.
pub fn diff(io: &dyn Io, a: &Path, b: &Path) -> io::Result<Difference> {
    let (mut a, mut b) = (Reader::new(io, a)?, Reader::new(io, b)?);
    let start = a.base().unwrap_or(0).max(b.base().unwrap_or(0));
    a.skip_to(start)?;
    b.skip_to(start)?;
    let (mut same, mut batches) = (start, 0);
    let equal = |a: &Reader<'_>, b: &Reader<'_>| match (&a.ahead, &b.ahead) {
        (Some((_, Piece::Batch(a))), Some((_, Piece::Batch(b)))) => a.bytes == b.bytes,
        _ => false,
    };
    while equal(&a, &b) && a.is_good() {
        a.advance()?;
        b.advance()?;
        same = a.next;
        batches += 1;
    }
    let over =
        (a.ahead.is_none() && (b.ahead.is_none() || b.is_good())) || (b.ahead.is_none() && a.is_good());
    let mut difference = Difference {
        same: (Offset(start), Offset(same)),
        batches,
        diverge: None,
        ends: (Offset(a.next.max(same)), Offset(b.next.max(same))),
    };
    if over {
        for (reader, end) in [(&mut a, &mut difference.ends.0), (&mut b, &mut difference.ends.1)] {
            reader.skip_to(u64::MAX)?;
            *end = Offset(reader.next.max(same));
        }
        return Ok(difference);
    }
    let at = [a.base(), b.base()].into_iter().flatten().min().unwrap_or(same).max(start);
    difference.diverge = Some((Offset(at), a.side(), b.side()));
    Ok(difference)
}
