//! One connection of a follower's stream, from its first frame to its end.

use super::follower::{FollowerStream, Words};
use crate::broker::{Broker, Session};
use crate::partition::Command;
use crate::peers;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use yak_core::partition::{Event, PushedBatch};
use yak_protocol::batch;
use yak_protocol::defaults::{STREAM_KEEP_ALIVE, STREAM_SILENT};
use yak_protocol::message::{Message, Push, Replicate, ReplicateReply};
use yak_protocol::net::{Connection, Incoming};

/// How late a timer may be before the silence is this process's own (it was paused), not the leader's.
const OWN_PAUSE: Duration = Duration::from_millis(300);
/// How long a stream that no partition is on stays connected.
const DESERTED: Duration = Duration::from_secs(5);

/// `Ok` = it stood, and ended for this reason; `Err` = it could not be made.
pub(super) async fn run(broker: &Arc<Broker>, stream: &FollowerStream) -> Result<String, String> {
    let Some(leader) = broker.cluster.broker(stream.leader) else {
        return Err(format!("broker {} is not known", stream.leader));
    };
    let (connection, mut incoming) = peers::connect(&leader.address).await?;
    let mut talk = Talk { broker, stream, connection, spoke: Instant::now() };
    // What was acknowledged or closed on an earlier connection means nothing on this one.
    let Words { open, .. } = stream.outbox.take();
    let opening: BTreeSet<_> = open.keys().copied().collect();
    talk.say(Words { open, ..Words::default() })?;
    stream.tell_others(&opening, &Event::StreamUp { leader: stream.leader });
    let mut heard = Instant::now();
    let mut deserted: Option<Instant> = None;
    loop {
        let quiet = talk.spoke + STREAM_KEEP_ALIVE;
        let silent = heard + STREAM_SILENT;
        tokio::select! {
            biased;
            frame = incoming.recv() => {
                let Some(frame) = frame else {
                    return Ok(talk.connection.wait_closed().await.to_string());
                };
                heard = Instant::now();
                if let Err(reason) = talk.hear(frame) {
                    talk.connection.close();
                    return Ok(reason);
                }
            }
            () = stream.outbox.filled() => {
                let words = stream.outbox.take();
                if !words.is_empty() && let Err(reason) = talk.say(words) {
                    return Ok(reason);
                }
            }
            () = sleep_until(quiet.min(silent)) => {
                let now = Instant::now();
                if now >= silent {
                    if now - silent > OWN_PAUSE {
                        heard = now;
                    } else {
                        talk.report_silence(now - heard);
                        talk.connection.close();
                        return Ok(format!("the leader has been silent for {} ms", (now - heard).as_millis()));
                    }
                }
                if now >= quiet && let Err(reason) = talk.say(Words::default()) {
                    return Ok(reason);
                }
                deserted = stream.deserted().then(|| deserted.unwrap_or(now));
                if deserted.is_some_and(|since| now - since >= DESERTED) {
                    talk.connection.close();
                    return Ok("no partition needs it".to_owned());
                }
            }
        }
    }
}

struct Talk<'a> {
    broker: &'a Arc<Broker>,
    stream: &'a FollowerStream,
    connection: Connection,
    spoke: Instant,
}

impl Talk<'_> {
    /// Sends one frame; an empty one is the keep-alive.
    fn say(&mut self, words: Words) -> Result<(), String> {
        let Some(Session { cluster_id, broker_id, broker_epoch }) = self.broker.session() else {
            return Err("this broker is not registered".to_owned());
        };
        let Words { open, ack, close } = words;
        let open = open.into_values().collect();
        let frame = Replicate { cluster_id, broker_id, broker_epoch, open, ack, close };
        self.spoke = Instant::now();
        self.connection.send(0, Replicate::KIND, &frame, Vec::new()).map_err(|lost| lost.to_string())
    }

    /// Hands a frame's words to the partitions.
    fn hear(&self, frame: Incoming) -> Result<(), String> {
        if let Some(error) = frame.refusal() {
            return Err(format!("the leader refused: {error}"));
        }
        if frame.kind.as_str() != Replicate::KIND {
            return Err(format!("the leader sent a frame of kind {} on a replication stream", frame.kind));
        }
        let reply: ReplicateReply = frame.parse_body().map_err(|error| error.to_string())?;
        for opened in reply.opened {
            let event = Event::OpenAnswered { session: opened.session, answer: opened.answer };
            self.stream.tell(opened.id, Command::Event(event));
        }
        let mut bin = frame.bin;
        for push in reply.push {
            if push.bytes as usize > bin.len() {
                return Err(format!("a push of {} bytes in a frame with {} left", push.bytes, bin.len()));
            }
            let batches = bin.split_to(push.bytes as usize);
            self.push(push, batches)?;
        }
        Ok(())
    }

    /// Checks every batch before the machine hears of it.
    fn push(&self, push: Push, bytes: Bytes) -> Result<(), String> {
        let mut batches = Vec::new();
        for found in batch::batches(&bytes) {
            let head = found.and_then(|(_, batch)| {
                let header = batch::verify(batch)?;
                let ids = crate::producers::ids_of_batch(&header, batch)?;
                Ok(PushedBatch { base: header.base_offset, head: crate::producers::head(&header, ids) })
            });
            batches.push(head.map_err(|error| {
                format!("a batch for {} is damaged: {error}", self.broker.cluster.name_of(push.id))
            })?);
        }
        let event = Event::Push {
            session: push.session,
            from: push.from,
            high_watermark: push.high_watermark,
            log_start: push.log_start,
            batches,
        };
        self.stream.tell(push.id, Command::Push(event, bytes));
        Ok(())
    }

    fn report_silence(&self, silent: Duration) {
        if let Some(leader) = self.broker.cluster.broker(self.stream.leader) {
            tracing::warn!(leader = leader.id.0, address = leader.address, "the leader's stream is silent");
            self.broker.link.report_silent(leader.id, leader.broker_epoch, silent);
        }
    }
}
