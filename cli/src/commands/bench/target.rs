//! What is measured: a running cluster, or a throw-away one in this process.

use super::{BenchArgs, DurabilityArg};
use crate::connect;
use crate::context::Context;
use crate::local_cluster::LocalCluster;
use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use yak_producer::{Event, Producer, ProducerConfig};
use yak_protocol::message::{CreateTopic, DeleteTopic, TopicConfig};
use yak_protocol::net::{ClientOptions, Cluster};

/// How long making or deleting a topic may take.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Target {
    cluster: Cluster,
    throw_away: Option<(LocalCluster, PathBuf)>,
    brokers: u32,
    topics: Mutex<Vec<String>>,
}

impl Target {
    pub(super) async fn start(args: &BenchArgs, context: &Context) -> anyhow::Result<Self> {
        let Some(nodes) = args.nodes else {
            let (cluster, metadata) = connect::reach(context, connect::BRIEFLY).await?;
            let brokers = metadata.brokers.iter().filter(|broker| !broker.fenced).count();
            let brokers = u32::try_from(brokers).unwrap_or(u32::MAX);
            return Ok(Self { cluster, throw_away: None, brokers, topics: Mutex::default() });
        };
        let data = match &args.data {
            Some(data) => data.clone(),
            None => std::env::temp_dir().join(format!("yak-bench-{}", std::process::id())),
        };
        let taken = data.exists() && data.read_dir().map_or(true, |mut entries| entries.next().is_some());
        anyhow::ensure!(
            !taken,
            "{} is not empty, and what is in it would be deleted afterwards",
            data.display()
        );
        let local = LocalCluster::start(&data, nodes, 0).await?;
        let cluster = Cluster::new(local.brokers(), ClientOptions::default());
        let throw_away = Some((local, data));
        Ok(Self { cluster, throw_away, brokers: u32::from(nodes), topics: Mutex::default() })
    }

    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        match &self.throw_away {
            Some((_, data)) => format!("throw-away cluster in {}", data.display()),
            None => format!("cluster at {}", self.cluster.bootstrap().join(",")),
        }
    }

    pub(super) fn brokers(&self) -> u32 {
        self.brokers
    }

    /// How many replicas the topics get.
    pub(super) fn replicas(&self, args: &BenchArgs) -> u32 {
        args.replicas.unwrap_or(yak_protocol::defaults::REPLICAS).min(self.brokers.max(1))
    }

    /// A client with connections of its own.
    pub(super) fn client(&self) -> Cluster {
        Cluster::new(self.cluster.bootstrap().to_vec(), ClientOptions::default())
    }

    /// A producer as the arguments say, with connections of its own.
    pub(super) fn producer(&self, args: &BenchArgs, idempotent: bool) -> Producer {
        let config = ProducerConfig {
            client: "yak-bench".to_owned(),
            acks: args.acks.into(),
            idempotent,
            compression: args.compression,
            linger: Duration::from_millis(args.linger),
            batch_bytes: args.batch,
            ..ProducerConfig::default()
        };
        let hook = Arc::new(|event: Event| tracing::warn!("{event}"));
        Producer::new(self.client(), config, hook)
    }

    /// A new topic, ready to be written to.
    pub(super) async fn make_topic(&self, partitions: u32, args: &BenchArgs) -> anyhow::Result<String> {
        let topic = format!("bench-{:08x}", fastrand::u32(..));
        let durability = args.durability.into();
        let request = CreateTopic {
            topic: topic.clone(),
            partitions: Some(partitions),
            replicas: Some(self.replicas(args)),
            // A single broker has nobody to wait for.
            min_isr: (args.durability == DurabilityArg::Replicated && self.replicas(args) == 1).then_some(1),
            config: TopicConfig { durability, ..TopicConfig::default() },
            ..CreateTopic::default()
        };
        let deadline = Instant::now() + TOPIC_TIMEOUT;
        let made = self.cluster.request_any(&request, Vec::new(), deadline.into()).await;
        made.with_context(|| format!("making the topic {topic}"))?;
        self.cluster.expect_topic(&topic);
        self.topics.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(topic.clone());
        Ok(topic)
    }

    /// Removes what the measurement made.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        if let Some((mut local, data)) = self.throw_away {
            // Nothing of it is wanted any more, so nothing needs to be handed over or flushed.
            for broker in 1..=u16::try_from(self.brokers).unwrap_or(u16::MAX) {
                local.kill_broker(broker).await?;
            }
            local.stop().await?;
            return std::fs::remove_dir_all(&data)
                .with_context(|| format!("cannot remove {}", data.display()));
        }
        for topic in self.topics.into_inner().unwrap_or_default() {
            let deadline = Instant::now() + TOPIC_TIMEOUT;
            let gone = self
                .cluster
                .request_any(&DeleteTopic { topic: topic.clone() }, Vec::new(), deadline.into())
                .await;
            if let Err(error) = gone {
                tracing::warn!("the topic {topic} is left behind: {error}");
            }
        }
        Ok(())
    }
}
