//! Applies what the coordinator says, in order: partitions start, learn their leader, stop.

use crate::broker::{Broker, Session};
use crate::cluster_map::{Changes, Fit};
use crate::partition::{self, Command, PartitionHandle};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use yak_core::partition::Event;
use yak_protocol::ids::{TopicId, TopicPartition};
use yak_protocol::message::LeaderInfo;

/// Something that the coordinator said.
pub(crate) enum Update {
    /// It granted a session; with it comes everything there is.
    Registered(Session, LeaderInfo),
    /// Something changed, or a full copy that was asked for.
    Pushed(LeaderInfo),
    /// The broker stops: so do its partitions, and nothing that comes later is applied. The sender learns
    /// when it is done.
    Stop(oneshot::Sender<()>),
}

/// Applies updates until there are no more.
pub(crate) async fn run(broker: Arc<Broker>, mut updates: mpsc::UnboundedReceiver<Update>) {
    loop {
        let update = tokio::select! {
            biased;
            () = broker.link.removal.notified() => {
                remove(&broker).await;
                continue;
            }
            update = updates.recv() => update,
        };
        let Some(update) = update else { return };
        match update {
            Update::Registered(session, info) => {
                let changed = broker.set_session(session);
                apply(&broker, info, Source::Registration { new_session: changed }).await;
                // A fenced broker is unfenced by the heartbeat that confirms the newest metadata.
                broker.link.heartbeat_now.notify_one();
            }
            Update::Pushed(info) => apply(&broker, info, Source::Push).await,
            Update::Stop(done) => {
                let ids: Vec<_> = broker.partitions.iter().map(|partition| partition.id).collect();
                stop(&broker, &ids).await;
                let _ = done.send(());
                return;
            }
        }
    }
}

/// Where metadata comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The answer to a registration: everything, and whatever was known before gives way to it.
    Registration { new_session: bool },
    /// Pushed, or asked for: it counts if it is newer.
    Push,
}

async fn apply(broker: &Arc<Broker>, info: LeaderInfo, source: Source) {
    if !ratchet(broker, &info).await {
        return;
    }
    match broker.cluster.fit(&info) {
        Fit::Gap if source == Source::Push => {
            tracing::info!(
                version = info.version.0,
                known = broker.cluster.version().0,
                "a change of the metadata is missing: asking for all of it"
            );
            broker.link.full_copy_wanted.notify_one();
            return;
        }
        Fit::Old if source == Source::Push => return,
        _ => {}
    }
    let full = info.full;
    let fenced_before = broker.fenced();
    let Changes { mut partitions, deleted } = broker.cluster.merge(info);
    delete(broker, &deleted).await;
    if full {
        set_unknown_aside(broker).await;
    }
    if source == (Source::Registration { new_session: true }) {
        partitions.extend(broker.partitions.iter().map(|partition| partition.id));
    }
    start(broker, &partitions).await;
    tell(broker, &partitions);
    broker.cluster.announce();
    let fenced = broker.fenced();
    if fenced != fenced_before {
        if fenced {
            broker.counters.fencings.add(1);
        }
        let text =
            if fenced { "fenced: this broker may lead nothing" } else { "unfenced: this broker may lead" };
        broker.observer.events.note("fence", text.to_owned());
    }
    if fenced_before {
        broker.link.heartbeat_now.notify_one();
    }
}

/// Rule R15: a lower term is refused, a higher one is durable before it is acted on.
async fn ratchet(broker: &Arc<Broker>, info: &LeaderInfo) -> bool {
    let seen = broker.store.identity().coordinator_epoch;
    let epoch = info.coordinator_epoch;
    if epoch < seen {
        tracing::warn!(epoch = epoch.0, seen = seen.0, "refused metadata of an older coordinator term");
        return false;
    }
    if epoch == seen {
        return true;
    }
    match broker.update_identity(move |identity| identity.coordinator_epoch = epoch).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "the coordinator's term could not be made durable: its metadata waits");
            false
        }
    }
}

/// Deletes topics that were deleted by request: the only reason ever to delete data (rule R16).
async fn delete(broker: &Arc<Broker>, topics: &[TopicId]) {
    let forgotten = |id: &TopicPartition| topics.contains(&id.topic);
    let moved_away = &broker.link.moved_away;
    moved_away.lock().expect("nobody panics while holding it").retain(|id, _| !forgotten(id));
    for topic in topics {
        let running: Vec<_> =
            broker.partitions.iter().map(|found| found.id).filter(|id| id.topic == *topic).collect();
        let recovered = broker.forget_recovered(|id| id.topic == *topic);
        if running.is_empty() && recovered.is_empty() {
            continue;
        }
        stop(broker, &running).await;
        let (store, topic) = (broker.store.clone(), *topic);
        let deleted = broker.tasks.blocking("delete a topic", move || store.delete(topic)).await;
        match deleted {
            Some(Ok(())) => {
                tracing::info!(%topic, partitions = running.len() + recovered.len(), "deleted the data of a deleted topic")
            }
            Some(Err(error)) => {
                tracing::error!(%topic, %error, "the data of a deleted topic could not be deleted")
            }
            None => {}
        }
    }
}

/// Deletes replicas whose partitions have moved away (rule R18). Meanwhile one may have come back: then it starts
/// anew, with nothing.
async fn remove(broker: &Arc<Broker>) {
    let ids = std::mem::take(&mut *broker.link.removed.lock().expect("nobody panics while holding it"));
    let all: Vec<_> = ids.iter().copied().collect();
    stop(broker, &all).await;
    for id in all {
        let store = broker.store.clone();
        let name = broker.cluster.name_of(id);
        match broker.tasks.blocking("delete a replica", move || store.delete_log(id)).await {
            Some(Ok(())) => {
                tracing::info!(partition = name, "deleted the replica: the partition has moved away")
            }
            Some(Err(error)) => {
                tracing::error!(partition = name, %error, "a replica that has moved away could not be deleted")
            }
            None => {}
        }
    }
    start(broker, &ids).await;
    tell(broker, &ids);
}

/// Sets data aside whose topic the coordinator does not know. It was not deleted by request, so it is
/// kept (rule R16).
async fn set_unknown_aside(broker: &Arc<Broker>) {
    let unknown = |id: TopicPartition| !broker.cluster.has_topic_id(id.topic);
    let running: Vec<_> = broker.partitions.iter().map(|found| found.id).filter(|id| unknown(*id)).collect();
    let mut ids = broker.forget_recovered(unknown);
    stop(broker, &running).await;
    ids.extend(running);
    for id in ids {
        let store = broker.store.clone();
        match broker.tasks.blocking("set data aside", move || store.set_aside(id)).await {
            Some(Ok(())) => {
                tracing::warn!(partition = %id, "the coordinator knows no such topic: its data is kept under orphan/")
            }
            Some(Err(error)) => {
                tracing::error!(partition = %id, %error, "data of an unknown topic could not be set aside")
            }
            None => {}
        }
    }
}

/// Stops partitions and waits until they have.
async fn stop(broker: &Broker, ids: &[TopicPartition]) {
    let mut ends = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some((_, partition)) = broker.partitions.remove(id) {
            let (done, end) = oneshot::channel();
            partition.send(Command::Stop(done));
            ends.push(end);
        }
    }
    for end in ends {
        let _ = end.await;
    }
}

/// Starts the partitions among them that this broker holds and that do not run yet; those of which it has only
/// a copy, too, for they may have moved away (rule R18).
async fn start(broker: &Arc<Broker>, ids: &BTreeSet<TopicPartition>) {
    let Some(session) = broker.session() else { return };
    let me = session.broker_id;
    let holds =
        |id: &TopicPartition| broker.cluster.partition(*id).is_some_and(|info| info.replicas.contains(&me));
    let holds = |id: &TopicPartition| holds(id) || broker.recovered_log(*id).is_some();
    let missing: Vec<_> =
        ids.iter().copied().filter(|id| !broker.partitions.contains_key(id) && holds(id)).collect();
    if missing.is_empty() {
        return;
    }
    let starting = broker.clone();
    let started = broker
        .tasks
        .blocking("start partitions", move || {
            for id in missing {
                let recovered = starting.recovered_log(id);
                match partition::start(&starting, me, id, recovered) {
                    Ok(handle) => {
                        starting.partitions.insert(id, handle);
                        starting.forget_recovered(|recovered| recovered == id);
                    }
                    Err(error) => {
                        let name = starting.cluster.name_of(id);
                        tracing::error!(partition = name, %error, "the partition could not be started");
                    }
                }
            }
        })
        .await;
    if started.is_none() {
        tracing::error!("starting partitions was cut short");
    }
}

fn tell(broker: &Broker, ids: &BTreeSet<TopicPartition>) {
    let Some(session) = broker.session() else { return };
    for id in ids {
        let (Some(partition), Some(view)) = (broker.partition(*id), broker.cluster.partition_view(*id))
        else {
            continue;
        };
        metadata(&partition, session, view);
    }
}

fn metadata(partition: &PartitionHandle, session: Session, view: crate::cluster_map::PartitionView) {
    partition.event(Event::Metadata {
        info: view.info,
        broker_epoch: session.broker_epoch,
        unfenced: view.unfenced,
        durability: view.topic.config.durability,
        dedupe_window_ms: view.topic.config.dedupe_window_ms,
    });
}
