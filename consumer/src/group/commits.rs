//! What has been processed, and what of it is committed.

use super::ask::NoAnswer;
use super::heart::Shared;
use super::membership::Place;
use super::start::commit_of;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use yak_protocol::ids::{Generation, Offset};
use yak_protocol::message::GroupCommit;

/// How far a partition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Progress {
    /// Tells this time of holding the partition from others.
    pub(super) life: u64,
    /// Behind the last record that was processed.
    pub(super) done: Option<Offset>,
    pub(super) committed: Option<Offset>,
}

impl Progress {
    /// What is to be committed.
    pub(super) fn due(&self) -> Option<Offset> {
        self.done.filter(|done| self.committed != Some(*done))
    }
}

/// What became of a commit.
#[derive(Debug)]
pub(super) struct Committed {
    /// What is committed now, or cannot be by this member.
    pub(super) settled: Vec<(Place, u64, Offset)>,
    pub(super) failed: Option<String>,
}

/// Commits what is due; `None` if nothing is.
pub(super) fn commit(
    shared: &Arc<Shared>,
    running: &BTreeMap<Place, Progress>,
    only: impl Fn(&Place) -> bool,
    within: Duration,
) -> Option<impl Future<Output = Committed> + Send + 'static> {
    let due = |(place, progress): (&Place, &Progress)| {
        let back = progress.committed.zip(progress.done).is_some_and(|(committed, done)| done < committed);
        Some((place.clone(), progress.life, progress.due()?, back))
    };
    let due: Vec<_> = running.iter().filter(|(place, _)| only(place)).filter_map(due).collect();
    if due.is_empty() {
        return None;
    }
    // As of now: what goes back must not be sent in the name of a later membership.
    let who = {
        let membership = shared.membership();
        (membership.member.clone(), membership.generation)
    };
    let shared = Arc::clone(shared);
    Some(async move {
        let mut all = Committed { settled: Vec::new(), failed: None };
        // What goes back was asked for: by a seek, or by the policy for offsets that are out of range.
        for rewind in [false, true] {
            let part: Vec<_> = due.iter().filter(|due| due.3 == rewind).cloned().collect();
            if !part.is_empty() {
                send(&shared, &who, part, rewind, Instant::now() + within, &mut all).await;
            }
        }
        all
    })
}

async fn send(
    shared: &Shared,
    (member, generation): &(String, Generation),
    due: Vec<(Place, u64, Offset, bool)>,
    rewind: bool,
    deadline: Instant,
    all: &mut Committed,
) {
    let request = GroupCommit {
        group: shared.config.group.clone(),
        member: Some(member.clone()),
        generation: *generation,
        instance: shared.config.instance.clone(),
        offsets: due.iter().map(|(place, _, offset, _)| commit_of(place, *offset)).collect(),
        rewind,
        forward: true,
    };
    match shared.way.until(&request, deadline).await {
        Ok(reply) => {
            shared.way.learn(reply.coordinator.as_ref());
            for ((place, life, offset, _), result) in due.into_iter().zip(reply.results) {
                if let Some(error) = result.error {
                    all.failed = Some(error.to_string());
                }
                all.settled.push((place, life, offset));
            }
        }
        Err(NoAnswer::Refused(error)) => all.failed = Some(error.to_string()),
        Err(NoAnswer::Lost(why)) => all.failed = Some(why),
    }
}
