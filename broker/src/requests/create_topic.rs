//! `create_topic`, `alter_topic` and `delete_topic`: the coordinator decides; and topics made by their first publish.

use crate::broker::Broker;
use crate::config::COORDINATOR_TIMEOUT;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::timeout;
use yak_protocol::defaults::{GROUP_OFFSETS_PARTITIONS, GROUP_OFFSETS_TOPIC};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{AlterTopic, Cleanup, CreateTopic, DeleteTopic, Message, TopicConfig};
use yak_protocol::names;
use yak_protocol::net::{Incoming, Replier};

/// Passes `create_topic` on, and answers once this broker knows the topic: a publish that follows on the
/// same connection finds it.
pub(crate) fn create_topic(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    pass_on::<CreateTopic, _>(broker, request, reply, |broker, create| async move {
        names::check_topic(&create.topic)?;
        let made = broker.link.ask(&create).await?;
        let _ = known(&broker, &create.topic, true).await;
        Ok(made)
    });
}

/// Passes `delete_topic` on, and answers once this broker has forgotten the topic.
pub(crate) fn delete_topic(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    pass_on::<DeleteTopic, _>(broker, request, reply, |broker, delete| async move {
        names::check_not_internal(&delete.topic)?;
        let gone = broker.link.ask(&delete).await?;
        let _ = known(&broker, &delete.topic, false).await;
        Ok(gone)
    });
}

/// Passes `alter_topic` on, and answers once this broker knows the topic as it is then: a publish that follows on
/// the same connection finds its new partitions.
pub(crate) fn alter_topic(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    pass_on::<AlterTopic, _>(broker, request, reply, |broker, alter| async move {
        let altered = broker.link.ask(&alter).await?;
        if !alter.dry_run && !altered.changed.is_empty() {
            let mut news = broker.cluster.subscribe();
            let heard = timeout(COORDINATOR_TIMEOUT, async {
                // Somebody may alter it again meanwhile; then what was wanted has been heard of, too.
                while broker.cluster.topic(&alter.topic).is_ok_and(|known| known != altered.topic) {
                    if news.changed().await.is_err() {
                        return;
                    }
                }
            });
            let _ = heard.await;
        }
        Ok(altered)
    });
}

pub(super) fn pass_on<M: Message, F>(
    broker: &Arc<Broker>,
    request: &Incoming,
    reply: Replier,
    work: impl FnOnce(Arc<Broker>, M) -> F + Send + 'static,
) where
    F: Future<Output = Result<M::Reply, WireError>> + Send + 'static,
{
    let message: M = match request.parse() {
        Ok(message) => message,
        Err(error) => return reply.refuse(&error),
    };
    let work = work(broker.clone(), message);
    broker.tasks.spawn("ask the coordinator", async move {
        let outcome = work.await;
        reply.reply::<M>(outcome.as_ref().map_err(Clone::clone), Vec::new());
    });
}

/// Waits until this broker knows a topic of that name, or knows of none.
async fn known(broker: &Broker, topic: &str, exists: bool) -> Result<(), WireError> {
    let mut news = broker.cluster.subscribe();
    let arrived = timeout(COORDINATOR_TIMEOUT, async {
        while broker.cluster.has_topic(topic) != exists {
            if news.changed().await.is_err() {
                return;
            }
        }
    });
    arrived.await.map_err(|_| {
        WireError::new(
            ErrorCode::NotReady,
            format!("the coordinator made topic {topic}, this broker has not heard of it yet"),
        )
        .hint("send it again in a moment")
    })
}

/// Topics that are being made because somebody publishes to them: each is asked for once, however
/// many publishes wait for it.
#[derive(Default)]
pub(crate) struct Creations {
    running: Mutex<HashMap<String, Outcome>>,
}

type Outcome = watch::Receiver<Option<Result<(), WireError>>>;

/// Makes sure that the topic exists, if it may be made by a publish.
///
/// # Errors
/// `UNKNOWN_TOPIC` when it may not; otherwise what the coordinator says, or why it cannot be asked.
pub(super) async fn ensure(broker: &Arc<Broker>, topic: &str) -> Result<(), WireError> {
    names::check_not_internal(topic)?;
    if broker.cluster.has_topic(topic) {
        return Ok(());
    }
    names::check_topic(topic)?;
    if !broker.config.auto_create.enabled {
        return broker.cluster.topic(topic).map(drop);
    }
    let create = CreateTopic {
        topic: topic.to_owned(),
        partitions: broker.config.auto_create.partitions,
        replicas: broker.config.auto_create.replicas,
        if_not_exists: true,
        ..CreateTopic::default()
    };
    joined(broker, create).await
}

/// Makes sure that there is a topic for consumer groups.
///
/// # Errors
/// What the coordinator says, or why it cannot be asked.
pub(crate) async fn ensure_groups_topic(broker: &Arc<Broker>) -> Result<(), WireError> {
    let config = TopicConfig { cleanup: Cleanup::Compact, ..TopicConfig::default() };
    let create = CreateTopic {
        topic: GROUP_OFFSETS_TOPIC.to_owned(),
        partitions: Some(GROUP_OFFSETS_PARTITIONS),
        config,
        if_not_exists: true,
        ..CreateTopic::default()
    };
    joined(broker, create).await
}

async fn joined(broker: &Arc<Broker>, create: CreateTopic) -> Result<(), WireError> {
    let mut outcome = creation(broker, create);
    match outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
        Err(_) => Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops; nothing was written")),
    }
}

/// Joins the running creation of that topic, or starts one.
fn creation(broker: &Arc<Broker>, create: CreateTopic) -> Outcome {
    let topic = create.topic.clone();
    let mut running = broker.creations.running.lock().expect("nobody panics while holding it");
    if let Some(outcome) = running.get(&topic) {
        return outcome.clone();
    }
    let (done, outcome) = watch::channel(None);
    running.insert(topic.clone(), outcome.clone());
    drop(running);
    let broker_of_task = broker.clone();
    broker.tasks.spawn("make a topic", async move {
        let broker = broker_of_task;
        let result = make(&broker, &create).await;
        broker.creations.running.lock().expect("nobody panics while holding it").remove(&topic);
        done.send_replace(Some(result));
    });
    outcome
}

async fn make(broker: &Broker, create: &CreateTopic) -> Result<(), WireError> {
    let topic = create.topic.as_str();
    let made = broker.link.ask(create).await.map_err(|error| match error.code {
        // Nothing was written: to the publisher that is a plain "not now".
        ErrorCode::OutcomeUnknown => WireError { code: ErrorCode::CoordinatorUnavailable, ..error },
        _ => error,
    })?;
    if made.created {
        tracing::info!(
            topic,
            partitions = made.topic.partitions,
            replicas = made.replicas,
            "made a topic for its first publish"
        );
    }
    known(broker, topic, true).await
}
