//! `PUB` and `PUBN`: one record, published as a client would.

use super::Outcome;
use crate::clock;
use crate::service::BrokerService;
use bytes::Bytes;
use serde_bytes::ByteBuf;
use yak_protocol::batch::{BatchBuilder, Compression, MSG_ID_HEADER, RecordRef};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};
use yak_protocol::message::{Acks, BatchRef, PlainRecord, Publish};
use yak_protocol::net::{TextSession, find, place};
use yak_protocol::text::{Command, Status};

pub(super) async fn publish(
    session: &mut TextSession,
    service: &BrokerService,
    command: &Command,
) -> Outcome {
    command.allow(&["key", "part", "msg_id", "h.*", "acks", "id", "timeout_ms"])?;
    let words = if command.verb == "PUBN" { 2 } else { 1 };
    if let Some(word) = command.words.get(words) {
        return Err(WireError::bad_request(format!("{} does not take {word}", command.verb))
            .hint("PUB <topic> -- the value")
            .into());
    }
    let Some(value) = &command.payload else {
        return Err(WireError::bad_request("PUB needs a value").hint("PUB <topic> -- the value").into());
    };
    let (topic, partition) = place(command.word(0, "a topic")?)?;
    let partition = match command.number("part")?.map(PartitionIndex) {
        Some(other) if partition.is_some_and(|named| named != other) => {
            return Err(WireError::bad_request(format!(
                "part={other}, and {topic} is named with another partition"
            ))
            .into());
        }
        part => part.or(partition),
    };
    let record = record(command, value);
    let terms = Publish {
        acks: acks(command)?,
        timeout_ms: command.number("timeout_ms")?.unwrap_or(0),
        forward: session.forward(),
        ..Publish::default()
    };
    let (publish, bin) = match command.option("id") {
        None => {
            let topic = Some(topic.to_owned());
            (Publish { topic, partition, records: vec![record], ..terms }, Vec::new())
        }
        Some(id) => {
            let stamp = stamp(id)?;
            let known = find(session, service, command, topic).await?.topic;
            let partition = match (partition, record.key.as_ref().or(record.msg_id.as_ref())) {
                (Some(partition), _) => partition,
                (None, Some(key)) => known.partition_of(key),
                (None, None) => {
                    let hint = "numbers count within a partition: say part= or key=";
                    return Err(WireError::bad_request("id= needs to know the partition").hint(hint).into());
                }
            };
            let batch = stamped(&record, stamp)?;
            let bytes = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            let batches = vec![BatchRef(topic.to_owned(), partition, bytes)];
            (Publish { batches, ..terms }, vec![batch])
        }
    };
    if publish.acks == Acks::None {
        session.asker().tell(service, &publish, bin).await?;
        return Ok(Status::ok().with("topic", topic).with("acks", 0_u32));
    }
    let (reply, _) = session.ask(service, &publish, bin).await?;
    let result = reply.results.into_iter().next();
    let result =
        result.ok_or_else(|| WireError::new(ErrorCode::Internal, "publish: an answer without a result"))?;
    let ack = match (result.ack, result.error) {
        (Some(ack), _) => ack,
        (None, Some(error)) => return Err(error.into()),
        (None, None) => {
            return Err(WireError::new(ErrorCode::Internal, "publish: neither ack nor error").into());
        }
    };
    let replicas = service.0.cluster.topic(&result.topic).ok().and_then(|topic| {
        let id = TopicPartition { topic: topic.id, partition: result.partition };
        service.0.cluster.partition(id).map(|info| info.replicas.len())
    });
    let of = replicas.map_or_else(|| "?".to_owned(), |replicas| replicas.to_string());
    let status = Status::ok().with("topic", result.topic).with("partition", result.partition);
    let status = status.with("offset", ack.offset).with("replicas", format!("{}/{of}", ack.replicas));
    Ok(status.with("durable", ack.durable).with("leader_epoch", ack.leader_epoch))
}

fn record(command: &Command, value: &Bytes) -> PlainRecord {
    let header = |(name, value): &(String, String)| {
        let name = name.strip_prefix("h.").or_else(|| name.strip_prefix("H."))?;
        Some((name.to_owned(), ByteBuf::from(value.as_bytes())))
    };
    PlainRecord {
        key: command.option("key").map(|key| ByteBuf::from(key.as_bytes())),
        value: Some(ByteBuf::from(value.to_vec())),
        msg_id: command.option("msg_id").map(|id| ByteBuf::from(id.as_bytes())),
        headers: command.options.iter().filter_map(header).collect(),
        ..PlainRecord::default()
    }
}

fn acks(command: &Command) -> Result<Acks, WireError> {
    match command.option("acks") {
        None | Some("all") => Ok(Acks::All),
        Some("1") => Ok(Acks::Leader),
        Some("0") => Ok(Acks::None),
        Some(other) => Err(WireError::bad_request(format!("acks is all, 1 or 0, not {other}"))),
    }
}

/// What makes a record known when it is sent again: its producer, that one's epoch, and its number.
type Stamp = (ProducerId, ProducerEpoch, i32);

/// `4000/7`, or `4000/1/7` with an epoch.
fn stamp(text: &str) -> Result<Stamp, WireError> {
    let wrong = || {
        WireError::bad_request(format!("id={text} is no producer and number"))
            .hint("id=<producer>/<sequence>: {\"kind\":\"register_producer\"} gives you a producer")
    };
    let parts: Vec<&str> = text.split('/').collect();
    let (producer, epoch, sequence) = match parts[..] {
        [producer, sequence] => (producer, "0", sequence),
        [producer, epoch, sequence] => (producer, epoch, sequence),
        _ => return Err(wrong()),
    };
    let stamp = (
        ProducerId(producer.parse().map_err(|_| wrong())?),
        ProducerEpoch(epoch.parse().map_err(|_| wrong())?),
        sequence.parse().map_err(|_| wrong())?,
    );
    if stamp.0.0 < 0 || stamp.1.0 < 0 || stamp.2 < 0 { Err(wrong()) } else { Ok(stamp) }
}

fn stamped(record: &PlainRecord, (producer, epoch, sequence): Stamp) -> Result<Bytes, WireError> {
    let id = record.msg_id.iter().map(|id| (MSG_ID_HEADER, id.as_slice()));
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let headers: Vec<(&str, &[u8])> = id.chain(headers).collect();
    let mut builder = BatchBuilder::new(Compression::None).producer(producer, epoch, sequence);
    builder.push(&RecordRef {
        timestamp_ms: clock::wall_ms(),
        key: record.key.as_ref().map(|key| key.as_slice()),
        value: record.value.as_ref().map(|value| value.as_slice()),
        headers: &headers,
    });
    builder.build().map_err(|error| WireError::new(ErrorCode::BadBatch, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_for_a_record() {
        assert_eq!(stamp("4000/7").expect("short"), (ProducerId(4000), ProducerEpoch(0), 7));
        assert_eq!(stamp("4000/1/7").expect("long"), (ProducerId(4000), ProducerEpoch(1), 7));
        for text in ["", "7", "a/1", "1/2/3/4", "-1/0", "1/-2", "1/0/-5", "1/99999999999"] {
            let error = stamp(text).expect_err(text);
            assert_eq!(error.code, ErrorCode::BadRequest);
        }
    }
}
