//! Reaching the cluster, and saying so when that takes long.

use crate::context::Context;
use crate::exit::{self, Failure};
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::message::MetadataReply;
use yak_protocol::net::{ClientOptions, Cluster, ClusterError};

/// After how long an unreachable cluster is mentioned.
const MENTION_AFTER: Duration = Duration::from_secs(1);

/// How long a command tries that asks or changes something once.
pub const BRIEFLY: Duration = Duration::from_secs(3);
/// How long a command tries that may have been started together with the cluster.
pub const PATIENTLY: Duration = Duration::from_secs(30);

/// A client that has reached the cluster, and what the cluster said.
///
/// # Errors
/// Exit code 7 when nobody answers in time, 130 on Ctrl-C.
pub async fn reach(context: &Context, patience: Duration) -> anyhow::Result<(Cluster, Arc<MetadataReply>)> {
    let options = ClientOptions { timeout: patience, ..ClientOptions::default() };
    let cluster = Cluster::new(context.global.brokers.clone(), options);
    let metadata = {
        let asking = cluster.metadata(true);
        tokio::pin!(asking);
        tokio::select! {
            metadata = &mut asking => metadata,
            () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
            () = tokio::time::sleep(MENTION_AFTER) => {
                tracing::warn!("nobody answers at {} yet", cluster.bootstrap().join(", "));
                tokio::select! {
                    metadata = asking => metadata,
                    () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
                }
            }
        }
    };
    match metadata {
        Ok(metadata) => Ok((cluster, metadata)),
        Err(error) => Err(unreachable(&cluster, &error).into()),
    }
}

fn unreachable(cluster: &Cluster, error: &ClusterError) -> Failure {
    let cause = match error {
        ClusterError::Timeout { cause, .. } => cause.clone(),
        other => other.to_string(),
    };
    Failure::new(
        exit::UNREACHABLE,
        format!(
            "no broker or coordinator answers at {}: {cause}; name others with -b or YAK_BROKERS, or start some \
             with `yak dev`",
            cluster.bootstrap().join(", ")
        ),
    )
}
