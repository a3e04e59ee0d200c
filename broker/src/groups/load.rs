//! Reads what the log of a partition says about groups.

use crate::broker::Broker;
use crate::config::{CONSUME_BYTES, RECORDS_BYTES_MAX, REPAIR_RETRY};
use crate::partition::PartitionHandle;
use crate::requests::read_committed;
use std::collections::BTreeMap;
use std::sync::Arc;
use yak_core::group::{Key, Value};
use yak_core::partition::View;
use yak_protocol::batch::{self, batches};
use yak_protocol::message::PlainRecord;

/// The last record of each key up to the high watermark of `view`; `None` when this broker leads no more, or when a
/// batch cannot be opened: nobody coordinates from a part of what was promised.
pub(super) async fn load(
    broker: &Arc<Broker>,
    partition: &Arc<PartitionHandle>,
    view: &View,
) -> Option<BTreeMap<Key, Option<Value>>> {
    let mut found = BTreeMap::new();
    let mut from = view.log_start;
    while from < view.high_watermark {
        let read = read_committed(broker, partition, view, from, CONSUME_BYTES as usize).await;
        let pieces = match read {
            Ok(pieces) => pieces,
            Err(error) => {
                tracing::warn!(%error, "what is known of consumer groups cannot be read yet");
                tokio::time::sleep(REPAIR_RETRY).await;
                let now = partition.view();
                if !now.leads || now.leader_epoch != view.leader_epoch {
                    return None;
                }
                continue;
            }
        };
        let before = from;
        for bytes in &pieces {
            match batch::plain_records(bytes, from, view.high_watermark, RECORDS_BYTES_MAX) {
                Ok(records) => found.extend(records.iter().filter_map(entry)),
                Err(error) => {
                    tracing::error!(%error, %from, "a batch about consumer groups cannot be opened");
                    return None;
                }
            }
            if let Some(Ok((last, _))) = batches(bytes).last() {
                from = last.next_offset();
            }
        }
        if from == before {
            // Nothing is left there.
            break;
        }
    }
    Some(found)
}

/// One record; `None` for what a newer version may have written.
fn entry(record: &PlainRecord) -> Option<(Key, Option<Value>)> {
    let key = rmp_serde::from_slice(record.key.as_ref()?).ok()?;
    match &record.value {
        None => Some((key, None)),
        Some(value) => Some((key, Some(rmp_serde::from_slice(value).ok()?))),
    }
}
