use crate::error::ConsumeError;
use std::sync::Arc;
use yak_protocol::batch::{OwnedRecords, Record, RecordIter};
use yak_protocol::ids::{Offset, PartitionIndex};

/// Records of one partition, in order; at least one, unless compaction took them all.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The end of what was committed when the broker answered.
    pub high_watermark: Offset,
    pub(crate) from: Offset,
    pub(crate) records: OwnedRecords,
}

impl Batch {
    /// The records from the position on, borrowed from the batch. An error ends them; it means that the
    /// producer wrote what is no record.
    #[must_use]
    pub fn records(&self) -> BatchRecords<'_> {
        BatchRecords { batch: self, records: self.records.iter(), next: self.from }
    }

    /// The offset behind the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.records.header().next_offset()
    }
}

/// The iterator of [`Batch::records`].
#[derive(Clone, Debug)]
pub struct BatchRecords<'a> {
    batch: &'a Batch,
    records: RecordIter<'a>,
    next: Offset,
}

impl<'a> Iterator for BatchRecords<'a> {
    type Item = Result<Record<'a>, ConsumeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(record) if record.offset < self.batch.from => {}
                Ok(record) => {
                    self.next = record.offset.next();
                    return Some(Ok(record));
                }
                Err(error) => {
                    return Some(Err(ConsumeError::Poison {
                        topic: Arc::clone(&self.batch.topic),
                        partition: self.batch.partition,
                        offset: self.next,
                        next: self.batch.next_offset(),
                        why: error.problem.to_string(),
                    }));
                }
            }
        }
    }
}
