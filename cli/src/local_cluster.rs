//! A coordinator and brokers inside this process: for `yak dev` and for throw-away clusters.

use crate::log;
use crate::node::Node;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use yak_broker::BrokerConfig;
use yak_coordinator::CoordinatorConfig;

/// How long a stopping broker waits for others to take over what it leads.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a broker may take to be registered and serving.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A coordinator and brokers inside this process.
pub struct LocalCluster {
    data: PathBuf,
    coordinator: Option<Node>,
    coordinator_address: String,
    brokers: Vec<Slot>,
}

/// A broker that runs, or could.
struct Slot {
    address: String,
    node: Option<Node>,
}

impl LocalCluster {
    /// Starts a coordinator on `base_port` of loopback and `nodes` brokers on the next ports (0 = any
    /// free ones), with their data in folders of `data`; returns once every broker serves.
    ///
    /// # Errors
    /// When a port or folder cannot be used, or a broker does not come up.
    pub async fn start(data: &Path, nodes: u16, base_port: u16) -> anyhow::Result<Self> {
        let port = |n: u16| if base_port == 0 { Some(0) } else { base_port.checked_add(n) };
        if port(nodes).is_none() {
            bail!("{nodes} brokers do not fit above port {base_port}: choose a lower --base-port");
        }
        let config = CoordinatorConfig::new(data.join("coordinator"));
        let address = format!("127.0.0.1:{base_port}");
        let coordinator =
            Node::start("coordinator", &address, log::listener(), |listener, shutdown| async move {
                Ok(yak_coordinator::run(listener, config, shutdown).await?)
            })
            .await?;
        let mut cluster = Self {
            data: data.to_owned(),
            coordinator_address: coordinator.address.to_string(),
            coordinator: Some(coordinator),
            brokers: Vec::new(),
        };
        for n in 1..=nodes {
            let address = format!("127.0.0.1:{}", port(n).unwrap_or(0));
            cluster.brokers.push(Slot { address, node: None });
        }
        let mut waiting = Vec::new();
        for n in 1..=nodes {
            waiting.push((n, cluster.launch(n).await?));
        }
        for (n, ready) in waiting {
            cluster.wait_ready(n, ready).await?;
        }
        Ok(cluster)
    }

    /// Where the coordinator listens.
    #[must_use]
    pub fn coordinator(&self) -> &str {
        &self.coordinator_address
    }

    /// Where the brokers listen, the first one first.
    #[must_use]
    pub fn brokers(&self) -> Vec<String> {
        self.brokers.iter().map(|slot| slot.address.clone()).collect()
    }

    /// Starts broker `n` (from 1) again on the data that it left; returns once it serves.
    ///
    /// # Errors
    /// When there is no such broker, it runs, or it does not come up.
    pub async fn start_broker(&mut self, n: u16) -> anyhow::Result<()> {
        let ready = self.launch(n).await?;
        self.wait_ready(n, ready).await
    }

    /// Ends broker `n` (from 1) as a crash would: tasks dropped, sockets closed, nothing flushed.
    ///
    /// # Errors
    /// When there is no such broker, or it does not run.
    pub async fn kill_broker(&mut self, n: u16) -> anyhow::Result<()> {
        let Some(node) = self.slot(n)?.node.take() else {
            bail!("broker {n} does not run: `start {n}` starts it");
        };
        node.kill().await;
        Ok(())
    }

    /// Stops everything cleanly: brokers hand over what they lead, then the coordinator.
    ///
    /// # Errors
    /// What went wrong first; everything is stopped all the same.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let stopping: Vec<_> = self
            .brokers
            .iter_mut()
            .filter_map(|slot| slot.node.take().map(|node| tokio::spawn(node.stop())))
            .collect();
        let mut outcome = Ok(());
        for task in stopping {
            outcome = outcome.and(task.await.unwrap_or_else(|error| Err(error.into())));
        }
        if let Some(node) = self.coordinator.take() {
            outcome = outcome.and(node.stop().await);
        }
        outcome
    }

    fn slot(&mut self, n: u16) -> anyhow::Result<&mut Slot> {
        let count = self.brokers.len();
        usize::from(n)
            .checked_sub(1)
            .and_then(|index| self.brokers.get_mut(index))
            .with_context(|| format!("there is no broker {n}: they are numbered 1 to {count}"))
    }

    async fn launch(&mut self, n: u16) -> anyhow::Result<CancellationToken> {
        let name = format!("b{n}");
        let mut config =
            BrokerConfig::new(&name, self.data.join(&name), vec![self.coordinator_address.clone()])
                .crash_alone();
        // Brokers here stop only all together: the last ones have nobody to hand over to.
        config.drain_timeout = DRAIN_TIMEOUT;
        let chosen = ["name", "data", "coordinator", "listen"];
        config.sources = chosen.map(|name| (name.to_owned(), "program".to_owned())).into();
        let ready = config.ready.clone();
        let slot = self.slot(n)?;
        if slot.node.as_ref().is_some_and(|node| !node.ended()) {
            bail!("broker {n} runs already: `kill {n}` ends it");
        }
        if let Some(crashed) = slot.node.take() {
            crashed.kill().await;
        }
        let node = Node::start(&name, &slot.address, log::listener(), |listener, shutdown| async move {
            Ok(yak_broker::run(listener, config, shutdown).await?)
        })
        .await?;
        slot.address = node.address.to_string();
        slot.node = Some(node);
        Ok(ready)
    }

    async fn wait_ready(&mut self, n: u16, ready: CancellationToken) -> anyhow::Result<()> {
        let slot = self.slot(n)?;
        let Some(node) = slot.node.as_mut() else { bail!("broker {n} does not run") };
        tokio::select! {
            () = ready.cancelled() => Ok(()),
            outcome = node.outcome() => {
                slot.node = None;
                Err(outcome.err().unwrap_or_else(|| anyhow::anyhow!("ended by itself")))
                    .with_context(|| format!("starting broker {n}"))
            }
            () = tokio::time::sleep(READY_TIMEOUT) => {
                bail!("broker {n} did not serve within {} s; see its notes above", READY_TIMEOUT.as_secs())
            }
        }
    }
}
