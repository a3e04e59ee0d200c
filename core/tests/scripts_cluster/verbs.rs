//! What operators ask for, as lines of a script.

use crate::command::{Command, number};
use yak_core::cluster::Request;
use yak_protocol::ids::{BrokerId, PartitionIndex, ProducerEpoch, ProducerId};
use yak_protocol::message::{
    AlterTopic, CancelMoves, DecommissionBroker, ElectPreferred, ListMoves, Move, MovePartitions,
    PartitionName, RegisterProducer, ReplaceBroker, SettingChange,
};

fn name(text: &str) -> Result<PartitionName, String> {
    let (topic, partition) = text.split_once('/').ok_or("topic/partition is missing")?;
    Ok(PartitionName { topic: topic.to_owned(), partition: PartitionIndex(number(partition)?) })
}

fn names(command: &Command<'_>) -> Result<Vec<PartitionName>, String> {
    command.words.iter().filter(|word| word.contains('/')).map(|word| name(word)).collect()
}

/// `move orders/0=4,2,1 ... [rate=N] [dry_run]`, `cancel [orders/0 ...]`, `moves [orders/0 ...]`,
/// `alter orders [min_isr=1] [cleanup=default] [partitions=9] [dry_run]`, `replace 1 4`, `decommission 1 [cancel]`, `preferred [orders[/0]]`,
/// `producer shop client=one [held=1000:0]`
pub fn request(command: &Command<'_>) -> Result<Request, String> {
    let dry_run = command.has("dry_run");
    let bytes_per_second = command.number("rate")?;
    let broker = |index| Ok::<_, String>(BrokerId(number(command.word(index)?)?));
    Ok(match command.verb {
        "alter" => {
            let settings = command.options().filter(|(name, _)| *name != "partitions");
            let value = |text: &str| (text != "default").then(|| text.to_owned());
            let set = settings.map(|(name, text)| SettingChange(name.to_owned(), value(text))).collect();
            let (topic, partitions) = (command.word(0)?.to_owned(), command.number("partitions")?);
            Request::AlterTopic(AlterTopic { topic, set, partitions, dry_run })
        }
        "move" => {
            let mut moves = Vec::new();
            for (to, replicas) in command.options().filter(|(name, _)| name.contains('/')) {
                let PartitionName { topic, partition } = name(to)?;
                let replicas: Result<Vec<BrokerId>, String> =
                    replicas.split(',').map(|id| Ok(BrokerId(number(id)?))).collect();
                moves.push(Move { topic, partition, replicas: replicas? });
            }
            Request::MovePartitions(MovePartitions { moves, bytes_per_second, dry_run })
        }
        "cancel" => Request::CancelMoves(CancelMoves { partitions: names(command)?, dry_run }),
        "moves" => Request::ListMoves(ListMoves { partitions: names(command)? }),
        "replace" => {
            let (dead, by) = (broker(0)?, broker(1)?);
            Request::ReplaceBroker(ReplaceBroker { dead, by, bytes_per_second, dry_run })
        }
        "decommission" => {
            let (broker_id, cancel) = (broker(0)?, command.has("cancel"));
            Request::DecommissionBroker(DecommissionBroker { broker_id, cancel, bytes_per_second, dry_run })
        }
        "producer" => {
            let held = |(id, epoch): (&str, &str)| {
                Ok::<_, String>((ProducerId(number(id)?), ProducerEpoch(number(epoch)?)))
            };
            let option = |wanted| command.options().find(|(name, _)| *name == wanted).map(|(_, value)| value);
            Request::RegisterProducer(RegisterProducer {
                client: option("client").unwrap_or_default().to_owned(),
                name: Some(command.word(0)?.to_owned()),
                held: option("held").and_then(|text| text.split_once(':')).map(held).transpose()?,
            })
        }
        _ => {
            let first = command.words.first().copied().filter(|word| *word != "dry_run");
            let (topic, partition) = match first.map(|word| word.split_once('/').ok_or(word)) {
                None => (None, None),
                Some(Err(topic)) => (Some(topic.to_owned()), None),
                Some(Ok((topic, partition))) => {
                    (Some(topic.to_owned()), Some(PartitionIndex(number(partition)?)))
                }
            };
            Request::ElectPreferred(ElectPreferred { topic, partition, dry_run })
        }
    })
}
