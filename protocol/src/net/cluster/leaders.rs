//! Finding a partition's leader, and waiting for one.

use super::Cluster;
use super::error::ClusterError;
use super::trouble::Trouble;
use super::view::{Leader, NoLeader};
use crate::error::{ErrorCode, WireError};
use crate::ids::PartitionIndex;
use crate::text::count;
use tokio::time::{Instant, sleep_until, timeout_at};

impl Cluster {
    /// Who leads the partition. Waits while nobody does.
    ///
    /// Without trouble this answers from what is known. After a failure was noted it asks for fresh
    /// metadata first; a new leader is given at once, the one that failed only after a growing pause.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC` or `UNKNOWN_PARTITION` if a process has just said so, or a timeout whose text says
    /// what was in the way and since when: `no leader for orders/2 since 4.1 s`.
    pub async fn leader_of(
        &self,
        topic: &str,
        partition: PartitionIndex,
        deadline: Instant,
    ) -> Result<Leader, ClusterError> {
        let started = Instant::now();
        let mut fresh = false;
        loop {
            let trouble = self.trouble(topic, partition);
            if !fresh && trouble.is_some() {
                fresh = self.ask(topic, partition, deadline, started).await?;
            }
            match self.view(|view| view.leader(topic, partition)) {
                Ok(leader) => match trouble.filter(|trouble| trouble.failed.as_ref() == Some(&leader)) {
                    Some(trouble) if trouble.not_before > Instant::now() => {
                        self.pause(topic, partition, &trouble, deadline, started).await?;
                    }
                    _ => return Ok(leader),
                },
                Err(NoLeader::Leaderless(cause)) => {
                    self.note_failure(topic, partition, None, &cause);
                    if let Some(trouble) = self.trouble(topic, partition) {
                        self.pause(topic, partition, &trouble, deadline, started).await?;
                    }
                }
                // Before somebody is told that it does not exist, somebody who knows is asked.
                Err(_) if !fresh => {}
                Err(NoLeader::UnknownPartition { partitions }) => {
                    let partitions = count(partitions.into(), "partition");
                    let what = format!("{topic} has {partitions}, there is no {partition}");
                    self.note_ok(topic, partition);
                    return Err(ClusterError::Refused(WireError::new(ErrorCode::UnknownPartition, what)));
                }
                Err(NoLeader::UnknownTopic) if !self.is_expected(topic) => {
                    self.note_ok(topic, partition);
                    return Err(ClusterError::Refused(self.unknown_topic(topic)));
                }
                Err(NoLeader::UnknownTopic) => {
                    self.note_failure(
                        topic,
                        partition,
                        None,
                        &format!("{topic} is not known everywhere yet"),
                    );
                    if let Some(trouble) = self.trouble(topic, partition) {
                        self.pause(topic, partition, &trouble, deadline, started).await?;
                    }
                }
            }
            fresh = self.ask(topic, partition, deadline, started).await?;
        }
    }

    /// Waits until the next attempt is due.
    async fn pause(
        &self,
        topic: &str,
        partition: PartitionIndex,
        trouble: &Trouble,
        deadline: Instant,
        started: Instant,
    ) -> Result<(), ClusterError> {
        sleep_until(trouble.not_before.min(deadline)).await;
        if Instant::now() >= deadline { Err(self.gave_up(topic, partition, started)) } else { Ok(()) }
    }

    /// Asks for fresh metadata. That nobody answers is a trouble, too.
    async fn ask(
        &self,
        topic: &str,
        partition: PartitionIndex,
        deadline: Instant,
        started: Instant,
    ) -> Result<bool, ClusterError> {
        match timeout_at(deadline, self.refresh()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(cause)) => {
                self.note_failure(topic, partition, None, &cause);
                if let Some(trouble) = self.trouble(topic, partition) {
                    self.pause(topic, partition, &trouble, deadline, started).await?;
                }
                Ok(false)
            }
            Err(_) => Err(self.gave_up(topic, partition, started)),
        }
    }

    pub(super) fn gave_up(&self, topic: &str, partition: PartitionIndex, started: Instant) -> ClusterError {
        let cause = self.trouble(topic, partition);
        ClusterError::Timeout {
            what: format!("{topic}/{partition}"),
            waited: started.elapsed(),
            cause: cause.map_or_else(|| "no process answers".to_owned(), |trouble| trouble.to_string()),
        }
    }
}
