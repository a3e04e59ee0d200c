//! A broker: stores partitions, replicates them, and answers producers and consumers.
//!
//! It decides nothing about leadership, in-sync replicas or commit: the coordinator decides who leads,
//! and [`yak_core::partition::Replica`] decides everything about one replica. This crate moves bytes,
//! carries effects out in their order, and feeds outcomes back.

mod broker;
mod clock;
mod cluster_map;
mod config;
mod coordinator_link;
mod data_dir;
mod error;
mod groups;
mod metrics;
mod partition;
mod peers;
mod producers;
mod repair;
mod requests;
mod retention;
mod service;
mod streams;
mod tasks;
mod throttle;
mod verbs;

pub use config::{AutoCreate, BrokerConfig};
pub use error::BrokerError;

use broker::{Broker, Parts};
use coordinator_link::{CoordinatorLink, Update, apply_updates};
use data_dir::DataDir;
use service::BrokerService;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tasks::Tasks;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use yak_protocol::net::{Listener, serve};

/// Runs a broker on `listener` until `shutdown`, then hands its leaderships over and stops cleanly.
///
/// # Errors
/// When the data dir cannot be used, when the coordinator refuses this broker for good, or when it
/// crashed ([`BrokerConfig::crash`], or a fatal error with [`BrokerConfig::crash_alone`]). A
/// coordinator that cannot be reached is no error: the broker waits for it and says so.
pub async fn run(
    listener: Listener,
    config: BrokerConfig,
    shutdown: CancellationToken,
) -> Result<(), BrokerError> {
    if config.name.is_empty() {
        return Err(BrokerError::Config("a broker needs a name".to_owned()));
    }
    let fatal = config.fatal_hook();
    let tasks = Tasks::new(config.crash.clone(), fatal.clone());
    let (dir, store_config, io) = (config.data.clone(), config.store.clone(), config.io.clone());
    let began = Instant::now();
    let opened = tokio::task::spawn_blocking(move || DataDir::open(&dir, store_config, io, fatal)).await;
    let store = match opened {
        Ok(opened) => opened?,
        Err(_) => return Err(BrokerError::Crashed),
    };
    let (link, inputs) = CoordinatorLink::new(config.step_down);
    let holders = TaskTracker::new();
    let parts = Parts {
        address: config.advertise.clone().unwrap_or_else(|| listener.local_addr().to_string()),
        listen: listener.local_addr().to_string(),
        opened_in: began.elapsed(),
        insecure: listener.is_insecure(),
        max_frame_bytes: listener.config().max_frame_bytes,
        store,
        tasks,
        link,
        alive: holders.token(),
    };
    let broker = Arc::new(Broker::new(config, parts));
    let (updates, updates_in) = mpsc::unbounded_channel();
    broker.tasks.spawn("metadata", apply_updates(broker.clone(), updates_in));
    broker.tasks.spawn("retention", retention::run(broker.clone()));
    let (refused, refusal) = oneshot::channel();
    let (linked, to_apply) = (broker.clone(), updates.clone());
    broker.tasks.spawn("coordinator link", async move {
        let _ = refused.send(coordinator_link::run(linked, inputs, to_apply).await);
    });
    let serving = CancellationToken::new();
    let mut server = Box::pin(serve(listener, Arc::new(BrokerService(broker.clone())), serving.clone()));
    let ended = tokio::select! {
        () = &mut server => Ok(()),
        () = broker.tasks.crash_token().cancelled() => Err(BrokerError::Crashed),
        Ok(error) = refusal => Err(error),
        () = stop(&broker, &updates, &shutdown, &serving) => Ok(()),
    };
    if ended.is_ok() {
        // The last answers go out.
        tokio::select! {
            () = &mut server => {}
            () = broker.tasks.crash_token().cancelled() => {}
        }
    }
    // Closes every connection at once, if any is left.
    drop(server);
    end(broker, holders).await;
    ended
}

/// Waits for `shutdown`, then stops in an order in which nothing is lost and nobody waits in vain.
async fn stop(
    broker: &Arc<Broker>,
    updates: &mpsc::UnboundedSender<Update>,
    shutdown: &CancellationToken,
    serving: &CancellationToken,
) {
    shutdown.cancelled().await;
    broker.stopping.store(true, Ordering::Relaxed);
    tracing::info!("stopping: handing over what this broker leads");
    if let Some(me) = broker.id().filter(|_| broker.link.connected())
        && !broker.link.drain(&broker.cluster, me, broker.config.drain_timeout).await
    {
        tracing::warn!("not everything was handed over in time");
    }
    let (done, stopped) = oneshot::channel();
    let _ = updates.send(Update::Stop(done));
    if timeout(config::STOP_TIMEOUT, stopped).await.is_err() {
        tracing::warn!("not every partition stopped in time");
    }
    let store = broker.store.clone();
    match broker.tasks.blocking("close the store", move || store.close()).await {
        Some(Ok(())) => tracing::info!("stopped cleanly"),
        Some(Err(error)) => {
            tracing::warn!(%error, "the store did not close cleanly; the next start recovers it")
        }
        None => {}
    }
    serving.cancel();
}

/// Drops everything that is left and waits until it is gone, so that the data dir can be opened again.
async fn end(broker: Arc<Broker>, holders: TaskTracker) {
    broker.tasks.crash();
    broker.tasks.finished().await;
    // The connections' tasks were told to end; each holds the broker until its worker has dropped it.
    let store = broker.store.clone();
    drop(broker);
    holders.close();
    if timeout(config::STOP_TIMEOUT, holders.wait()).await.is_err() {
        tracing::warn!("something still holds on to the broker that has ended");
    }
    // The store's threads end with it, and that may take a sync.
    let _ = tokio::task::spawn_blocking(move || drop(store)).await;
}
