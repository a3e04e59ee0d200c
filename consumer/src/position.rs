//! Where one partition is being read: pure. What to ask for next, what to hand out next.

use crate::batch::Batch;
use crate::config::{ConsumerConfig, OnOutOfRange};
use crate::error::ConsumeError;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use yak_protocol::batch::{BatchHeader, OwnedRecords, batches};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, Offset, PartitionIndex};
use yak_protocol::message::Consumed;

/// What an answer leads to besides records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// All is well.
    Good,
    /// The position was out of range and has been moved from here.
    Moved(Offset),
    /// Not now: why, and whether to look for the leader again.
    Later { why: String, leader: LeaderDoubt },
}

/// Whether an error says that somebody else leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LeaderDoubt {
    None,
    Ask,
    NotLeader(Option<yak_protocol::error::LeaderHint>),
}

/// Where one partition is being read.
#[derive(Debug)]
pub(crate) struct Position {
    topic: Arc<str>,
    partition: PartitionIndex,
    /// The next record to hand out.
    position: Offset,
    /// Where the next question begins: behind what is queued.
    ask_from: Offset,
    queue: VecDeque<(BatchHeader, Bytes)>,
    queued_bytes: usize,
    high_watermark: Option<Offset>,
    /// The newest leader epoch that has answered.
    leader_epoch: LeaderEpoch,
    /// Whether the end was told since the last record.
    end_told: bool,
    /// What stopped it; only a seek helps.
    halted: Option<ConsumeError>,
    halt_told: bool,
}

impl Position {
    pub(crate) fn new(topic: Arc<str>, partition: PartitionIndex, at: Offset) -> Self {
        Self {
            topic,
            partition,
            position: at,
            ask_from: at,
            queue: VecDeque::new(),
            queued_bytes: 0,
            high_watermark: None,
            leader_epoch: LeaderEpoch::ZERO,
            end_told: false,
            halted: None,
            halt_told: false,
        }
    }

    pub(crate) fn position(&self) -> Offset {
        self.position
    }

    pub(crate) fn ask_from(&self) -> Offset {
        self.ask_from
    }

    pub(crate) fn halted(&self) -> Option<&ConsumeError> {
        self.halted.as_ref()
    }

    /// Whether it is time to ask for more.
    pub(crate) fn wants_more(&self, config: &ConsumerConfig) -> bool {
        self.halted.is_none() && self.queued_bytes < config.fetch_bytes as usize
    }

    /// Takes the answer to a question that began at `asked`.
    pub(crate) fn answered(
        &mut self,
        asked: Offset,
        answer: &Consumed,
        bytes: Bytes,
        config: &ConsumerConfig,
    ) -> Verdict {
        if asked != self.ask_from || self.halted.is_some() {
            return Verdict::Good;
        }
        // One who led before may not have heard that others do. What it has committed stays true; where the
        // log ends it does not know.
        let deposed = answer.leader_epoch < self.leader_epoch;
        self.leader_epoch = self.leader_epoch.max(answer.leader_epoch);
        if let Some(error) = &answer.error {
            if deposed && error.code == ErrorCode::OffsetOutOfRange {
                let why = format!("{error}, says a leader that has been replaced");
                return Verdict::Later { why, leader: LeaderDoubt::Ask };
            }
            return self.refused(error, answer, config);
        }
        if !deposed {
            self.high_watermark = Some(answer.high_watermark);
        }
        self.take_batches(bytes);
        Verdict::Good
    }

    fn take_batches(&mut self, bytes: Bytes) {
        let walk = batches(&bytes);
        let mut start = 0;
        for found in walk {
            match found {
                Ok((header, batch)) => {
                    let whole = bytes.slice(start..start + batch.len());
                    start += batch.len();
                    if header.next_offset() <= self.ask_from {
                        continue;
                    }
                    self.queued_bytes += whole.len();
                    self.ask_from = header.next_offset();
                    self.queue.push_back((header, whole));
                }
                Err(error) => {
                    let (offset, why) = (self.ask_from, error.problem.to_string());
                    self.halted = Some(self.poison(offset, offset.next(), why));
                    return;
                }
            }
        }
    }

    fn poison(&self, offset: Offset, next: Offset, why: String) -> ConsumeError {
        ConsumeError::Poison { topic: Arc::clone(&self.topic), partition: self.partition, offset, next, why }
    }

    fn refused(&mut self, error: &WireError, answer: &Consumed, config: &ConsumerConfig) -> Verdict {
        let why = error.to_string();
        let leader = match error.code {
            ErrorCode::OffsetOutOfRange => return self.out_of_range(answer, config),
            ErrorCode::NotLeader => LeaderDoubt::NotLeader(error.leader.as_deref().cloned()),
            ErrorCode::HwUnknown | ErrorCode::LeaseOver | ErrorCode::Damaged | ErrorCode::Overloaded => {
                LeaderDoubt::None
            }
            code if code.action() == yak_protocol::error::Action::GiveUp => {
                let (topic, partition) = (Arc::clone(&self.topic), self.partition);
                self.halted = Some(ConsumeError::Refused { topic, partition, why });
                return Verdict::Good;
            }
            _ => LeaderDoubt::Ask,
        };
        Verdict::Later { why, leader }
    }

    fn out_of_range(&mut self, answer: &Consumed, config: &ConsumerConfig) -> Verdict {
        let to = match config.on_out_of_range {
            OnOutOfRange::Earliest => answer.log_start,
            OnOutOfRange::Latest => answer.high_watermark,
            OnOutOfRange::Fail => {
                self.halted = Some(ConsumeError::OutOfRange {
                    topic: Arc::clone(&self.topic),
                    partition: self.partition,
                    position: self.ask_from,
                    log_start: answer.log_start,
                    end: answer.high_watermark,
                });
                return Verdict::Good;
            }
        };
        let from = self.ask_from;
        self.ask_from = to;
        if self.queue.is_empty() {
            self.position = to;
        }
        Verdict::Moved(from)
    }

    /// Leaders of this epoch are believed again: the topic has been made anew, say.
    pub(crate) fn start_over_in(&mut self, epoch: LeaderEpoch) {
        self.leader_epoch = epoch;
    }

    /// Stops it: only a seek helps.
    pub(crate) fn halt(&mut self, error: ConsumeError) {
        self.halted = Some(error);
    }

    /// The next records, if any are here.
    pub(crate) fn hand_out(&mut self, config: &ConsumerConfig) -> Option<Result<Batch, ConsumeError>> {
        while let Some((header, bytes)) = self.queue.pop_front() {
            self.queued_bytes -= bytes.len();
            let from = self.position;
            if header.control() {
                self.position = header.next_offset();
                continue;
            }
            let records = match OwnedRecords::open(&bytes, config.batch_bytes_max) {
                Ok(records) => records,
                Err(error) => {
                    let offset = header.base_offset.max(from);
                    let error = self.poison(offset, header.next_offset(), error.problem.to_string());
                    self.queue.clear();
                    self.queued_bytes = 0;
                    self.halted = Some(error.clone());
                    self.halt_told = true;
                    return Some(Err(error));
                }
            };
            self.position = header.next_offset();
            self.end_told = false;
            return Some(Ok(Batch {
                topic: Arc::clone(&self.topic),
                partition: self.partition,
                high_watermark: self.high_watermark.unwrap_or(self.position),
                from,
                records,
            }));
        }
        let halted = self.halted.as_ref().filter(|_| !self.halt_told)?;
        self.halt_told = true;
        Some(Err(halted.clone()))
    }

    /// The end of the partition, once each time that everything committed has been handed out.
    pub(crate) fn reached_end(&mut self) -> Option<Offset> {
        let at_end = self.queue.is_empty() && self.high_watermark.is_some_and(|end| self.position >= end);
        if !at_end || self.end_told || self.halted.is_some() {
            return None;
        }
        self.end_told = true;
        Some(self.position)
    }
}

#[cfg(test)]
mod tests;
