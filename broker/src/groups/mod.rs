//! Consumer groups at this broker: for each partition of their topic that it leads, a task that owns the
//! machine ([`yak_core::group::GroupSet`]), made when somebody asks for the first time.

mod journal;
mod list;
mod load;
mod requests;
mod task;

pub(crate) use list::list;
pub(crate) use requests::serve;

use crate::broker::Broker;
use crate::partition::PartitionHandle;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use yak_core::group::{Reply, Request};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::TopicPartition;

/// How many requests may wait for one coordinator of groups.
const WAITING_MAX: usize = 10_000;

/// The coordinators of groups that run at this broker.
#[derive(Default)]
pub(crate) struct Groups {
    running: DashMap<TopicPartition, mpsc::Sender<Asked>>,
}

/// A request on its way to a coordinator.
pub(crate) struct Asked {
    request: Request,
    host: String,
    answer: oneshot::Sender<Result<Reply, WireError>>,
}

impl Groups {
    /// Hands a request to the coordinator of this partition, which this broker leads.
    fn hand_over(
        &self,
        broker: &Arc<Broker>,
        partition: &Arc<PartitionHandle>,
        asked: Asked,
    ) -> Result<(), WireError> {
        let mut entry = self.running.entry(partition.id).or_insert_with(|| start(broker, partition));
        if entry.is_closed() {
            *entry = start(broker, partition);
        }
        entry.try_send(asked).map_err(|_| {
            let what = format!("{WAITING_MAX} requests wait for this coordinator of groups");
            WireError::new(ErrorCode::Overloaded, what)
        })
    }
}

fn start(broker: &Arc<Broker>, partition: &Arc<PartitionHandle>) -> mpsc::Sender<Asked> {
    let (sender, asked) = mpsc::channel(WAITING_MAX);
    broker.tasks.spawn("consumer groups", task::run(broker.clone(), partition.clone(), asked));
    sender
}
