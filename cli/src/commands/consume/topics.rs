//! Getting from names to topics that exist.

use super::ConsumeArgs;
use crate::context::Context;
use crate::exit::{self, Failure};
use std::time::{Duration, Instant};
use yak_protocol::error::ErrorCode;
use yak_protocol::message::{CreateTopic, TopicInfo};
use yak_protocol::net::{Cluster, ClusterError};

/// How often a topic that does not exist is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The topic, once it exists: makes it with `--create`, fails with `-e`, else waits and says so.
pub(super) async fn find(
    args: &ConsumeArgs,
    context: &Context,
    cluster: &Cluster,
    name: &str,
    give_up_at: Option<Instant>,
) -> anyhow::Result<TopicInfo> {
    let mut noted = false;
    loop {
        let deadline = Instant::now() + ASK_TIMEOUT;
        let refusal = match cluster.topic(name, deadline.into()).await {
            Ok(info) => return Ok(info),
            Err(ClusterError::Refused(refusal)) if refusal.code == ErrorCode::UnknownTopic => refusal,
            Err(error) => return Err(error.into()),
        };
        if args.create {
            let request =
                CreateTopic { topic: name.to_owned(), if_not_exists: true, ..CreateTopic::default() };
            let made = cluster.request_any(&request, Vec::new(), deadline.into()).await?;
            cluster.expect_topic(name);
            tracing::info!(topic = name, partitions = made.body.topic.partitions, "made the topic");
            return Ok(made.body.topic);
        }
        let nearest = refusal.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        let gone = || Failure::new(exit::NOT_FOUND, format!("there is no topic {name}{nearest}"));
        if args.exit_at_end || give_up_at.is_some_and(|at| Instant::now() >= at) {
            return Err(gone().into());
        }
        if !noted {
            tracing::warn!("there is no topic {name} yet, waiting for it (--create makes it){nearest}");
            noted = true;
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
