//! `PEEK`: records as this broker's own replica has them. What lies above the high watermark is shown too,
//! and said to be uncommitted: another leader may cut it, and no consumer has seen it.

use super::{Outcome, stops};
use crate::config::RECORDS_BYTES_MAX;
use crate::service::BrokerService;
use bytes::Bytes;
use yak_core::partition::Event;
use yak_protocol::batch::{OwnedRecords, batches};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Offset, TopicPartition};
use yak_protocol::net::{TextSession, find, place};
use yak_protocol::text::{Command, Table, Value, escaped, rfc3339};
use yak_storage::{Log, ReadError};

/// How many records are shown if nobody says, and the most.
const RECORDS: usize = 10;
const RECORDS_MAX: usize = 1000;
/// How many bytes of a value are shown.
const VALUE_BYTES: usize = 80;
/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

pub(super) async fn peek(session: &mut TextSession, service: &BrokerService, command: &Command) -> Outcome {
    command.plain(3)?;
    let text = command.word(0, "a partition, as in orders/2")?;
    let found = find(session, service, command, text).await?;
    let Some(partition) = place(text)?.1 else {
        return Err(WireError::bad_request("PEEK looks into one partition")
            .hint(format!("PEEK {text}/0 0"))
            .into());
    };
    let broker = &service.0;
    let id = TopicPartition { topic: found.topic.id, partition };
    let Some(handle) = broker.partition(id) else {
        let replicas = found.partitions.first().map(|info| Value::from(info.replicas.clone()));
        let on = replicas.map_or_else(String::new, |replicas| format!("brokers {replicas} hold one"));
        let what = format!("this broker holds no replica of {text}");
        return Err(WireError::new(ErrorCode::UnknownPartition, what).hint(on).into());
    };
    let view = handle.view();
    let from = from(command.word(1, "an offset, or -10 for the last ten")?, view.log_start, view.log_end)?;
    let wanted = match command.words.get(2) {
        None => RECORDS,
        Some(word) => {
            let number: Option<usize> = word.parse().ok();
            let number = number.filter(|number| (1..=RECORDS_MAX).contains(number));
            number.ok_or_else(|| {
                WireError::bad_request(format!("PEEK: {word} is not a number from 1 to {RECORDS_MAX}"))
            })?
        }
    };
    let (log, below, committed) = (handle.log.clone(), view.log_end, view.high_watermark);
    let read = move || look(&log, Look { from, below, committed, wanted });
    let looked = broker.tasks.blocking("peek", read).await.ok_or_else(stops)?;
    match looked {
        Ok(table) => session.answer(&table).await,
        Err(error) => {
            if let ReadError::Damaged { from, to } = error {
                handle.event(Event::DamageFound { from, to });
            }
            Err(WireError::new(ErrorCode::Damaged, format!("{text}: {error}")).into())
        }
    }
}

fn from(text: &str, start: Offset, end: Offset) -> Result<Offset, WireError> {
    let wrong = || {
        WireError::bad_request(format!("PEEK: {text} is no offset"))
            .hint("PEEK orders/2 17, or PEEK orders/2 -10")
    };
    if let Some(count) = text.strip_prefix('-') {
        let count: u64 = count.parse().map_err(|_| wrong())?;
        return Ok(Offset(end.0.saturating_sub(count)).max(start));
    }
    let offset = Offset(text.parse().map_err(|_| wrong())?);
    if offset < start || offset > end {
        let what = format!("offset {offset} is outside this replica, which holds {start} to {end}");
        return Err(WireError::new(ErrorCode::OffsetOutOfRange, what));
    }
    Ok(offset)
}

struct Look {
    from: Offset,
    below: Offset,
    committed: Offset,
    wanted: usize,
}

/// Reads and opens batches until there are enough records. Blocks.
fn look(log: &Log, look: Look) -> Result<Table, ReadError> {
    let mut table =
        Table::new(&["OFFSET", "COMMITTED", "EPOCH", "TIME", "PRODUCER", "CODEC", "KEY", "BYTES", "VALUE"]);
    let mut next = look.from;
    while next < look.below && table.len() < look.wanted {
        let found = log.read(next, READ_BYTES, look.below)?;
        let before = next;
        for bytes in &found {
            for batch in batches(bytes) {
                let Ok((header, batch)) = batch else { break };
                show(&mut table, &look, &bytes.slice_ref(batch));
                next = next.max(header.next_offset());
            }
        }
        if next == before {
            break;
        }
    }
    Ok(table)
}

fn show(table: &mut Table, look: &Look, batch: &Bytes) {
    let records = match OwnedRecords::open(batch, RECORDS_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => {
            let mut row = vec![Value::None; 8];
            row.push(format!("a batch that cannot be opened: {error}").into());
            return table.push(row);
        }
    };
    let header = records.header();
    let producer = header
        .producer_id
        .is_some()
        .then(|| format!("{}/{}/{}", header.producer_id.0, header.producer_epoch.0, header.base_sequence));
    for record in records.iter().filter_map(Result::ok) {
        if record.offset < look.from || table.len() >= look.wanted {
            continue;
        }
        table.push([
            Value::from(record.offset),
            (record.offset < look.committed).into(),
            header.leader_epoch.into(),
            rfc3339(record.timestamp_ms).into(),
            producer.clone().into(),
            format!("{:?}", header.compression()).to_ascii_lowercase().into(),
            record.key.map(shortened).into(),
            record.value.map(<[u8]>::len).into(),
            record.value.map(shortened).into(),
        ]);
    }
}

fn shortened(bytes: &[u8]) -> String {
    match bytes.get(..VALUE_BYTES) {
        Some(begin) if bytes.len() > VALUE_BYTES => format!("{}...", escaped(begin)),
        _ => escaped(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_look() {
        let place = |text: &str| from(text, Offset(5), Offset(20)).ok();
        assert_eq!(place("7"), Some(Offset(7)));
        assert_eq!(place("20"), Some(Offset(20)));
        assert_eq!(place("-3"), Some(Offset(17)));
        assert_eq!(place("-300"), Some(Offset(5)));
        for text in ["4", "21", "", "x", "-", "--1"] {
            assert_eq!(place(text), None, "{text}");
        }
        assert_eq!(shortened(b"a\n"), "a\\x0a");
        assert_eq!(shortened(&[b'x'; 81]), format!("{}...", "x".repeat(80)));
    }
}
