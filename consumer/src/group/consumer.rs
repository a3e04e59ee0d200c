use super::ask::{ATTEMPT, Way};
use super::clock::now_ms;
use super::commits::{self, Committed, Progress};
use super::heart::{self, Shared};
use super::membership::Membership;
use super::start::{self, Begin};
use super::{GroupConfig, Place};
use crate::batch::Batch;
use crate::consumer::{Consumer, Polled};
use crate::error::ConsumeError;
use crate::event::EventHook;
use crate::start::Start;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use yak_protocol::error::WireError;
use yak_protocol::ids::{Generation, Offset, PartitionIndex};
use yak_protocol::net::Cluster;

/// How long giving partitions up waits for their last commit.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// How long a member that leaves waits for the coordinator to hear of it.
const LEAVE: Duration = Duration::from_secs(3);
/// How often a member looks at its clock while it may hand nothing out.
const LOOK: Duration = Duration::from_millis(200);

/// What [`GroupConsumer::next`] found.
#[derive(Clone, Debug)]
pub enum GroupPolled {
    /// Records. They count as processed with the next call.
    Records {
        /// The records.
        batch: Batch,
        /// The member's generation: no other member hands them out in it.
        generation: Generation,
    },
    /// Everything that is committed in this partition has been handed out.
    End {
        /// The partition.
        place: Place,
        /// Where the next record will be.
        offset: Offset,
    },
    /// These partitions are this member's now.
    Assigned {
        /// Which.
        places: Vec<Place>,
        /// In which generation.
        generation: Generation,
    },
    /// These partitions are this member's no more. What was processed of them is committed, unless they were
    /// lost.
    Revoked {
        /// Which.
        places: Vec<Place>,
        /// Whether others may have had them already when this member heard of it.
        lost: bool,
    },
}

/// Why a member of a group cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    /// The coordinator refused it for good.
    #[error("group {group}: {error}")]
    Refused {
        /// The group.
        group: String,
        /// What it said.
        error: WireError,
    },
    /// A partition cannot be read.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// What was processed could not be committed.
    #[error("group {group}: what was read could not be committed: {why}")]
    Commit {
        /// The group.
        group: String,
        /// Why.
        why: String,
    },
}

/// A member of a consumer group.
pub struct GroupConsumer {
    shared: Arc<Shared>,
    heart: JoinHandle<()>,
    consumer: Consumer,
    running: BTreeMap<Place, Progress>,
    stay: u64,
    lives: u64,
    starting: JoinSet<Begin>,
    /// Where to begin is known there.
    begins: VecDeque<Begin>,
    committing: JoinSet<Committed>,
    next_commit: Option<Instant>,
    /// Handed out with the last call, and behind which record.
    last: Option<(Place, Offset)>,
    /// Records that wait until the membership is certain again.
    held_back: Option<Batch>,
    events: VecDeque<GroupPolled>,
}

fn is_of(place: &Place, batch: &Batch) -> bool {
    *place.topic == *batch.topic && place.partition == batch.partition
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl GroupConsumer {
    /// Joins a group; needs a tokio runtime around it. Whether the group takes it, [`Self::next`] says.
    #[must_use]
    pub fn join(cluster: Cluster, config: GroupConfig, hook: EventHook) -> Self {
        let consumer = Consumer::new(cluster.clone(), config.consumer.clone(), hook);
        let next_commit = config.commit_interval.map(|interval| Instant::now() + interval);
        let shared = Arc::new(Shared::new(config, Way::new(cluster)));
        Self {
            heart: tokio::spawn(heart::beat(Arc::clone(&shared))),
            consumer,
            running: BTreeMap::new(),
            stay: 1,
            lives: 0,
            starting: JoinSet::new(),
            begins: VecDeque::new(),
            committing: JoinSet::new(),
            next_commit,
            last: None,
            held_back: None,
            events: VecDeque::new(),
            shared,
        }
    }

    /// The member's name and generation.
    #[must_use]
    pub fn member(&self) -> (String, Generation) {
        let membership = self.shared.membership();
        (membership.member.clone(), membership.generation)
    }

    /// Why the group's coordinator does not answer, if it does not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }

    /// Of what was handed out last, only what is below `next` was processed.
    pub fn processed_below(&mut self, next: Offset) {
        if let Some((_, offset)) = &mut self.last {
            *offset = next;
        }
    }

    /// What was handed out last was not processed.
    pub fn not_processed(&mut self) {
        self.last = None;
    }

    /// The next records, or what has changed. Waits as long as there is nothing. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// What stops this member for good, or one of its partitions.
    pub async fn next(&mut self) -> Result<GroupPolled, GroupError> {
        self.processed();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.follow().await?;
            self.begin().await?;
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(batch) = self.held_back.take()
                && let Some(polled) = self.hand_out(batch)
            {
                return Ok(polled);
            }
            let reads = self.held_back.is_none() && self.consumer.assignment().next().is_some();
            let commit_at = self.next_commit.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                polled = self.consumer.next(), if reads => match polled {
                    Ok(Polled::Records(batch)) => self.held_back = Some(batch),
                    Ok(Polled::End { topic, partition, offset }) => {
                        if let Some(place) = self.place(&topic, partition) {
                            return Ok(GroupPolled::End { place, offset });
                        }
                    }
                    // The group takes it away with the next heartbeat.
                    Err(ConsumeError::Refused { topic, partition, .. }) if self.is_deleted(&topic) => {
                        self.consumer.unassign(&topic, partition);
                    }
                    Err(error) => return Err(error.into()),
                },
                () = self.shared.news.notified() => {}
                Some(Ok(begin)) = self.starting.join_next() => self.begins.push_back(begin),
                Some(Ok(committed)) = self.committing.join_next() => self.committed(committed),
                () = sleep_until(commit_at), if self.next_commit.is_some() => self.commit_soon(),
                // The session may have run out, or run again.
                () = tokio::time::sleep(LOOK), if self.held_back.is_some() => {}
            }
        }
    }

    /// Commits everything that was processed, and waits for it.
    ///
    /// # Errors
    /// When that fails.
    pub async fn commit(&mut self) -> Result<(), GroupError> {
        self.processed();
        self.commit_now(|_| true).await
    }

    /// Commits what was processed, and leaves: for good, or, as a static member, for a while.
    ///
    /// # Errors
    /// When the commit fails; it has left all the same.
    pub async fn close(mut self) -> Result<(), GroupError> {
        self.processed();
        let committed = self.commit_now(|_| true).await;
        self.heart.abort();
        let _ = (&mut self.heart).await;
        let leave = self.shared.membership().leave(&self.shared.config);
        // Without it the session has to run out: a pity, no harm.
        let _ = timeout(LEAVE, self.shared.way.once(&leave)).await;
        committed
    }

    /// What was handed out with the last call is processed.
    fn processed(&mut self) {
        if let Some((place, next)) = self.last.take()
            && let Some(progress) = self.running.get_mut(&place)
        {
            progress.done = Some(next);
        }
    }

    /// Whether the cluster is known to have no such topic any more.
    fn is_deleted(&self, topic: &str) -> bool {
        let known = self.shared.way.cluster.cached();
        known.is_some_and(|known| known.topics.iter().all(|info| info.name != topic))
    }

    fn place(&self, topic: &str, partition: PartitionIndex) -> Option<Place> {
        let same = |place: &&Place| *place.topic == *topic && place.partition == partition;
        self.running.keys().find(same).cloned()
    }

    /// Hands a batch out if it may; puts it aside if that is not certain, drops it if it is another's.
    fn hand_out(&mut self, batch: Batch) -> Option<GroupPolled> {
        let place = self.place(&batch.topic, batch.partition)?;
        let membership = self.shared.membership();
        if membership.stay != self.stay || !membership.assigned.contains(&place) {
            return None;
        }
        if !membership.may_hand_out(&place, now_ms()) {
            drop(membership);
            self.held_back = Some(batch);
            return None;
        }
        let generation = membership.generation;
        drop(membership);
        self.last = Some((place, batch.next_offset()));
        Some(GroupPolled::Records { batch, generation })
    }

    /// Does what the membership asks for: gives up what is another's, begins with what is new.
    async fn follow(&mut self) -> Result<(), GroupError> {
        let (stay, over) = {
            let membership = self.shared.membership();
            (membership.stay, membership.over.clone())
        };
        if stay != self.stay {
            self.lose_everything(stay);
        }
        if let Some(error) = over {
            return Err(GroupError::Refused { group: self.shared.config.group.clone(), error });
        }
        let (gone, new, generation) = {
            let membership = self.shared.membership();
            let gone: Vec<Place> = membership.held.difference(&membership.assigned).cloned().collect();
            let new = membership.assigned.iter().filter(|place| !self.running.contains_key(*place));
            (gone, new.cloned().collect::<Vec<_>>(), membership.generation)
        };
        if !gone.is_empty() {
            self.give_up(gone).await;
        }
        if !new.is_empty() {
            for place in &new {
                self.lives += 1;
                self.running.insert(place.clone(), Progress { life: self.lives, ..Progress::default() });
                self.starting.spawn(start::begin(Arc::clone(&self.shared), place.clone(), self.lives));
            }
            self.events.push_back(GroupPolled::Assigned { places: new, generation });
        }
        Ok(())
    }

    fn lose_everything(&mut self, stay: u64) {
        self.stay = stay;
        self.held_back = None;
        self.starting.abort_all();
        self.committing.abort_all();
        let places: Vec<Place> = std::mem::take(&mut self.running).into_keys().collect();
        for place in &places {
            self.consumer.unassign(&place.topic, place.partition);
        }
        if !places.is_empty() {
            self.events.push_back(GroupPolled::Revoked { places, lost: true });
        }
    }

    async fn give_up(&mut self, places: Vec<Place>) {
        for place in &places {
            self.consumer.unassign(&place.topic, place.partition);
        }
        // What was read ahead is another's; should the partition come back, it begins at its commit.
        self.held_back.take_if(|batch| places.iter().any(|place| is_of(place, batch)));
        let outcome = self.commit_now(|place| places.contains(place)).await;
        if let Err(error) = outcome {
            tracing::warn!("{error}; whoever gets the partitions reads those records again");
        }
        self.running.retain(|place, _| !places.contains(place));
        {
            let mut membership = self.shared.membership();
            if membership.stay == self.stay {
                // What has been given back meanwhile begins anew, from what is committed.
                let Membership { held, assigned, .. } = &mut *membership;
                held.retain(|place| !places.contains(place) || assigned.contains(place));
            }
        }
        self.shared.beat_now.notify_one();
        self.events.push_back(GroupPolled::Revoked { places, lost: false });
    }

    async fn begin(&mut self) -> Result<(), GroupError> {
        while let Some(Begin { place, life, outcome }) = self.begins.front().cloned() {
            let current = self.running.get(&place).is_some_and(|progress| progress.life == life);
            match outcome {
                Ok((offset, known)) if current => {
                    // Whoever drops this future finds it at the front again.
                    let only = [place.partition];
                    match self.consumer.assign(&place.topic, Some(&only), Start::Offset(offset)).await {
                        // It was deleted meanwhile; the group takes it away with the next heartbeat.
                        Ok(()) | Err(ConsumeError::UnknownTopic { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                    if let Some(progress) = self.running.get_mut(&place) {
                        progress.committed = Some(offset);
                    }
                    if !known {
                        let group = &self.shared.config.group;
                        tracing::info!(
                            "group {group} has no commit of {place}: it begins at offset {offset}"
                        );
                    }
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::debug!("where to begin in {place}: {why}");
                    // If it is still this one's, it is asked again.
                    if current {
                        self.running.remove(&place);
                    }
                }
            }
            self.begins.pop_front();
        }
        Ok(())
    }

    fn commit_soon(&mut self) {
        self.next_commit = self.shared.config.commit_interval.map(|interval| Instant::now() + interval);
        // One at a time: they must not overtake each other.
        if self.committing.is_empty()
            && let Some(work) = commits::commit(&self.shared, &self.running, |_| true, ATTEMPT)
        {
            self.committing.spawn(work);
        }
    }

    async fn commit_now(&mut self, only: impl Fn(&Place) -> bool) -> Result<(), GroupError> {
        while let Some(Ok(committed)) = self.committing.join_next().await {
            self.committed(committed);
        }
        let Some(work) = commits::commit(&self.shared, &self.running, only, LAST_COMMIT) else {
            return Ok(());
        };
        let committed = work.await;
        let failed = committed.failed.clone();
        self.committed(committed);
        match failed {
            Some(why) => Err(GroupError::Commit { group: self.shared.config.group.clone(), why }),
            None => Ok(()),
        }
    }

    fn committed(&mut self, committed: Committed) {
        if let Some(why) = committed.failed {
            tracing::debug!("group {}: a commit failed: {why}", self.shared.config.group);
        }
        for (place, life, offset) in committed.settled {
            if let Some(progress) = self.running.get_mut(&place).filter(|progress| progress.life == life) {
                progress.committed = Some(offset);
            }
        }
    }
}
