//! Producers with a name: the same id for the name each time, with the next epoch, so that partitions refuse the one
//! that had it before.

use super::{Cluster, Record, Step};
use std::collections::BTreeMap;
use yak_protocol::defaults::{NAMED_PRODUCERS_MAX, PRODUCER_NAME_BYTES_MAX};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{ProducerEpoch, ProducerId};
use yak_protocol::message::{RegisterProducer, RegisterProducerReply};

/// By how much at most the first epoch of a name in a term is ahead of the last one in the journal. The journal may
/// be an old copy, and an epoch that is given out twice would let one producer's records pass for the other's.
const LEAP: u128 = 32;

/// Who has a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Holder {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    client: String,
    from: Option<ProducerEpoch>,
}

/// Everybody who has one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct NamedProducers(BTreeMap<String, Holder>);

impl NamedProducers {
    pub(super) fn apply(&mut self, record: &Record) {
        let Record::NamedProducer { name, producer_id, producer_epoch, client, from } = record else {
            return;
        };
        let (producer_id, producer_epoch) = (*producer_id, *producer_epoch);
        let holder = Holder { producer_id, producer_epoch, client: client.clone(), from: *from };
        let before = self.0.insert(name.clone(), holder);
        let again =
            before.is_some_and(|old| old.producer_id == producer_id && old.producer_epoch >= producer_epoch);
        assert!(!again, "an epoch of {name} would be given out twice");
    }

    pub(super) fn get(&self, name: &str) -> Option<&Holder> {
        self.0.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The records that say the same.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.0.iter().map(|(name, holder)| Record::NamedProducer {
            name: name.clone(),
            producer_id: holder.producer_id,
            producer_epoch: holder.producer_epoch,
            client: holder.client.clone(),
            from: holder.from,
        })
    }
}

impl Cluster {
    /// The next epoch of a named producer.
    pub(super) fn name_producer(
        &mut self,
        request: RegisterProducer,
        entropy: u128,
        step: &mut Step,
    ) -> Result<RegisterProducerReply, WireError> {
        let RegisterProducer { client, name, held } = request;
        let name = name.unwrap_or_default();
        if name.is_empty() || name.len() > PRODUCER_NAME_BYTES_MAX {
            let bytes = name.len();
            let what =
                format!("a producer's name has 1 to {PRODUCER_NAME_BYTES_MAX} bytes, this one has {bytes}");
            return Err(WireError::bad_request(what));
        }
        let holder = self.state.named_producers.get(&name).cloned();
        if let Some(holder) = &holder {
            let (producer_id, producer_epoch) = (holder.producer_id, holder.producer_epoch);
            // Only one process has ever held that epoch, and it did not hear the answer.
            if held.is_some_and(|(id, epoch)| id == producer_id && Some(epoch) == holder.from) {
                return Ok(RegisterProducerReply { producer_id, producer_epoch });
            }
            if held.is_some_and(|held| held != (producer_id, producer_epoch)) {
                return Err(fenced(&name, holder));
            }
        } else if self.state.named_producers.len() >= NAMED_PRODUCERS_MAX {
            let what = format!("there are {NAMED_PRODUCERS_MAX} named producers already");
            return Err(WireError::new(ErrorCode::Overloaded, what).hint("register without a name"));
        }
        let leap = if self.named_producers.insert(name.clone()) { entropy % LEAP } else { 0 };
        let leap = i16::try_from(leap).unwrap_or(0);
        let next = holder.and_then(|holder| {
            let epoch = holder.producer_epoch.0.checked_add(1)?.checked_add(leap)?;
            Some((holder.producer_id, ProducerEpoch(epoch)))
        });
        let (producer_id, producer_epoch) = match next {
            Some(next) => next,
            // Nobody had the name, or its epochs are used up.
            None => (ProducerId(self.producer_id_block(entropy, step).0), ProducerEpoch(0)),
        };
        let from = held.map(|(_, epoch)| epoch);
        self.record(step, Record::NamedProducer { name, producer_id, producer_epoch, client, from });
        Ok(RegisterProducerReply { producer_id, producer_epoch })
    }
}

fn fenced(name: &str, holder: &Holder) -> WireError {
    let client = if holder.client.is_empty() { "another one" } else { holder.client.as_str() };
    let (id, epoch) = (holder.producer_id.0, holder.producer_epoch.0);
    let what = format!("producer {name} is {client} by now, as epoch {epoch} of producer {id}");
    WireError::new(ErrorCode::ProducerFenced, what)
        .hint("one process at a time can have the name; this one must stop, or register again on purpose")
}
