//! Where to begin in a partition that was just given.

use super::ask::{ATTEMPT, NoAnswer};
use super::heart::Shared;
use super::membership::{Place, listed};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use yak_protocol::ids::Offset;
use yak_protocol::message::{CommitOffset, GroupCommit, GroupFetch};

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// Where to begin, and whether that is what the group has committed.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub(super) place: Place,
    pub(super) life: u64,
    pub(super) outcome: Result<(Offset, bool), String>,
}

/// Asks until there is an answer; the caller forgets about it when the partition goes.
pub(super) async fn begin(shared: Arc<Shared>, place: Place, life: u64) -> Begin {
    let outcome = find(&shared, &place).await;
    if outcome.is_err() {
        // It is asked again, if it is still this one's.
        sleep(PAUSE).await;
    }
    Begin { place, life, outcome }
}

async fn find(shared: &Shared, place: &Place) -> Result<(Offset, bool), String> {
    loop {
        let (member, generation) = {
            let membership = shared.membership();
            (membership.member.clone(), membership.generation)
        };
        let fetch = GroupFetch {
            group: shared.config.group.clone(),
            member: Some(member),
            generation,
            topics: listed([place]),
            forward: true,
        };
        match shared.way.until(&fetch, Instant::now() + ATTEMPT).await {
            Ok(reply) => match reply.offsets.first().and_then(|found| found.offset) {
                Some(offset) => return Ok((offset, true)),
                None => break,
            },
            Err(NoAnswer::Refused(error)) => return Err(error.to_string()),
            Err(NoAnswer::Lost(why)) => {
                tracing::debug!("where to begin in {place}: {why}");
                sleep(PAUSE).await;
            }
        }
    }
    let deadline = std::time::Instant::now() + shared.way.cluster.options().timeout;
    let (topic, partition, start) = (&place.topic, place.partition, shared.config.start);
    let log = crate::offsets(&shared.way.cluster, topic, partition, start.at_ms(), deadline).await;
    let offset = start.resolve(&log.map_err(|error| error.to_string())?);
    remember(shared, place, offset).await?;
    Ok((offset, false))
}

/// Commits where the group begins: one that begins at the end and dies would begin at another end next time.
async fn remember(shared: &Shared, place: &Place, offset: Offset) -> Result<(), String> {
    let request = {
        let membership = shared.membership();
        GroupCommit {
            group: shared.config.group.clone(),
            member: Some(membership.member.clone()),
            generation: membership.generation,
            instance: shared.config.instance.clone(),
            offsets: vec![commit_of(place, offset)],
            rewind: false,
            forward: true,
        }
    };
    let reply =
        shared.way.until(&request, Instant::now() + ATTEMPT * 2).await.map_err(|failed| match failed {
            NoAnswer::Refused(error) => error.to_string(),
            NoAnswer::Lost(why) => why,
        })?;
    match reply.results.into_iter().find_map(|result| result.error) {
        Some(error) => Err(error.to_string()),
        None => Ok(()),
    }
}

pub(super) fn commit_of(place: &Place, offset: Offset) -> CommitOffset {
    CommitOffset {
        topic: place.topic.to_string(),
        topic_id: Some(place.topic_id),
        partition: place.partition,
        offset,
        ..CommitOffset::default()
    }
}
