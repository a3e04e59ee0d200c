//! Collects the outcomes of one publish request, which come from several partitions in any order.

use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::{Acked, Publish, PublishReply, PublishResult};
use yak_protocol::net::Replier;

/// The right to say what became of one batch. The last one of a request sends the reply.
pub(crate) struct PublishAnswer {
    to: Whom,
    sent: bool,
}

enum Whom {
    /// One of the batches of a request.
    Request { collector: Arc<Mutex<Collector>>, index: usize },
    /// Somebody in this process.
    Here(Option<oneshot::Sender<Result<Acked, WireError>>>),
}

struct Collector {
    results: Vec<PublishResult>,
    missing: usize,
    reply: Option<Replier>,
}

impl PublishAnswer {
    /// One answer for each batch of the request, in order. `batches` is not empty.
    pub(crate) fn for_each(batches: Vec<(String, PartitionIndex)>, reply: Replier) -> Vec<Self> {
        let missing = batches.len();
        let empty = |(topic, partition)| PublishResult { topic, partition, ack: None, error: None };
        let results = batches.into_iter().map(empty).collect();
        let collector = Arc::new(Mutex::new(Collector { results, missing, reply: Some(reply) }));
        let whom = |index| Whom::Request { collector: collector.clone(), index };
        (0..missing).map(|index| Self { to: whom(index), sent: false }).collect()
    }

    /// An answer for somebody in this process, and where it comes.
    pub(crate) fn here() -> (Self, oneshot::Receiver<Result<Acked, WireError>>) {
        let (sender, answer) = oneshot::channel();
        (Self { to: Whom::Here(Some(sender)), sent: false }, answer)
    }

    /// Says what became of the batch.
    pub(crate) fn send(mut self, outcome: Result<Acked, WireError>) {
        self.put(outcome);
    }

    fn put(&mut self, outcome: Result<Acked, WireError>) {
        self.sent = true;
        let (collector, index) = match &mut self.to {
            Whom::Request { collector, index } => (collector, *index),
            Whom::Here(sender) => {
                if let Some(sender) = sender.take() {
                    let _ = sender.send(outcome);
                }
                return;
            }
        };
        let mut collector = collector.lock().expect("nobody panics while holding it");
        if let Some(result) = collector.results.get_mut(index) {
            match outcome {
                Ok(ack) => result.ack = Some(ack),
                Err(error) => result.error = Some(error),
            }
        }
        collector.missing -= 1;
        if collector.missing > 0 {
            return;
        }
        let results = std::mem::take(&mut collector.results);
        let reply = collector.reply.take();
        drop(collector);
        if let Some(reply) = reply {
            reply.reply::<Publish>(Ok(&PublishReply { results }), Vec::new());
        }
    }
}

impl Drop for PublishAnswer {
    /// A partition that stops while a batch is on its way to it leaves it without a word.
    fn drop(&mut self) {
        if !self.sent {
            self.put(Err(WireError::new(
                ErrorCode::OutcomeUnknown,
                "the partition stopped while the batch was on its way to it",
            )
            .hint("an idempotent producer can send it again safely")));
        }
    }
}
